"""What the dead may have spent, resolved by hand."""

from datetime import timedelta

import anyio
import pytest
from hypothesis import given, strategies as st

from gateway.core.budget import BudgetKey, Scope, Window
from gateway.core.ids import ReplicaId, RunId
from gateway.core.money import NanoDollars
from gateway.errors import LedgerUnavailable, ReplicaRetired
from gateway.store.database import Database
from gateway.store.ledger import LedgerStore
from gateway.store.limits import LimitStore
from gateway.store.replicas import REVIVE, ReplicaStore
from gateway.store.runs import NewRun, RunDefaults, RunStore
from gateway.store.unsettled import (
    Asked,
    BudgetRow,
    Lost,
    Part,
    TooMuch,
    Unresolvable,
    UnsettledStore,
    shared_out,
)
from tests.store.made import (
    DEFAULT,
    MINT,
    MONTH,
    SOMEONE,
    TODAY,
    actions,
    line,
    money,
    name,
    need,
    new_replica,
    project_key,
    run_key,
    trace,
)
from tests.waiting import DEADLINE_S

TTL = timedelta(seconds=15)
WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'"""
ALL = Asked()
OF_P = Asked(scope=Scope.PROJECT)
P = project_key("p")


@pytest.fixture
async def ledger(database: Database) -> LedgerStore:
    await LimitStore(database).configure(NanoDollars(1_000), TODAY)
    return LedgerStore(database)


@pytest.fixture
def store(database: Database) -> UnsettledStore:
    return UnsettledStore(database)


async def die(database: Database, replica: ReplicaId) -> None:
    query = "UPDATE replica SET seen_at = now() - interval '1 hour' WHERE id = $1"
    await database.execute(query, replica)
    await ReplicaStore(database).reclaim(TTL)


@pytest.fixture
async def dead(database: Database, ledger: LedgerStore) -> ReplicaId:
    """A replica that died with 100 of the month and 40 of a project."""
    replica = await new_replica(database)
    await ledger.grant(replica, [need(40, MONTH, P), need(60, MONTH)], {}, 0)
    await die(database, replica)
    return replica


async def resolve(
    store: UnsettledStore, replica: ReplicaId, spent: int, asked: Asked = ALL
) -> list[Part] | Unresolvable | TooMuch:
    return await store.resolve(replica, NanoDollars(spent), asked, "the invoice", SOMEONE)


async def state_of(database: Database, replica: ReplicaId) -> str:
    return str(await database.fetch_value("SELECT state FROM replica WHERE id = $1", replica))


def lost(*amounts: int) -> list[Lost]:
    return [
        Lost(BudgetRow(n), BudgetKey(Scope.PROJECT, f"p{n}", Window.TOTAL, ""), amount)
        for n, amount in enumerate(amounts)
    ]


@given(st.lists(st.integers(1, 10**18), min_size=1, max_size=5), st.integers(0, 10**18))
def test_each_budget_is_booked_what_was_spent_and_never_more_than_is_unsettled(
    amounts: list[int], spent: int
):
    parts = shared_out(lost(*amounts), spent, ALL)
    assert isinstance(parts, list)
    assert [part.booked + part.returned for part in parts] == amounts
    assert [part.booked for part in parts] == [min(spent, amount) for amount in amounts]


def test_a_budget_that_is_named_takes_no_more_than_is_unsettled_of_it():
    asked = Asked(scope_id="p1")
    assert shared_out(lost(5, 7), 8, asked) == TooMuch(7)
    [part] = list(shared_out(lost(5, 7), 7, asked))  # type: ignore[arg-type]
    assert (part.budget.scope_id, part.booked, part.returned) == ("p1", 7, 0)


def test_what_is_named_is_one_budget_that_has_something_unsettled():
    assert shared_out(lost(5, 7), 1, OF_P) is Unresolvable.SEVERAL
    assert shared_out(lost(5), 1, Asked(window=Window.DAY)) is Unresolvable.NO_SUCH_BUDGET
    assert shared_out([], 1, Asked(window=Window.DAY)) is Unresolvable.NOTHING
    assert shared_out([], 1, ALL) is Unresolvable.NOTHING


async def test_what_was_spent_is_booked_and_the_rest_given_back(
    database: Database, store: UnsettledStore, dead: ReplicaId
):
    parts = await resolve(store, dead, 50)
    assert isinstance(parts, list)
    booked = {part.budget: (part.booked, part.returned) for part in parts}
    assert booked == {MONTH: (50, 50), P: (40, 0)}
    assert await money(database) == (50, 0, 0)
    assert await money(database, P) == (40, 0, 0)
    assert await state_of(database, dead) == "resolved"
    assert await store.page() == []


async def test_what_is_given_back_can_be_granted_again_and_no_more(
    database: Database, ledger: LedgerStore, store: UnsettledStore, dead: ReplicaId
):
    await resolve(store, dead, 50)
    other = await new_replica(database)
    answer = await ledger.grant(other, [need(951), need(950)], {}, 0)
    assert [short is None for short in answer.decision.answers] == [False, True]


async def test_the_audit_log_says_who_resolved_what_and_why(
    database: Database, store: UnsettledStore, dead: ReplicaId
):
    before = len(await actions(database))
    await resolve(store, dead, 50)
    assert (await actions(database))[before:] == [
        (before + 1, "unsettled.resolve", f"replica:{dead}")
    ]
    row = await database.fetch_row("SELECT * FROM audit ORDER BY seq DESC LIMIT 1")
    assert row is not None
    assert row["actor"] == SOMEONE.name
    assert row["detail"] == {
        "spent_usd": "0.00000005",
        "reason": "the invoice",
        "budgets": "project:p:day:2026-11-25 booked 0.00000004 returned 0; "
        "workspace::month:2026-11-01 booked 0.00000005 returned 0.00000005",
    }


