"""Each threshold is told once, whoever looks, and only of budgets that are capped now."""

import json
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from gateway.core.alerts import Passed, Told, Watched, passed
from gateway.core.budget import BudgetKey, Scope, Window
from gateway.core.delivery import WebhookName
from gateway.core.money import NanoDollars
from gateway.store import alerts
from gateway.store.alerts import AlertStore
from gateway.store.database import Database, connect
from gateway.store.limits import LimitStore
from tests.store.made import MINT, NOON, SOMEONE, TODAY

OPS, PAGER = WebhookName("ops"), WebhookName("pager")
AT = (50, 80, 100)
TOTAL = (Scope.PROJECT, "p", Window.TOTAL)


@pytest.fixture
async def store(database: Database) -> AlertStore:
    store = AlertStore(database, MINT)
    await store.begin({TODAY}, AT)
    return store


async def capped(
    database: Database, cap: int, key: tuple[Scope, str, Window] = TOTAL, day: date = TODAY
) -> None:
    await LimitStore(database).put(key, NanoDollars(cap), day, SOMEONE)


async def spend(
    database: Database,
    spent: int,
    key: tuple[Scope, str, Window] = TOTAL,
    *,
    period: str = "",
    unsettled: int = 0,
) -> None:
    """Let a budget's row in a period say so much, as ledgers make it: with the cap that holds."""
    await database.execute(
        """
        INSERT INTO budget (scope, scope_id, time_window, period_start, cap_nusd, spent_nusd, unsettled_nusd)
        SELECT $1, $2, $3, $4, (SELECT cap_nusd FROM budget_cap
            WHERE scope = $1 AND scope_id = $2 AND time_window = $3), $5, $6
        ON CONFLICT (scope, scope_id, time_window, period_start)
        DO UPDATE SET spent_nusd = $5, unsettled_nusd = $6""",
        *(key[0].value, key[1], key[2].value, period),
        spent,
        unsettled,
    )


async def tell(store: AlertStore, day: date = TODAY, *webhooks: WebhookName) -> list[int]:
    told = await store.tell({day}, AT, webhooks or (OPS,), NOON)
    return [one.percent for one in told]


async def messages(database: Database, webhook: WebhookName = OPS) -> list[Mapping[str, Any]]:
    rows = await database.fetch("SELECT body FROM outbox WHERE webhook = $1 ORDER BY seq", webhook)
    return [json.loads(row["body"])["data"] for row in rows]


async def test_each_threshold_is_told_once_with_what_was_spent(
    database: Database, store: AlertStore
):
    await capped(database, 100)
    told = []
    for spent in (0, 49, 50, 60, 85, 85, 120):
        await spend(database, spent)
        told.append(await tell(store))
    assert told == [[], [], [50], [], [80], [], [100]]
    sent = await messages(database)
    assert [(one["percent"], one["spent_usd"]) for one in sent] == [
        (50, "0.00000005"),
        (80, "0.000000085"),
        (100, "0.00000012"),
    ]
    assert {(one["scope"], one["scope_id"], one["window"]) for one in sent} == {
        ("project", "p", "total")
    }


async def test_each_webhook_gets_the_same_message(database: Database, store: AlertStore):
    await capped(database, 100)
    await spend(database, 55)
    await tell(store, TODAY, OPS, PAGER)
    rows = await database.fetch("SELECT message_id, webhook, body FROM outbox")
    assert {row["webhook"] for row in rows} == {OPS, PAGER}
    assert len({(row["message_id"], row["body"]) for row in rows}) == 1


async def test_unsettled_money_counts(database: Database, store: AlertStore):
    await capped(database, 100)
    await spend(database, 30, unsettled=20)
    assert await tell(store) == [50]
    [sent] = await messages(database)
    assert (sent["spent_usd"], sent["unsettled_usd"]) == ("0.00000003", "0.00000002")


async def test_every_scope_and_window_of_the_present_period_is_looked_at_and_runs_are_not(
    database: Database, store: AlertStore
):
    keys = [
        (Scope.WORKSPACE, "", Window.MONTH, "2026-11-01"),
        (Scope.PROJECT, "p", Window.DAY, "2026-11-25"),
        (Scope.TOKEN, "t", Window.TOTAL, ""),
        (Scope.MODEL, "openai/m", Window.MONTH, "2026-11-01"),
    ]
    for scope, scope_id, window, period in keys:
        await capped(database, 100, (scope, scope_id, window))
        await spend(database, 50, (scope, scope_id, window), period=period)
    await spend(database, 50, (Scope.RUN, str(MINT.id()), Window.TOTAL))
    await database.execute("UPDATE budget SET cap_nusd = 100 WHERE scope = 'run'")
    assert await tell(store) == [50] * 4
    sent = await messages(database)
    assert {
        (one["scope"], one["scope_id"], one["window"], one["period_start"]) for one in sent
    } == {(scope.value, scope_id, window.value, period) for scope, scope_id, window, period in keys}


async def test_a_new_period_is_told_anew_and_an_old_one_no_more(
    database: Database, store: AlertStore
):
    day = (Scope.PROJECT, "p", Window.DAY)
    await capped(database, 100, day)
    await spend(database, 60, day, period="2026-11-25")
    assert await tell(store) == [50]
    tomorrow = TODAY + timedelta(days=1)
    await spend(database, 70, day, period="2026-11-26")
    await spend(database, 90, day, period="2026-11-25")
    assert await tell(store, tomorrow) == [50]
    assert [one["period_start"] for one in await messages(database)] == ["2026-11-25", "2026-11-26"]
    both = await store.tell({TODAY, tomorrow}, AT, (OPS,), NOON)
    assert [one.percent for one in both] == [80], "what the end of a period brought"


