"""PostgreSQL goes away under load, for longer than a lease lives, and comes back.

    python -m tests.faults.outage [--short] [--seed N]

Four ways: it is shut down, it is killed, it is frozen (connections stand, and nothing is answered), and
it is frozen while so many calls come that more traces wait than are kept. In each, calls are served
from what is leased; then they are refused with 503 and told when to try again; streams that run go on
to their end; and when the database is back, what was settled meanwhile is booked to the last
nano-dollar, without a restart.
"""

import asyncio
import random
import re
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from tests.faults.calls import now, usd
from tests.faults.database import Server, server
from tests.faults.light import (
    Answer,
    Fleet,
    Result,
    Wire,
    allow_connections,
    fleet,
    main,
    request,
    resident_mib,
    until,
    wires,
)
from tests.process import standins
from tests.process.standins import Scripted

CLIENTS: Final = 10
"""At each gateway."""
PAUSE_SECONDS: Final = 0.1
STREAMS: Final = 5
"""At each gateway; each goes on for longer than the database is away."""
BOOKS: Final = """
SELECT (SELECT coalesce(sum(spent_nusd), 0)::bigint FROM budget WHERE scope = 'workspace') AS spent,
       (SELECT coalesce(sum(unsettled_nusd), 0)::bigint FROM budget) AS unsettled,
       (SELECT coalesce(sum(cost_nusd), 0)::bigint FROM trace) AS traced,
       (SELECT count(*) FROM trace) AS traces,
       (SELECT count(*) FROM trace WHERE outcome = 'completed') AS completed"""
DROPPED: Final = re.compile(
    r"^gateway_traces_dropped_total(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE
)
MOST_MIB: Final = 230
"""Of which some 180 are the tables of tokenizers, which the first long stream loads."""


@dataclass(frozen=True, slots=True)
class Outage:
    """One way to be away."""

    name: str
    begin: Callable[[Server], Awaitable[None]]
    end: Callable[[Server], Awaitable[None]]
    pause: float = PAUSE_SECONDS
    """Of a client between its calls."""


@dataclass(frozen=True, slots=True)
class Size:
    """How long things last, in seconds."""

    away: float
    lease: int


@dataclass(slots=True)
class Seen:
    """What clients and a watcher of readiness saw; instants are seconds since the outage began."""

    answers: list[tuple[float, Answer]] = field(default_factory=list)
    ready: list[tuple[float, bool]] = field(default_factory=list)
    goes_on: bool = True


async def _stop(postgres: Server) -> None:
    await postgres.stop()


async def _start(postgres: Server) -> None:
    await postgres.start_again()


async def _freeze(postgres: Server) -> None:
    postgres.freeze()


async def _thaw(postgres: Server) -> None:
    postgres.thaw()


async def _kill(postgres: Server) -> None:
    await postgres.kill()


STOPPED: Final = Outage("shut down", _stop, _start)
OUTAGES: Final = (
    STOPPED,
    Outage("killed", _kill, _start),
    Outage("frozen", _freeze, _thaw),
    Outage("flooded", _freeze, _thaw, pause=0.0),
)


async def run(short: bool, seed: int) -> Result:
    """Play all four for a minute each; the short form plays the first with a short lease."""
    size = Size(away=7, lease=3) if short else Size(away=60, lease=15)
    result = Result("outage")
    allow_connections(4_000)
    with standins.scripted(scripts={"*": {"tokens": 4}}) as provider:
        for outage in OUTAGES[: 1 if short else None]:
            async with server() as postgres:
                # Where calls are served for longer, more traces may come than are kept.
                longer = size if outage.pause else Size(size.away + size.lease, size.away)
                await _play(outage, longer, result, postgres, provider, seed)
            provider.reset()
    return result


async def _play(
    outage: Outage, size: Size, result: Result, postgres: Server, provider: Scripted, seed: int
) -> None:
    async with fleet(
        postgres, provider, 2, lease_ttl=f"{size.lease}s", limits={"request_usd": "0.02"}
    ) as two:
        seen, rng = Seen(), random.Random(seed)  # noqa: S311  # to be repeated, not to be secret
        streams = await _streams(two, size.away + 5)
        before = [resident_mib(each.gateway.pid) for each in two.replicas]
        async with asyncio.TaskGroup() as group:
            origin = now() + 2
            for replica in two.replicas:
                group.create_task(_watch(two, replica.number, origin, seen))
                for line in await wires(replica.gateway.port, CLIENTS):
                    group.create_task(_client(two, line, origin, outage.pause, rng, seen))
            await asyncio.sleep(origin - now())
            await outage.begin(postgres)
            await asyncio.sleep(origin + size.away - now())
            grown = [resident_mib(each.gateway.pid) for each in two.replicas]
            await outage.end(postgres)
            back_at = now() - origin
            is_ready = await until(_all_ready(two), 15)
            ready_after = now() - origin - back_at
            await asyncio.sleep(1)
            seen.goes_on = False
        ended = [await stream for stream in streams]
        growth = max(b - a for a, b in zip(before, grown, strict=True))
        result.row(
            f"{outage.name}: ready again after; memory grew",
            f"{ready_after:.1f} s; {growth:.0f} MiB",
        )
        result.expect(f"{outage.name}: ready again within 15 s", holds=is_ready)
        result.expect(
            f"{outage.name}: memory is bounded, not {growth:.0f} MiB", holds=growth < MOST_MIB
        )
        _judge_service(outage, size, result, seen, back_at, ended)
        await _judge_books(outage, result, two)


