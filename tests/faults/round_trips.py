"""How often the database is asked, counted on the wire, at 500 calls a second far from any cap.

    python -m tests.faults.round_trips [--short] [--seed N]

A proxy between the gateway and PostgreSQL reads every message of the gateway's side (PostgreSQL manual,
"Message Formats") and counts each after which the gateway waits: `Query`, and `Sync` after prepared
statements. Everything counts: grants, flushes, renewals, what is polled, jobs. Calls of the load
are all that is divided by.
"""

import asyncio
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from tests.faults.calls import now
from tests.faults.database import Server, server
from tests.faults.light import Fleet, Result, Wire, cpu_seconds, fleet, main, request, wires
from tests.faults.wiretap import Messages, tapped
from tests.process import standins
from tests.process.standins import Scripted

CALLS_A_SECOND: Final = 500
CLIENTS: Final = 50
CALLS_FOR_A_TRIP: Final = 20
SHOWN: Final = 12
TRANSACTION: Final = re.compile(r"^(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)")


@dataclass(slots=True)
class Tally:
    """Round trips so far, by what was asked."""

    trips: Counter[str] = field(default_factory=Counter)


class Reader:
    """Reads what one client sends."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._messages = Messages(of_client=True)
        self._statements: dict[bytes, str] = {}
        self._asked = "sync alone"

    def hear(self, data: bytes) -> bytes:
        """Count the round trips that begin with these bytes, and hand them on."""
        for message in self._messages.feed(data):
            self._hear(message[0], message[5:])
        return data

    def _hear(self, kind: int, body: bytes) -> None:
        match chr(kind):
            case "P":
                name, query = body.split(b"\0")[:2]
                self._statements[name] = _short(query)
                self._asked = f"(prepare) {_short(query)}"
            case "B":
                name = body.split(b"\0")[1]
                self._asked = self._statements.get(name, "unknown")
            case "Q":
                self._tally.trips[_short(body.rstrip(b"\0"))] += 1
            case "S" | "H":  # asyncpg waits after a flush too, once for each statement it prepares
                self._tally.trips[self._asked] += 1
                self._asked = "sync alone"
            case _:
                pass


async def run(short: bool, seed: int) -> Result:
    """Measure calls without a run, of one run, and of twenty; `seed` decides nothing here."""
    del seed
    seconds = 3.0 if short else 15.0
    result = Result("round_trips")
    with standins.scripted() as provider:
        async with server() as postgres:
            await _measure(result, postgres, provider, seconds)
    return result


async def _measure(result: Result, postgres: Server, provider: Scripted, seconds: float) -> None:
    tally = Tally()
    async with tapped(postgres.socket, lambda: Reader(tally).hear, lambda: _unheard) as port:

        def reached(name: str) -> str:
            return f"postgresql://gateway@127.0.0.1:{port}/{name}"

        async with fleet(postgres, provider, 1, dsn=reached) as one:
            lines = await wires(one.replicas[0].gateway.port, CLIENTS)
            for runs in (0, 1, 20):
                await _load(one, lines, runs, 2.0)
                tally.trips.clear()
                before = cpu_seconds(one.replicas[0].gateway.pid)
                calls, taken = await _load(one, lines, runs, seconds)
                cpu = cpu_seconds(one.replicas[0].gateway.pid) - before
                trips = Counter(tally.trips)
                _report(result, runs, calls, taken, trips)
                result.row("  gateway's CPU, ms a call", f"{cpu / calls * 1000:.2f}")


def _report(result: Result, runs: int, calls: int, taken: float, trips: Counter[str]) -> None:
    total = trips.total()
    per_trip = calls / total if total else float("inf")
    of = f"{runs} runs" if runs else "no run"
    result.row(
        f"{of}: calls a second; trips; calls a trip",
        f"{calls / taken:.0f}; {total}; {per_trip:.1f}",
    )
    for asked, count in trips.most_common(SHOWN):
        result.row(f"  {asked}"[:58], f"{count} ({count / taken:.1f} a second)")
    result.expect(
        f"{of}: at least {CALLS_FOR_A_TRIP} calls a trip, not {per_trip:.1f}",
        holds=per_trip >= CALLS_FOR_A_TRIP,
    )
    result.expect(f"{of}: 500 calls a second were made", holds=calls / taken >= 450)


async def _load(one: Fleet, lines: list[Wire], runs: int, seconds: float) -> tuple[int, float]:
    """Call at a steady pace; returns how many calls were served, and how long that took."""
    began = now()
    served = 0

    async def client(number: int) -> None:
        nonlocal served
        at = began + number / CALLS_A_SECOND
        count = 0
        while at < began + seconds:
            await asyncio.sleep(max(0.0, at - now()))
            run = f"run-{(number + count) % runs}" if runs else None
            answer = await lines[number].send(request(one.token, run=run))
            served += answer.status == 200
            at, count = at + CLIENTS / CALLS_A_SECOND, count + 1

    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(client(number))
    return served, now() - began


def _unheard(data: bytes) -> bytes:
    return data


def _short(query: bytes) -> str:
    """Return the beginning of a statement, enough to know it by."""
    text = " ".join(query.decode(errors="replace").split())
    found = TRANSACTION.match(text)
    return found[1] if found else text[:44]


if __name__ == "__main__":
    sys.exit(main("round_trips", run))
