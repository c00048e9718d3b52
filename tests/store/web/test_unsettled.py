"""Unsettled money, as the API has it."""

from datetime import timedelta

import httpx
import pytest

from gateway.core.budget import BudgetKey, Need, Scope, Window
from gateway.core.ids import ReplicaId
from gateway.store.database import Database
from gateway.store.ledger import LedgerStore
from gateway.store.replicas import ReplicaStore, Role
from tests.store.web.conftest import Clients

DEAD = ReplicaId("018f0000-0000-7000-8000-00000000000d")
LIVE = ReplicaId("018f0000-0000-7000-8000-00000000000e")
UNKNOWN = "018f0000-0000-7000-8000-00000000000f"
USD = 10**9
MONTH = BudgetKey(Scope.WORKSPACE, "", Window.MONTH, "2026-03-01")
TOTAL = BudgetKey(Scope.PROJECT, "p", Window.TOTAL, "")
PATH = "/api/v1/unsettled"
ENTRY = {
    "replica",
    "role",
    "version",
    "scope",
    "scope_id",
    "window",
    "period_start",
    "run",
    "project",
    "amount_usd",
    "seen_at",
    "sequence",
}


@pytest.fixture(autouse=True)
async def dead(database: Database) -> None:
    """A dead replica with $2 of the month and $0.50 of a project; and one that lives."""
    replicas, ledger = ReplicaStore(database), LedgerStore(database)
    await replicas.register(DEAD, Role.ALL, "0.1.0")
    needs = [Need({MONTH: USD // 2, TOTAL: USD // 2}), Need({MONTH: USD * 3 // 2})]
    await ledger.grant(DEAD, needs, {}, 0)
    await database.execute("UPDATE replica SET seen_at = now() - interval '1 hour'")
    await replicas.reclaim(timedelta(seconds=15))
    await replicas.register(LIVE, Role.ALL, "0.1.0")


def order(spent: object = "0.75", **more: object) -> dict[str, object]:
    return {"replica": DEAD, "spent_usd": spent, "reason": "the invoice", **more}


async def test_it_is_listed_resolved_and_gone(owner: httpx.AsyncClient):
    listed = (await owner.get(PATH)).json()
    assert listed["next_cursor"] is None
    assert [set(one) for one in listed["data"]] == [ENTRY, ENTRY]
    amounts = {(one["scope"], one["scope_id"]): one["amount_usd"] for one in listed["data"]}
    assert amounts == {("workspace", "-"): "2", ("project", "p"): "0.5"}
    done = await owner.post(PATH, json=order())
    assert done.status_code == 200
    resolved = {one["scope"]: one for one in done.json()["resolved"]}
    assert resolved["workspace"] == {
        "scope": "workspace",
        "scope_id": "-",
        "window": "month",
        "period_start": "2026-03-01",
        "booked_usd": "0.75",
        "returned_usd": "1.25",
    }
    assert (resolved["project"]["booked_usd"], resolved["project"]["returned_usd"]) == ("0.5", "0")
    [month] = (await owner.get("/api/v1/spend")).json()
    assert (month["spent_usd"], month["unsettled_usd"]) == ("0.75", "0")
    assert (await owner.get(PATH)).json()["data"] == []
    again = await owner.post(PATH, json=order())
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
    [row] = (await owner.get("/api/v1/audit?limit=1")).json()["data"]
    assert (row["action"], row["target"]) == ("unsettled.resolve", f"replica:{DEAD}")


async def test_one_budget_is_named_as_it_is_listed(owner: httpx.AsyncClient):
    named = {"scope": "workspace", "scope_id": "-", "window": "month", "period_start": "2026-03-01"}
    over = await owner.post(PATH, json=order("2.000000001", **named))
    assert (over.status_code, over.json()["error"]["param"]) == (400, "spent_usd")
    done = (await owner.post(PATH, json=order("2", **named))).json()["resolved"]
    assert [one["scope"] for one in done] == ["workspace"]
    [left] = (await owner.get(PATH)).json()["data"]
    assert (left["scope"], left["period_start"]) == ("project", None)
    gone = await owner.post(PATH, json=order("1", **named))
    assert (gone.status_code, gone.json()["error"]["param"]) == (409, "scope")


async def test_pages_lose_none(owner: httpx.AsyncClient):
    first = (await owner.get(f"{PATH}?limit=1")).json()
    second = (await owner.get(f"{PATH}?limit=1&cursor={first['next_cursor']}")).json()
    assert {one["scope"] for one in first["data"] + second["data"]} == {"workspace", "project"}
    for wrong in ("x", f"{DEAD}_", f"{DEAD}_x", f"{'-' * 36}_1"):
        assert (await owner.get(f"{PATH}?cursor={wrong}")).status_code == 400, wrong


@pytest.mark.parametrize(
    "spent", ["-1", "NaN", "Infinity", "1e3", 0.5, -1, None, True, "", "9" * 11]
)
async def test_an_amount_that_makes_no_sense_books_nothing(owner: httpx.AsyncClient, spent: object):
    assert (await owner.post(PATH, json=order(spent))).status_code == 400
    assert len((await owner.get(PATH)).json()["data"]) == 2


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"replica": LIVE}, 409),
        ({"replica": UNKNOWN}, 404),
        ({"replica": "x"}, 400),
        ({"reason": ""}, 400),
        ({"scope": "planet"}, 400),
        ({"window": "year"}, 400),
        ({"budget": "month"}, 400),
        ({"scope": "token"}, 409),
    ],
)
async def test_what_can_not_be_resolved_is_refused(
    owner: httpx.AsyncClient, change: dict[str, object], status: int
):
    assert (await owner.post(PATH, json=order() | change)).status_code == status
    assert len((await owner.get(PATH)).json()["data"]) == 2


async def test_who_sees_does_not_resolve_and_who_resolves_does_not_see(clients: Clients):
    for scope, sees, resolves in (
        ("llm:call", 403, 403),
        ("usage:read", 403, 403),
        ("admin:read", 200, 403),
        ("admin:write", 403, 200),
    ):
        client = await clients.bearer(scope)
        assert (await client.get(PATH)).status_code == sees, scope
        assert (await client.post(PATH, json=order())).status_code == resolves, scope
