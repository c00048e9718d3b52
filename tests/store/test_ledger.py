"""The ledger on a real PostgreSQL: what it grants, books, and refuses, also to many at once."""

import random

import anyio
import pytest

from gateway.core.budget import BudgetKey, FlushLine, Short
from gateway.core.ids import ReplicaId
from gateway.core.limits import Run
from gateway.core.money import NanoDollars
from gateway.core.outcome import Outcome
from gateway.errors import LedgerUnavailable
from gateway.store.database import Database
from gateway.store.ledger import LedgerStore
from gateway.store.limits import LimitStore
from gateway.store.notices import CHANNEL, Recalled, parse
from gateway.store.replicas import ReplicaStore
from gateway.store.runs import NewRun, RunDefaults, RunStore
from tests.store.made import (
    CALLER,
    DEFAULT,
    MINT,
    MONTH,
    SOMEONE,
    TODAY,
    line,
    money,
    name,
    need,
    new_replica,
    project_key,
    run_key,
    trace,
)
from tests.waiting import eventually

CAP = NanoDollars(1_000)
WORKSPACE_MONTH = (MONTH.scope, MONTH.scope_id, MONTH.window)


@pytest.fixture
async def ledger(database: Database) -> LedgerStore:
    await LimitStore(database).configure(CAP, TODAY)
    return LedgerStore(database)


@pytest.fixture
async def replica(database: Database) -> ReplicaId:
    return await new_replica(database)


@pytest.fixture
def runs(database: Database) -> RunStore:
    return RunStore(database, MINT, RunDefaults(NanoDollars(100)))


def shuffled(keys: list[BudgetKey], seed: str) -> list[BudgetKey]:
    return random.Random(seed).sample(keys, len(keys))  # noqa: S311


async def open_run(runs: RunStore, run: str = "r1", cap: int | None = None) -> Run:
    return await runs.open(DEFAULT, name(run), None if cap is None else NanoDollars(cap), CALLER)


async def test_the_first_grant_of_a_period_makes_its_budget_with_the_cap_in_force(
    ledger: LedgerStore, database: Database, replica: ReplicaId
):
    answer = await ledger.grant(replica, [need(300)], {}, 0)
    assert answer.decision.answers == (None,)
    assert answer.balances[MONTH].cap == CAP
    assert await money(database) == (0, 300, 0)


async def test_what_nothing_caps_is_counted_all_the_same(
    ledger: LedgerStore, database: Database, replica: ReplicaId
):
    uncapped = project_key("p")
    answer = await ledger.grant(replica, [need(10**15, uncapped)], {uncapped: 5}, 500_000)
    assert answer.decision.grants == {uncapped: 10**15 + 5}
    await ledger.flush(replica, 1, [line(10**15, 10**15 + 5, uncapped)], [])
    assert await money(database, uncapped) == (10**15, 0, 0)


async def test_each_need_gets_all_of_its_budgets_or_none(
    ledger: LedgerStore, database: Database, replica: ReplicaId, runs: RunStore
):
    run = run_key((await open_run(runs, cap=100)).id)
    answer = await ledger.grant(replica, [need(101, MONTH, run), need(60, MONTH, run)], {}, 0)
    assert answer.decision.answers == (Short(run, 100, 100), None)
    assert await money(database) == (0, 60, 0)
    assert await money(database, run) == (0, 60, 0)


async def test_a_wish_adds_no_more_than_its_share_of_what_is_free(
    ledger: LedgerStore, database: Database, replica: ReplicaId
):
    await ledger.grant(replica, [need(100)], {MONTH: 10_000}, 100_000)
    assert await money(database) == (0, 100 + 90, 0)


async def test_two_racing_for_the_last_cent_share_it_as_one_each_time(
    ledger: LedgerStore, database: Database, replica: ReplicaId
):
    other = await new_replica(database)
    answers = []

    async def ask(who: ReplicaId) -> None:
        answers.append((await ledger.grant(who, [need(100)], {}, 0)).decision.answers[0])

    for _ in range(10):
        async with anyio.create_task_group() as group:
            group.start_soon(ask, replica)
            group.start_soon(ask, other)
    assert answers.count(None) == 10
    assert await money(database) == (0, CAP, 0)


