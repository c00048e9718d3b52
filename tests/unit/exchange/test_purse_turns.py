"""Whose a grant is: calls that wait together are each answered as the database answered them."""

import anyio
import pytest

from gateway.core.budget import BudgetKey, Hold, Scope, Short, Window
from gateway.core.ids import ReplicaId
from gateway.core.money import NanoDollars
from gateway.errors import LedgerUnavailable
from gateway.exchange import flushing
from gateway.exchange.purse import Purse, Terms
from tests.fakes import FakeClock, FakeLedger, FakeWitness
from tests.waiting import eventually

RUN = BudgetKey(Scope.RUN, "r", Window.TOTAL, "")


async def test_what_is_granted_to_a_call_is_not_taken_by_one_that_was_refused():
    """Money that comes back while they wait could be used by the first, with the second's."""
    ledger = FakeLedger({RUN: 100})
    purse = Purse(ledger, ReplicaId("r1"), FakeClock(), Terms(15.0, 0), FakeWitness())
    answers: dict[int, Hold | Short] = {}

    async def ask(amount: int) -> None:
        answers[amount] = await purse.hold((RUN,), NanoDollars(amount))

    async with anyio.create_task_group() as group:
        group.start_soon(purse.run)
        await ask(60)
        running = answers[60]
        assert isinstance(running, Hold)
        ledger.gate = anyio.Event()
        asked = ledger.asked
        group.start_soon(ask, 70)
        group.start_soon(ask, 40)
        await eventually(lambda: ledger.asked > asked)
        purse.charge(running, NanoDollars(10))
        ledger.gate.set()
        await eventually(lambda: len(answers) == 3)
        group.cancel_scope.cancel()
    assert isinstance(answers[40], Hold), "the database granted it 40 of the 40 that were free"


async def test_no_call_begins_after_the_lease_has_ended_while_it_waited():
    """The process was frozen: meanwhile it may have been taken for dead, and resolved by hand."""
    ledger, clock = FakeLedger({RUN: 100}), FakeClock()
    purse = Purse(ledger, ReplicaId("r1"), clock, Terms(15.0, 0), FakeWitness())
    answers: list[Hold | Short | LedgerUnavailable] = []

    async def ask() -> None:
        try:
            answers.append(await purse.hold((RUN,), NanoDollars(40)))
        except LedgerUnavailable as error:
            answers.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(purse.run)
        ledger.gate = anyio.Event()
        group.start_soon(ask)
        await eventually(lambda: ledger.asked > 0)
        clock.advance(31.0)
        assert not purse.can_admit
        ledger.gate.set()
        await eventually(lambda: bool(answers))
        group.cancel_scope.cancel()
    assert isinstance(answers[0], LedgerUnavailable)


async def test_a_grant_that_is_carried_out_after_it_was_given_up_and_reconciled_goes_back():
    """Its connection was lost, and the server came to it after the flush on another one."""
    ledger, clock, name = FakeLedger({RUN: 100}), FakeClock(), ReplicaId("r1")
    purse = Purse(ledger, name, clock, Terms(15.0, 0), FakeWitness())
    async with anyio.create_task_group() as group:
        group.start_soon(purse.run)
        ledger.failure = LedgerUnavailable("the connection was lost")
        with pytest.raises(LedgerUnavailable):
            await purse.hold((RUN,), NanoDollars(60))
        ledger.failure = None
        await eventually(lambda: len(ledger.sequences) == 1)
        assert ledger.books.lease(name, {RUN: 60}) is None
        assert isinstance(await purse.hold((RUN,), NanoDollars(40)), Hold)
        assert ledger.leased[RUN] == 100
        clock.advance(flushing.LATE_S)
        await eventually(lambda: ledger.leased[RUN] == 40)
        group.cancel_scope.cancel()
