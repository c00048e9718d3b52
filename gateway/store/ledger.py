"""Money as the database keeps it: leases granted, spend booked.

`docs/guarantees.md` tells why a cap holds. What this module adds to `core.budget` is locks, always
in one order: the replica's row, then budgets by id, then runs by id. All that changes a replica's
leases holds its row, so a flush, a grant and a reclaim of one replica take turns, and who comes
second sees what the first did.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from gateway.core.budget import (
    Balance,
    BudgetKey,
    Decision,
    FlushLine,
    GrantAnswer,
    Need,
    decide,
)
from gateway.core.ids import ReplicaId
from gateway.core.traces import Trace
from gateway.errors import LedgerUnavailable
from gateway.store.database import Connection, Database, Record
from gateway.store.limits import SHARE_CAPS, budget_key
from gateway.store.replicas import ReplicaStore, not_live, revive
from gateway.store.runs import count_calls
from gateway.store.traces import insert

LOCK_FOR_GRANT: Final = """
WITH renewed AS (
    UPDATE replica SET seen_at = now() WHERE id = $1 AND state = 'live' RETURNING id
)
SELECT b.id, scope, scope_id, time_window, period_start,
       b.cap_nusd, b.spent_nusd, b.leased_nusd, b.unsettled_nusd, b.is_closed
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[])
     AS wanted (scope, scope_id, time_window, period_start)
JOIN budget b USING (scope, scope_id, time_window, period_start)
WHERE EXISTS (SELECT FROM renewed)
ORDER BY b.id FOR UPDATE OF b"""
"""The replica first: a condition without columns is tested before any budget is read or locked."""
BALANCES: Final = """
SELECT scope, scope_id, time_window, period_start,
       CASE WHEN b.id IS NULL THEN c.cap_nusd ELSE b.cap_nusd END AS cap_nusd,
       coalesce(b.spent_nusd, 0) AS spent_nusd, coalesce(b.leased_nusd, 0) AS leased_nusd,
       coalesce(b.unsettled_nusd, 0) AS unsettled_nusd, coalesce(b.is_closed, false) AS is_closed
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
     AS asked (scope, scope_id, time_window, period_start)
LEFT JOIN budget b USING (scope, scope_id, time_window, period_start)
LEFT JOIN budget_cap c USING (scope, scope_id, time_window)
WHERE b.id IS NOT NULL OR scope <> 'run'"""
OPEN_PERIODS: Final = """
INSERT INTO budget (scope, scope_id, time_window, period_start, cap_nusd)
SELECT scope, scope_id, time_window, period_start, c.cap_nusd
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
     AS wanted (scope, scope_id, time_window, period_start)
LEFT JOIN budget_cap c USING (scope, scope_id, time_window)
WHERE scope <> 'run'
ORDER BY 1, 2, 3, 4
ON CONFLICT DO NOTHING"""
GRANT: Final = """
WITH granted AS (
    SELECT * FROM unnest($2::bigint[], $3::bigint[]) AS g (budget_id, amount)
), counted AS (
    UPDATE budget b SET leased_nusd = b.leased_nusd + g.amount
    FROM granted g WHERE b.id = g.budget_id
)
INSERT INTO lease AS l (replica_id, budget_id, amount_nusd)
SELECT $1, budget_id, amount FROM granted
ON CONFLICT (replica_id, budget_id) DO UPDATE SET amount_nusd = l.amount_nusd + excluded.amount_nusd"""

ADVANCE: Final = """
UPDATE replica SET sequence = $2, seen_at = now() WHERE id = $1 AND sequence = $2 - 1
RETURNING state"""
SEQUENCE: Final = "SELECT sequence FROM replica WHERE id = $1"
BOOK: Final = """
WITH line AS (
    SELECT scope, scope_id, time_window, period_start,
           sum(spent)::bigint AS spent, sum(ended)::bigint AS ended, sum(overshoot)::bigint AS overshoot
    FROM unnest($2::text[], $3::text[], $4::text[], $5::text[],
                $6::bigint[], $7::bigint[], $8::bigint[])
         AS l (scope, scope_id, time_window, period_start, spent, ended, overshoot)
    GROUP BY 1, 2, 3, 4
), locked AS MATERIALIZED (
    SELECT b.id, line.spent, line.ended, line.overshoot
    FROM line JOIN budget b USING (scope, scope_id, time_window, period_start)
    ORDER BY b.id FOR UPDATE OF b
), part AS MATERIALIZED (
    SELECT k.id, k.spent, k.overshoot, l.amount_nusd AS leased,
           least(k.ended, coalesce(l.amount_nusd, 0)) AS ended
    FROM locked k LEFT JOIN lease l ON l.replica_id = $1 AND l.budget_id = k.id
), shrunk AS (
    UPDATE lease l SET amount_nusd = l.amount_nusd - p.ended
    FROM part p WHERE l.replica_id = $1 AND l.budget_id = p.id AND p.ended < p.leased
), gone AS (
    DELETE FROM lease l USING part p
    WHERE l.replica_id = $1 AND l.budget_id = p.id AND p.ended = p.leased
)
UPDATE budget b
SET spent_nusd = b.spent_nusd + p.spent,
    leased_nusd = b.leased_nusd - p.ended,
    overshoot_nusd = b.overshoot_nusd + p.overshoot