async def test_grants_and_flushes_in_opposite_orders_never_wait_in_a_ring(
    ledger: LedgerStore, database: Database, replica: ReplicaId
):
    keys = [MONTH, *(project_key(f"p{number}") for number in range(12))]
    replicas = [replica, await new_replica(database), await new_replica(database)]
    for key in reversed(keys):  # so that they are numbered in another order than they sort in
        await ledger.grant(replica, [need(1, key)], {}, 0)

    async def ask(who: ReplicaId, round_: int) -> None:
        order = shuffled(keys, f"{who} {round_}")
        fresh = [project_key(f"{round_}-{key.scope_id}") for key in order if key is not MONTH]
        await ledger.grant(who, [need(1, *fresh)], {}, 0)
        await ledger.grant(who, [need(1, *order)], {}, 0)
        await ledger.flush(who, round_, [line(1, 0, key) for key in reversed(order)], [])

    for round_ in range(1, 16):
        async with anyio.create_task_group() as group:
            for who in replicas:
                group.start_soon(ask, who, round_)
    assert await money(database) == (45, 46, 0)


async def test_grants_and_flushes_of_many_at_once_add_up(
    ledger: LedgerStore, database: Database, replica: ReplicaId
):
    replicas = [replica, await new_replica(database), await new_replica(database)]
    spent = []

    async def work(who: ReplicaId) -> None:
        chance, leased = random.Random(who), 0  # noqa: S311
        for sequence in range(1, 21):
            bound = chance.randrange(1, 60)
            answer = await ledger.grant(who, [need(bound)], {MONTH: 30}, 200_000)
            leased += answer.decision.grants.get(MONTH, 0)
            used = chance.randrange(leased + 1)
            back = chance.randrange(leased - used + 1)
            leased -= used + back
            spent.append(used)
            await ledger.flush(who, sequence, [line(used, used + back)], [trace()])

    async with anyio.create_task_group() as group:
        for who in replicas:
            group.start_soon(work, who)
    booked, leased, _ = await money(database)
    assert booked == sum(spent)
    assert booked + leased <= CAP
    assert await database.fetch_value("SELECT count(*) FROM trace") == 60


async def test_a_grant_and_a_flush_of_one_replica_at_once_take_turns(
    ledger: LedgerStore, database: Database, replica: ReplicaId
):
    await ledger.grant(replica, [need(500)], {}, 0)

    async def flush() -> None:
        for sequence in range(1, 31):
            await ledger.flush(replica, sequence, [line(1, 1)], [])

    async def grant() -> None:
        for _ in range(30):
            await ledger.grant(replica, [need(1)], {}, 0)

    async with anyio.create_task_group() as group:
        group.start_soon(flush)
        group.start_soon(grant)
    assert await money(database) == (30, 500, 0)


async def test_a_closed_run_is_granted_nothing_and_still_takes_its_flush(
    ledger: LedgerStore, database: Database, replica: ReplicaId, runs: RunStore
):
    run = run_key((await open_run(runs, cap=100)).id)
    await ledger.grant(replica, [need(40, run)], {}, 0)
    await runs.close(DEFAULT, name("r1"), SOMEONE)
    answer = await ledger.grant(replica, [need(1, run)], {}, 0)
    assert answer.decision.answers == (Short(run, 0, 40),)
    await ledger.flush(replica, 1, [line(25, 40, run)], [])
    assert await money(database, run) == (25, 0, 0)


async def test_a_run_that_was_never_opened_has_nothing(
    ledger: LedgerStore, database: Database, replica: ReplicaId
):
    ghost = run_key(MINT.id())
    answer = await ledger.grant(replica, [need(1, MONTH, ghost)], {}, 0)
    assert answer.decision.answers == (Short(ghost, 0, 0),)
    assert await money(database) == (0, 0, 0)
    assert await database.fetch_value("SELECT count(*) FROM budget WHERE scope = 'run'") == 0


async def test_a_cap_lowered_below_what_is_leased_grants_nothing_until_it_is_raised(
    ledger: LedgerStore, database: Database, replica: ReplicaId
):
    await ledger.grant(replica, [need(500)], {}, 0)
    limits = LimitStore(database)
    await limits.put(WORKSPACE_MONTH, NanoDollars(400), TODAY, SOMEONE)
    answer = await ledger.grant(replica, [need(1)], {}, 0)
    assert answer.decision.answers == (Short(MONTH, 0, 400),)
    await limits.put(WORKSPACE_MONTH, NanoDollars(501), TODAY, SOMEONE)
    answer = await ledger.grant(replica, [need(1)], {}, 0)
    assert answer.decision.answers == (None,)


