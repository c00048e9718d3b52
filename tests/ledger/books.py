"""What `store.ledger` and `store.replicas` do, in memory and without a loop.

One set of checks, `tests/store/test_ledger_conformance.py`, passes on this (by way of
`tests.fakes.FakeLedger`) and on a real PostgreSQL. Time is `now`, in seconds, and moves when it is
told to.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec

from gateway.core.budget import Balance, BudgetKey, FlushLine, Scope, Window
from gateway.core.ids import ReplicaId
from gateway.errors import LedgerUnavailable, ReplicaRetired
from gateway.store.replicas import Replica, silent

START = datetime(2026, 11, 25, 12, tzinfo=UTC)
CapKey = tuple[Scope, str, Window]


class State(StrEnum):
    """What the database takes a replica for."""

    LIVE = "live"
    RECLAIMED = "reclaimed"
    RESOLVED = "resolved"
    STOPPED = "stopped"


class Member(msgspec.Struct):
    """A replica's row."""

    seen_at: float
    state: State = State.LIVE
    sequence: int = 0


class Row(msgspec.Struct):
    """A budget's row, with the leases of each replica."""

    cap: int | None
    spent: int = 0
    overshoot: int = 0
    is_closed: bool = False
    leased: dict[ReplicaId, int] = msgspec.field(default_factory=lambda: defaultdict(int))
    unsettled: dict[ReplicaId, int] = msgspec.field(default_factory=lambda: defaultdict(int))

    @property
    def taken(self) -> int:
        """All that is not free."""
        return self.spent + sum(self.leased.values()) + sum(self.unsettled.values())

    @property
    def balance(self) -> Balance:
        return Balance(
            cap=self.taken if self.is_closed else self.cap,
            spent=self.spent,
            leased=sum(self.leased.values()),
            unsettled=sum(self.unsettled.values()),
        )

    def has_room(self, amount: int) -> bool:
        """Return whether the guard of a grant lets an amount pass."""
        if amount == 0:
            return True
        return not self.is_closed and (self.cap is None or self.cap - self.taken >= amount)


