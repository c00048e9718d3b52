"""One measurement: some seconds of one kind of traffic through one proxy, and what that cost it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.bench import cpu, load, traffic

FLUSHED_S = 0.4
"""The gateway books what has ended every 50 ms: the last of it is part of what the calls cost."""
LEAD_S = 1.2
"""Paced streams are counted after this, when all of them are under way."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured under one name."""

    name: str
    exchange: traffic.Exchange
    seconds: int
    calls_per_run: int
    connections: int = 16
    is_paced: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """A proxy to measure: its process, and where and as whom it is called."""

    pid: int
    url: Callable[[traffic.Exchange], str]
    token: str


@dataclass(frozen=True, slots=True)
class Sample:
    """What one measurement found. CPU is user and system, in microseconds."""

    call_us: float
    """Of the proxy's own process, for each call; a stream is one call."""
    chunk_us: float
    """The same for each event of a stream, its call's share included; 0 where it is no stream."""
    children_us: float
    """Of what the proxy started, its database, for each call."""
    calls_per_s: float
    p50_ms: float
    p99_ms: float


class Bench:
    """Measures cases; each measurement calls in runs of its own."""

    def __init__(self, folder: Path, sent: str) -> None:
        """Keep request bodies in `folder`; `sent` is the URL that counts the events of paced streams."""
        self._folder = folder
        self._sent_url = sent
        self._measured = 0

    def measure(self, case: Case, subject: Subject, *, seconds: int) -> Sample:
        """Call for so long, but for paced streams, which take what their case says.

        Raises LoadFailed when a call was not answered well.
        """
        calls = self._calls(case, subject)
        if case.is_paced:
            return self._paced(case, subject, calls)
        own, children = cpu.own(subject.pid), cpu.descendants(subject.pid)
        answered = load.run(calls, seconds)
        time.sleep(FLUSHED_S)
        own, children = cpu.own(subject.pid) - own, cpu.descendants(subject.pid) - children
        _whole(case, answered)
        call_us = own / answered.calls
        return Sample(
            call_us=call_us,
            chunk_us=call_us / case.exchange.chunks if case.exchange.is_stream else 0.0,
            children_us=children / answered.calls,
            calls_per_s=answered.calls / answered.seconds,
            p50_ms=answered.p50_ms,
            p99_ms=answered.p99_ms,
        )

    def _paced(self, case: Case, subject: Subject, calls: load.Calls) -> Sample:
        """Measure in the middle of a load, as its streams last longer than its edges may distort."""
        with load.running(calls, case.seconds) as process:
            time.sleep(LEAD_S)
            own, children = cpu.own(subject.pid), cpu.descendants(subject.pid)
            began, sent = time.monotonic(), self._sent()
            time.sleep(case.seconds - LEAD_S - 0.2)
            sent, took = self._sent() - sent, time.monotonic() - began
            own, children = cpu.own(subject.pid) - own, cpu.descendants(subject.pid) - children
            answered = load.ended(process)
        streams = sent / case.exchange.chunks
        return Sample(
            call_us=own / streams,
            chunk_us=own / sent,
            children_us=children / streams,
            calls_per_s=streams / took,
            p50_ms=answered.p50_ms,
            p99_ms=answered.p99_ms,
        )

    def _calls(self, case: Case, subject: Subject) -> load.Calls:
        self._measured += 1
        body = self._folder / f"{case.exchange.name}.json"
        body.write_bytes(case.exchange.request)
        return load.Calls(
            url=subject.url(case.exchange),
            body=body,
            token=subject.token,
            runs=f"bench-{self._measured}",
            calls_per_run=case.calls_per_run,
            connections=case.connections,
        )

    def _sent(self) -> int:
        return int(httpx.get(self._sent_url, timeout=10).text)


def _whole(case: Case, answered: load.Answered) -> None:
    """Raise LoadFailed when answers were shorter than they should be: cut streams look like answers."""
    if answered.bytes < answered.calls * len(case.exchange.relayed):
        raise load.LoadFailed(f"{case.name}: answers were cut short: {answered}")
