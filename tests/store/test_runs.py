"""Runs: opened once, lowered never raised, closed for good, remembered within bounds."""

import anyio
import pytest

from gateway.core.ids import Project
from gateway.core.money import NanoDollars
from gateway.errors import LedgerUnavailable
from gateway.store.database import Database, Record, connect
from gateway.store.ledger import LedgerStore
from gateway.store.runs import NewRun, RunDefaults, RunStore, State
from tests.store.made import (
    CALLER,
    DEFAULT,
    MINT,
    SOMEONE,
    actions,
    line,
    name,
    need,
    new_replica,
    run_key,
)

OTHER = Project("other")


@pytest.fixture
def runs(database: Database) -> RunStore:
    return RunStore(database, MINT, RunDefaults(NanoDollars(500)))


async def cap(runs: RunStore, run: str = "r1", project: Project = DEFAULT) -> int | None:
    state = await runs.show(project, name(run))
    assert state is not None
    return state.cap_nusd


async def test_a_new_name_opens_a_run_with_the_default_cap(runs: RunStore):
    run = await runs.open(DEFAULT, name("r1"), None, CALLER)
    assert (run.name, run.project, run.is_open, run.output_ceiling) == ("r1", DEFAULT, True, None)
    state = await runs.show(DEFAULT, name("r1"))
    assert (state.id, state.state, state.cap_nusd, state.left_nusd) == (
        run.id,
        State.OPEN,
        500,
        500,
    )
    assert (state.opened_by, state.calls, state.closed_at) == ("t1", 0, None)


async def test_the_call_that_opens_a_run_may_give_it_any_cap(runs: RunStore):
    await runs.open(DEFAULT, name("r1"), NanoDollars(9_000), CALLER)
    assert await cap(runs) == 9_000


async def test_an_open_runs_cap_is_lowered_and_never_raised(runs: RunStore):
    for wanted, expected in [(700, 700), (900, 700), (300, 300), (400, 300), (None, 300)]:
        amount = None if wanted is None else NanoDollars(wanted)
        await runs.open(DEFAULT, name("r1"), amount, CALLER)
        assert await cap(runs) == expected


async def test_a_cap_can_be_given_to_a_run_without_one(database: Database):
    runs = RunStore(database, MINT, RunDefaults(None))
    await runs.open(DEFAULT, name("r1"), None, CALLER)
    assert await cap(runs) is None
    await runs.open(DEFAULT, name("r1"), NanoDollars(0), CALLER)
    assert await cap(runs) == 0


async def test_a_cap_lowered_by_another_replica_is_not_raised_from_memory(
    runs: RunStore, database: Database
):
    other = RunStore(database, MINT, RunDefaults(NanoDollars(500)))
    await runs.open(DEFAULT, name("r1"), None, CALLER)
    await other.open(DEFAULT, name("r1"), NanoDollars(100), CALLER)
    await runs.open(DEFAULT, name("r1"), NanoDollars(200), CALLER)
    assert await cap(runs) == 100


async def test_one_name_in_two_projects_is_two_runs(runs: RunStore):
    one = await runs.open(DEFAULT, name("r1"), NanoDollars(1), CALLER)
    two = await runs.open(OTHER, name("r1"), NanoDollars(2), CALLER)
    assert one.id != two.id
    assert [await cap(runs, project=project) for project in (DEFAULT, OTHER)] == [1, 2]


async def test_many_calls_that_open_one_run_at_once_open_one(runs: RunStore, database: Database):
    other = RunStore(database, MINT, RunDefaults(NanoDollars(500)))
    ids = set()

    async def call(store: RunStore) -> None:
        ids.add((await store.open(DEFAULT, name("r1"), None, CALLER)).id)

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(call, runs)
            group.start_soon(call, other)
    assert len(ids) == 1
    assert await database.fetch_value("SELECT count(*) FROM budget") == 1


async def test_many_first_calls_of_a_run_ask_the_database_once(dsn: str):
    class Counting(Database):
        asked = 0

        async def fetch_row(self, query: str, *args: object) -> Record | None:
            self.asked += 1
            return await super().fetch_row(query, *args)

    async with connect(dsn, size=2) as real:
        database = Counting(real._pool, dsn, print)
        runs = RunStore(database, MINT, RunDefaults(None))
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(runs.open, DEFAULT, name("r1"), None, CALLER)
    assert database.asked == 1


async def test_a_known_run_is_answered_from_memory(dsn: str):
    async with connect(dsn, size=1) as database:
        runs = RunStore(database, MINT, RunDefaults(NanoDollars(500)))
        run = await runs.open(DEFAULT, name("r1"), None, CALLER)
    assert await runs.open(DEFAULT, name("r1"), NanoDollars(500), CALLER) == run
    assert await runs.find(DEFAULT, name("r1")) == run
    with pytest.raises(LedgerUnavailable):
        await runs.open(DEFAULT, name("r1"), NanoDollars(499), CALLER)
    with pytest.raises(LedgerUnavailable):
        await runs.find(DEFAULT, name("r2"))


