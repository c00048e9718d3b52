"""The purse against a ledger in memory: what it holds, asks, flushes, and when it stops."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from gateway.core.budget import BudgetKey, Hold, Scope, Short, Window
from gateway.core.ids import Project, ReplicaId, TokenId, TraceId
from gateway.core.money import NanoDollars
from gateway.core.outcome import Outcome
from gateway.core.traces import Trace
from gateway.errors import LedgerUnavailable
from gateway.exchange.flushing import MOST_TRACES
from gateway.exchange.purse import CROWD, Purse, Terms
from tests.fakes import START, FakeClock, FakeLedger, FakeWitness
from tests.waiting import eventually

MONTH = BudgetKey(Scope.WORKSPACE, "", Window.MONTH, "2026-11-01")
RUN = BudgetKey(Scope.RUN, "r", Window.TOTAL, "")
BOTH = (MONTH, RUN)


def trace(number: int = 0) -> Trace:
    return Trace(
        id=TraceId(f"trace-{number}"),
        at=START,
        token=TokenId("t"),
        project=Project("p"),
        run=None,
        dialect="openai",
        endpoint="chat/completions",
        model_asked="m",
        model=None,
        provider=None,
        stream=False,
        status=200,
        outcome=Outcome.COMPLETED,
        code=None,
        price_version="1",
        latency_ms=1.0,
        overhead_ms=1.0,
    )


class World:
    """A purse with what it needs, and the loop it runs in."""

    def __init__(
        self, month: int | None = 1000, run: int | None = 100, share_ppm: int = 20_000
    ) -> None:
        self.clock = FakeClock()
        self.ledger = FakeLedger({MONTH: month, RUN: run})
        self.witness = FakeWitness()
        self.purse = Purse(
            self.ledger, ReplicaId("r1"), self.clock, Terms(15.0, share_ppm), self.witness
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Purse]:
        async with anyio.create_task_group() as group:
            group.start_soon(self.purse.run)
            yield self.purse
            group.cancel_scope.cancel()

    async def flushed(self) -> None:
        """Wait until all that was settled is booked."""
        count = len(self.ledger.sequences)
        self.purse.record(trace())
        await eventually(
            lambda: len(self.ledger.sequences) > count and not self.purse.waiting_traces
        )


async def held(purse: Purse, amount: int) -> Hold:
    hold = await purse.hold(BOTH, NanoDollars(amount))
    assert isinstance(hold, Hold)
    return hold


async def test_a_hold_is_kept_in_every_budget_of_the_call_and_spent_for_what_was_used():
    world = World()
    async with world.running() as purse:
        hold = await held(purse, 40)
        purse.settle(hold, NanoDollars(25), trace(1))
        await world.flushed()
    assert world.ledger.spent == {MONTH: 25, RUN: 25}
    assert world.ledger.traces[0].id == "trace-1"


async def test_the_call_that_does_not_fit_is_told_the_budget_and_what_is_left_of_it():
    world = World(run=100)
    async with world.running() as purse:
        await held(purse, 60)
        short = await purse.hold(BOTH, NanoDollars(50))
    assert short == Short(RUN, 40, 100)


async def test_what_a_refused_call_had_earmarked_is_there_for_the_next():
    world = World(run=100)
    async with world.running() as purse:
        await held(purse, 60)
        assert isinstance(await purse.hold(BOTH, NanoDollars(50)), Short)
        assert isinstance(await purse.hold(BOTH, NanoDollars(40)), Hold)


async def test_concurrent_calls_on_a_small_cap_pass_until_it_is_full_and_no_further():
    world = World(run=7 * 14, month=10_000)
    answers: list[Hold | Short] = []

    async def call() -> None:
        answers.append(await world.purse.hold(BOTH, NanoDollars(14)))

    async with world.running(), anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(call)
    assert sum(isinstance(answer, Hold) for answer in answers) == 7
    assert world.ledger.leased[RUN] <= 98


async def test_many_waiting_calls_are_asked_for_in_few_grants():
    world = World(run=None, month=None)
    async with world.running() as purse, anyio.create_task_group() as group:
        for _ in range(200):
            group.start_soon(held, purse, 5)
    assert world.ledger.grants <= 3


async def test_a_lease_far_from_its_cap_grows_so_that_calls_stop_asking():
    world = World(run=10**9, month=10**9)
    async with world.running() as purse:
        for _ in range(200):
            purse.settle(await held(purse, 10), NanoDollars(10), trace())
    assert world.ledger.grants <= 20


async def test_a_call_cancelled_while_it_waits_leaves_the_money_in_the_lease():
    world = World(run=100)
    async with world.running() as purse:
        world.ledger.gate = anyio.Event()
        with anyio.move_on_after(0.05) as scope:
            await purse.hold(BOTH, NanoDollars(100))
        assert scope.cancelled_caught
        world.ledger.gate.set()
        assert isinstance(await purse.hold(BOTH, NanoDollars(100)), Hold)


async def test_a_replica_whose_lease_has_ended_admits_nothing_until_it_is_renewed():
    world = World()
    world.clock.advance(15.0)
    with pytest.raises(LedgerUnavailable):
        await world.purse.hold(BOTH, NanoDollars(1))
    async with world.running() as purse:
        await eventually(lambda: purse.can_admit)
        await held(purse, 1)


async def test_a_lease_is_renewed_before_a_third_of_its_life_is_over():
    world = World()
    async with world.running():
        world.clock.advance(5.0)
        await eventually(lambda: world.ledger.renewals > 0)


async def test_a_database_that_is_away_refuses_what_must_be_asked_and_keeps_what_was_settled():
    world = World()
    async with world.running() as purse:
        hold = await held(purse, 40)
        world.ledger.failure = LedgerUnavailable("gone")
        with pytest.raises(LedgerUnavailable):
            await purse.hold(BOTH, NanoDollars(60))
        purse.settle(hold, NanoDollars(33), trace())
        await eventually(lambda: "ledger_lost" in world.witness.names())
        world.ledger.failure = None
        await world.flushed()
    assert world.ledger.spent[RUN] == 33
    assert world.witness.names().count("ledger_back") >= 1


async def test_a_flush_whose_commit_was_in_doubt_is_sent_again_under_the_same_number():
    world = World()
    async with world.running() as purse:
        hold = await held(purse, 40)
        world.ledger.fails_after_commit = True
        purse.settle(hold, NanoDollars(33), trace())
        await world.flushed()
    assert world.ledger.spent == {MONTH: 33, RUN: 33}


async def test_an_amount_above_its_hold_is_booked_whole_and_as_overshoot():
    world = World()
    async with world.running() as purse:
        purse.settle(await held(purse, 10), NanoDollars(15), trace())
        await world.flushed()
    assert world.ledger.spent[RUN] == 15
    assert world.ledger.overshoot[RUN] == 5


async def test_draining_gives_every_lease_back():
    world = World()
    async with world.running() as purse:
        purse.settle(await held(purse, 10), NanoDollars(4), trace())
    await world.purse.drain()
    assert world.ledger.leased == {MONTH: 0, RUN: 0}
    assert world.ledger.spent == {MONTH: 4, RUN: 4}


async def test_idle_leases_go_back_and_a_closed_runs_lease_at_once():
    world = World(month=10**6, run=10**6, share_ppm=10**6)
    async with world.running() as purse:
        for _ in range(3):
            purse.settle(await held(purse, 10), NanoDollars(10), trace())
        purse.close_run("r")
        await world.flushed()
        assert world.ledger.leased[RUN] == 0
        world.clock.advance(1.5)
        await world.flushed()
        assert world.ledger.leased[MONTH] == 0


async def test_a_lowered_cap_binds_the_very_next_call_whatever_was_leased_before():
    world = World(month=10**6, run=10**6, share_ppm=10**6)
    async with world.running() as purse:
        running = await held(purse, 10)
        purse.settle(await held(purse, 10), NanoDollars(10), trace())
        await held(purse, 1)
        assert purse.available(RUN) > 0
        world.ledger.caps[RUN] = 20
        purse.lower(RUN, NanoDollars(20))
        assert isinstance(await purse.hold(BOTH, NanoDollars(10)), Short)
        purse.settle(running, NanoDollars(10), trace())
        await world.flushed()
    assert world.ledger.leased[RUN] == 1, "what still runs, and no slack"


async def test_a_cap_that_is_not_lower_recalls_nothing():
    world = World(month=10**6, run=10**6, share_ppm=10**6)
    async with world.running() as purse:
        purse.settle(await held(purse, 10), NanoDollars(10), trace())
        slack = purse.available(RUN)
        purse.lower(RUN, NanoDollars(10**6))
    assert purse.available(RUN) == slack > 0


async def test_changed_caps_recall_the_slack_of_all_but_runs_and_calls_go_on():
    world = World(month=10**6, run=10**6, share_ppm=10**6)
    async with world.running() as purse:
        purse.settle(await held(purse, 10), NanoDollars(10), trace())
        purse.recall()
        assert (purse.available(RUN), purse.available(MONTH)) == (10, 0)
        await world.flushed()
        assert world.ledger.leased == {MONTH: 0, RUN: 10}
        await held(purse, 10)


async def test_a_call_is_not_refused_for_money_that_is_just_going_back():
    """An idle lease is given back, and at that moment somebody needs it."""
    world = World(month=10**6, run=100)
    async with world.running() as purse:
        purse.settle(await held(purse, 80), NanoDollars(10), trace())
        await world.flushed()
        ask = world.ledger.flush
        asked = anyio.Event()

        async def late(*given: object) -> None:
            asked.set()
            await eventually(lambda: world.ledger.grants > grants)
            await ask(*given)  # type: ignore[arg-type]

        grants = world.ledger.grants
        world.ledger.flush = late  # type: ignore[method-assign]
        world.clock.advance(1.5)
        await asked.wait()
        assert isinstance(await purse.hold(BOTH, NanoDollars(80)), Hold)


async def test_traces_beyond_the_bound_are_dropped_and_counted_and_money_is_not():
    world = World()
    for number in range(MOST_TRACES + 3):
        world.purse.record(trace(number))
    assert world.witness.names() == ["traces_dropped"] * 3
    assert world.purse.waiting_traces == MOST_TRACES


async def others_lease(world: World, amount: int, key: BudgetKey = RUN) -> None:
    world.ledger.leased[key] = world.ledger.leased.get(key, 0) + amount


async def test_what_other_replicas_leave_idle_is_recalled_and_asked_for_once_more():
    world = World(run=100)
    await others_lease(world, 90)
    async with world.running() as purse, anyio.create_task_group() as group:
        group.start_soon(held, purse, 60)  # fails the test where it is short
        await eventually(lambda: world.ledger.recalls == [(RUN,)])
        world.ledger.leased[RUN] -= 90


async def test_a_call_that_no_recall_could_help_is_refused_at_once():
    world = World(run=100)
    await others_lease(world, 40)
    world.ledger.spent[RUN] = 30
    async with world.running() as purse:
        assert await purse.hold(BOTH, NanoDollars(80)) == Short(RUN, 30, 100)
    assert world.ledger.recalls == []


async def test_money_that_others_hold_is_asked_for_twice_and_no_more():
    world = World(run=100)
    await others_lease(world, 90)
    async with world.running() as purse:
        assert await purse.hold(BOTH, NanoDollars(60)) == Short(RUN, 10, 100)
    assert world.ledger.grants == 2


async def test_many_refusals_recall_the_others_once():
    world = World(run=100)
    await others_lease(world, 90)
    async with world.running() as purse, anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(purse.hold, BOTH, NanoDollars(60))
    assert len(world.ledger.recalls) <= 2


async def test_while_refusals_wait_for_a_recall_others_are_granted():
    world = World(run=100)
    await others_lease(world, 90)
    async with world.running() as purse, anyio.create_task_group() as group:
        group.start_soon(purse.hold, BOTH, NanoDollars(60))
        await eventually(lambda: len(world.ledger.recalls) == 1)
        await purse.hold((MONTH,), NanoDollars(10))
        assert world.ledger.grants == 2  # and not yet the third, of the call that was put off


async def test_what_is_recalled_by_others_goes_back_but_for_what_calls_hold():
    world = World(run=100, share_ppm=1_000_000)
    async with world.running() as purse:
        for _ in range(3):
            await held(purse, 10)
        before = world.ledger.leased[RUN]
        purse.give_back([RUN])
        await eventually(lambda: world.ledger.leased[RUN] == 30)
        assert before > 30


async def test_two_that_wait_for_each_others_money_don_t_both_keep_it():
    world = World(run=100)
    async with world.running() as purse:
        hold = await held(purse, 50)
        purse.settle(hold, NanoDollars(0), trace())
        await others_lease(world, 50)
        async with anyio.create_task_group() as group:
            group.start_soon(purse.hold, BOTH, NanoDollars(80))
            await eventually(lambda: len(world.ledger.recalls) == 1)
            purse.give_back([RUN])  # the other one recalls as well
            await eventually(lambda: world.ledger.leased[RUN] == 50)


async def test_a_grant_that_was_done_and_not_heard_of_goes_back():
    world = World(run=100)
    async with world.running() as purse:
        world.ledger.grant_is_lost = True
        with pytest.raises(LedgerUnavailable):
            await purse.hold(BOTH, NanoDollars(60))
        assert world.ledger.leased[RUN] >= 60
        assert isinstance(await purse.hold(BOTH, NanoDollars(100)), Hold)
    assert world.ledger.leased[RUN] == 100


async def test_a_flush_that_reconciles_is_booked_before_the_next_grant():
    world = World(run=100)
    async with world.running() as purse:
        hold = await held(purse, 30)
        world.ledger.grant_is_lost = True
        with pytest.raises(LedgerUnavailable):
            await purse.hold(BOTH, NanoDollars(60))
        assert await purse.hold(BOTH, NanoDollars(80)) == Short(RUN, 70, 100)
        purse.settle(hold, NanoDollars(30), trace())
        assert isinstance(await purse.hold(BOTH, NanoDollars(70)), Hold)
        await world.flushed()
    assert (world.ledger.spent[RUN], world.ledger.leased[RUN]) == (30, 70)


async def test_a_retired_replica_flushes_what_it_spent_and_never_admits_again():
    world = World()
    async with world.running() as purse:
        hold = await held(purse, 40)
        world.ledger.is_resolved = True
        purse.settle(hold, NanoDollars(25), trace())
        await purse.retired.wait()
        assert world.ledger.spent[RUN] == 25
        world.ledger.is_resolved = False
        await world.flushed()
        assert not purse.can_admit
        with pytest.raises(LedgerUnavailable):
            await purse.hold(BOTH, NanoDollars(1))


async def test_a_failed_attempt_is_charged_without_a_trace():
    world = World()
    async with world.running() as purse:
        hold = await held(purse, 40)
        purse.charge(hold, NanoDollars(40))
        await world.flushed()
    assert world.ledger.spent == {MONTH: 40, RUN: 40}


async def test_budgets_that_run_low_are_topped_up_with_another_call_s_grant():
    other = BudgetKey(Scope.RUN, "other", Window.TOTAL, "")
    world = World(run=10**9, month=10**9, share_ppm=500_000)
    world.ledger.caps[other] = 10**9
    async with world.running() as purse:
        for _ in range(2):
            await purse.hold((MONTH, other), NanoDollars(100))
        before = world.ledger.leased[other]
        await held(purse, 10)
        assert world.ledger.leased[other] > before


async def test_in_a_crowd_a_call_is_refused_as_one_before_it_was_without_asking():
    world = World(run=100)
    async with world.running() as purse, anyio.create_task_group() as group:
        await held(purse, 60)
        assert await purse.hold(BOTH, NanoDollars(50)) == Short(RUN, 40, 100)
        world.ledger.gate = anyio.Event()
        for _ in range(CROWD):
            group.start_soon(purse.hold, BOTH, NanoDollars(50))
        asked = world.ledger.asked
        await eventually(lambda: world.ledger.asked > asked)
        assert await purse.hold(BOTH, NanoDollars(50)) == Short(RUN, 40, 100)
        with anyio.move_on_after(
            0.05
        ) as waiting:  # less than was refused, or another budget: asked
            await purse.hold(BOTH, NanoDollars(40))
        assert waiting.cancelled_caught
        world.clock.advance(0.2)
        with anyio.move_on_after(0.05) as waiting:  # and it is no longer the last moment
            await purse.hold(BOTH, NanoDollars(50))
        assert waiting.cancelled_caught
        world.ledger.gate.set()


async def test_where_few_wait_every_call_is_asked_for():
    world = World(run=100)
    async with world.running() as purse:
        await held(purse, 60)
        assert await purse.hold(BOTH, NanoDollars(50)) == Short(RUN, 40, 100)
        world.ledger.caps[RUN] = 200
        assert isinstance(await purse.hold(BOTH, NanoDollars(50)), Hold)


async def test_no_more_calls_wait_for_a_recall_than_it_could_serve():
    world = World(run=100)
    await others_lease(world, 90)
    answers: list[Hold | Short] = []

    async def ask() -> None:
        answers.append(await world.purse.hold(BOTH, NanoDollars(40)))

    async with world.running(), anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(ask)
        await eventually(lambda: len(answers) == 18)
        world.ledger.leased[RUN] -= 90
    assert sum(isinstance(answer, Hold) for answer in answers) == 2
