"""The life of replicas: live from their start, stopped at a clean end, reclaimed when silent.

What a dead replica had leased may have been spent, so it becomes unsettled and counts as spent. A
replica that is heard of after all is alive: its leases are leases again, and what it then flushes
takes the place of what was only feared. Locks are taken in the order of `store.ledger`.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from gateway.core.budget import BudgetKey
from gateway.core.ids import ReplicaId
from gateway.errors import LedgerUnavailable, ReplicaRetired
from gateway.store.database import Database, Record
from gateway.store.limits import budget_key
from gateway.store.notices import CHANNEL, SEND, ReplicasChanged, notify, payload

REGISTER: Final = """
INSERT INTO replica (id, role, version) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING"""
RENEW: Final = "UPDATE replica SET seen_at = now() WHERE id = $1 AND state = 'live'"
REVIVE: Final = "SELECT ledger_revive($1)"
STATE: Final = "SELECT state FROM replica WHERE id = $1"
LIVE: Final = """
SELECT id, role, version, started_at, seen_at, now() AS now FROM replica WHERE state = 'live'
ORDER BY started_at, id"""
SERVING: Final = "SELECT count(*) FROM replica WHERE state = 'live' AND role <> 'worker'"
CLAIM_SILENT: Final = """
UPDATE replica SET state = 'reclaimed' WHERE id = $1 AND state = 'live' AND seen_at = $2
RETURNING id"""
UNSETTLE: Final = """
WITH locked AS MATERIALIZED (
    SELECT b.id, l.amount_nusd AS amount
    FROM lease l JOIN budget b ON b.id = l.budget_id
    WHERE l.replica_id = $1 AND l.state = 'leased'
    ORDER BY b.id FOR UPDATE OF b
), marked AS (
    UPDATE lease SET state = 'unsettled' WHERE replica_id = $1 AND state = 'leased'
)
UPDATE budget b
SET leased_nusd = b.leased_nusd - k.amount, unsettled_nusd = b.unsettled_nusd + k.amount
FROM locked k WHERE b.id = k.id
RETURNING b.scope, b.scope_id, b.time_window, b.period_start, k.amount"""
STOP: Final = """
UPDATE replica SET state = 'stopped', seen_at = now() WHERE id = $1 AND state = 'live'"""
RETURN_LEASES: Final = """
WITH locked AS MATERIALIZED (
    SELECT b.id, l.amount_nusd AS amount
    FROM lease l JOIN budget b ON b.id = l.budget_id
    WHERE l.replica_id = $1 AND l.state = 'leased'
    ORDER BY b.id FOR UPDATE OF b
), gone AS (
    DELETE FROM lease WHERE replica_id = $1 AND state = 'leased'
)
UPDATE budget b SET leased_nusd = b.leased_nusd - k.amount FROM locked k WHERE b.id = k.id"""


class Role(StrEnum):
    """What a process does."""

    ALL = "all"
    PROXY = "proxy"
    WORKER = "worker"


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """A replica that is taken for alive. Times are the database's."""

    id: ReplicaId
    role: str
    version: str
    started_at: datetime
    seen_at: datetime


class Reclaimed(msgspec.Struct, frozen=True):
    """A replica that was found dead, and what of each budget its leases made unsettled."""

    replica: ReplicaId
    unsettled: Mapping[BudgetKey, int]


class ReplicaStore:
    """The replicas of one database. Every method raises LedgerUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, replica: ReplicaId, role: Role, version: str) -> None:
        """Say that a replica has started. Again for one that was reclaimed: it lives after all."""
        if await self._database.execute(REGISTER, replica, role.value, version) != "INSERT 0 0":
            await self._tell()
        await self.renew(replica)

    async def renew(self, replica: ReplicaId) -> None:
        """Say that a replica lives."""
        if await self._database.execute(RENEW, replica) == "UPDATE 0":
            await self._database.execute(REVIVE, replica)
            state = await self._database.fetch_value(STATE, replica)
            if state != "live":
                raise retired(replica) if state == "resolved" else not_live(replica)
            await self._tell()

    async def stop(self, replica: ReplicaId) -> None:
        """Say that a replica has ended cleanly, with all it spent settled and flushed.

        What is left of its leases was granted by a commit that it never heard of: it goes back.
        """
        async with self._database.transaction() as connection:
            await connection.execute(REVIVE, replica)
            if await connection.execute(STOP, replica) != "UPDATE 0":
                await connection.execute(RETURN_LEASES, replica)
                await notify(connection, ReplicasChanged())

    async def live(self) -> list[Replica]:
        """Return the replicas that are taken for alive, oldest first."""
        return [_replica(row) for row in await self._database.fetch(LIVE)]

    async def serving(self) -> int:
        """Return how many of them serve calls; a worker does jobs alone."""
        return int(await self._database.fetch_value(SERVING))

    async def reclaim(self, ttl: timedelta) -> list[Reclaimed]:
        """Make the leases of dead replicas unsettled, and return what that came to.

        Dead is who was silent for twice the lease's `ttl` by the database's clock.
        """
        rows = await self._database.fetch(LIVE)
        if not rows:
            return []
        return await self._reclaim(silent(map(_replica, rows), rows[0]["now"], ttl))

    async def reclaim_all_but(self, replica: ReplicaId) -> list[Reclaimed]:
        """Reclaim every other replica: for a database that only one process can have open."""
        return await self._reclaim([other for other in await self.live() if other.id != replica])

    async def reclaim_dead(self, replica: ReplicaId) -> list[Reclaimed]:
        """Reclaim a replica whose process has certainly ended; nothing if it ended cleanly."""
        return await self._reclaim([one for one in await self.live() if one.id == replica])

    async def _reclaim(self, dead: Iterable[Replica]) -> list[Reclaimed]:
        reclaimed = []
        for replica in dead:
            async with self._database.transaction() as connection:
                if await connection.fetchval(CLAIM_SILENT, replica.id, replica.seen_at) is None:
                    continue  # it was heard of since, or another replica was quicker
                rows = await connection.fetch(UNSETTLE, replica.id)
                await notify(connection, ReplicasChanged())
            reclaimed.append(
                Reclaimed(replica.id, {budget_key(row): row["amount"] for row in rows})
            )
        return reclaimed

    async def _tell(self) -> None:
        """Tell the others that a replica began, or is back."""
        await self._database.execute(SEND, CHANNEL, payload(ReplicasChanged()))


def silent(replicas: Iterable[Replica], now: datetime, ttl: timedelta) -> list[Replica]:
    """Return the replicas that have not been heard of for twice the life of a lease."""
    return [replica for replica in replicas if now - replica.seen_at > 2 * ttl]


def not_live(replica: ReplicaId) -> LedgerUnavailable:
    """Return the failure of whoever speaks for a replica that isn't there."""
    return LedgerUnavailable(f"replica {replica} is not live in the database: renew it, or restart")


def retired(replica: ReplicaId) -> ReplicaRetired:
    """Return the failure of a replica that comes back to find its money resolved by hand."""
    return ReplicaRetired(
        f"replica {replica} was away and what it had leased was resolved by hand: it ends; start another"
    )


def _replica(row: Record) -> Replica:
    return Replica(
        id=ReplicaId(str(row["id"])),
        role=row["role"],
        version=row["version"],
        started_at=row["started_at"],
        seen_at=row["seen_at"],
    )