FROM part p WHERE b.id = p.id"""


NOTHING: Final = Balance(cap=0, spent=0, leased=0, unsettled=0)
"""What there is of a run that was never opened."""


class LedgerStore:
    """The ledger of one database, for any number of replicas. Every method raises LedgerUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def renew(self, replica: ReplicaId) -> None:
        """Say that a replica lives."""
        await ReplicaStore(self._database).renew(replica)

    async def grant(
        self,
        replica: ReplicaId,
        needs: Sequence[Need],
        wishes: Mapping[BudgetKey, int],
        share_ppm: int,
    ) -> GrantAnswer:
        """Lease more to a replica and renew it, in one transaction, budgets locked in id order.

        Four round trips, but for the first call of a period, which makes its budgets' rows. A run
        that was never opened has nothing to grant. A replica that isn't live is granted nothing:
        it raises LedgerUnavailable until it is renewed.
        """
        asked = _Asked(replica, tuple(needs), wishes, share_ppm)
        answer = await self._grant(asked) if asked.keys else GrantAnswer(Decision({}, ()), {})
        if answer is None:
            await self._open_periods(asked.keys)
            answer = await self._grant(asked, is_last=True)
        if answer is None:
            raise not_live(replica)
        return answer

    async def flush(
        self,
        replica: ReplicaId,
        sequence: int,
        lines: Sequence[FlushLine],
        traces: Sequence[Trace],
    ) -> None:
        """Book spend, keep its traces and renew, in one transaction. One seen before does nothing.

        Sequences of a replica are 1, 2, 3 and so on. A gap raises LedgerUnavailable: what is
        missing was flushed into a database that this one is an older copy of.
        """
        async with self._database.transaction() as connection:
            state = await connection.fetchval(ADVANCE, replica, sequence)
            if state is None:
                _expect_seen(replica, sequence, await connection.fetchval(SEQUENCE, replica))
                return
            if state == "reclaimed":
                await revive(connection, replica)
            if lines:
                await _book(connection, replica, lines)
            if traces:
                await insert(connection, traces)
                await count_calls(connection, traces)

    async def balances(self, keys: Sequence[BudgetKey]) -> Mapping[BudgetKey, Balance]:
        """Return budgets as they stand, without locking or making any: for estimates."""
        rows = await self._database.fetch(BALANCES, *_columns(keys))
        found = {budget_key(row): _balance(row) for row in rows}
        return {key: found.get(key, NOTHING) for key in keys}

    async def _open_periods(self, keys: Sequence[BudgetKey]) -> None:
        """Make missing budgets, in a transaction without other locks, so that none waits in a ring."""
        async with self._database.transaction() as connection:
            await connection.execute(SHARE_CAPS)
            await connection.execute(OPEN_PERIODS, *_columns(keys))

    async def _grant(self, asked: "_Asked", *, is_last: bool = False) -> GrantAnswer | None:
        """Decide and grant. None: rows are missing, or at `is_last`, the replica isn't live."""
        async with self._database.transaction() as connection:
            found = await connection.fetch(LOCK_FOR_GRANT, asked.replica, *_columns(asked.keys))
            if not found or (len(found) < len(asked.keys) and not is_last):
                return None
            rows = {budget_key(row): row for row in found}
            balances = {key: _balance(rows[key]) if key in rows else NOTHING for key in asked.keys}
            decision = decide(asked.needs, balances, asked.wishes, asked.share_ppm)
            amounts = {rows[key]["id"]: amount for key, amount in decision.grants.items()}
            if amounts:
                await connection.execute(
                    GRANT, asked.replica, list(amounts), list(amounts.values())
                )
        return GrantAnswer(decision, balances)


class _Asked(msgspec.Struct, frozen=True):
    """A grant as it was asked for."""

    replica: ReplicaId
    needs: tuple[Need, ...]
    wishes: Mapping[BudgetKey, int]
    share_ppm: int

    @property
    def keys(self) -> list[BudgetKey]:
        """Every budget that a need falls under, once."""
        needed = {key for need in self.needs for key in need.amounts}
        return sorted(needed | self.wishes.keys())


def _expect_seen(replica: ReplicaId, sequence: int, last: int | None) -> None:
    if last is None or last < sequence:
        message = f"the database lacks flushes of replica {replica} before {sequence}"
        raise LedgerUnavailable(
            f"{message}: it was restored from an older copy; restart the gateway"
        )


async def _book(connection: Connection, replica: ReplicaId, lines: Sequence[FlushLine]) -> None:
    await connection.execute(
        BOOK,
        replica,
        *_columns([line.key for line in lines]),
        [line.spent for line in lines],
        [line.lease_ended for line in lines],
        [line.overshoot for line in lines],
    )


def _columns(keys: Sequence[BudgetKey]) -> tuple[list[str], list[str], list[str], list[str]]:
    """Return keys as the four arrays that statements unnest."""
    return (
        [key.scope.value for key in keys],
        [key.scope_id for key in keys],
        [key.window.value for key in keys],
        [key.period_start for key in keys],
    )


def _balance(row: Record) -> Balance:
    """Return a budget as it is in the database; a closed one has nothing free."""
    spent, leased, unsettled = row["spent_nusd"], row["leased_nusd"], row["unsettled_nusd"]
    cap = spent + leased + unsettled if row["is_closed"] else row["cap_nusd"]
    return Balance(cap=cap, spent=spent, leased=leased, unsettled=unsettled)