async def test_only_so_many_runs_are_remembered_those_used_last(dsn: str):
    async with connect(dsn, size=1) as database:
        runs = RunStore(database, MINT, RunDefaults(None), remembered=2)
        opened = [await runs.open(DEFAULT, name(run), None, CALLER) for run in ("a", "b")]
        await runs.open(DEFAULT, name("a"), None, CALLER)
        await runs.open(DEFAULT, name("c"), None, CALLER)
    assert await runs.find(DEFAULT, name("a")) == opened[0]
    with pytest.raises(LedgerUnavailable):
        await runs.find(DEFAULT, name("b"))
    runs.closed(opened[1].id)


async def test_finding_opens_nothing(runs: RunStore, database: Database):
    assert await runs.find(DEFAULT, name("r1")) is None
    assert await database.fetch_value("SELECT count(*) FROM run") == 0
    run = await runs.open(DEFAULT, name("r1"), None, CALLER)
    assert await RunStore(database, MINT, RunDefaults(None)).find(DEFAULT, name("r1")) == run


async def test_a_closed_run_stays_closed_and_changes_no_more(runs: RunStore, database: Database):
    run = await runs.open(DEFAULT, name("r1"), None, CALLER)
    closed = await runs.close(DEFAULT, name("r1"), SOMEONE)
    assert closed.state is State.CLOSED
    assert closed.closed_at is not None
    for store in (runs, RunStore(database, MINT, RunDefaults(None))):
        again = await store.open(DEFAULT, name("r1"), NanoDollars(1), CALLER)
        assert (again.id, again.is_open) == (run.id, False)
    assert await cap(runs) == 500
    assert (await runs.close(DEFAULT, name("r1"), SOMEONE)).closed_at == closed.closed_at
    assert await runs.close(DEFAULT, name("r2"), SOMEONE) is None
    assert await actions(database) == [(1, "run.close", f"run:{run.id}")]


async def test_what_another_replica_closed_is_learnt_by_notice_or_by_asking(
    runs: RunStore, database: Database
):
    other = RunStore(database, MINT, RunDefaults(None))
    one, two = [await runs.open(DEFAULT, name(run), None, CALLER) for run in ("r1", "r2")]
    await other.close(DEFAULT, name("r1"), SOMEONE)
    await other.close(DEFAULT, name("r2"), SOMEONE)
    assert (await runs.open(DEFAULT, name("r1"), None, CALLER)).is_open
    runs.closed(one.id)
    assert not (await runs.open(DEFAULT, name("r1"), None, CALLER)).is_open
    assert await runs.refresh() == {two.id}
    assert not (await runs.open(DEFAULT, name("r2"), None, CALLER)).is_open
    assert await runs.refresh() == frozenset()


async def test_a_run_made_by_order_has_all_that_was_ordered(runs: RunStore, database: Database):
    wanted = NewRun(
        project=DEFAULT,
        name=name("r1"),
        cap_nusd=NanoDollars(7),
        output_ceiling=100,
        labels={"team": "search"},
    )
    made = await runs.create(wanted, "t1", SOMEONE)
    assert (made.cap_nusd, made.output_tokens_ceiling, made.labels) == (7, 100, {"team": "search"})
    assert await runs.create(wanted, "t1", SOMEONE) is None
    assert (await runs.open(DEFAULT, name("r1"), None, CALLER)).output_ceiling == 100
    assert await actions(database) == [(1, "run.create", f"run:{made.id}")]


async def test_a_runs_money_is_shown_as_it_stands(runs: RunStore, database: Database):
    ledger, replica = LedgerStore(database), await new_replica(database)
    run = await runs.open(DEFAULT, name("r1"), None, CALLER)
    await ledger.grant(replica, [need(100, run_key(run.id))], {}, 0)
    await ledger.flush(replica, 1, [line(30, 40, run_key(run.id))], [])
    state = await runs.show(DEFAULT, name("r1"))
    assert (state.spent_nusd, state.held_nusd, state.left_nusd) == (30, 60, 410)
    assert await runs.show(DEFAULT, name("r2")) is None


async def test_runs_are_listed_newest_first_page_by_page(runs: RunStore):
    for number in range(5):
        await runs.open(DEFAULT, name(f"r{number}"), None, CALLER)
    await runs.open(OTHER, name("o"), None, CALLER)
    await runs.close(DEFAULT, name("r3"), SOMEONE)
    first = await runs.page(DEFAULT, limit=3)
    assert [state.name for state in first] == ["r4", "r3", "r2"]
    rest = await runs.page(DEFAULT, before=first[-1].id, limit=3)
    assert [state.name for state in rest] == ["r1", "r0"]
    assert [state.name for state in await runs.page(state=State.CLOSED)] == ["r3"]
    assert len(await runs.page()) == 6
