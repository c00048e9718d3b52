"""What must be so at every moment, whatever happened: the ledger against the provider's account.

No claim asks the code under test what it thinks it owes or holds without comparing that with the
calls themselves, or with what the provider charged.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from gateway.core.budget import BudgetKey
from gateway.core.ids import ReplicaId
from tests.ledger.books import Member, Row, State
from tests.ledger.process import Process


class Broken(AssertionError):
    """A claim does not hold."""

    def __init__(self, claim: str, key: BudgetKey, found: object) -> None:
        super().__init__(f"{claim}: {key.scope} {key.scope_id} {key.period_start}: {found}")
        self.claim = claim


class View:
    """The database and all processes that ever were, after a step. `resolved` was booked by hand."""

    def __init__(
        self,
        rows: Mapping[BudgetKey, Row],
        members: Mapping[ReplicaId, Member],
        alive: Iterable[Process],
        everyone: Sequence[Process],
        resolved: Mapping[BudgetKey, int],
    ) -> None:
        self.rows = rows
        self.members = members
        self.alive = list(alive)
        self.everyone = everyone
        self.resolved = resolved

    def is_resolved(self, process: Process) -> bool:
        return self.members[process.name].state is State.RESOLVED

    def unbooked(self, process: Process, key: BudgetKey) -> tuple[int, int]:
        """Return what a flush under way would still book: spent, and the lease that ends."""
        flush = process.flush
        if flush is None or self.members[process.name].sequence >= flush.sequence:
            return 0, 0
        return flush.change(key)

    def booked(self, process: Process, key: BudgetKey) -> int:
        """Return how much of what a process settled is in the database, by its own account."""
        lease = process.lease(key)
        return process.settled[key] - lease.spent - self.unbooked(process, key)[0]

    def uncovered(self, process: Process, key: BudgetKey) -> int:
        """Return what a process may still book of a budget beyond what the database knows."""
        spent, ended = self.unbooked(process, key)
        under_way = max(0, spent - (0 if self.is_resolved(process) else ended))
        if process not in self.alive:
            return under_way
        lease = process.lease(key)
        most = process.held(key) + lease.spent + lease.recalled
        if self.is_resolved(process):  # the database knows of no lease any more
            return under_way + max(most, lease.leased) + process.unheard(key)
        return under_way + max(0, most - lease.leased)

    def exposure(self, key: BudgetKey) -> int:
        """Return the most that a budget may come to without another grant."""
        return self.rows[key].taken + sum(self.uncovered(each, key) for each in self.everyone)

    def charged(self, key: BudgetKey) -> int:
        """Return what the provider charged for calls that ended, or died with their process."""
        return sum(each.charged[key] for each in self.everyone)

    def beyond(self, key: BudgetKey) -> int:
        """Return how much of that is beyond what the provider was given as its bound."""
        return sum(each.beyond[key] for each in self.everyone)


class Past(msgspec.Struct):
    """What a step is compared with: exposure, and what was settled beyond holds, before it."""

    exposure: dict[BudgetKey, int] = msgspec.field(default_factory=dict)
    beyond: dict[BudgetKey, int] = msgspec.field(default_factory=dict)
    highest: dict[BudgetKey, int | None] = msgspec.field(default_factory=dict)

    def remember(self, view: View) -> None:
        for key, row in view.rows.items():
            self.exposure[key] = view.exposure(key)
            self.beyond[key] = _settled_beyond(view, key)
            high = self.highest.get(key, 0)
            self.highest[key] = None if row.cap is None or high is None else max(high, row.cap)


def _settled_beyond(view: View, key: BudgetKey) -> int:
    return sum(each.settled_beyond[key] for each in view.everyone)


def _excess_is_explained(view: View, past: Past, key: BudgetKey) -> None:
    """Above its cap a budget grows by nothing but what a provider billed beyond its bound."""
    row = view.rows[key]
    if row.cap is None or row.taken <= row.cap:
        return
    grown = view.exposure(key) - past.exposure.get(key, 0)
    explained = _settled_beyond(view, key) - past.beyond.get(key, 0)
    if grown > explained:
        raise Broken("spent + unsettled + leased <= cap", key, (row, grown, explained))


def _replicas_keep_within_leases(view: View, _: Past, key: BudgetKey) -> None:
    for each in view.alive:
        lease, held = each.lease(key), each.held(key)
        if min(lease.leased, lease.spent, lease.overshoot, lease.recalled) < 0:
            raise Broken("no amount is below zero", key, lease)
        if held + lease.spent > lease.leased + each.settled_beyond[key]:
            raise Broken("held + spent unflushed <= leased", key, (lease, held))


def _no_lease_is_imagined(view: View, _: Past, key: BudgetKey) -> None:
    """What a replica believes it has, it was granted."""
    row = view.rows[key]
    for each in view.alive:
        known = row.leased.get(each.name, 0) + row.unsettled.get(each.name, 0)
        believed = each.lease(key).leased + view.unbooked(each, key)[1]
        if believed > known and not view.is_resolved(each):
            raise Broken("a replica has what it was granted", key, (believed, known))


def _truth_is_covered(view: View, _: Past, key: BudgetKey) -> None:
    """All that was charged, and may yet be for calls that run, is in the database already."""
    running = sum(each.held(key) for each in view.alive)
    truth = view.charged(key) + running - view.beyond(key)
    if truth > view.rows[key].taken:
        raise Broken("truth <= spent + unsettled + leased", key, (truth, view.rows[key]))


def _truth_is_capped(view: View, past: Past, key: BudgetKey) -> None:
    high, cap = past.highest.get(key, 0), view.rows[key].cap
    truth = view.charged(key) - view.beyond(key)
    if high is not None and cap is not None and truth > max(high, cap):
        raise Broken("truth <= cap", key, (truth, max(high, cap)))


def _spend_is_booked_once(view: View, _: Past, key: BudgetKey) -> None:
    booked = sum(view.booked(each, key) for each in view.everyone) + view.resolved.get(key, 0)
    if view.rows[key].spent != booked:
        raise Broken("recorded = settled and flushed", key, (view.rows[key].spent, booked))


_CLAIMS: tuple[Callable[[View, Past, BudgetKey], None], ...] = (
    _truth_is_capped,
    _truth_is_covered,
    _excess_is_explained,
    _spend_is_booked_once,
    _replicas_keep_within_leases,
    _no_lease_is_imagined,
)


def check(view: View, past: Past) -> None:
    """Raise Broken if anything is not as it must be, and remember how it is."""
    for key in view.rows:
        for claim in _CLAIMS:
            claim(view, past, key)
    past.remember(view)
    for each in view.alive:
        is_lost = view.members[each.name].state in {State.RECLAIMED, State.RESOLVED}
        if is_lost and each.is_clock_trusted and each.fence.is_open:
            raise AssertionError("taken for dead, and yet it admits calls")


def check_quiet(view: View, process: Process) -> None:
    """Raise Broken unless a process at rest has recorded the truth, and believes what is so."""
    for key, row in view.rows.items():
        if process.misreported[key]:
            raise Broken("reported = recorded", key, process.misreported[key])
        if process.settled[key] < process.charged[key]:
            found = (process.settled[key], process.charged[key])
            raise Broken("recorded >= truth where nothing was reported", key, found)
        if view.booked(process, key) != process.settled[key]:
            raise Broken("all that was settled is booked", key, process.lease(key))
        known = row.leased.get(process.name, 0)
        is_sure = not view.is_resolved(process) and not process.leaks
        if is_sure and known != process.lease(key).leased:
            raise Broken("both sides know the same lease", key, (known, process.lease(key)))


def check_stopped(view: View, process: Process) -> None:
    """Raise Broken if a process that stopped cleanly left a lease, or a gap in its flushes."""
    check_quiet(view, process)
    for key, row in view.rows.items():
        if row.leased.get(process.name, 0) or row.unsettled.get(process.name, 0):
            raise Broken("a clean stop leaves no lease", key, row)
    if view.members[process.name].sequence != process.sequence:
        raise AssertionError("the numbers of flushes are dense")