class Books:
    """The database's side of the ledger. Each method is one transaction, and does all or nothing."""

    def __init__(self) -> None:
        self.now = 0.0
        self.caps: dict[CapKey, int | None] = {}
        self.rows: dict[BudgetKey, Row] = {}
        self.replicas: dict[ReplicaId, Member] = {}

    def row(self, key: BudgetKey) -> Row:
        """Return a budget as it is, or as it would be made."""
        return self.rows.get(key) or Row(self._cap(key))

    def member(self, replica: ReplicaId) -> Member:
        return self.replicas[replica]

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def open_run(self, key: BudgetKey, cap: int | None) -> None:
        self.rows[key] = Row(cap)

    def close_run(self, key: BudgetKey) -> None:
        self.rows[key].is_closed = True

    def put_cap(self, key: BudgetKey, cap: int | None) -> None:
        """Change the cap of a budget in this period and in those to come; None: delete it."""
        if key.scope is not Scope.RUN:
            self.caps[key.scope, key.scope_id, key.window] = cap
        for other, row in self.rows.items():
            if _is_same(other, key) and other.period_start >= key.period_start:
                row.cap = cap

    def register(self, replica: ReplicaId) -> None:
        self.replicas.setdefault(replica, Member(self.now))
        self.renew(replica)

    def renew(self, replica: ReplicaId) -> None:
        member = self.replicas.get(replica)
        if member is None or member.state is State.STOPPED:
            raise LedgerUnavailable(f"replica {replica} is not live")
        if member.state is State.RESOLVED:
            raise ReplicaRetired(f"replica {replica} was resolved by hand")
        self._hear(replica, member)

    def look(self, replica: ReplicaId, keys: Iterable[BudgetKey]) -> dict[BudgetKey, Balance]:
        """Return balances for a grant; opens periods that are new."""
        for key in keys:
            if key not in self.rows and key.scope is not Scope.RUN:
                self.rows[key] = Row(self._cap(key))
        self._expect_live(replica)
        return {key: self.row(key).balance for key in keys}

    def lease(
        self, replica: ReplicaId, grants: Mapping[BudgetKey, int]
    ) -> dict[BudgetKey, Balance] | None:
        """Grant what was decided, and return None; or the balances by which it does not fit."""
        self._expect_live(replica).seen_at = self.now
        if not all(self.rows[key].has_room(amount) for key, amount in grants.items()):
            return {key: self.rows[key].balance for key in grants}
        for key, amount in grants.items():
            if amount:
                self.rows[key].leased[replica] += amount
        return None

    def flush(self, replica: ReplicaId, sequence: int, lines: Sequence[FlushLine]) -> State:
        """Book a flush once, and return the state in which it found the replica."""
        member = self.replicas.get(replica)
        if member is None or member.sequence < sequence - 1:
            raise LedgerUnavailable(f"the database lacks flushes of {replica} before {sequence}")
        was = member.state
        self._hear(replica, member)
        if member.sequence < sequence:
            member.sequence = sequence
            for line in lines:
                self._book(replica, line)
        return was

    def reclaim(self, ttl_s: float) -> list[ReplicaId]:
        """Make the leases of all that were silent for twice `ttl_s` unsettled; return them."""
        dead = self.silent(ttl_s)
        for replica in dead:
            self.unsettle(replica)
        return dead

    def silent(self, ttl_s: float) -> list[ReplicaId]:
        """Return all that live and were silent for twice `ttl_s`."""
        moment = START + timedelta(seconds=self.now)
        return [each.id for each in silent(self._live(), moment, timedelta(seconds=ttl_s))]

    def unsettle(self, replica: ReplicaId) -> None:
        self.replicas[replica].state = State.RECLAIMED
        for row in self.rows.values():
            if amount := row.leased.pop(replica, 0):
                row.unsettled[replica] += amount

    def resolve(self, replica: ReplicaId, spent: Mapping[BudgetKey, int]) -> None:
        """Say by hand what of a reclaimed replica's unsettled money was spent; the rest is free."""
        member = self.replicas[replica]
        if member.state is not State.RECLAIMED:
            raise LedgerUnavailable(f"replica {replica} has nothing to resolve")
        member.state = State.RESOLVED
        for key, row in self.rows.items():
            if row.unsettled.pop(replica, 0):
                row.spent += spent.get(key, 0)

    def stop(self, replica: ReplicaId) -> None:
        """Say that a replica has ended cleanly: what is left of its leases it never heard of."""
        member = self.replicas[replica]
        self._revive(replica, member)
        if member.state is not State.LIVE:
            return
        member.state = State.STOPPED
        for row in self.rows.values():
            row.leased.pop(replica, None)

    def _cap(self, key: BudgetKey) -> int | None:
        unopened = 0 if key.scope is Scope.RUN else None
        return self.caps.get((key.scope, key.scope_id, key.window), unopened)

    def _live(self) -> list[Replica]:
        return [
            Replica(id=name, role="all", version="1", started_at=START, seen_at=_moment(member))
            for name, member in self.replicas.items()
            if member.state is State.LIVE
        ]

    def _expect_live(self, replica: ReplicaId) -> Member:
        member = self.replicas.get(replica)
        if member is None or member.state is not State.LIVE:
            raise LedgerUnavailable(f"replica {replica} is not live")
        return member

    def _hear(self, replica: ReplicaId, member: Member) -> None:
        self._revive(replica, member)
        member.seen_at = self.now

    def _revive(self, replica: ReplicaId, member: Member) -> None:
        """Make the leases of a replica leases again that was taken for dead and lives."""
        if member.state is not State.RECLAIMED:
            return
        member.state = State.LIVE
        member.seen_at = self.now
        for row in self.rows.values():
            if amount := row.unsettled.pop(replica, 0):
                row.leased[replica] += amount

    def _book(self, replica: ReplicaId, line: FlushLine) -> None:
        row = self.rows.get(line.key)
        if row is None:
            return
        leased = row.leased.get(replica, 0)
        ended = line.lease_ended if line.lease_left is None else leased - line.lease_left
        row.spent += line.spent
        row.overshoot += line.overshoot
        row.leased[replica] = leased - max(0, min(ended, leased))


def _is_same(one: BudgetKey, other: BudgetKey) -> bool:
    return (one.scope, one.scope_id, one.window) == (other.scope, other.scope_id, other.window)


def _moment(member: Member) -> datetime:
    return START + timedelta(seconds=member.seen_at)