async def test_one_budget_may_be_resolved_before_the_other(
    database: Database, store: UnsettledStore, dead: ReplicaId
):
    assert await resolve(store, dead, 41, OF_P) == TooMuch(40)
    assert await state_of(database, dead) == "reclaimed"
    assert isinstance(await resolve(store, dead, 10, OF_P), list)
    assert await money(database, P) == (10, 0, 0)
    assert await money(database) == (0, 0, 100)
    assert await state_of(database, dead) == "resolved"
    assert await resolve(store, dead, 10, OF_P) is Unresolvable.NO_SUCH_BUDGET
    assert isinstance(await resolve(store, dead, 30), list)
    assert await money(database) == (30, 0, 0)


async def test_a_second_time_there_is_nothing_left_and_nothing_is_written(
    database: Database, store: UnsettledStore, dead: ReplicaId
):
    await resolve(store, dead, 50)
    written = await actions(database)
    assert await resolve(store, dead, 50) is Unresolvable.NOTHING
    assert await money(database) == (50, 0, 0)
    assert await actions(database) == written


async def test_several_that_resolve_at_once_do_it_once(
    database: Database, store: UnsettledStore, dead: ReplicaId
):
    outcomes = []

    async def one() -> None:
        outcomes.append(await resolve(store, dead, 50))

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(one)
    assert sum(isinstance(outcome, list) for outcome in outcomes) == 1
    assert outcomes.count(Unresolvable.NOTHING) == 3
    assert await money(database) == (50, 0, 0)


async def test_a_replica_that_came_back_between_is_left_alone(
    database: Database, ledger: LedgerStore, store: UnsettledStore, dead: ReplicaId
):
    assert len(await store.page()) == 2
    await ledger.renew(dead)
    assert await resolve(store, dead, 50) is Unresolvable.LIVE
    assert await money(database) == (0, 100, 0)
    assert await store.page() == []


async def test_who_is_resolved_while_it_comes_back_is_left_alone(
    database: Database, store: UnsettledStore, dead: ReplicaId
):
    outcomes: list[object] = []

    async def one() -> None:
        outcomes.append(await resolve(store, dead, 50))

    async with anyio.create_task_group() as group, database.transaction() as connection:
        await connection.execute(REVIVE, dead)
        group.start_soon(one)
        with anyio.fail_after(DEADLINE_S):
            while not await database.fetch_value(WAITING):
                pass
    assert outcomes == [Unresolvable.LIVE]
    assert await money(database) == (0, 100, 0)


async def test_nobody_knows_a_replica_that_never_was_and_a_clean_one_left_nothing(
    database: Database, store: UnsettledStore
):
    assert await resolve(store, ReplicaId(MINT.id()), 1) is Unresolvable.UNKNOWN
    clean = await new_replica(database)
    await ReplicaStore(database).stop(clean)
    assert await resolve(store, clean, 1) is Unresolvable.NOTHING
    assert await state_of(database, clean) == "stopped"


async def test_a_resolved_replica_never_admits_again_and_its_late_flush_is_booked_on_top(
    database: Database, ledger: LedgerStore, store: UnsettledStore, dead: ReplicaId
):
    await resolve(store, dead, 50)
    with pytest.raises(ReplicaRetired):
        await ledger.renew(dead)
    with pytest.raises(LedgerUnavailable):
        await ledger.grant(dead, [need(1)], {}, 0)
    with pytest.raises(ReplicaRetired):
        await ledger.flush(dead, 1, [line(30, 100)], [trace()])
    assert await money(database) == (80, 0, 0)
    await ReplicaStore(database).stop(dead)
    assert await ReplicaStore(database).reclaim(TTL) == []
    assert await state_of(database, dead) == "resolved"


async def test_a_late_flush_of_one_that_was_resolved_in_part_takes_nobodys_lease(
    database: Database, ledger: LedgerStore, store: UnsettledStore, dead: ReplicaId
):
    await resolve(store, dead, 10, OF_P)
    other = await new_replica(database)
    await ledger.grant(other, [need(200)], {}, 0)
    with pytest.raises(ReplicaRetired):
        await ledger.flush(dead, 1, [line(30, 100)], [])
    assert await money(database) == (30, 200, 0)


async def test_a_run_that_is_unsettled_says_its_name_and_pages_lose_none(
    database: Database, ledger: LedgerStore, store: UnsettledStore, dead: ReplicaId
):
    runs = RunStore(database, MINT, RunDefaults(NanoDollars(500)))
    run = await runs.create(NewRun(project=DEFAULT, name=name("r1")), "me", SOMEONE)
    assert run is not None
    other = await new_replica(database)
    key = run_key(RunId(run.id))
    await ledger.grant(other, [need(5, MONTH, key)], {}, 0)
    await ledger.flush(other, 1, [], [])
    await die(database, other)
    found = []
    while page := await store.page((found[-1].replica, found[-1].row) if found else None, 1):
        found += page
    assert [(one.replica, one.amount) for one in found] == [
        (dead, 40),
        (dead, 100),
        (other, 5),
        (other, 5),
    ]
    of_run = next(one for one in found if one.budget == key)
    assert (of_run.run, of_run.project, of_run.sequence) == ("r1", DEFAULT, 1)
    assert {one.run for one in found if one.budget != key} == {None}