async def test_a_raised_cap_makes_new_what_it_takes_back(database: Database, store: AlertStore):
    await capped(database, 10)
    await spend(database, 9)
    assert await tell(store) == [50, 80]
    await capped(database, 11)
    assert await tell(store) == []
    await capped(database, 20)
    assert await tell(store) == []
    await spend(database, 16)
    assert await tell(store) == [50, 80]
    await capped(database, 16)
    assert await tell(store) == [100]
    await capped(database, 20)
    await capped(database, 16)
    assert await tell(store) == []


async def test_a_budget_that_is_capped_no_more_is_told_of_no_more(
    database: Database, store: AlertStore
):
    await capped(database, 10)
    await spend(database, 9)
    await LimitStore(database).delete(TOTAL, TODAY, SOMEONE)
    assert await tell(store) == []


async def test_of_many_that_look_at_once_one_tells(dsn: str, database: Database):
    await AlertStore(database, MINT).begin({TODAY}, AT)
    for number in range(20):
        key = (Scope.TOKEN, f"t{number}", Window.TOTAL)
        await capped(database, 100, key)
        await spend(database, 85, key)
    told: list[Passed] = []

    async def look(other: Database) -> None:
        told.extend(await AlertStore(other, MINT).tell({TODAY}, AT, (OPS,), NOON))

    async with connect(dsn, size=8) as other, anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(look, other)
    assert len(told) == 40
    sent = await messages(database)
    assert len({(one["scope_id"], one["percent"]) for one in sent}) == len(sent) == 40


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=8))
async def test_the_statement_finds_what_the_core_does(
    database: Database, steps: list[tuple[int, int]]
):
    """Whatever caps and spend have been: looks are compared with a core that remembers."""
    await database.execute("DELETE FROM alert")
    known: list[Told] = []
    for cap, spent in steps:
        await capped(database, cap)
        await spend(database, spent)
        async with database.transaction() as connection:
            found = await alerts._found(connection, {TODAY}, AT)
            await alerts._tell(connection, [(one, None) for one in found])
        new = passed(watched(cap, spent, known), AT)
        assert [one.percent for one in found] == [one.percent for one in new]
        known += [Told(one.percent, NanoDollars(spent)) for one in new]


def watched(cap: int, spent: int, told: list[Told]) -> Watched:
    return Watched(
        id=1,
        key=BudgetKey(*TOTAL, ""),
        cap_nusd=NanoDollars(cap),
        spent_nusd=NanoDollars(spent),
        leased_nusd=NanoDollars(0),
        unsettled_nusd=NanoDollars(0),
        told=tuple(told),
    )


async def test_a_cap_that_changes_under_the_look_is_left_to_the_next(
    database: Database, store: AlertStore
):
    await capped(database, 100)
    await spend(database, 85)
    async with database.transaction() as connection:
        seen, _ = await alerts._found(connection, {TODAY}, AT)
        await capped(database, 1000)
        made = [(seen, MINT.id())]
        assert await alerts._tell(connection, made) == set()
    assert await tell(store) == []


async def test_what_was_passed_before_alerting_began_is_told_to_nobody(database: Database):
    store = AlertStore(database, MINT)
    await capped(database, 100)
    await spend(database, 85)
    await store.begin({TODAY}, AT)
    assert await tell(store) == []
    await spend(database, 100)
    assert await tell(store) == [100]


async def test_a_restart_loses_nothing_and_a_new_beginning_starts_afresh(
    database: Database, store: AlertStore
):
    await capped(database, 100)
    await spend(database, 55)
    await store.begin({TODAY}, AT)
    assert await tell(store) == [50], "it had begun already"
    await spend(database, 85)
    await store.forget()
    await store.begin({TODAY}, AT)
    assert await tell(store) == []


async def test_of_two_that_begin_at_once_one_does(dsn: str, database: Database):
    await capped(database, 100)
    await spend(database, 85)
    async with connect(dsn, size=2) as other, anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(AlertStore(other, MINT).begin, {TODAY}, AT)
    assert await tell(AlertStore(database, MINT)) == []


async def test_the_look_finds_budgets_by_their_index_however_many_there_are(database: Database):
    await database.execute(
        """
        INSERT INTO budget (scope, scope_id, time_window, period_start, cap_nusd, spent_nusd)
        SELECT 'run', 'r' || n, 'total', '', 5, 5 FROM generate_series(1, 20000) n"""
    )
    await database.execute(
        """
        INSERT INTO budget (scope, scope_id, time_window, period_start, cap_nusd, spent_nusd)
        SELECT 'token', 't' || n % 50, 'day', (date '2024-01-01' + n / 50)::text, 5, 5
        FROM generate_series(0, 19999) n"""
    )
    for number in range(30):
        await capped(database, 5, (Scope.TOKEN, f"t{number}", Window.DAY))
    await database.execute("ANALYZE")
    explained = await database.fetch_value(
        f"EXPLAIN (FORMAT JSON) {alerts.DUE}", ["2026-11-01"], ["2026-11-25"], [50]
    )
    plan = json.dumps(explained)
    assert "budget_scope_scope_id_time_window_period_start_key" in plan
    scanned = [one for one in _nodes(explained[0]["Plan"]) if one["Node Type"] == "Seq Scan"]
    assert "budget" not in {one["Relation Name"] for one in scanned}


def _nodes(plan: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [plan, *(one for part in plan.get("Plans", []) for one in _nodes(part))]
