"""What is capped and what is killed, and how much of each budget is left.

A cap set through the API wins over the configuration's, which comes back when the first is deleted.
Caps and the rows of their periods agree because whoever makes a period's row reads its cap under a
shared lock, and whoever changes a cap holds that lock alone.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

import anyio
import msgspec

from gateway.core.budget import BudgetKey, Scope, Window
from gateway.core.ids import KillId, Project, ReplicaId
from gateway.core.limits import Kill, KillScope, period_start
from gateway.core.money import NanoDollars
from gateway.store import audit
from gateway.store.audit import AT_START, Action, Actor
from gateway.store.database import Connection, Database, Record
from gateway.store.notices import CapsChanged, KillOff, KillOn, notify

POLL_SECONDS: Final = 0.01

SHARE_CAPS: Final = "SELECT pg_advisory_xact_lock_shared(hashtext('budget_cap'))"
HOLD_CAPS: Final = "SELECT pg_advisory_xact_lock(hashtext('budget_cap'))"

CAPPED: Final = """
SELECT scope, scope_id, array_agg(time_window ORDER BY time_window) AS time_windows
FROM budget_cap GROUP BY scope, scope_id"""
PUT_CAP: Final = """
INSERT INTO budget_cap (scope, scope_id, time_window, api_nusd) VALUES ($1, $2, $3, $4)
ON CONFLICT (scope, scope_id, time_window) DO UPDATE SET api_nusd = $4, updated_at = now()"""
DELETE_CAP: Final = """
UPDATE budget_cap SET api_nusd = NULL, updated_at = now()
WHERE scope = $1 AND scope_id = $2 AND time_window = $3 AND api_nusd IS NOT NULL
RETURNING cap_nusd"""
CONFIGURE_CAP: Final = """
INSERT INTO budget_cap AS c (scope, scope_id, time_window, config_nusd)
VALUES ('workspace', '', 'month', $1)
ON CONFLICT (scope, scope_id, time_window) DO UPDATE SET config_nusd = $1, updated_at = now()
WHERE c.config_nusd IS DISTINCT FROM $1
RETURNING cap_nusd"""
DROP_UNCAPPED: Final = "DELETE FROM budget_cap WHERE cap_nusd IS NULL"
APPLY_CAP: Final = """
UPDATE budget SET cap_nusd = $5 WHERE id IN (
    SELECT id FROM budget
    WHERE scope = $1 AND scope_id = $2 AND time_window = $3 AND period_start >= $4
    ORDER BY id FOR UPDATE
)"""
SPEND: Final = """
WITH listed AS (
    SELECT scope, scope_id, time_window, cap_nusd FROM budget_cap
    UNION ALL
    SELECT 'workspace', '', 'month', NULL WHERE NOT EXISTS (
        SELECT FROM budget_cap WHERE scope = 'workspace' AND scope_id = '' AND time_window = 'month'
    )
), current AS (
    SELECT *, CASE time_window WHEN 'month' THEN $1 WHEN 'day' THEN $2 ELSE '' END AS period_start
    FROM listed
    WHERE ($3::text IS NULL OR scope = $3) AND ($4::text IS NULL OR scope_id = $4)
)
SELECT scope, scope_id, time_window, period_start, c.cap_nusd,
       coalesce(b.spent_nusd, 0) AS spent_nusd, coalesce(b.leased_nusd, 0) AS leased_nusd,
       coalesce(b.unsettled_nusd, 0) AS unsettled_nusd, coalesce(b.overshoot_nusd, 0) AS overshoot_nusd
