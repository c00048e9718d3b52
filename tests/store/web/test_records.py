"""Traces, listed and exported, and the status of operators."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from gateway.core.ids import ReplicaId
from gateway.core.limits import KillScope
from gateway.store.database import Database
from gateway.store.replicas import Role
from gateway.web.admin import Services
from tests.store import made
from tests.store.made import trace
from tests.store.web.conftest import Clients

AT = datetime(2026, 3, 14, 12, tzinfo=UTC)
TRACE = [
    "id",
    "at",
    "token",
    "project",
    "run",
    "dialect",
    "endpoint",
    "model_asked",
    "model",
    "provider",
    "stream",
    "status",
    "outcome",
    "code",
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_usd",
    "cost_basis",
    "bound_usd",
    "price_version",
    "latency_ms",
    "first_byte_ms",
    "overhead_ms",
    "attempts",
    "labels",
]


async def keep(database: Database, *rows: dict[str, object]) -> None:
    await made.keep(database, [trace(**row) for row in rows])


async def test_a_call_has_all_members_in_their_order(owner: httpx.AsyncClient, database: Database):
    await keep(database, {"at": AT, "cost_nusd": 1_234_567, "labels": {"team": "x"}})
    (call,) = (await owner.get("/api/v1/traces")).json()["data"]
    assert list(call) == TRACE
    assert (call["cost_usd"], call["at"], call["labels"]) == (
        "0.001234567",
        "2026-03-14T12:00:00Z",
        {"team": "x"},
    )


async def test_calls_are_filtered(owner: httpx.AsyncClient, database: Database):
    await keep(
        database,
        {"at": AT, "run": "a", "model": "p/m", "project": "x", "labels": {"team": "red"}},
        {"at": AT + timedelta(hours=1), "run": "b", "model": "p/n", "token": "t9"},
        {"at": AT + timedelta(hours=2), "run": "c", "outcome": "killed", "model": None},
    )

    async def runs(query: str) -> list[str]:
        return [call["run"] for call in (await owner.get(f"/api/v1/traces{query}")).json()["data"]]

    assert await runs("") == ["c", "b", "a"]
    assert await runs("?run=a") == ["a"]
    assert await runs("?model=p/n") == ["b"]
    assert await runs("?token=t9") == ["b"]
    assert await runs("?project=x") == ["a"]
    assert await runs("?outcome=killed") == ["c"]
    assert await runs("?label=team=red") == ["a"]
    assert await runs("?since=2026-03-14T13:00:00Z&until=2026-03-14T14:00:00Z") == ["b"]
    assert await runs("?since=2026-03-14T14:00:00%2B01:00&limit=2") == ["c", "b"]


async def test_a_filter_that_makes_no_sense_is_refused(owner: httpx.AsyncClient):
    for query in (
        "since=yesterday",
        "since=2026-03-14T13:00:00",
        "outcome=good",
        "label=team",
        "cursor=x",
        "cursor=20260314T120000.000000_x",
        "limit=x",
        "mode=p/m",
        "run=a&run=b",
        "model=%00",
    ):
        answer = await owner.get(f"/api/v1/traces?{query}")
        assert answer.status_code == 400, query
    assert (await owner.get("/api/v1/traces/export?format=xml")).status_code == 400


async def test_calls_come_in_pages_and_none_is_lost(owner: httpx.AsyncClient, database: Database):
    await keep(database, *({"at": AT, "run": str(number)} for number in range(5)))
    found, cursor = [], ""
    for _ in range(3):
        page = (await owner.get(f"/api/v1/traces?limit=2{cursor}")).json()
        found += [call["run"] for call in page["data"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert sorted(found) == list("01234")
    assert page["next_cursor"] is None


async def test_a_confined_token_sees_the_calls_of_its_project(clients: Clients, database: Database):
    await keep(database, {"at": AT, "project": "mine"}, {"at": AT, "project": "other"})
    client = await clients.bearer("usage:read", project="mine")
    for path in ("traces", "traces?project=other"):
        found = (await client.get(f"/api/v1/{path}")).json()["data"]
        assert [call["project"] for call in found] == ["mine"]
    exported = (await client.get("/api/v1/traces/export?project=other")).text.splitlines()
    assert [json.loads(line)["project"] for line in exported] == ["mine"]


async def test_an_export_has_every_call_as_lines_of_json(
    owner: httpx.AsyncClient, database: Database
):
    await keep(database, *({"at": AT, "run": str(number)} for number in range(501)))
    answer = await owner.get("/api/v1/traces/export")
    assert answer.headers["content-type"] == "application/jsonl"
    calls = [json.loads(line) for line in answer.text.splitlines()]
    assert sorted(call["run"] for call in calls) == sorted(map(str, range(501)))
    assert list(calls[0]) == TRACE


async def test_an_export_as_csv_runs_nothing_in_a_spreadsheet(
    owner: httpx.AsyncClient, database: Database
):
    await keep(database, {"at": AT, "model_asked": "=cmd()", "run": "-a", "labels": {"a": "b"}})
    answer = await owner.get("/api/v1/traces/export?format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    head, row = csv.reader(io.StringIO(answer.text, newline=""))
    call = dict(zip(head, row, strict=True))
    assert head == TRACE
    assert (call["model_asked"], call["run"], call["labels"]) == ("'=cmd()", "'-a", '{"a":"b"}')


async def test_an_export_of_nothing_is_empty(owner: httpx.AsyncClient):
    assert (await owner.get("/api/v1/traces/export")).content == b""
    assert (await owner.get("/api/v1/traces/export?format=csv")).text == ",".join(TRACE) + "\r\n"


async def test_the_status_tells_operators_what_runs(owner: httpx.AsyncClient, services: Services):
    replica = ReplicaId("018f0000-0000-7000-8000-00000000000a")
    await services.replicas.register(replica, Role.ALL, "1.2.3")
    await owner.post("/api/v1/kill", json={"scope": "provider", "id": "openai", "reason": "x"})
    status = (await owner.get("/api/v1/status")).json()
    assert (status["version"], status["database"], status["jobs"]) == ("1.2.3", "embedded", [])
    assert [(one["id"], one["role"]) for one in status["replicas"]] == [(replica, "all")]
    assert [one["scope"] for one in status["kill"]] == [KillScope.PROVIDER]


async def test_the_console_shows_what_there_is(
    owner: httpx.AsyncClient, database: Database, clients: Clients
):
    await keep(database, {"at": AT, "model": "openai/gpt-5-mini", "cost_nusd": 1_234_567})
    await owner.post("/api/v1/runs", json={"name": "night-job", "cap_usd": "2"})
    await owner.post("/api/v1/kill", json={"scope": "provider", "id": "groq", "reason": "outage"})
    await owner.put("/api/v1/budgets/workspace/-", json={"cap_usd": "500"})
    path = (await owner.post("/api/v1/sign-in-links")).json()["path"]
    browser = clients.anybody()
    await browser.post(path, headers={"sec-fetch-site": "same-origin"})
    page = (await browser.get("/console/")).text
    for shown in (
        "openai/gpt-5-mini",
        "$0.001234567",
        "night-job",
        "groq",
        "outage",
        "$2.00",
        "</strong> spent\n",
        "of $500.00, $500.00 left",
    ):
        assert shown in page
    for name, kind in (("console.css", "text/css"), ("icon.svg", "image/svg+xml")):
        asset = await browser.get(f"/console/assets/{name}")
        assert asset.headers["content-type"].startswith(kind)


@pytest.mark.parametrize("path", ["/", "/console/nosuch", "/nosuch"])
async def test_a_browser_that_lost_its_way_gets_a_page_and_a_program_json(
    clients: Clients, path: str
):
    anybody = clients.anybody()
    page = await anybody.get(path, headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert "/console/" in page.text
    assert (await anybody.get(path)).json()["error"]["code"] == "not_found"