async def test_a_cap_put_while_its_budgets_first_row_is_made_is_not_missed(
    ledger: LedgerStore, database: Database, replica: ReplicaId
):
    limits = LimitStore(database)
    for number in range(20):
        key = project_key(f"p{number}")
        async with anyio.create_task_group() as group:
            group.start_soon(ledger.grant, replica, [need(1, key)], {}, 0)
            group.start_soon(
                limits.put, (key.scope, key.scope_id, key.window), NanoDollars(5), TODAY, SOMEONE
            )
        assert (await ledger.balances([key]))[key].cap == 5


async def test_a_flush_books_spend_and_keeps_its_traces(
    ledger: LedgerStore, database: Database, replica: ReplicaId, runs: RunStore
):
    run = await open_run(runs)
    await ledger.grant(replica, [need(90, MONTH, run_key(run.id))], {}, 0)
    kept = [
        trace(run=run.name),
        trace(run=run.name),
        trace(run=run.name, outcome=Outcome.REFUSED),
        trace(),
    ]
    await ledger.flush(replica, 1, [line(70, 90), line(70, 80, run_key(run.id))], kept)
    assert await money(database) == (70, 0, 0)
    assert await money(database, run_key(run.id)) == (70, 10, 0)
    assert await database.fetch_value("SELECT count(*) FROM trace") == 4
    assert await database.fetch_value("SELECT calls FROM run") == 2


async def test_a_flush_sent_again_after_a_commit_in_doubt_is_booked_once(
    ledger: LedgerStore, database: Database, replica: ReplicaId
):
    await ledger.grant(replica, [need(100)], {}, 0)
    flush = (replica, 1, [line(60, 100)], [trace()])
    await ledger.flush(*flush)
    await ledger.flush(*flush)
    async with anyio.create_task_group() as group:  # and once more while the first is under way
        group.start_soon(ledger.flush, replica, 2, [line(5, 0)], [trace()])
        group.start_soon(ledger.flush, replica, 2, [line(5, 0)], [trace()])
    assert await money(database) == (65, 0, 0)
    assert await database.fetch_value("SELECT count(*) FROM trace") == 2


async def test_a_gap_in_the_flushes_of_a_replica_is_refused(
    ledger: LedgerStore, database: Database, replica: ReplicaId
):
    await ledger.grant(replica, [need(100)], {}, 0)
    with pytest.raises(LedgerUnavailable, match="lacks flushes"):
        await ledger.flush(replica, 2, [line(60, 100)], [trace()])
    with pytest.raises(LedgerUnavailable, match="lacks flushes"):
        await ledger.flush(ReplicaId(MINT.id()), 1, [line(60, 100)], [trace()])
    assert await money(database) == (0, 100, 0)
    assert await database.fetch_value("SELECT count(*) FROM trace") == 0


async def test_what_a_provider_billed_beyond_its_bound_is_booked_and_shown(
    ledger: LedgerStore, database: Database, replica: ReplicaId
):
    await ledger.grant(replica, [need(100)], {}, 0)
    await ledger.flush(replica, 1, [line(130, 100, overshoot=30)], [])
    assert await money(database) == (130, 0, 0)
    [month] = await LimitStore(database).spend(TODAY)
    assert (month.spent_nusd, month.overshoot_nusd, month.left_nusd) == (130, 30, CAP - 130)


async def test_a_flush_never_ends_another_replicas_lease(
    ledger: LedgerStore, database: Database, replica: ReplicaId
):
    other = await new_replica(database)
    await ledger.grant(other, [need(100)], {}, 0)
    await ledger.flush(replica, 1, [line(10, 50)], [])
    assert await money(database) == (10, 100, 0)


async def test_two_lines_of_one_budget_are_both_booked(
    ledger: LedgerStore, database: Database, replica: ReplicaId
):
    await ledger.grant(replica, [need(100)], {}, 0)
    await ledger.flush(replica, 1, [line(10, 10), line(20, 90)], [])
    assert await money(database) == (30, 0, 0)


async def test_an_unknown_replica_is_granted_nothing(
    ledger: LedgerStore, database: Database, replica: ReplicaId
):
    await ledger.grant(replica, [need(1)], {}, 0)
    with pytest.raises(LedgerUnavailable, match="not live"):
        await ledger.grant(ReplicaId(MINT.id()), [need(1)], {}, 0)
    assert await money(database) == (0, 1, 0)


async def test_a_grant_renews_its_replica(
    ledger: LedgerStore, database: Database, replica: ReplicaId
):
    await database.execute("UPDATE replica SET seen_at = now() - interval '1 hour'")
    await ledger.grant(replica, [need(1)], {}, 0)
    await ledger.grant(replica, [], {}, 0)
    assert await database.fetch_value("SELECT now() - seen_at < interval '1 minute' FROM replica")


