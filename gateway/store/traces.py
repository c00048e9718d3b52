"""One row of metadata for each call: kept by the flush, read by people and exports.

A row that the database would refuse would hold up a replica's whole flush for ever, money included.
So text that a client chose is cut and cleaned here, and numbers that a provider chose are bounded.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec
from msgspec import structs

from gateway.core.ids import ModelName, Project, RunName, TokenId
from gateway.core.outcome import Outcome
from gateway.core.traces import Trace
from gateway.store.database import Database, Record

DAYS_AHEAD: Final = 3
BATCH: Final = 1000
_MOST_CHARACTERS: Final = 256
_MOST: Final = 2**63 - 1

COLUMNS: Final = {
    "id": "uuid",
    "at": "timestamptz",
    "token": "text",
    "project": "text",
    "run": "text",
    "dialect": "text",
    "endpoint": "text",
    "model_asked": "text",
    "model": "text",
    "provider": "text",
    "stream": "boolean",
    "status": "integer",
    "outcome": "text",
    "code": "text",
    "input_tokens": "bigint",
    "cached_tokens": "bigint",
    "cache_write_tokens": "bigint",
    "output_tokens": "bigint",
    "reasoning_tokens": "bigint",
    "cost_nusd": "bigint",
    "cost_basis": "text",
    "bound_nusd": "bigint",
    "price_version": "text",
    "latency_ms": "double precision",
    "first_byte_ms": "double precision",
    "overhead_ms": "double precision",
    "attempts": "integer",
    "labels": "jsonb",
}
"""The columns of a trace, in the order in which they are shown, and their types."""
_FREE_TEXT: Final = ("model_asked", "model", "run")
_AMOUNTS: Final = tuple(name for name, kind in COLUMNS.items() if kind == "bigint")
_NAMES: Final = ", ".join(COLUMNS)

MAKE_PARTITION: Final = "SELECT trace_make_partition($1)"
LIST: Final = f"SELECT {_NAMES} FROM trace WHERE %s ORDER BY at DESC, id DESC LIMIT $1"  # noqa: S608 - see `listing`

_CONDITIONS: Final = {
    "since": "at >= ${}",
    "until": "at < ${}",
    "model": "model = ${}",
    "run": "run = ${}",
    "token": "token = ${}",
    "project": "project = ${}",
    "outcome": "outcome = ${}",
    "label": "labels @> ${}",
}
PARTITIONS_BEFORE: Final = """
SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'trace'::regclass AND c.relname ~ '^trace_\\d{8}$'
      AND to_date(right(c.relname, 8), 'YYYYMMDD') < $1
ORDER BY name"""
DROP_PARTITION: Final = "DROP TABLE IF EXISTS {name}"
"""`name` comes from the catalogue, and is `trace_` and eight digits."""
DROP_STRAYS: Final = "DELETE FROM trace_default WHERE at < $1::date::timestamp AT TIME ZONE 'UTC'"
_AFTER: Final = "(at, id) < (${}, ${})"


class TraceFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which traces to read: those that meet all that is given; `since` ≤ at < `until`, aware."""

    since: datetime | None = None
    until: datetime | None = None
    model: ModelName | None = None
    run: RunName | None = None
    token: TokenId | None = None
    project: Project | None = None
    outcome: Outcome | None = None
    label: tuple[str, str] | None = None


class TracePage(msgspec.Struct, frozen=True):
    """Some traces, newest first, and the cursor of the page after them; None at the end."""

    traces: Sequence[Trace]
    cursor: str | None


