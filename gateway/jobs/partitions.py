"""Makes the partitions of traces for the days to come, and drops those that have been kept enough."""

from collections.abc import Callable
from datetime import datetime, timedelta

from gateway.store.traces import TraceStore


async def run(traces: TraceStore, now: Callable[[], datetime], days: Callable[[], int]) -> None:
    """Make what is missing and drop what is older than `days`; `now` is aware UTC."""
    today = now().date()
    await traces.make_partitions(today)
    await traces.drop_before(today - timedelta(days=days()))
