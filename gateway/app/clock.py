"""The one place that reads the clocks and the system's random bytes."""

import os
import time
from datetime import UTC, datetime

from gateway.exchange.ports import Instant


class SystemClock:
    """The machine's clocks."""

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
        """Return random bytes of the operating system."""
        return os.urandom(count)
