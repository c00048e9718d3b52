"""Budgets, runs, kill switches and estimates, as the API has them."""

import asyncio
from typing import Any

import anyio
import httpx
import msgspec
import pytest
from litestar import Litestar

from gateway.core.budget import Scope, Window
from gateway.core.ids import ReplicaId
from gateway.core.refusal import Code, Refused
from gateway.exchange.estimates import Estimate
from gateway.store.audit import AT_START
from gateway.store.replicas import Role
from gateway.web.admin import Services
from tests.store.web.conftest import Clients, World

BUDGET = {
    "scope",
    "scope_id",
    "window",
    "period_start",
    "cap_usd",
    "spent_usd",
    "held_usd",
    "left_usd",
    "unsettled_usd",
    "overshoot_usd",
}
TOKEN = "018f0000-0000-7000-8000-000000000001"


async def test_the_workspace_month_is_always_shown(owner: httpx.AsyncClient):
    found = (await owner.get("/api/v1/spend")).json()
    assert [set(budget) for budget in found] == [BUDGET]
    assert (
        found[0] | {"scope": "workspace", "scope_id": "-", "cap_usd": None, "left_usd": None}
        == found[0]
    )
    assert (found[0]["window"], found[0]["period_start"]) == ("month", "2026-03-01")


@pytest.mark.parametrize(
    "path",
    ["workspace/-", "project/p1", f"token/{TOKEN}", "model/openai/gpt-5", "model/openai%2Fgpt-5"],
)
async def test_a_cap_is_put_shown_listed_and_taken_back(owner: httpx.AsyncClient, path: str):
    put = await owner.put(f"/api/v1/budgets/{path}", json={"cap_usd": "2.50", "window": "day"})
    assert put.status_code == 200
    assert (put.json()["cap_usd"], put.json()["period_start"]) == ("2.5", "2026-03-14")
    assert set(put.json()) == BUDGET
    shown = await owner.get(f"/api/v1/budgets/{path}?window=day")
    assert shown.json() == put.json()
    assert put.json() in (await owner.get("/api/v1/budgets")).json()["data"]
    assert put.json() in (await owner.get("/api/v1/spend")).json()
    assert (await owner.delete(f"/api/v1/budgets/{path}?window=day")).status_code == 204
    assert (await owner.get(f"/api/v1/budgets/{path}?window=day")).status_code == 404


async def test_the_window_is_asked_for_where_there_are_several(owner: httpx.AsyncClient):
    for window in ("month", "total"):
        await owner.put(f"/api/v1/budgets/project/p?window={window}", json={"cap_usd": 5})
    answer = await owner.get("/api/v1/budgets/project/p")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "window")
    assert (await owner.delete("/api/v1/budgets/project/p")).status_code == 400
    assert (await owner.delete("/api/v1/budgets/project/p?window=total")).status_code == 204
    assert (await owner.get("/api/v1/budgets/project/p")).json()["window"] == "month"


async def test_a_cap_that_makes_no_sense_is_not_set(owner: httpx.AsyncClient):
    wrong: list[tuple[str, dict[str, object]]] = [
        ("run/x", {"cap_usd": "1"}),
        ("planet/earth", {"cap_usd": "1"}),
        ("workspace/main", {"cap_usd": "1"}),
        ("token/abc", {"cap_usd": "1"}),
        ("model/gpt-5", {"cap_usd": "1"}),
        ("project/a b", {"cap_usd": "1"}),
        ("project/p", {}),
        ("project/p", {"cap_usd": 1.5}),
        ("project/p", {"cap_usd": "-1"}),
        ("project/p", {"cap_usd": "1e3"}),
        ("project/p", {"cap_usd": None}),
        ("project/p", {"cap_usd": True}),
        ("project/p", {"cap_usd": "1", "window": "year"}),
        ("project/p?window=day", {"cap_usd": "1", "window": "month"}),
    ]
    for path, body in wrong:
        assert (await owner.put(f"/api/v1/budgets/{path}", json=body)).status_code == 400, path
    assert len((await owner.get("/api/v1/spend")).json()) == 1