FROM current c LEFT JOIN budget b USING (scope, scope_id, time_window, period_start)
ORDER BY scope = 'workspace' DESC, scope, scope_id, time_window"""

KILLS: Final = """
SELECT id, scope, scope_id, project, reason, by, at FROM kill WHERE lifted_at IS NULL
ORDER BY at, id"""
ADD_KILL: Final = """
INSERT INTO kill (id, scope, scope_id, project, reason, by) VALUES ($1, $2, $3, $4, $5, $6)
RETURNING id, scope, scope_id, project, reason, by, at"""
LIFT_KILL: Final = """
UPDATE kill SET lifted_at = now(), lifted_by = $2 WHERE id = $1 AND lifted_at IS NULL
RETURNING scope || ':' || scope_id"""
ACKNOWLEDGE: Final = """
INSERT INTO kill_ack (kill_id, replica_id, streams_cut) VALUES ($1, $2, $3)
ON CONFLICT (kill_id, replica_id) DO NOTHING"""
ACKNOWLEDGED: Final = """
SELECT r.id, a.streams_cut
FROM replica r LEFT JOIN kill_ack a ON a.kill_id = $1 AND a.replica_id = r.id
WHERE r.state = 'live' OR a.kill_id IS NOT NULL
ORDER BY r.id"""


class Standing(msgspec.Struct, frozen=True):
    """What the database says of `core.limits.Limits`."""

    kills: tuple[Kill, ...]
    caps: Mapping[tuple[Scope, str], tuple[Window, ...]]


class Amounts(msgspec.Struct, frozen=True, kw_only=True):
    """The money of one budget, nano-dollars ≥ 0; the cap is None where nothing caps it."""

    cap_nusd: NanoDollars | None
    spent_nusd: NanoDollars
    held_nusd: NanoDollars
    unsettled_nusd: NanoDollars
    overshoot_nusd: NanoDollars

    @property
    def left_nusd(self) -> NanoDollars | None:
        """What nobody has spent or holds; zero where more is."""
        return left(self.cap_nusd, self.spent_nusd + self.held_nusd + self.unsettled_nusd)


class BudgetState(Amounts, frozen=True, kw_only=True):
    """A budget in its present period."""

    scope: Scope
    scope_id: str
    window: Window
    period_start: str


class Acknowledgement(msgspec.Struct, frozen=True, kw_only=True):
    """How far a kill switch has come: replicas that are taken for alive, and those that applied it."""

    replicas: int
    acknowledged: int
    streams_cut: int
    late: tuple[ReplicaId, ...]


class LimitStore:
    """Caps and kill switches of one database. Every method raises LedgerUnavailable.

    `day` is today in the configured time zone: it tells which period is the present one.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> Standing:
        """Return the kill switches that are on, oldest first, and which windows are capped."""
        kills = tuple(_kill(row) for row in await self._database.fetch(KILLS))
        caps = {
            (Scope(row["scope"]), row["scope_id"]): tuple(map(Window, row["time_windows"]))
            for row in await self._database.fetch(CAPPED)
        }
        return Standing(kills, caps)

    async def configure(self, month: NanoDollars | None, day: date) -> None:
        """Take over the configuration's cap of the workspace's month; None: it has none."""
        async with self._database.transaction() as connection:
            await connection.execute(HOLD_CAPS)
            row = await connection.fetchrow(CONFIGURE_CAP, month)
            await connection.execute(DROP_UNCAPPED)
            if row is None:
                return
            key = (Scope.WORKSPACE, "", Window.MONTH)
            await _apply(connection, key, row["cap_nusd"], period_start(key[2], day))
            detail = {"configured_usd": audit.dollars(month)}
            await _announce(connection, AT_START, Action.BUDGET_PUT, key, detail)

    async def put(
        self, key: tuple[Scope, str, Window], cap: NanoDollars, day: date, actor: Actor
    ) -> None:
        """Cap a budget, from the next grant on. The scope is not `run`, whose cap is its own.

        A budget that nothing capped before counts what is spent from now on, but for the
        workspace's month, which is always counted.
        """
        async with self._database.transaction() as connection:
            await put_cap(connection, key, cap, period_start(key[2], day), actor)

    async def delete(self, key: tuple[Scope, str, Window], day: date, actor: Actor) -> bool:
        """Take back what `put` did, so that the configuration's cap holds; False: it did nothing."""
        scope, scope_id, window = key
        async with self._database.transaction() as connection:
            await connection.execute(HOLD_CAPS)
            row = await connection.fetchrow(DELETE_CAP, scope.value, scope_id, window.value)
            if row is None:
                return False
            await connection.execute(DROP_UNCAPPED)
            await _apply(connection, key, row["cap_nusd"], period_start(key[2], day))
            await _announce(connection, actor, Action.BUDGET_DELETE, key, {})
        return True

    async def spend(
        self, day: date, scope: Scope | None = None, scope_id: str | None = None
    ) -> list[BudgetState]:
        """Return the budgets of the present periods, the workspace's first; runs are not among them.

        Those that are capped, and the workspace's month in any case; of one scope or id if asked.
        """
        month, today = period_start(Window.MONTH, day), period_start(Window.DAY, day)
        return [
            _state(row) for row in await self._database.fetch(SPEND, month, today, scope, scope_id)
        ]

    async def kill(self, kill: Kill, actor: Actor) -> Kill:
        """Throw a kill switch and return it as it was recorded, its `at` by the database's clock."""
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(
                ADD_KILL,
                kill.id,
                kill.scope.value,
                kill.scope_id,
                kill.project,
                kill.reason,
                kill.by,
            )
            detail = {"kill": kill.id, "reason": kill.reason}
            if kill.project is not None:
                detail["project"] = kill.project
            target = f"{kill.scope}:{kill.scope_id}"
            await audit.record(connection, actor, Action.KILL_ON, target, detail)
            await notify(connection, KillOn(kill.id))
        if row is None:
            raise AssertionError("INSERT … RETURNING returned nothing")
        return _kill(row)

    async def lift(self, kill: KillId, actor: Actor) -> bool:
        """Lift a kill switch; False where it was not on."""
        async with self._database.transaction() as connection:
            return await _lift(connection, kill, actor)

    async def lift_all(self, actor: Actor) -> list[KillId]:
        """Lift every kill switch and return which were on."""
        async with self._database.transaction() as connection:
            kills = [_kill(row).id for row in await connection.fetch(KILLS)]
            return [kill for kill in sorted(kills) if await _lift(connection, kill, actor)]

    async def acknowledge(self, kill: KillId, replica: ReplicaId, streams_cut: int) -> None:
        """Say that a replica has applied a kill switch; what it says first counts."""
        await self._database.execute(ACKNOWLEDGE, kill, replica, streams_cut)

    async def acknowledgement(self, kill: KillId) -> Acknowledgement:
        """Return how far a kill switch has come."""
        return _acknowledgement(await self._database.fetch(ACKNOWLEDGED, kill))

    async def acknowledged(self, kill: KillId, wait_s: float = 1.0) -> Acknowledgement:
        """Wait until every live replica has applied a kill switch, at most so long, and return it."""
        until = anyio.current_time() + wait_s
        reached = await self.acknowledgement(kill)
        while reached.late and anyio.current_time() < until:
            await anyio.sleep(POLL_SECONDS)
            reached = await self.acknowledgement(kill)
        return reached


