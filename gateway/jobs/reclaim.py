"""Finds replicas that died and makes what they had leased unsettled, which counts as spent."""

from collections.abc import Callable
from datetime import timedelta

from gateway.core.ids import ReplicaId
from gateway.store.replicas import Reclaimed, ReplicaStore


async def run(
    replicas: ReplicaStore, ttl: timedelta, report: Callable[[ReplicaId, int], None]
) -> None:
    """Reclaim whoever was silent for twice a lease's life; report each with its largest amount."""
    for dead in await replicas.reclaim(ttl):
        report(dead.replica, worst(dead))


def worst(dead: Reclaimed) -> int:
    """Return the most that a dead replica may have spent: its leases overlap, so they don't add up."""
    return max(dead.unsettled.values(), default=0)
