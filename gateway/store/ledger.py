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
    MOST_COUNTED,
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
from gateway.store.database import Database, Record
from gateway.store.limits import SHARE_CAPS, budget_key
from gateway.store.notices import CHANNEL, SEND_EACH, recalls
from gateway.store.replicas import ReplicaStore, not_live, retired
from gateway.store.runs import calls_of_runs
from gateway.store.traces import rows

FOR_GRANT: Final = """
SELECT scope, scope_id, time_window, period_start,
       b.cap_nusd, b.spent_nusd, b.leased_nusd, b.unsettled_nusd, b.is_closed
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[])
     AS wanted (scope, scope_id, time_window, period_start)
JOIN budget b USING (scope, scope_id, time_window, period_start)
WHERE EXISTS (SELECT FROM replica WHERE id = $1 AND state = 'live')"""
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
GRANT: Final = "SELECT * FROM ledger_grant($1, $2, $3, $4, $5, $6)"
FLUSH: Final = "SELECT ledger_flush($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
TRIES: Final = 20
"""Each of them fails only because another replica was granted something meanwhile."""


IS_LIVE: Final = "SELECT id FROM replica WHERE id = $1 AND state = 'live'"

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
        """Lease more to a replica and renew it, where anything is granted.

        Two round trips, but for the first call of a period, which makes its budgets' rows, and where
        another replica is quicker. What is granted is decided on balances that nobody has locked,
        and done only where it still fits. A run that was never opened has nothing to grant. A
        replica that isn't live is granted nothing: it raises LedgerUnavailable until it is renewed.
        """
        asked = _Asked(replica, tuple(needs), wishes, share_ppm)
        balances = await self._found(asked) if asked.keys else {}
        for _ in range(TRIES):
            decision = decide(asked.needs, balances, asked.wishes, share_ppm)
            if not decision.grants:
                return GrantAnswer(decision, balances)
            found = await self._lease(replica, decision)
            if found is None:
                return GrantAnswer(decision, balances)
            balances = {**balances, **found}
            asked = _Asked(replica, asked.needs, {}, share_ppm)  # what is scarce is for needs alone
        raise LedgerUnavailable("too many replicas ask for the same budgets at once")

    async def flush(
        self,
        replica: ReplicaId,
        sequence: int,
        lines: Sequence[FlushLine],
        traces: Sequence[Trace],
    ) -> None:
        """Book spend, keep its traces and renew, in one statement. One seen before only renews.

        Sequences of a replica are 1, 2, 3 and so on. A gap raises LedgerUnavailable: what is
        missing was flushed into a database that this one is an older copy of. What is flushed by a
        replica whose unsettled money was resolved by hand is booked, and raises ReplicaRetired.
        """
        state = await self._database.fetch_value(
            FLUSH,
            replica,
            sequence,
            *_columns([line.key for line in lines]),
            [min(line.spent, MOST_COUNTED) for line in lines],
            [line.lease_ended for line in lines],
            [line.lease_left for line in lines],
            [min(line.overshoot, MOST_COUNTED) for line in lines],
            *calls_of_runs(traces),
            rows(traces),
        )
        if state == "gap":
            message = f"the database lacks flushes of replica {replica} before {sequence}"
            raise LedgerUnavailable(
                f"{message}: it was restored from an older copy; restart the gateway"
            )
        if state == "resolved":
            raise retired(replica)

    async def recall(self, replica: ReplicaId, keys: Sequence[BudgetKey]) -> None:
        """Ask the other replicas to give back what they don't hold of some budgets."""
        await self._database.execute(SEND_EACH, CHANNEL, recalls(replica, keys))

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

    async def _found(self, asked: "_Asked") -> dict[BudgetKey, Balance]:
        """Return the balances of every budget that is asked for; opens periods that are new."""
        found = await self._database.fetch(FOR_GRANT, asked.replica, *_columns(asked.keys))
        if len(found) < len(asked.keys):
            await self._open_periods(asked.keys)
            found = await self._database.fetch(FOR_GRANT, asked.replica, *_columns(asked.keys))
        if not found:
            await self._expect_live(asked.replica)
        balances = dict.fromkeys(asked.keys, NOTHING)
        return balances | {budget_key(row): _balance(row) for row in found}

    async def _lease(
        self, replica: ReplicaId, decision: Decision
    ) -> dict[BudgetKey, Balance] | None:
        """Grant what was decided, and return None; or the balances by which it does not fit."""
        keys = sorted(decision.grants)
        amounts = [decision.grants[key] for key in keys]
        found = await self._database.fetch(GRANT, replica, *_columns(keys), amounts)
        if not found:
            raise not_live(replica)
        if found[0]["is_granted"]:
            return None
        return {budget_key(row): _balance(row) for row in found}

    async def _expect_live(self, replica: ReplicaId) -> None:
        if await self._database.fetch_value(IS_LIVE, replica) is None:
            raise not_live(replica)


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
