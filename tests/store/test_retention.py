"""Traces are kept for so many days and no longer."""

from datetime import timedelta

from gateway.jobs import partitions
from gateway.store.database import Database
from gateway.store.traces import TraceFilter, TraceStore
from tests.store import made
from tests.store.made import NOON, TODAY, trace


async def keep(database: Database, *ages_days: int) -> None:
    await made.keep(database, [trace(at=NOON - timedelta(days=age)) for age in ages_days])


async def ages(store: TraceStore) -> list[int]:
    return [(NOON - row.at).days for row in (await store.page(TraceFilter())).traces]


async def test_days_before_the_first_kept_one_are_dropped_whole(database: Database):
    store = TraceStore(database)
    for age in (5, 4, 3):
        await store.make_partitions(TODAY - timedelta(days=age), ahead=0)
    await keep(database, 5, 4, 3)
    assert await store.drop_before(TODAY - timedelta(days=4)) == 1
    assert await ages(store) == [3, 4]


async def test_strays_without_a_partition_are_dropped_too(database: Database):
    store = TraceStore(database)
    await keep(database, 500, 399)
    await store.drop_before(TODAY - timedelta(days=400))
    assert await ages(store) == [399]


async def test_the_job_makes_days_ahead_and_drops_by_the_configured_number(database: Database):
    store = TraceStore(database)
    await keep(database, 40, 10)
    await partitions.run(store, lambda: NOON, lambda: 30)
    assert await ages(store) == [10]
    assert await store.make_partitions(TODAY) == 0
