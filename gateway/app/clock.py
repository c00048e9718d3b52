"""The one place that reads the clocks and the system's random bytes."""

import os
import time
from datetime import UTC, datetime

from gateway.exchange.ports import Instant

_POOL_BYTES = 4096


class SystemClock:
    """The machine's clocks, and its random bytes."""

    def __init__(self) -> None:
        self._pool = b""
        self._used = 0

    def now(self) -> Instant:
        """Return this moment on both clocks."""
        return Instant(self.utc(), time.monotonic())

    def utc(self) -> datetime:
        """Return the time of day, aware."""
        return datetime.now(UTC)  # noqa: TID251  # this is where the clock is wired

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps."""
        return time.monotonic()

    def unix_ms(self) -> int:
        """Return milliseconds since 1970, for identifiers in order of time."""
        return time.time_ns() // 1_000_000

    def entropy(self, count: int) -> bytes:
        """Return random bytes of the operating system, each given out once.

        They are fetched many at a time: a system call for each identifier costs a call more than
        all the rest of its name.
        """
        if count > len(self._pool) - self._used:
            self._pool, self._used = os.urandom(max(count, _POOL_BYTES)), 0
        self._used += count
        return self._pool[self._used - count : self._used]