class TraceStore:
    """The traces of one database. Every method raises LedgerUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def make_partitions(self, today: date, ahead: int = DAYS_AHEAD) -> int:
        """Make what is missing of the partitions from a UTC day to `ahead` days later; count them.

        Rows that came before their partition move into it.
        """
        days = [today + timedelta(days=count) for count in range(ahead + 1)]
        return sum([await self._database.fetch_value(MAKE_PARTITION, day) for day in days])

    async def drop_before(self, day: date) -> int:
        """Drop the traces of all UTC days before `day`, a partition at a time; count those."""
        names = [row["name"] for row in await self._database.fetch(PARTITIONS_BEFORE, day)]
        for name in names:
            await self._database.execute(DROP_PARTITION.format(name=name))
        await self._database.execute(DROP_STRAYS, day)
        return len(names)

    async def page(
        self, wanted: TraceFilter, *, cursor: str | None = None, limit: int = 100
    ) -> TracePage:
        """Return up to `limit` traces, newest first, from where the page with this cursor ended.

        Raises:
            ValueError: the cursor is none of ours.
        """
        query, arguments = listing(wanted, cursor)
        rows = await self._database.fetch(query, limit, *arguments)
        traces = [_trace(row) for row in rows]
        return TracePage(traces, _cursor(traces[-1]) if len(traces) == limit else None)

    async def export(self, wanted: TraceFilter, *, batch: int = BATCH) -> AsyncIterator[Trace]:
        """Yield every trace that is wanted, newest first, holding no lock and no connection between.

        Those that are recorded meanwhile may be missing; give `until` for a fixed set.
        """
        cursor = None
        while True:
            page = await self.page(wanted, cursor=cursor, limit=batch)
            for trace in page.traces:
                yield trace
            if page.cursor is None:
                return
            cursor = page.cursor


def rows(traces: Sequence[Trace]) -> list[Trace]:
    """Return traces as the database takes them, each as it would be read again but for excess.

    They go there as one JSON document: a parameter for each column costs the driver far more.
    """
    return [_row(trace) for trace in traces]


def listing(wanted: TraceFilter, cursor: str | None) -> tuple[str, list[object]]:
    """Return the statement that lists traces, and its arguments from `$2` on; `$1` is the limit.

    A statement for each set of filters, since one for all of them could not use an index: its
    conditions are constants, values are arguments. Raises ValueError for a bad cursor.
    """
    conditions, arguments = [], list[object]()
    for name, value in msgspec.structs.asdict(wanted).items():
        if value is not None:
            arguments.append(dict([value]) if name == "label" else value)
            conditions.append(_CONDITIONS[name].format(len(arguments) + 1))
    if cursor is not None:
        arguments += _position(cursor)
        conditions.append(_AFTER.format(len(arguments), len(arguments) + 1))
    return LIST % (" AND ".join(conditions) or "true"), arguments


def storable(text: str) -> str:
    """Return a client's text as PostgreSQL takes it: no NUL, no half of a character, not long."""
    text = text[:_MOST_CHARACTERS]
    if text.isascii() and text.isprintable():
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _row(trace: Trace) -> Trace:
    """Return a trace as the database takes it: the same, but for what no honest call has in it."""
    changes: dict[str, object] = {}
    for name in _FREE_TEXT:
        text = getattr(trace, name)
        if text is not None and storable(text) != text:
            changes[name] = storable(text)
    for name in _AMOUNTS:
        amount = getattr(trace, name)
        if not 0 <= amount <= _MOST:
            changes[name] = max(0, min(amount, _MOST))
    labels = {storable(name): storable(text) for name, text in trace.labels.items()}
    if labels != trace.labels:
        changes["labels"] = labels
    return structs.replace(trace, **changes) if changes else trace


def _trace(row: Record) -> Trace:
    return msgspec.convert({**row, "id": str(row["id"])}, Trace)


def _cursor(trace: Trace) -> str:
    return f"{trace.at.astimezone(UTC):%Y%m%dT%H%M%S.%f}_{trace.id}"


def _position(cursor: str) -> tuple[datetime, UUID]:
    at, _, name = cursor.partition("_")
    return datetime.strptime(at, "%Y%m%dT%H%M%S.%f").replace(tzinfo=UTC), UUID(name)