async def test_a_cap_of_the_configuration_is_not_deleted(
    owner: httpx.AsyncClient, services: Services
):
    await services.limits.configure(7_000_000_000, services.today())
    assert (await owner.delete("/api/v1/budgets/workspace/-")).status_code == 400
    await owner.put("/api/v1/budgets/workspace/-", json={"cap_usd": "3"})
    assert (await owner.delete("/api/v1/budgets/workspace/-")).status_code == 204
    assert (await owner.get("/api/v1/budgets/workspace/-")).json()["cap_usd"] == "7"


async def test_budgets_come_in_pages_and_none_is_lost(owner: httpx.AsyncClient):
    for name in ("c", "a", "b"):
        await owner.put(f"/api/v1/budgets/project/{name}", json={"cap_usd": "1"})
    found, cursor = [], ""
    for _ in range(2):
        page = (await owner.get(f"/api/v1/budgets?limit=2{cursor}")).json()
        found += [budget["scope_id"] for budget in page["data"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert found == ["-", "a", "b", "c"]
    assert page["next_cursor"] is None
    of_project = (await owner.get("/api/v1/budgets?scope=project")).json()["data"]
    assert [budget["scope_id"] for budget in of_project] == ["a", "b", "c"]


async def test_a_token_for_usage_sees_what_its_own_calls_fall_under(
    clients: Clients, services: Services
):
    client = await clients.bearer("usage:read", project="mine")
    for key in (
        (Scope.PROJECT, "mine"),
        (Scope.PROJECT, "other"),
        (Scope.TOKEN, TOKEN),
        (Scope.MODEL, "a/b"),
    ):
        await services.limits.put((*key, Window.MONTH), 10**9, services.today(), AT_START)
    found = (await client.get("/api/v1/spend")).json()
    assert [b["scope_id"] for b in found] == ["-", "a/b", "mine"]
    assert (await client.get("/api/v1/budgets/project/other")).status_code == 404


RUN = {
    "id",
    "project",
    "state",
    "cap_usd",
    "spent_usd",
    "held_usd",
    "left_usd",
    "unsettled_usd",
    "calls",
    "output_tokens_ceiling",
    "opened_at",
    "closed_at",
}


async def test_a_run_is_opened_shown_and_closed(owner: httpx.AsyncClient):
    order = {"name": "r1", "cap_usd": "0.05", "output_tokens_ceiling": 100, "labels": {"team": "x"}}
    made = await owner.post("/api/v1/runs", json=order)
    assert made.status_code == 201
    run = made.json()
    assert set(run) >= RUN
    assert (run["id"], run["project"], run["state"], run["left_usd"]) == (
        "r1",
        "default",
        "open",
        "0.05",
    )
    assert (await owner.get("/api/v1/runs/r1")).json() == run
    closed = (await owner.post("/api/v1/runs/r1/close")).json()
    assert (closed["state"], closed["closed_at"] is None) == ("closed", False)
    assert (await owner.post("/api/v1/runs/r1/close")).json() == closed


async def test_a_run_without_a_name_gets_one_and_the_default_cap(owner: httpx.AsyncClient):
    run = (await owner.post("/api/v1/runs", json={})).json()
    assert (await owner.get(f"/api/v1/runs/{run['id']}")).json()["cap_usd"] == "5"


async def test_a_name_is_given_once_in_a_project(owner: httpx.AsyncClient):
    assert (await owner.post("/api/v1/runs", json={"name": "r"})).status_code == 201
    again = await owner.post("/api/v1/runs", json={"name": "r"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
    other = await owner.post("/api/v1/runs", json={"name": "r", "project": "p2"})
    assert other.status_code == 201
    assert (await owner.get("/api/v1/runs/r?project=p2")).json()["project"] == "p2"


async def test_a_run_that_makes_no_sense_is_not_opened(owner: httpx.AsyncClient):
    wrong: list[dict[str, object]] = [
        {"name": "a/b"},
        {"name": ""},
        {"name": "x" * 129},
        {"cap_usd": 0.5},
        {"output_tokens_ceiling": 0},
        {"output_tokens_ceiling": "100"},
        {"labels": {"a": 1}},
        {"labels": dict.fromkeys("abcde", "x")},
        {"ceiling": 5},
    ]
    for order in wrong:
        assert (await owner.post("/api/v1/runs", json=order)).status_code == 400, order
    assert (await owner.get("/api/v1/runs")).json() == {"data": [], "next_cursor": None}


async def test_runs_are_listed_in_pages_by_project_and_state(owner: httpx.AsyncClient):
    for name, project in (("a", "p"), ("b", "p"), ("c", "q")):
        await owner.post("/api/v1/runs", json={"name": name, "project": project})
    await owner.post("/api/v1/runs/a/close?project=p")

    async def listed(query: str) -> list[str]:
        return [run["id"] for run in (await owner.get(f"/api/v1/runs{query}")).json()["data"]]

    assert await listed("") == ["c", "b", "a"]
    assert await listed("?project=p") == ["b", "a"]
    assert await listed("?state=closed") == ["a"]
    page = (await owner.get("/api/v1/runs?limit=2")).json()
    assert await listed(f"?limit=2&cursor={page['next_cursor']}") == ["a"]
    for wrong in ("?cursor=x", "?state=gone", "?limit=1001", "?limit=1&limit=2", "?nonsense=1"):
        assert (await owner.get(f"/api/v1/runs{wrong}")).status_code == 400


async def test_a_confined_token_sees_the_runs_of_its_project(
    owner: httpx.AsyncClient, clients: Clients
):
    await owner.post("/api/v1/runs", json={"name": "a", "project": "p"})
    client = await clients.bearer("usage:read", project="q")
    assert (await client.get("/api/v1/runs?project=p")).json()["data"] == []
    assert (await client.get("/api/v1/runs/a?project=p")).status_code == 404


async def test_what_is_not_there_is_not_found(owner: httpx.AsyncClient):
    ident = "018f0000-0000-7000-8000-000000000001"
    for method, path in (
        ("GET", "runs/x"),
        ("POST", "runs/x/close"),
        ("DELETE", f"kill/{ident}"),
        ("DELETE", f"tokens/{ident}"),
        ("GET", "budgets/project/x"),
    ):
        answer = await owner.request(method, f"/api/v1/{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    for path in ("kill/x", "tokens/x"):
        assert (await owner.delete(f"/api/v1/{path}")).status_code == 400


KILL = {
    "id",
    "scope",
    "scope_id",
    "reason",
    "by",
    "at",
    "replicas",
    "acknowledged",
    "streams_cut",
    "late",
}


async def test_a_kill_is_answered_when_every_replica_has_applied_it(
    owner: httpx.AsyncClient, services: Services
):
    replica = ReplicaId("018f0000-0000-7000-8000-00000000000a")
    await services.replicas.register(replica, Role.ALL, "1")

    async def acknowledge() -> None:
        for _ in range(2000):
            if kills := (await services.limits.load()).kills:
                await services.limits.acknowledge(kills[0].id, replica, 3)
                return
            await anyio.sleep(0.005)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(acknowledge)
        order = {"scope": "model", "id": "openai/gpt-5", "reason": "too dear"}
        answer = await owner.post("/api/v1/kill", json=order)
    assert answer.status_code == 201
    kill = answer.json()
    assert set(kill) >= KILL
    expected = {"replicas": 1, "acknowledged": 1, "streams_cut": 3, "late": [], "by": "test"}
    assert kill | expected == kill
    listed = (await owner.get("/api/v1/kill")).json()["data"]
    assert [one["id"] for one in listed] == [kill["id"]]
    assert (await owner.delete(f"/api/v1/kill/{kill['id']}")).status_code == 204
    assert (await owner.get("/api/v1/kill")).json()["data"] == []


async def test_a_replica_that_is_silent_is_named_as_late(
    owner: httpx.AsyncClient, services: Services
):
    replica = ReplicaId("018f0000-0000-7000-8000-00000000000a")
    await services.replicas.register(replica, Role.ALL, "1")
    kill = (await owner.post("/api/v1/kill", json={"scope": "all", "reason": "x"})).json()
    assert (kill["scope_id"], kill["acknowledged"], kill["late"]) == ("-", 0, [replica])


async def test_a_kill_that_makes_no_sense_is_refused(owner: httpx.AsyncClient):
    wrong: list[dict[str, object]] = [
        {"scope": "all"},
        {"scope": "all", "reason": ""},
        {"scope": "all", "reason": "x" * 201},
        {"scope": "all", "id": "x", "reason": "x"},
        {"scope": "run", "reason": "x"},
        {"scope": "model", "id": "-", "reason": "x"},
        {"scope": "model", "id": "a/b", "project": "p", "reason": "x"},
        {"scope": "model", "id": "gpt-5", "reason": "x"},
        {"scope": "token", "id": "ci", "reason": "x"},
        {"scope": "token", "id": "gwk_live_abc", "reason": "x"},
        {"scope": "run", "id": "my run", "reason": "x"},
        {"scope": "project", "id": "a/b", "reason": "x"},
        {"scope": "world", "reason": "x"},
        {"scope": "run", "id": "a\x00", "reason": "x"},
    ]
    for order in wrong:
        assert (await owner.post("/api/v1/kill", json=order)).status_code == 400, order
    assert (await owner.get("/api/v1/kill")).json()["data"] == []


async def test_all_kill_switches_are_lifted_at_once(owner: httpx.AsyncClient):
    for order in (
        {"scope": "all", "reason": "x"},
        {"scope": "run", "id": "r", "project": "p", "reason": "y"},
    ):
        await owner.post("/api/v1/kill", json=order)
    first = (await owner.get("/api/v1/kill?limit=1")).json()
    rest = (await owner.get(f"/api/v1/kill?limit=1&cursor={first['next_cursor']}")).json()
    assert [kill["scope"] for kill in first["data"] + rest["data"]] == ["all", "run"]
    assert rest["next_cursor"] is None
    assert len((await owner.delete("/api/v1/kill")).json()["lifted"]) == 2


ESTIMATED = Estimate(
    model="sandbox/echo",
    provider="sandbox",
    input_tokens_bound=5,
    output_tokens_bound=10,
    bound_usd="0.01",
    admitted=True,
    refusals=[],
)


async def test_an_estimate_is_asked_for_as_a_call_would_be(clients: Clients, world: World):
    world.estimated = ESTIMATED
    client = await clients.bearer("usage:read", project="mine")
    body = b'{"model" : "sandbox/echo",  "messages": []}'
    order = (
        b'{"endpoint": "chat/completions", "run": "r", "run_cap_usd": "0.5", "output_tokens_ceiling": 7, "project": "other", "body": %b}'
        % body
    )
    answer = await client.post(
        "/api/v1/estimate", content=order, headers={"content-type": "application/json"}
    )
    assert answer.json() == msgspec.to_builtins(ESTIMATED)
    (quote,) = world.quotes
    assert quote.body == body
    assert (quote.caller.project, quote.caller.scopes) == ("mine", {"llm:call"})
    assert dict(quote.headers) == {
        b"x-gateway-run": b"r",
        b"x-gateway-run-cap-usd": b"0.5",
        b"x-gateway-max-output-tokens": b"7",
    }


async def test_an_estimate_that_is_refused_keeps_its_code(owner: httpx.AsyncClient, world: World):
    world.estimated = Refused(Code.PRICE_UNKNOWN, "No price.", param="model")
    answer = await owner.post("/api/v1/estimate", json={"body": {"model": "x"}})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "price_unknown"


@pytest.mark.parametrize(
    ("order", "endpoint", "dialect"),
    [
        ({}, "chat/completions", "openai"),
        ({"endpoint": "embeddings"}, "embeddings", "openai"),
        ({"path": "/v1/embeddings"}, "embeddings", "openai"),
        ({"path": "/v1/embeddings?timeout=5"}, "embeddings", "openai"),
        (
            {"path": "/azure/openai/deployments/my%20own/chat/completions?api-version=2024-10-21"},
            "chat/completions",
            "azure",
        ),
    ],
)
async def test_an_estimate_is_for_whatever_path_a_call_could_have(
    owner: httpx.AsyncClient, world: World, order: dict[str, str], endpoint: str, dialect: str
):
    world.estimated = ESTIMATED
    answer = await owner.post("/api/v1/estimate", json={**order, "body": {}})
    assert answer.status_code == 200
    (quote,) = world.quotes
    assert (quote.path.endpoint, quote.dialect.name) == (endpoint, dialect)
    if dialect == "azure":
        assert (quote.path.model, quote.path.version) == ("my own", "2024-10-21")


@pytest.mark.parametrize(
    ("order", "param"),
    [
        ({"endpoint": "images"}, "endpoint"),
        ({"endpoint": "embeddings", "path": "/v1/embeddings"}, "endpoint"),
        ({"path": "/v1/images/generations"}, "path"),
        ({"path": "/v1/models"}, "path"),
        ({"path": "/v1/../v1/chat/completions"}, "path"),
        ({"path": "v1/chat/completions"}, "path"),
        ({"path": "http://localhost/v1/chat/completions"}, "path"),
        ({"path": "/api/v1/tokens"}, "path"),
        ({"path": "/v1/chat/completions\u00e9"}, "path"),
        ({"path": ""}, "path"),
        ({"path": "/" + "x" * 2048}, "path"),
        ({"path": 5}, "path"),
    ],
)
async def test_an_estimate_of_no_call_is_refused_by_its_path(
    owner: httpx.AsyncClient, order: dict[str, object], param: str
):
    answer = await owner.post("/api/v1/estimate", json={**order, "body": {}})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


class Watcher:
    """A reader of the live spend, by ASGI itself, since a client would wait for the end."""

    def __init__(self, app: Litestar, token: str) -> None:
        self._app: Any = app
        self._token = token
        self._left = anyio.Event()
        self._news = anyio.Condition()
        self.pieces: list[bytes] = []
        self.is_over = False

    async def run(self) -> None:
        headers = [(b"authorization", f"Bearer {self._token}".encode()), (b"host", b"localhost")]
        scope = {
            "type": "http",
            "method": "GET",
            "scheme": "http",
            "path": "/api/v1/spend/live",
            "raw_path": b"/api/v1/spend/live",
            "query_string": b"",
            "root_path": "",
            "http_version": "1.1",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("localhost", 80),
        }
        await self._app(scope, self._receive, self._send)
        self.is_over = True

    def leave(self) -> None:
        self._left.set()

    async def events(self, count: int) -> list[Any]:
        """Wait for so many events and return them."""
        with anyio.fail_after(10):
            async with self._news:
                while len(self.pieces) < count:
                    await self._news.wait()
        return [msgspec.json.decode(p.removeprefix(b"data: ")) for p in self.pieces]

    async def _receive(self) -> dict[str, str]:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message.get("body"):
            async with self._news:
                self.pieces.append(message["body"])
                self._news.notify_all()


async def test_the_live_spend_says_what_changed_and_ends_with_its_reader(
    app: Litestar, clients: Clients, owner: httpx.AsyncClient
):
    watcher = Watcher(app, await clients.token(["usage:read"]))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watcher.run)
        assert len((await watcher.events(1))[0]) == 1
        await owner.put("/api/v1/budgets/model/openai/gpt-5", json={"cap_usd": "1"})
        assert [b["scope"] for b in (await watcher.events(2))[1]] == ["workspace", "model"]
        watcher.leave()
    assert watcher.is_over
    assert len(asyncio.all_tasks()) == 1


async def test_the_live_spend_ends_when_the_gateway_stops(
    app: Litestar, clients: Clients, world: World
):
    watcher = Watcher(app, await clients.token(["usage:read"]))
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watcher.run)
            await watcher.events(1)
            world.is_stopping = True
    assert watcher.is_over
