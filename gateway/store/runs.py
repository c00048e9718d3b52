"""Runs: opened by the first call that names one, capped by a budget of their own, closed for good.

Calls meet only the runs in memory: a bounded number of those used last. What is kept of a run can
only be too generous for a moment, never wrong about money: caps of runs only fall, closing is final,
and a closed run's budget grants nothing whatever a replica still believes.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final

import anyio
import msgspec

from gateway.core.ids import Project, RunId, RunName
from gateway.core.limits import Caller, Run
from gateway.core.money import NanoDollars
from gateway.core.outcome import Outcome
from gateway.core.traces import Trace
from gateway.store import audit
from gateway.store.audit import Action, Actor
from gateway.store.database import Database, Record
from gateway.store.limits import Amounts
from gateway.store.minting import Mint
from gateway.store.notices import RunClosed, notify

REMEMBERED: Final = 4096
_TURNS: Final = 64

OPEN: Final = """
WITH opened AS (
    INSERT INTO run (id, project, name, output_tokens_ceiling, labels, opened_by)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (project, name) DO NOTHING
    RETURNING id, state, output_tokens_ceiling
), capped AS (
    INSERT INTO budget (scope, scope_id, time_window, period_start, cap_nusd)
    SELECT 'run', id::text, 'total', '', $7::bigint FROM opened
    RETURNING cap_nusd
)
SELECT id, state, output_tokens_ceiling, cap_nusd FROM opened, capped"""
FIND: Final = """
SELECT r.id, r.state, r.output_tokens_ceiling, b.cap_nusd
FROM run r JOIN budget b
     ON b.scope = 'run' AND b.scope_id = r.id::text AND b.time_window = 'total' AND b.period_start = ''
WHERE r.project = $1 AND r.name = $2"""
LOWER_CAP: Final = """
UPDATE budget SET cap_nusd = $2
WHERE scope = 'run' AND scope_id = $1 AND time_window = 'total' AND period_start = ''
      AND (cap_nusd IS NULL OR cap_nusd > $2) AND NOT is_closed"""
CLOSE_BUDGET: Final = """
UPDATE budget SET is_closed = true
WHERE scope = 'run' AND scope_id = $1 AND time_window = 'total' AND period_start = ''"""
CLOSE: Final = """
UPDATE run SET state = 'closed', closed_at = now() WHERE id = $1 AND state = 'open' RETURNING id"""
CLOSED: Final = "SELECT id FROM run WHERE id = ANY ($1::uuid[]) AND state = 'closed'"
SHOW: Final = """
SELECT r.id, r.name, r.project, r.state, r.output_tokens_ceiling, r.labels, r.calls,
       r.opened_by, r.opened_at, r.closed_at,
       b.cap_nusd, b.spent_nusd, b.leased_nusd, b.unsettled_nusd, b.overshoot_nusd
FROM run r JOIN budget b
     ON b.scope = 'run' AND b.scope_id = r.id::text AND b.time_window = 'total' AND b.period_start = ''
WHERE r.project = $1 AND r.name = $2"""
LIST: Final = """
SELECT r.id, r.name, r.project, r.state, r.output_tokens_ceiling, r.labels, r.calls,
       r.opened_by, r.opened_at, r.closed_at,
       b.cap_nusd, b.spent_nusd, b.leased_nusd, b.unsettled_nusd, b.overshoot_nusd
FROM (
    SELECT * FROM run
    WHERE ($1::text IS NULL OR project = $1) AND ($2::text IS NULL OR state = $2)
          AND ($3::uuid IS NULL OR id < $3)
    ORDER BY id DESC LIMIT $4
) r JOIN budget b
     ON b.scope = 'run' AND b.scope_id = r.id::text AND b.time_window = 'total' AND b.period_start = ''
