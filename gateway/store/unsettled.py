"""What dead replicas had leased and may have spent: listed, and resolved by hand.

Unsettled money counts as spent until its replica comes back or somebody says what it really spent.
Once any of it was resolved, the replica may never come back: what it believes to have leased was
given to others. Its late flush is booked on top. Locks are taken in the order of `store.ledger`.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, NewType

import msgspec

from gateway.core.budget import BudgetKey, Scope, Window
from gateway.core.ids import Project, ReplicaId, RunName
from gateway.core.money import NanoDollars, to_usd
from gateway.store import audit
from gateway.store.audit import Action, Actor
from gateway.store.database import Connection, Database, Record
from gateway.store.limits import budget_key

LIST: Final = """
SELECT r.id AS replica, r.role, r.version, r.seen_at, r.sequence, l.budget_id, l.amount_nusd AS amount,
       b.scope, b.scope_id, b.time_window, b.period_start, run.name AS run, run.project
FROM lease l
JOIN replica r ON r.id = l.replica_id
JOIN budget b ON b.id = l.budget_id
LEFT JOIN run ON b.scope = 'run' AND run.id = CASE WHEN b.scope = 'run' THEN b.scope_id::uuid END
WHERE l.state = 'unsettled'
      AND ($1::uuid IS NULL OR (l.replica_id, l.budget_id) > ($1::uuid, $2::bigint))
ORDER BY l.replica_id, l.budget_id LIMIT $3"""
LOCK_REPLICA: Final = "SELECT state FROM replica WHERE id = $1 FOR UPDATE"
LOCK_BUDGETS: Final = """
SELECT b.id, b.scope, b.scope_id, b.time_window, b.period_start, l.amount_nusd AS amount
FROM lease l JOIN budget b ON b.id = l.budget_id
WHERE l.replica_id = $1 AND l.state = 'unsettled'
ORDER BY b.id FOR UPDATE OF b"""
RESOLVE: Final = """
WITH part AS (
    SELECT * FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) AS p (id, booked, returned)
), gone AS (
    DELETE FROM lease l USING part p
    WHERE l.replica_id = $1 AND l.budget_id = p.id AND l.state = 'unsettled'
)
UPDATE budget b
SET unsettled_nusd = b.unsettled_nusd - p.booked - p.returned, spent_nusd = b.spent_nusd + p.booked
FROM part p WHERE b.id = p.id"""
RETIRE: Final = "UPDATE replica SET state = 'resolved' WHERE id = $1"

BudgetRow = NewType("BudgetRow", int)


class Unsettled(msgspec.Struct, frozen=True, kw_only=True):
    """What of one budget a dead replica had leased. Times are the database's.

    `sequence` is that of its last flush: what it spent after that is unknown.
    """

    replica: ReplicaId
    role: str
    version: str
    seen_at: datetime
    sequence: int
    row: BudgetRow
    budget: BudgetKey
    amount: NanoDollars
    run: RunName | None
    project: Project | None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which budgets of a replica are meant: those that fit all that is said; nothing said: all."""

    scope: Scope | None = None
    scope_id: str | None = None
    window: Window | None = None
    period_start: str | None = None

    @property
    def is_all(self) -> bool:
        """Whether nothing is said."""
        return all(value is None for value in msgspec.structs.astuple(self))

    def fits(self, key: BudgetKey) -> bool:
        """Return whether a budget is meant."""
        return all(
            wanted in {None, found}
            for wanted, found in (
                (self.scope, key.scope),
                (self.scope_id, key.scope_id),
                (self.window, key.window),
                (self.period_start, key.period_start),
            )
        )


class Lost(msgspec.Struct, frozen=True):
    """The unsettled part of one budget, nano-dollars > 0."""

    row: BudgetRow
    budget: BudgetKey
    amount: int


class Part(msgspec.Struct, frozen=True):
    """What becomes of it: `booked` was spent, `returned` is free again. Together they are all of it."""

    row: BudgetRow
    budget: BudgetKey
    booked: int
    returned: int


