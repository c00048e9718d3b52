"""The core broken on purpose, one way each: a machine that does not notice proves nothing.

Each is a patch of the code that ships where the rule lives there; what lives in SQL is broken in the
database in memory here, and in the SQL itself in `tests/store/test_ledger_machine.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType
from typing import Any, Final

from gateway.core.budget import BudgetKey, Decision, FlushLine, Hold, Lease, Leases
from gateway.core.ids import ReplicaId
from gateway.core.meter import NOTHING, Meter, Owed
from gateway.core.money import NanoDollars
from gateway.core.outcome import ClientGone, Ending, Killed
from gateway.exchange.fence import Fence
from tests.ledger.books import Books, State

Mutation = Callable[[], AbstractContextManager[None]]


@contextmanager
def replaced(owner: type | ModuleType, name: str, by: object) -> Iterator[None]:
    """Give a class or a module another attribute for a block."""
    kept: Any = owner.__dict__[name]
    setattr(owner, name, by)
    try:
        yield
    finally:
        setattr(owner, name, kept)


def skip_the_hold() -> AbstractContextManager[None]:
    """`Leases.hold` lets a call go on and holds nothing for it."""

    def hold(
        self: Leases, keys: tuple[BudgetKey, ...], amount: NanoDollars, now: float
    ) -> Hold | None:
        taken = original(self, keys, amount, now)
        for key in keys if taken else ():
            self[key].held -= amount
        return taken

    original = Leases.hold
    return replaced(Leases, "hold", hold)


def refund_on_cut() -> AbstractContextManager[None]:
    """`Meter.owed` charges nothing for what its client or the kill switch cut."""

    def owed(self: Meter, ending: Ending) -> Owed:
        return NOTHING if isinstance(ending, ClientGone | Killed) else original(self, ending)

    original = Meter.owed
    return replaced(Meter, "owed", owed)


def ignore_reclaim() -> AbstractContextManager[None]:
    """A reclaim frees what a dead replica had leased, as if it had spent none of it."""

    def unsettle(self: Books, replica: ReplicaId) -> None:
        self.replicas[replica].state = State.RECLAIMED
        for row in self.rows.values():
            row.leased.pop(replica, None)

    return replaced(Books, "unsettle", unsettle)


def flush_twice() -> AbstractContextManager[None]:
    """A flush is booked as often as it arrives."""

    def flush(self: Books, replica: ReplicaId, sequence: int, lines: Sequence[FlushLine]) -> State:
        member = self.replicas[replica]
        booked, member.sequence = member.sequence, sequence - 1
        was = original(self, replica, sequence, lines)
        member.sequence = max(booked, sequence)
        return was

    original = Books.flush
    return replaced(Books, "flush", flush)


def grant_unguarded() -> AbstractContextManager[None]:
    """A grant is done as it was decided, though another replica was quicker."""

    def lease(
        self: Books, replica: ReplicaId, grants: Mapping[BudgetKey, int]
    ) -> dict[BudgetKey, Any] | None:
        found = original(self, replica, grants)
        for key, amount in grants.items() if found else ():
            self.rows[key].leased[replica] += amount
        return None

    original = Books.lease
    return replaced(Books, "lease", lease)


def believe_twice() -> AbstractContextManager[None]:
    """`Leases.granted` believes in twice what was granted."""

    def granted(self: Leases, decision: Decision, balances: Mapping[BudgetKey, Any]) -> None:
        original(self, decision, balances)
        for key, amount in decision.grants.items():
            self[key].leased += amount

    original = Leases.granted
    return replaced(Leases, "granted", granted)


def hold_what_is_recalled() -> AbstractContextManager[None]:
    """`Lease.available` has in it what the next flush gives back."""

    def available(self: Lease) -> int:
        return self.leased - self.held - self.spent

    return replaced(Lease, "available", property(available))


def say_nothing_of_what_is_left() -> AbstractContextManager[None]:
    """`Leases.draw` never reconciles what a lost grant may have leased."""

    def draw(self: Leases, now: float, **how: Any) -> list[FlushLine]:  # noqa: ANN401  # as it is told
        return original(self, now, **{**how, "doubted": frozenset()})

    original = Leases.draw
    return replaced(Leases, "draw", draw)


def never_fence() -> AbstractContextManager[None]:
    """A replica admits calls for as long as it likes."""
    return replaced(Fence, "is_open", property(lambda self: not self.retired.is_set()))


REQUIRED: Final[Mapping[str, Mutation]] = {
    "skip the hold": skip_the_hold,
    "refund on cut": refund_on_cut,
    "ignore reclaim": ignore_reclaim,
    "flush twice": flush_twice,
}
FURTHER: Final[Mapping[str, Mutation]] = {
    "grant unguarded": grant_unguarded,
    "believe in twice a grant": believe_twice,
    "hold what is recalled": hold_what_is_recalled,
    "reconcile nothing": say_nothing_of_what_is_left,
    "never fence": never_fence,
}