ORDER BY r.id DESC"""


class State(StrEnum):
    """A run is open until it is closed."""

    OPEN = "open"
    CLOSED = "closed"


class RunDefaults(msgspec.Struct, frozen=True):
    """What a run gets that is opened without a cap: nano-dollars, None: no cap of its own."""

    cap_nusd: NanoDollars | None


class RunState(Amounts, frozen=True, kw_only=True):
    """A run and its money. `id` is ours, `name` its client's."""

    id: RunId
    name: RunName
    project: Project
    state: State
    output_tokens_ceiling: int | None
    labels: Mapping[str, str]
    calls: int
    opened_by: str
    opened_at: datetime
    closed_at: datetime | None


class NewRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it is ordered. `cap_nusd` None: the default cap."""

    project: Project
    name: RunName
    cap_nusd: NanoDollars | None = None
    output_ceiling: int | None = None
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)


class _Known(msgspec.Struct):
    """A run in memory. `cap` is no lower than the database's."""

    run: Run
    cap: int | None

    def changes(self, cap: NanoDollars | None) -> bool:
        """Return whether a call with this cap would change the run."""
        return cap is not None and self.run.is_open and (self.cap is None or cap < self.cap)


class RunStore:
    """The runs of one database. Every method that awaits raises LedgerUnavailable."""

    def __init__(
        self, database: Database, mint: Mint, defaults: RunDefaults, *, remembered: int = REMEMBERED
    ) -> None:
        self.defaults = defaults
        """For runs that are opened from now on; may be replaced."""
        self._database = database
        self._mint = mint
        self._remembered = remembered
        self._known: OrderedDict[tuple[Project, RunName], _Known] = OrderedDict()
        self._names: dict[RunId, tuple[Project, RunName]] = {}
        self._turns = tuple(anyio.Lock() for _ in range(_TURNS))

    async def open(
        self, project: Project, name: RunName, cap: NanoDollars | None, token: Caller
    ) -> Run:
        """Return a run, opened where it is new, with `cap` if given and else the default cap.

        On an open run a lower `cap` lowers it, a higher one changes nothing. A closed run is
        returned as it is. Answers from memory where nothing has to change.
        """
        known = self._recall(project, name)
        if known is not None and not known.changes(cap):
            return known.run
        async with self._turns[hash((project, name)) % _TURNS]:  # many first calls, one question
            known = self._recall(project, name)
            if known is None:
                known = await self._open(
                    NewRun(project=project, name=name, cap_nusd=cap), token.token
                )
            if cap is not None and known.changes(cap):
                await self._database.execute(LOWER_CAP, known.run.id, cap)
                known.cap = cap
            return known.run

    async def find(self, project: Project, name: RunName) -> Run | None:
        """Return a run if there is one; opens nothing."""
        known = self._recall(project, name)
        if known is None:
            row = await self._database.fetch_row(FIND, project, name)
            known = None if row is None else self._remember(project, name, row)
        return None if known is None else known.run

    async def create(self, wanted: NewRun, opened_by: str, actor: Actor) -> RunState | None:
        """Open a run by order; None where the project has one of that name, open or closed."""
        async with self._database.transaction() as connection:
            opened = await connection.fetchrow(OPEN, *self._row(wanted, opened_by))
            if opened is None:
                return None
            row = await connection.fetchrow(SHOW, wanted.project, wanted.name)
            detail = {"name": wanted.name, "cap_usd": audit.dollars(opened["cap_nusd"])}
            await audit.record(connection, actor, Action.RUN_CREATE, f"run:{opened['id']}", detail)
        return None if row is None else _state(row)

    async def show(self, project: Project, name: RunName) -> RunState | None:
        """Return a run with its money, if there is one."""
        row = await self._database.fetch_row(SHOW, project, name)
        return None if row is None else _state(row)

    async def page(
        self,
        project: Project | None = None,
        state: State | None = None,
        *,
        before: RunId | None = None,
        limit: int = 100,
    ) -> list[RunState]:
        """Return up to `limit` runs, newest first; `before` is the last one's id, for the next page."""
        rows = await self._database.fetch(LIST, project, state, before, limit)
        return [_state(row) for row in rows]

    async def close(self, project: Project, name: RunName, actor: Actor) -> RunState | None:
        """Close a run for good and return it; None where there is none. Again changes nothing."""
        async with self._database.transaction() as connection:
            found = await connection.fetchrow(FIND, project, name)
            if found is None:
                return None
            run = RunId(str(found["id"]))
            await connection.execute(CLOSE_BUDGET, run)
            if await connection.fetchval(CLOSE, run) is not None:
                await audit.record(connection, actor, Action.RUN_CLOSE, f"run:{run}")
                await notify(connection, RunClosed(run))
            row = await connection.fetchrow(SHOW, project, name)
        self.closed(run)
        return None if row is None else _state(row)

    def closed(self, run: RunId) -> None:
        """Take note that a run was closed, here or by another replica."""
        name = self._names.get(run)
        if name is not None:
            known = self._known[name]
            known.run = msgspec.structs.replace(known.run, is_open=False)

    async def refresh(self) -> frozenset[RunId]:
        """Ask which of the runs in memory were closed meanwhile, take note, and return them."""
        believed = [known.run.id for known in self._known.values() if known.run.is_open]
        rows = await self._database.fetch(CLOSED, believed) if believed else []
        closed = frozenset(RunId(str(row["id"])) for row in rows)
        for run in closed:
            self.closed(run)
        return closed

    async def _open(self, wanted: NewRun, opened_by: str) -> _Known:
        row = await self._database.fetch_row(OPEN, *self._row(wanted, opened_by))
        if row is None:
            row = await self._database.fetch_row(FIND, wanted.project, wanted.name)
        if row is None:
            raise AssertionError("a run that is neither new nor there")
        return self._remember(wanted.project, wanted.name, row)

    def _row(self, wanted: NewRun, opened_by: str) -> tuple[object, ...]:
        cap = self.defaults.cap_nusd if wanted.cap_nusd is None else wanted.cap_nusd
        ceiling, labels = wanted.output_ceiling, dict(wanted.labels)
        return (self._mint.id(), wanted.project, wanted.name, ceiling, labels, opened_by, cap)

    def _recall(self, project: Project, name: RunName) -> _Known | None:
        known = self._known.get((project, name))
        if known is not None:
            self._known.move_to_end((project, name))
        return known

    def _remember(self, project: Project, name: RunName, row: Record) -> _Known:
        run = Run(
            id=RunId(str(row["id"])),
            name=name,
            project=project,
            is_open=row["state"] == State.OPEN,
            output_ceiling=row["output_tokens_ceiling"],
        )
        known = self._known[project, name] = _Known(run, row["cap_nusd"])
        self._names[run.id] = (project, name)
        if len(self._known) > self._remembered:
            _, forgotten = self._known.popitem(last=False)
            del self._names[forgotten.run.id]
        return known


def calls_of_runs(traces: Iterable[Trace]) -> tuple[list[str], list[str], list[int]]:
    """Return projects, run names and how many calls each has among some traces, refused ones aside."""
    counts = Counter(
        (trace.project, trace.run)
        for trace in traces
        if trace.run is not None and trace.outcome is not Outcome.REFUSED
    )
    projects = [str(project) for project, _ in counts]
    return projects, [str(name) for _, name in counts], list(counts.values())


def _state(row: Record) -> RunState:
    return RunState(
        id=RunId(str(row["id"])),
        name=row["name"],
        project=row["project"],
        state=State(row["state"]),
        output_tokens_ceiling=row["output_tokens_ceiling"],
        labels=row["labels"],
        calls=row["calls"],
        opened_by=row["opened_by"],
        opened_at=row["opened_at"],
        closed_at=row["closed_at"],
        cap_nusd=row["cap_nusd"],
        spent_nusd=row["spent_nusd"],
        held_nusd=row["leased_nusd"],
        unsettled_nusd=row["unsettled_nusd"],
        overshoot_nusd=row["overshoot_nusd"],
    )
