"""The end of a purse: what was spent is booked, also where the database misses a beat just then."""

import anyio
import pytest

from gateway.core.budget import BudgetKey, Hold, Scope, Window
from gateway.core.ids import ReplicaId
from gateway.core.money import NanoDollars
from gateway.errors import LedgerUnavailable
from gateway.exchange import flushing
from gateway.exchange.purse import Purse, Terms
from tests.fakes import FakeClock, FakeLedger, FakeWitness
from tests.store.made import trace
from tests.waiting import eventually

RUN = BudgetKey(Scope.RUN, "r", Window.TOTAL, "")


async def with_spend_to_flush(ledger: FakeLedger) -> Purse:
    """A purse that has ended with 40 settled, and nothing of it flushed."""
    purse = Purse(ledger, ReplicaId("r1"), FakeClock(), Terms(15.0, 0), FakeWitness())
    async with anyio.create_task_group() as group:
        group.start_soon(purse.run)
        hold = await purse.hold((RUN,), NanoDollars(60))
        group.cancel_scope.cancel()
    assert isinstance(hold, Hold)
    purse.settle(hold, NanoDollars(40), trace())
    return purse


async def test_a_flush_that_fails_at_the_end_is_sent_again():
    ledger = FakeLedger({RUN: 100})
    purse = await with_spend_to_flush(ledger)
    ledger.fails_after_commit = True
    await purse.drain()
    assert (ledger.spent[RUN], ledger.leased[RUN], len(ledger.traces)) == (40, 0, 1)


async def test_a_database_that_comes_back_at_the_end_is_waited_for():
    ledger = FakeLedger({RUN: 100})
    purse = await with_spend_to_flush(ledger)
    ledger.failure = LedgerUnavailable("restarting")
    asked = ledger.asked
    async with anyio.create_task_group() as group:
        group.start_soon(purse.drain)
        await eventually(lambda: ledger.asked > asked + 1)
        ledger.failure = None
    assert (ledger.spent[RUN], ledger.leased[RUN]) == (40, 0)


async def test_a_database_that_stays_away_does_not_keep_the_end_for_ever(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(flushing, "DRAIN_S", 0.3)
    ledger = FakeLedger({RUN: 100})
    purse = await with_spend_to_flush(ledger)
    ledger.failure = LedgerUnavailable("gone")
    with pytest.raises(LedgerUnavailable):
        await purse.drain()
