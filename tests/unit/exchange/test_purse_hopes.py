"""What a refused call may still get: all that it lacks is recalled, whatever others lack."""

import anyio

from gateway.core.budget import BudgetKey, Hold, Scope, Short, Window
from gateway.core.ids import ReplicaId
from gateway.core.money import ZERO, NanoDollars
from gateway.exchange.purse import Purse, Terms
from tests.fakes import FakeClock, FakeLedger, FakeWitness
from tests.waiting import eventually

MONTH = BudgetKey(Scope.WORKSPACE, "", Window.MONTH, "2026-11-01")
RUN = BudgetKey(Scope.RUN, "r", Window.TOTAL, "")
ANOTHER = BudgetKey(Scope.RUN, "s", Window.TOTAL, "")


def purse_on(ledger: FakeLedger, clock: FakeClock) -> Purse:
    return Purse(ledger, ReplicaId("r1"), clock, Terms(15.0, 0), FakeWitness())


async def test_every_budget_that_a_call_lacks_is_recalled_and_not_only_the_worst():
    ledger = FakeLedger({MONTH: 1000, RUN: 100})
    ledger.leased[MONTH], ledger.leased[RUN] = 980, 90
    purse = purse_on(ledger, FakeClock())
    answers: list[Hold | Short] = []

    async def ask() -> None:
        answers.append(await purse.hold((MONTH, RUN), NanoDollars(60)))

    async with anyio.create_task_group() as group:
        group.start_soon(purse.run)
        group.start_soon(ask)
        await eventually(lambda: ledger.recalls == [tuple(sorted((MONTH, RUN)))])
        ledger.leased[MONTH], ledger.leased[RUN] = 0, 0
        await eventually(lambda: bool(answers))
        group.cancel_scope.cancel()
    assert isinstance(answers[0], Hold)


async def test_a_call_that_lacks_one_budget_for_good_is_refused_at_once():
    ledger = FakeLedger({MONTH: 1000, RUN: 100})
    ledger.leased[MONTH], ledger.spent[RUN] = 1000, 50
    purse = purse_on(ledger, FakeClock())
    async with anyio.create_task_group() as group:
        group.start_soon(purse.run)
        assert isinstance(await purse.hold((MONTH, RUN), NanoDollars(60)), Short)
        group.cancel_scope.cancel()
    assert ledger.recalls == []


async def test_money_that_comes_back_for_one_call_keeps_no_other_from_a_recall():
    ledger, clock = FakeLedger({RUN: 100, ANOTHER: 100}), FakeClock()
    ledger.leased[ANOTHER] = 90
    purse = purse_on(ledger, clock)
    async with anyio.create_task_group() as group:
        group.start_soon(purse.run)
        hold = await purse.hold((RUN,), NanoDollars(80))
        assert isinstance(hold, Hold)
        purse.charge(hold, ZERO)
        flush, is_sent, may_end = ledger.flush, anyio.Event(), anyio.Event()

        async def late(*given: object) -> None:
            is_sent.set()
            await may_end.wait()
            await flush(*given)  # type: ignore[arg-type]

        ledger.flush = late  # type: ignore[method-assign]
        clock.advance(1.5)
        await is_sent.wait()
        group.start_soon(purse.hold, (RUN,), NanoDollars(80))
        group.start_soon(purse.hold, (ANOTHER,), NanoDollars(60))
        await eventually(lambda: ledger.recalls == [(ANOTHER,)])
        may_end.set()
        group.cancel_scope.cancel()
