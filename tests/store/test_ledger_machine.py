"""The state machine of the ledger on the database that ships: its SQL, and its SQL broken."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Final

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from gateway.store import replicas
from gateway.store.database import Database, connect
from tests.ledger.machine import explore, machine, steps_until_caught
from tests.ledger.mutations import refund_on_cut, replaced, skip_the_hold
from tests.ledger.real import RealBooks
from tests.ledger.steps import Tally

SEED: Final = 4
ROUNDS: Final = 5
"""What a seed draws depends on the code that is loaded; one round is nearly always enough."""
REACHED: Final = {
    "apply: granted": 10,
    "arrive late: grant done": 1,
    "crash: with calls": 1,
    "reclaim: cut off": 2,
    "reclaim: dead": 2,
    "repeat a flush: already booked": 5,
    "flush of a reclaimed replica: new": 1,
}
DROP_LEASES: Final = """
WITH gone AS (
    DELETE FROM lease l USING budget b WHERE b.id = l.budget_id AND replica_id = $1
    RETURNING b.id, amount_nusd AS amount
)
UPDATE budget b SET leased_nusd = b.leased_nusd - k.amount FROM gone k WHERE b.id = k.id
RETURNING b.scope, b.scope_id, b.time_window, b.period_start, k.amount"""
DEFINITION: Final = "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = $1"


class Real:
    """A database, with a loop of its own that it is called in."""

    def __init__(self, portal: BlockingPortal, database: Database) -> None:
        self.portal = portal
        self.database = database

    def books(self) -> RealBooks:
        return RealBooks(self.portal, self.database)

    @contextmanager
    def without(self, function: str, rule: str, instead: str) -> Iterator[None]:
        """Have a function of the database without one of its rules, for a block."""
        kept = self.portal.call(self.database.fetch_value, DEFINITION, function)
        assert rule in kept, kept
        self.portal.call(self.database.execute, kept.replace(rule, instead))
        try:
            yield
        finally:
            self.portal.call(self.database.execute, kept)


@pytest.fixture
def real(dsn: str) -> Iterator[Real]:
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(connect(dsn, size=2)) as database,
    ):
        yield Real(portal, database)


def ignore_reclaim(_: Real) -> AbstractContextManager[None]:
    return replaced(replicas, "UNSETTLE", DROP_LEASES)


def flush_twice(real: Real) -> AbstractContextManager[None]:
    return real.without("ledger_flush", "IF booked >= number THEN", "IF false THEN")


def grant_unguarded(real: Real) -> AbstractContextManager[None]:
    return real.without("ledger_grant", "bool_and(", "bool_and(true OR ")


BROKEN: Final[Mapping[str, Callable[[Real], AbstractContextManager[None]]]] = {
    "skip the hold": lambda _: skip_the_hold(),
    "refund on cut": lambda _: refund_on_cut(),
    "ignore reclaim": ignore_reclaim,
    "flush twice": flush_twice,
    "grant unguarded": grant_unguarded,
}


def test_no_order_of_steps_breaks_an_invariant_of_the_real_ledger(real: Real):
    tally = Tally()
    for number in range(SEED, SEED + ROUNDS):
        explore(machine(tally, real.books), steps=1_000, number=number)
        if not tally.missed(REACHED):
            break
    assert tally.steps >= 700
    assert not tally.missed(REACHED), tally.details


@pytest.mark.parametrize("name", BROKEN)
def test_a_ledger_that_is_broken_is_noticed(real: Real, name: str):
    tally = steps_until_caught(
        lambda: BROKEN[name](real), at_most=5_000, number=SEED, make_books=real.books
    )
    assert tally.caught is not None, f"not noticed in {tally.steps} steps"
