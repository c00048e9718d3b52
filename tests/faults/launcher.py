"""`gateway` with a wall clock that can be put forward and back while it runs.

    FAULTS_CLOCK=FILE python -m tests.faults.launcher serve …

The file holds seconds that are added to the time of day; the monotonic clock goes on as it is, as
with a machine whose clock is set. The gateway's one place that reads clocks is replaced by it, and
nothing else.
"""

import os
from datetime import datetime, timedelta
from pathlib import Path

from gateway.app.clock import SystemClock
from gateway.cli import main

FILE = "FAULTS_CLOCK"


def put_forward(file: Path) -> None:
    """Let the system's clock differ from now on by what the file holds at each reading."""
    right_time = SystemClock.utc
    right_ms = SystemClock.unix_ms

    def seconds() -> float:
        return float(file.read_text())

    def utc(clock: SystemClock) -> datetime:
        return right_time(clock) + timedelta(seconds=seconds())

    def unix_ms(clock: SystemClock) -> int:
        return right_ms(clock) + round(seconds() * 1000)

    SystemClock.utc = utc  # type: ignore[method-assign, assignment]
    SystemClock.unix_ms = unix_ms  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    put_forward(Path(os.environ[FILE]))
    main()
