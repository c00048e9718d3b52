"""Makes the partitions of traces for the days to come."""

from collections.abc import Callable
from datetime import datetime

from gateway.store.traces import TraceStore


async def run(traces: TraceStore, now: Callable[[], datetime]) -> None:
    """Make what is missing; `now` is aware UTC."""
    await traces.make_partitions(now().date())