async def _streams(two: Fleet, seconds: float) -> list[asyncio.Future[Answer]]:
    """Start streams that go on for so many seconds."""
    script = {"m": {"tokens": int(seconds * 5), "chunk_after": 0.2}}
    await asyncio.to_thread(two.provider.script, "m", **script["m"])
    prepared = request(two.token, tokens=1_000, stream=True)
    lines = [line for each in two.replicas for line in await wires(each.gateway.port, STREAMS)]
    streams = [line.send(prepared) for line in lines]

    async def run_all() -> bool:
        return all(line.answer.data.count(b"data:") >= 2 for line in lines)

    await until(run_all, 10)
    await asyncio.to_thread(two.provider.script, "m", tokens=4)
    return streams


async def _client(
    two: Fleet, line: Wire, origin: float, pause: float, rng: random.Random, seen: Seen
) -> None:
    """Call again and again; what is refused is no reason to wait, as not every client does."""
    prepared = request(two.token, run="outage")
    # Too dear for one request: refused without the ledger, and kept as a trace all the same.
    dear = request(two.token, tokens=4_000)
    while seen.goes_on:
        at = now() - origin
        answer = await line.send(prepared)
        if not pause:
            await line.send(dear)
        answer.tail = b""
        seen.answers.append((at, answer))
        await asyncio.sleep(pause * (0.5 + rng.random()))


async def _watch(two: Fleet, number: int, origin: float, seen: Seen) -> None:
    while seen.goes_on:
        at = now() - origin
        seen.ready.append((at, await two.replicas[number].is_ready()))
        await asyncio.sleep(0.1)


def _all_ready(two: Fleet) -> Callable[[], Awaitable[bool]]:
    async def ready() -> bool:
        return all([await each.is_ready() for each in two.replicas])

    return ready


def _judge_service(
    outage: Outage, size: Size, result: Result, seen: Seen, back_at: float, ended: list[Answer]
) -> None:
    name = outage.name
    away = [(at, answer) for at, answer in seen.answers if 0 < at < back_at]
    served = [at for at, answer in away if answer.status == 200]
    refused = [answer for _, answer in seen.answers if answer.status not in {200}]
    statuses = Counter(answer.status for _, answer in seen.answers)
    last = max(served, default=0.0)
    result.row(f"{name}: answers by status", dict(sorted(statuses.items())))
    result.row(f"{name}: served while away; the last after", f"{len(served)}; {last:.1f} s")
    unready = [at for at, is_ready in seen.ready if not is_ready]
    result.row(
        f"{name}: not ready from; to",
        f"{min(unready, default=0):.1f} s; {max(unready, default=0):.1f} s",
    )
    whole = sum(stream.is_whole and b"[DONE]" in stream.tail for stream in ended)
    result.row(f"{name}: streams that ended whole", f"{whole} of {len(ended)}")
    result.expect(f"{name}: some calls are served from leases", holds=len(served) > 0)
    result.expect(f"{name}: none is admitted after the lease", holds=last <= size.lease + 1)
    result.expect(f"{name}: readiness tells", holds=0 < min(unready, default=0) <= size.lease + 1)
    unclear = [a.data[:400] for a in refused if a.status != 503 or not _says_when(a)]
    result.expect(
        f"{name}: refusals are 503 ledger_unavailable with retry-after, {len(unclear)} are not: {unclear[:1]}",
        holds=refused != [] and unclear == [],
    )
    result.expect(f"{name}: every stream went on to its end", holds=whole == len(ended))


def _says_when(answer: Answer) -> bool:
    return b"ledger_unavailable" in answer.data and b"retry-after:" in answer.data.lower()


async def _judge_books(outage: Outage, result: Result, two: Fleet) -> None:
    name = outage.name
    result.expect(f"{name}: every lease went back", holds=await two.at_rest())
    books = await two.read(BOOKS)
    requests, truth = await two.truth()
    metrics = [await asyncio.to_thread(each.gateway.metrics) for each in two.replicas]
    dropped = sum(float(found[1]) for each in metrics if (found := DROPPED.search(each)))
    result.row(
        f"{name}: truth; spent; traced, USD",
        f"{usd(truth)}; {usd(books['spent'])}; {usd(books['traced'])}",
    )
    result.row(f"{name}: traces; dropped", f"{books['traces']}; {dropped:.0f}")
    result.expect(f"{name}: spent is the truth", holds=books["spent"] == truth > 0)
    result.expect(f"{name}: nothing is unsettled", holds=books["unsettled"] == 0)
    if outage.pause:
        result.expect(f"{name}: no trace was dropped", holds=dropped == 0)
    if not dropped:
        result.expect(f"{name}: the traces are the truth", holds=books["traced"] == truth)
        result.expect(f"{name}: each call has its trace", holds=books["completed"] == requests)


if __name__ == "__main__":
    sys.exit(main("outage", run))