class Unresolvable(StrEnum):
    """Why nothing was resolved."""

    UNKNOWN = "unknown"
    LIVE = "live"
    NOTHING = "nothing"
    NO_SUCH_BUDGET = "no such budget"
    SEVERAL = "several"


class TooMuch(msgspec.Struct, frozen=True):
    """More was said to be spent of the named budget than is unsettled of it."""

    unsettled: int


class UnsettledStore:
    """The unsettled money of one database. Every method raises LedgerUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, after: tuple[ReplicaId, BudgetRow] | None = None, limit: int = 100
    ) -> list[Unsettled]:
        """Return up to `limit` of what is unsettled, by replica (the oldest first) and budget."""
        replica, row = after or (None, None)
        return [_unsettled(row) for row in await self._database.fetch(LIST, replica, row, limit)]

    async def resolve(
        self, replica: ReplicaId, spent: NanoDollars, asked: Asked, reason: str, actor: Actor
    ) -> list[Part] | Unresolvable | TooMuch:
        """Book what a dead replica really spent, and give the rest of its unsettled money back.

        `spent` is that of each budget that is meant. The replica is retired for good.
        """
        async with self._database.transaction() as connection:
            state = await connection.fetchval(LOCK_REPLICA, replica)
            if state is None or state == "live":
                return Unresolvable.UNKNOWN if state is None else Unresolvable.LIVE
            rows = await connection.fetch(LOCK_BUDGETS, replica)
            parts = shared_out([_lost(row) for row in rows], spent, asked)
            if isinstance(parts, list):
                await _book(connection, replica, parts)
                detail = {"spent_usd": to_usd(spent), "reason": reason, "budgets": told(parts)}
                target = f"replica:{replica}"
                await audit.record(connection, actor, Action.UNSETTLED_RESOLVE, target, detail)
        return parts


def shared_out(
    lost: Sequence[Lost], spent: int, asked: Asked
) -> list[Part] | Unresolvable | TooMuch:
    """Return what becomes of a replica's unsettled money that spent `spent` (≥ 0) of each budget.

    A call counts in several budgets, so each is booked the whole of it, or all that is unsettled
    where that is less: a budget has no more of this replica. Who names a budget means its number,
    so there more than is unsettled is refused.
    """
    meant = [each for each in lost if asked.fits(each.budget)]
    if not meant:
        return Unresolvable.NO_SUCH_BUDGET if lost else Unresolvable.NOTHING
    if not asked.is_all:
        if len(meant) > 1:
            return Unresolvable.SEVERAL
        if spent > meant[0].amount:
            return TooMuch(meant[0].amount)
    return [
        Part(each.row, each.budget, min(spent, each.amount), max(0, each.amount - spent))
        for each in meant
    ]


def told(parts: Sequence[Part]) -> str:
    """Return what became of each budget, for the audit log."""
    return "; ".join(
        f"{':'.join(msgspec.structs.astuple(part.budget))} booked {to_usd(part.booked)} returned {to_usd(part.returned)}"
        for part in parts
    )


async def _book(connection: Connection, replica: ReplicaId, parts: Sequence[Part]) -> None:
    await connection.execute(
        RESOLVE,
        replica,
        [part.row for part in parts],
        [part.booked for part in parts],
        [part.returned for part in parts],
    )
    await connection.execute(RETIRE, replica)


def _lost(row: Record) -> Lost:
    return Lost(BudgetRow(row["id"]), budget_key(row), row["amount"])


def _unsettled(row: Record) -> Unsettled:
    return Unsettled(
        replica=ReplicaId(str(row["replica"])),
        role=row["role"],
        version=row["version"],
        seen_at=row["seen_at"],
        sequence=row["sequence"],
        row=BudgetRow(row["budget_id"]),
        budget=budget_key(row),
        amount=row["amount"],
        run=row["run"],
        project=row["project"],
    )