async def test_balances_are_told_without_making_any_row(
    ledger: LedgerStore, database: Database, runs: RunStore
):
    run, ghost = run_key((await open_run(runs, cap=7)).id), run_key(MINT.id())
    balances = await ledger.balances([MONTH, run, ghost, project_key("p")])
    assert [balance.cap for balance in balances.values()] == [CAP, 7, 0, None]
    assert await database.fetch_value("SELECT count(*) FROM budget WHERE scope <> 'run'") == 0


async def test_runs_of_one_name_in_two_projects_have_caps_of_their_own(
    ledger: LedgerStore, database: Database, replica: ReplicaId, runs: RunStore
):
    one = await runs.create(
        NewRun(project=DEFAULT, name=name("r"), cap_nusd=NanoDollars(5)), "t", SOMEONE
    )
    two = await runs.create(
        NewRun(project="other", name=name("r"), cap_nusd=NanoDollars(50)), "t", SOMEONE
    )
    needs = [need(6, run_key(one.id)), need(6, run_key(two.id))]
    answer = await ledger.grant(replica, needs, {}, 0)
    assert answer.decision.answers == (Short(run_key(one.id), 5, 5), None)
    await ledger.flush(replica, 1, [], [trace(run=name("r"), project="other")])
    assert [(await runs.show(p, name("r"))).calls for p in (DEFAULT, "other")] == [0, 1]


async def test_a_grant_decided_on_an_old_balance_is_decided_again(
    ledger: LedgerStore, database: Database, replica: ReplicaId
):
    """Between the look and the grant another replica may be quicker: every round is a race."""
    others = [replica, *[await new_replica(database) for _ in range(3)]]
    granted = []

    async def ask(who: ReplicaId) -> None:
        for _ in range(20):
            answer = await ledger.grant(who, [need(30)], {MONTH: 200}, 900_000)
            granted.append(answer.decision.grants.get(MONTH, 0))

    async with anyio.create_task_group() as group:
        for who in others:
            group.start_soon(ask, who)
    spent, leased, unsettled = await money(database)
    assert (spent, leased, unsettled) == (0, sum(granted), 0)
    assert CAP - 30 < leased <= CAP


async def test_a_flush_that_says_what_is_left_takes_back_a_grant_that_was_never_heard_of(
    ledger: LedgerStore, database: Database, replica: ReplicaId
):
    await ledger.grant(replica, [need(300)], {}, 0)
    await ledger.grant(replica, [need(200)], {}, 0)  # its answer was lost
    await ledger.flush(replica, 1, [FlushLine(MONTH, 100, 120, 0, lease_left=180)], [])
    assert await money(database) == (100, 180, 0)
    await ledger.flush(replica, 2, [FlushLine(MONTH, 0, 0, 0, lease_left=0)], [])
    assert await money(database) == (100, 0, 0)


async def test_what_is_left_of_a_lease_never_adds_to_it(
    ledger: LedgerStore, database: Database, replica: ReplicaId
):
    await ledger.grant(replica, [need(300)], {}, 0)
    await ledger.flush(replica, 1, [FlushLine(MONTH, 0, 0, 0, lease_left=400)], [])
    await ledger.flush(replica, 2, [FlushLine(project_key("new"), 0, 0, 0, lease_left=5)], [])
    assert await money(database) == (0, 300, 0)


async def test_a_repeated_flush_renews_and_brings_a_reclaimed_replica_back(
    ledger: LedgerStore, database: Database, replica: ReplicaId
):
    await ledger.grant(replica, [need(300)], {}, 0)
    await ledger.flush(replica, 1, [line(100, 120)], [])
    await ReplicaStore(database).reclaim_all_but(ReplicaId(MINT.id()))
    assert await money(database) == (100, 0, 180)
    await ledger.flush(replica, 1, [line(100, 120)], [])
    assert await money(database) == (100, 180, 0)


async def test_a_recall_is_heard_by_every_replica_with_its_budgets(
    ledger: LedgerStore, database: Database, replica: ReplicaId
):
    keys = [MONTH, *(project_key("p" * 128 + str(number)) for number in range(60))]
    heard: list[str] = []
    async with database.direct() as connection:
        await connection.add_listener(CHANNEL, lambda *args: heard.append(args[-1]))
        await ledger.recall(replica, keys)
        await eventually(lambda: len(heard) == 4)
    notices = [parse(text) for text in heard]
    assert all(isinstance(each, Recalled) and each.replica == replica for each in notices)
    assert [key for each in notices for key in each.keys] == keys  # type: ignore[union-attr]