def budget_key(row: Record) -> BudgetKey:
    """Return the key in a row of `budget`."""
    scope, window = Scope(row["scope"]), Window(row["time_window"])
    return BudgetKey(scope, row["scope_id"], window, row["period_start"])


def left(cap: NanoDollars | None, taken: int) -> NanoDollars | None:
    """Return what is left of a cap, never below zero; None where there is no cap."""
    return None if cap is None else NanoDollars(max(0, cap - taken))


async def put_cap(
    connection: Connection,
    key: tuple[Scope, str, Window],
    cap: NanoDollars,
    since: str,
    actor: Actor,
) -> None:
    """Do what `LimitStore.put` does in a transaction that has other things to do as well.

    `since` is the start of the present period.
    """
    scope, scope_id, window = key
    await connection.execute(HOLD_CAPS)
    await connection.execute(PUT_CAP, scope.value, scope_id, window.value, cap)
    await _apply(connection, key, cap, since)
    await _announce(connection, actor, Action.BUDGET_PUT, key, {"cap_usd": audit.dollars(cap)})


def _acknowledgement(rows: Sequence[Record]) -> Acknowledgement:
    cut = [row["streams_cut"] for row in rows if row["streams_cut"] is not None]
    return Acknowledgement(
        replicas=len(rows),
        acknowledged=len(cut),
        streams_cut=sum(cut),
        late=tuple(ReplicaId(str(row["id"])) for row in rows if row["streams_cut"] is None),
    )


async def _apply(
    connection: Connection, key: tuple[Scope, str, Window], cap: int | None, since: str
) -> None:
    """Put a cap into the row of the present period, and of the next where it has begun elsewhere."""
    scope, scope_id, window = key
    await connection.execute(APPLY_CAP, scope.value, scope_id, window.value, since, cap)


async def _announce(
    connection: Connection,
    actor: Actor,
    action: Action,
    key: tuple[Scope, str, Window],
    detail: Mapping[str, str | int],
) -> None:
    scope, scope_id, window = key
    target = f"budget:{scope}:{scope_id}:{window}"
    await audit.record(connection, actor, action, target, detail)
    await notify(connection, CapsChanged())


async def _lift(connection: Connection, kill: KillId, actor: Actor) -> bool:
    stopped = await connection.fetchval(LIFT_KILL, kill, actor.name)
    if stopped is None:
        return False
    detail = {"stopped": stopped}
    await audit.record(connection, actor, Action.KILL_OFF, f"kill:{kill}", detail)
    await notify(connection, KillOff(kill))
    return True


def _kill(row: Record) -> Kill:
    project = row["project"]
    return Kill(
        id=KillId(str(row["id"])),
        scope=KillScope(row["scope"]),
        scope_id=row["scope_id"],
        project=None if project is None else Project(project),
        reason=row["reason"],
        by=row["by"],
        at=row["at"],
    )


def _state(row: Record) -> BudgetState:
    return BudgetState(
        scope=Scope(row["scope"]),
        scope_id=row["scope_id"],
        window=Window(row["time_window"]),
        period_start=row["period_start"],
        cap_nusd=row["cap_nusd"],
        spent_nusd=row["spent_nusd"],
        held_nusd=row["leased_nusd"],
        unsettled_nusd=row["unsettled_nusd"],
        overshoot_nusd=row["overshoot_nusd"],
    )
