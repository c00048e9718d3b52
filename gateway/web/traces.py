"""What is kept of calls: filtered, in pages, or exported whole as CSV or JSON lines."""

import csv
import io
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

import msgspec
from litestar import Response
from litestar.types import ASGIApp
from msgspec import Meta

from gateway.core.ids import ModelName, Project, Provider, RunName, TokenId, TraceId
from gateway.core.outcome import Outcome
from gateway.core.refusal import Code
from gateway.core.traces import Basis, Trace
from gateway.store.traces import TraceFilter
from gateway.web import reading
from gateway.web.gate import Visitor, visitor_of
from gateway.web.problems import invalid
from gateway.web.routing import API, Described, Sender, route
from gateway.web.services import Services, services_of
from gateway.web.shapes import Cursor, Labelled, Limit, Name, Page, Query, answer, usd
from gateway.web.streaming import Streamed

Time = Annotated[datetime, Meta(tz=True)]
Format = Literal["csv", "jsonl"]

_DANGEROUS: Final = ("=", "+", "-", "@", "\t", "\r")
_BATCH: Final = 500
_KINDS: Final[Mapping[Format, bytes]] = {
    "csv": b"text/csv; charset=utf-8",
    "jsonl": b"application/jsonl",
}


class Filter(Query, frozen=True, kw_only=True):
    """Which calls: all that is given must hold. `since` ≤ at < `until`; a label is `name=value`."""

    since: Time | None = None
    until: Time | None = None
    model: Annotated[str, Meta(max_length=256)] | None = None
    run: Name | None = None
    token: Annotated[str, Meta(max_length=64)] | None = None
    project: Name | None = None
    outcome: Outcome | None = None
    label: Labelled | None = None


class TracesQuery(Filter, frozen=True, kw_only=True):
    """Which calls to list."""

    cursor: Cursor | None = None
    limit: Limit = 100


class ExportQuery(Filter, frozen=True, kw_only=True):
    """Which calls to export, and how."""

    format: Format = "jsonl"


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call. `input_tokens` contains cached and written ones, `output_tokens` the reasoning ones."""

    id: TraceId
    at: datetime
    token: TokenId
    project: Project
    run: RunName | None
    dialect: str
    endpoint: str
    model_asked: str
    model: ModelName | None
    provider: Provider | None
    stream: bool
    status: int
    outcome: Outcome
    code: Code | None
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_usd: str
    cost_basis: Basis
    bound_usd: str
    price_version: str
    latency_ms: float
    first_byte_ms: float | None
    overhead_ms: float
    attempts: int
    labels: Mapping[str, str]


def shown(trace: Trace) -> Call:
    """Return a call as answers have it; durations to a microsecond."""
    values = msgspec.structs.asdict(trace)
    values["cost_usd"] = usd(values.pop("cost_nusd"))
    values["bound_usd"] = usd(values.pop("bound_nusd"))
    values["at"] = trace.at.astimezone(UTC)
    for name in ("latency_ms", "first_byte_ms", "overhead_ms"):
        values[name] = None if values[name] is None else round(values[name], 3)
    return Call(**values)


@route("GET", f"{API}/traces", Described("List calls", query=TracesQuery, answer=Page[Call]))
async def listing(request: Sender) -> Response[bytes]:
    """List calls, newest first."""
    query = reading.query(request, TracesQuery)
    wanted = _wanted(query, visitor_of(request))
    try:
        found = await services_of(request).traces.page(
            wanted, cursor=query.cursor, limit=query.limit
        )
    except ValueError:
        raise invalid("The cursor is none of ours.", "cursor") from None
    return answer(Page([shown(trace) for trace in found.traces], found.cursor))


@route(
    "GET",
    f"{API}/traces/export",
    Described(
        "Export calls, newest first", query=ExportQuery, answer=Call, kind="application/jsonl"
    ),
)
async def export(request: Sender) -> ASGIApp:
    """Stream every call that is wanted."""
    query = reading.query(request, ExportQuery)
    services = services_of(request)
    wanted = _wanted(query, visitor_of(request))
    if wanted.until is None:
        wanted = msgspec.structs.replace(wanted, until=services.now())
    await services.traces.page(wanted, limit=1)  # so that a database that is away is said as 503
    name = f'attachment; filename="traces.{query.format}"'.encode()
    headers = [(b"content-type", _KINDS[query.format]), (b"content-disposition", name)]
    return Streamed(_lines(services, wanted, query.format), headers)


async def _lines(
    services: Services, wanted: TraceFilter, form: Format
) -> AsyncGenerator[bytes, None]:
    """Yield the lines of an export, some hundred at a time."""
    if form == "csv":
        yield csv_lines([Call.__struct_fields__])
    cursor, is_over = None, False
    while not is_over:
        page = await services.traces.page(wanted, cursor=cursor, limit=_BATCH)
        calls = [shown(trace) for trace in page.traces]
        yield csv_lines(map(_cells, calls)) if form == "csv" else json_lines(calls)
        cursor, is_over = page.cursor, page.cursor is None


def json_lines(rows: Sequence[object]) -> bytes:
    """Return rows as JSON, one a line."""
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def csv_lines(rows: Iterable[Iterable[str]]) -> bytes:
    """Return rows as CSV (RFC 4180), with cells that a spreadsheet would run made harmless.

    https://owasp.org/www-community/attacks/CSV_Injection: a quote in front makes them text.
    """
    text = io.StringIO()
    csv.writer(text).writerows([_harmless(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_DANGEROUS) else cell


def _cells(call: Call) -> list[str]:
    return [_cell(value) for value in msgspec.to_builtins(call).values()]


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case _:
            return msgspec.json.encode(value).decode()


def _wanted(query: Filter, visitor: Visitor) -> TraceFilter:
    name, _, text = (query.label or "").partition("=")
    project = visitor.confined_to or query.project
    return TraceFilter(
        since=query.since,
        until=query.until,
        model=None if query.model is None else ModelName(query.model),
        run=None if query.run is None else RunName(query.run),
        token=None if query.token is None else TokenId(query.token),
        project=None if project is None else Project(project),
        outcome=query.outcome,
        label=None if query.label is None else (name, text),
    )
