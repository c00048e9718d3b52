"""Whether this replica may still spend: its lease's end, by its own monotonic clock.

Counted from before the request that renewed it was sent, so that a slow answer never makes the
lease longer here than it is in the database, which takes a replica for dead after twice its life.
"""

from typing import Protocol

import anyio

from gateway.errors import ReplicaRetired
from gateway.exchange.ports import Clock


class Witness(Protocol):
    """Who is told that the ledger went away, and that it is back."""

    def ledger_lost(self, reason: str) -> None: ...
    def ledger_back(self) -> None: ...


class Fence:
    """Open while the lease runs; closed for good once the replica is retired."""

    def __init__(self, clock: Clock, ttl_s: float, witness: Witness) -> None:
        self.retired = anyio.Event()
        """Set when this replica may never admit again: it has to end."""
        self.is_lost = False
        """Whether the last request to the database failed."""
        self._clock = clock
        self._ttl_s = ttl_s
        self._witness = witness
        self._renewed_at = clock.monotonic()

    @property
    def is_open(self) -> bool:
        """Whether a call may be admitted now."""
        return (
            self._clock.monotonic() < self._renewed_at + self._ttl_s and not self.retired.is_set()
        )

    @property
    def is_due(self) -> bool:
        """Whether a third of the lease's life has passed."""
        return self._clock.monotonic() - self._renewed_at >= self._ttl_s / 3

    def renewed(self, asked_at: float) -> None:
        """Note that the database renewed this replica on a request that was sent at `asked_at`."""
        self.heard()
        self._renewed_at = max(self._renewed_at, asked_at)

    def heard(self) -> None:
        """Note that the database answers."""
        if self.is_lost:
            self.is_lost = False
            self._witness.ledger_back()

    def lost(self, reason: str) -> None:
        """Note that the database did not answer."""
        if not self.is_lost:
            self.is_lost = True
            self._witness.ledger_lost(reason)

    def retire(self, error: ReplicaRetired) -> None:
        """Close for good."""
        if not self.retired.is_set():
            self.retired.set()
            self._witness.ledger_lost(str(error))
