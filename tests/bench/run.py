"""What a call and an event of a stream cost the gateway, beside nginx proxying the same.

Everything is on, as in real life: the embedded database, caps, leases, traces, metrics, the log. The
two proxies take turns, as a machine's speed drifts. Prints; judges nothing.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.bench import cpu, nginx, table, traffic
from tests.bench.load import LoadFailed
from tests.bench.measuring import Bench, Case, Subject
from tests.process.gateway_process import Gateway, GatewayFailed
from tests.process.programs import ROOT

ROUNDS = 3
CALLS_PER_RUN = 50
SHORT_S = 1
"""Enough for a warm-up, and for nginx, which answers thousands of calls in it."""

ONCE = traffic.Exchange("once", is_stream=False)
BURST = traffic.Exchange("burst", is_stream=True)
FRAMED = traffic.Exchange("framed", is_stream=True)
PACED = traffic.Exchange("paced", is_stream=True)
EXCHANGES = (ONCE, BURST, FRAMED, PACED)
CASES = (
    Case("request in a run", ONCE, 2, CALLS_PER_RUN),
    Case("request without a run", ONCE, 2, 0),
    Case("stream, burst", BURST, 2, CALLS_PER_RUN),
    Case("stream, burst, framed", FRAMED, 2, CALLS_PER_RUN),
    Case("stream, paced", PACED, 3, CALLS_PER_RUN, connections=32, is_paced=True),
)


class BenchFailed(Exception):
    """What was to be measured did not happen; the message says what happened instead."""


@dataclass(frozen=True, slots=True)
class Place:
    """All that runs during a bench."""

    bench: Bench
    gateway: Gateway
    subjects: Mapping[str, Subject]


def main() -> int:
    load, began = os.getloadavg()[0], time.monotonic()
    try:
        with _place() as place:
            _check_answers(place)
            results = _rounds(place)
            _check_outcomes(place)
    except (BenchFailed, LoadFailed, nginx.NginxFailed, GatewayFailed) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print("\n".join(table.lines(results, ROUNDS)))
    print(f"\nLoad average when it began: {load:.1f}. It took {time.monotonic() - began:.0f} s.")
    return 0


@contextmanager
def _place() -> Iterator[Place]:
    """Start the providers, nginx and the gateway: the measured ones on one core, the rest on another."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        provider = stack.enter_context(nginx.provider(folder / "provider"))
        streamer = stack.enter_context(_streamer())
        ports = {e.name: provider.port if e in {ONCE, BURST} else streamer for e in EXCHANGES}
        proxy = stack.enter_context(nginx.proxy(folder / "proxy", EXCHANGES, ports))
        gateway = Gateway(_config(ports))
        stack.callback(gateway.remove)
        gateway.folder.chmod(0o711)  # so that root's PostgreSQL, another user, keeps its data in it
        gateway.start()
        subjects = {
            "gateway": Subject(
                gateway.pid, lambda _: f"{gateway.url}{traffic.PATH}", gateway.client_token
            ),
            "nginx": Subject(
                proxy.pid, lambda e: f"http://127.0.0.1:{proxy.port}/{e.name}{traffic.PATH}", "none"
            ),
        }
        _pin(subjects.values())
        yield Place(Bench(folder, f"http://127.0.0.1:{streamer}/sent"), gateway, subjects)


@contextmanager
def _streamer() -> Iterator[int]:
    command = [sys.executable, "-m", "tests.bench.streamer"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def _pin(subjects: Iterable[Subject]) -> None:
    """Give what is measured a core to itself, as far as it is ours to give."""
    measured, other = cpu.cores()
    cpu.pin(os.getpid(), other, others=other)
    for subject in subjects:
        cpu.pin(subject.pid, measured, others=other)


def _config(ports: Mapping[str, int]) -> dict[str, Any]:
    """Defaults, but for caps that a bench can't reach, and a key that each call carries upstream."""
    price = {"input": "0.25", "output": "2", "max_output_tokens": 16384, "context_tokens": 131072}
    return {
        "providers": {
            name: {
                "dialect": "openai",
                "base_url": f"http://127.0.0.1:{port}/{name}/v1",
                "key": "sk-bench",
            }
            for name, port in ports.items()
        },
        "prices": {f"{name}/{traffic.MODEL}": price for name in ports},
        "limits": {"month_usd": "100000", "run_usd": "5"},
    }


def _check_answers(place: Place) -> None:
    """Raise BenchFailed unless both proxies answer what the provider sends, whole."""
    for exchange in EXCHANGES:
        for name, subject in place.subjects.items():
            answer = httpx.post(
                subject.url(exchange),
                content=exchange.request,
                headers={
                    "content-type": "application/json",
                    "authorization": f"Bearer {subject.token}",
                },
            )
            expected = exchange.relayed if name == "gateway" else exchange.answered
            if answer.status_code != 200 or answer.content != expected:
                raise BenchFailed(f"{name} answered {exchange.name} with {answer.text[:400]}")


def _rounds(place: Place) -> table.Results:
    results: table.Results = {case: {name: [] for name in place.subjects} for case in CASES}
    for case in CASES[:3]:
        place.bench.measure(case, place.subjects["gateway"], seconds=SHORT_S)
    for number in range(1, ROUNDS + 1):
        for case in CASES:
            for name, subject in place.subjects.items():
                print(f"round {number} of {ROUNDS}: {case.name}, {name}", file=sys.stderr)
                seconds = SHORT_S if name == "nginx" else case.seconds
                results[case][name].append(place.bench.measure(case, subject, seconds=seconds))
    return results


def _check_outcomes(place: Place) -> None:
    """Raise BenchFailed when a call was refused or went wrong; the last ones of a load are cut by us."""
    wrong = [
        line
        for line in place.gateway.metrics().splitlines()
        if line.startswith("gateway_requests_total{")
        and not any(f'outcome="{fine}"' in line for fine in ("completed", "client_gone"))
        and not line.endswith(" 0.0")
    ]
    if wrong:
        raise BenchFailed("calls went wrong:\n" + "\n".join(wrong))


if __name__ == "__main__":
    sys.exit(main())
