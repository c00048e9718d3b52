"""Calls in a closed loop, by wrk: so many connections, each with one call under way all the time."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.nginx import TOOLS

SCRIPT = Path(__file__).with_name("load.lua")
TIMEOUT = "10s"


class LoadFailed(Exception):
    """wrk could not run, or calls were not answered as they should be; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Who is called, how often at once, and with what."""

    url: str
    body: Path
    token: str
    runs: str
    """The first part of the runs' names."""
    calls_per_run: int
    """0 where calls name no run. As many runs are under way at once as there are connections."""
    connections: int


@dataclass(frozen=True, slots=True)
class Answered:
    """What wrk says of its calls: those that were answered in its time, and how long they took."""

    calls: int
    seconds: float
    bytes: int
    failed: int
    p50_ms: float
    p99_ms: float


def run(calls: Calls, seconds: int) -> Answered:
    """Call for so long. Raises LoadFailed when any call failed."""
    with running(calls, seconds) as process:
        return ended(process)


@contextmanager
def running(calls: Calls, seconds: int) -> Iterator[subprocess.Popen[str]]:
    """Call in the background; take the result with `ended`."""
    settings = ["-t1", f"-c{calls.connections}", f"-d{seconds}s", "--timeout", TIMEOUT]
    runs = [calls.runs, str(calls.calls_per_run), str(calls.connections)]
    told = ["-s", str(SCRIPT), calls.url, "--", str(calls.body), calls.token, *runs]
    with subprocess.Popen(
        [str(TOOLS / "usr/bin/wrk"), *settings, *told],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "LD_LIBRARY_PATH": str(TOOLS / "lib")},
    ) as process:
        yield process


def ended(process: subprocess.Popen[str]) -> Answered:
    """Wait for a load to end. Raises LoadFailed when any call failed."""
    output, _ = process.communicate(timeout=60)
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if process.returncode != 0 or not lines:
        raise LoadFailed(output)
    answered = Answered(**json.loads(lines[-1]))
    if answered.failed or not answered.calls:
        raise LoadFailed(output)
    return answered
