"""Traces: kept whatever is in them, found by each filter, in partitions by day."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from gateway.core.outcome import Outcome
from gateway.core.refusal import Code
from gateway.core.traces import Basis, Trace
from gateway.store.database import Database
from gateway.store.traces import COLUMNS, TraceFilter, TraceStore, storable
from tests.store import made
from tests.store.made import DEFAULT, NOON, TODAY, trace


@pytest.fixture
def traces(database: Database) -> TraceStore:
    return TraceStore(database)


async def keep(database: Database, *kept: Trace) -> None:
    await made.keep(database, list(kept))


async def found(traces: TraceStore, **wanted: object) -> list[str]:
    page = await traces.page(TraceFilter(**wanted))  # type: ignore[arg-type]
    return [row.id for row in page.traces]


async def partitions(database: Database) -> Mapping[str, int]:
    rows = await database.fetch(
        "SELECT tableoid::regclass::text AS part, count(*) FROM trace GROUP BY 1"
    )
    return {row["part"]: row["count"] for row in rows}


async def test_a_trace_comes_back_as_it_was_kept(traces: TraceStore, database: Database):
    full = trace(run="r1", code=Code.KILL_SWITCH, outcome=Outcome.KILLED, cost_basis=Basis.METERED)
    bare = trace(
        at=NOON - timedelta(seconds=1), model=None, provider=None, first_byte_ms=None, labels={}
    )
    await keep(database, bare, full)
    assert list((await traces.page(TraceFilter())).traces) == [full, bare]


def test_every_field_of_a_trace_has_a_column():
    assert set(COLUMNS) == {field.name for field in msgspec.structs.fields(Trace)}


async def test_each_filter_finds_its_own(traces: TraceStore, database: Database):
    odd = {
        "model": "groq/llama-4",
        "run": "r9",
        "token": "t9",
        "project": "p9",
        "outcome": Outcome.REFUSED,
    }
    others = [trace(), trace(run="r1")]
    rows = {field: trace(**{field: value}) for field, value in odd.items()}
    labelled = trace(labels={"team": "ads", "step": "2"})
    await keep(database, *others, *rows.values(), labelled)
    for field, value in odd.items():
        assert await found(traces, **{field: value}) == [rows[field].id]
    assert await found(traces, label=("team", "ads")) == [labelled.id]
    assert await found(traces, label=("team", "ads"), model="groq/llama-4") == []
    assert len(await found(traces, project=DEFAULT, model="openai/gpt-5-mini")) == 6


async def test_time_is_from_since_to_before_until(traces: TraceStore, database: Database):
    rows = [trace(at=NOON + timedelta(hours=hour)) for hour in range(4)]
    await keep(database, *rows)
    hour = timedelta(hours=1)
    assert await found(traces, since=NOON + hour, until=NOON + 3 * hour) == [rows[2].id, rows[1].id]


async def test_pages_follow_each_other_without_a_gap_or_a_repeat(
    traces: TraceStore, database: Database
):
    rows = [trace(at=NOON + timedelta(microseconds=number // 3)) for number in range(10)]
    await keep(database, *rows)
    seen, cursor = [], None
    while True:
        page = await traces.page(TraceFilter(), cursor=cursor, limit=4)
        seen += page.traces
        if (cursor := page.cursor) is None:
            break
    assert seen == sorted(rows, key=lambda row: (row.at, row.id), reverse=True)


async def test_an_export_yields_every_trace_once(traces: TraceStore, database: Database):
    rows = [trace(at=NOON + timedelta(seconds=number)) for number in range(7)]
    await keep(database, *rows, trace(project="p9"))
    assert [row async for row in traces.export(TraceFilter(project=DEFAULT), batch=3)] == rows[::-1]


@pytest.mark.parametrize("cursor", ["", "x", "20261125T120000.000000_x", "yesterday_1"])
async def test_a_cursor_of_somebody_elses_is_a_value_error(traces: TraceStore, cursor: str):
    with pytest.raises(ValueError):  # noqa: PT011  # of strptime or UUID, by where it breaks
        await traces.page(TraceFilter(), cursor=cursor)


async def test_partitions_are_made_ahead_and_once(traces: TraceStore, database: Database):
    assert await traces.make_partitions(TODAY) == 4
    assert await traces.make_partitions(TODAY) == 0
    assert await traces.make_partitions(TODAY + timedelta(days=1)) == 1
    midnight = datetime(2026, 11, 26, tzinfo=UTC)
    await keep(
        database, trace(), trace(at=midnight), trace(at=midnight - timedelta(microseconds=1))
    )
    assert await partitions(database) == {"trace_20261125": 2, "trace_20261126": 1}


async def test_what_has_no_partition_is_kept_and_moves_when_it_has(
    traces: TraceStore, database: Database
):
    rows = [trace(), trace(at=NOON + timedelta(days=1))]
    await keep(database, *rows)
    assert await partitions(database) == {"trace_default": 2}
    await traces.make_partitions(date(2026, 11, 25), 0)
    assert await partitions(database) == {"trace_20261125": 1, "trace_default": 1}
    assert list((await traces.page(TraceFilter())).traces) == rows[::-1]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=st.text(st.characters(), max_size=300),
    label=st.text(st.characters(), max_size=80),
    number=st.integers(-1, 2**70),
)
async def test_nothing_that_a_client_or_provider_says_keeps_a_trace_from_being_kept(
    database: Database, text: str, label: str, number: int
):
    odd = trace(
        model_asked=text,
        labels={label: text},
        input_tokens=number,
        cost_nusd=number,
        output_tokens=number,
    )
    await keep(database, odd)


def test_text_is_stored_as_it_is_where_it_can_be():
    assert storable("gpt-5 ☃") == "gpt-5 ☃"
    assert storable("a\0b\ud800") == "a\ufffdb?"
    assert len(storable("x" * 10_000)) == 256
