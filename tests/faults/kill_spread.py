"""How long streams go on after a kill switch was thrown, at several gateways.

    python -m tests.faults.kill_spread [--short] [--seed N]

Measured is what a client sees: from the instant at which the command was answered to the last byte of
each stream; a stream whose last byte came before the answer counts with what it is, below zero. And
where every notice is lost on its way: the switch is applied all the same, when each gateway looks by
itself.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Any, Final

from tests.faults.calls import MODEL, now
from tests.faults.database import Server, server
from tests.faults.light import (
    Answer,
    Fleet,
    Result,
    Wire,
    allow_connections,
    fleet,
    main,
    percentile,
    request,
    spread,
    until,
    wires,
)
from tests.faults.wiretap import Deafness, tapped
from tests.process import standins
from tests.process.standins import Scripted

MOST_SECONDS: Final = 0.25
LEASE_TTL_SECONDS: Final = 6
"""A gateway looks by itself each third of it: later than the second that the command waits."""
CHUNKS_BEFORE: Final = 4
KILLED: Final = """
SELECT count(*) AS traces, count(*) FILTER (WHERE outcome = 'killed') AS killed,
       count(*) FILTER (WHERE cost_basis = 'metered') AS metered,
       coalesce(sum(cost_nusd), 0)::bigint AS cost
FROM trace WHERE run = $1"""
SPENT: Final = """
SELECT b.spent_nusd AS spent, b.unsettled_nusd AS unsettled, b.leased_nusd AS leased
FROM budget b JOIN run r ON b.scope_id = r.id::text WHERE b.scope = 'run' AND r.name = $1"""


async def run(short: bool, seed: int) -> Result:
    """Measure over three gateways; `seed` decides nothing here. The short form judges no time."""
    del seed
    each, rounds = (20, 1) if short else (100, 5)
    result = Result("kill_spread")
    allow_connections(4_000)
    script = {"m": {"tokens": 4_000, "chunk_after": 0.1}}
    with standins.scripted(scripts=script) as provider:
        async with server() as postgres, _reached(postgres, provider) as (three, deafness):
            after = [await _killed(three, result, number, each) for number in range(rounds)]
            pooled = [one for group in after for one in group]
            result.row("all rounds: answer to last byte, p50 / p99 / most", spread(pooled))
            if not short:
                slow = percentile(pooled, 0.99)
                result.expect("p99 is at most 250 ms", holds=slow <= MOST_SECONDS)
            await _unheard(three, result, each, deafness)
    return result


@contextlib.asynccontextmanager
async def _reached(postgres: Server, provider: Scripted) -> AsyncIterator[tuple[Fleet, Deafness]]:
    """Run three gateways whose notices can be lost."""
    deafness = Deafness()
    async with tapped(postgres.socket, lambda: _unread, deafness.ear) as port:

        def dsn(name: str) -> str:
            return f"postgresql://gateway@127.0.0.1:{port}/{name}"

        lease = f"{LEASE_TTL_SECONDS}s"
        async with fleet(postgres, provider, 3, lease_ttl=lease, dsn=dsn) as three:
            yield three, deafness


def _unread(data: bytes) -> bytes:
    return data


async def _killed(three: Fleet, result: Result, number: int, each: int) -> list[float]:
    """Kill all streams, and return how long each went on after the answer, in seconds."""
    name = f"killed-{number}"
    told, answered_at, answers = await _cut(three, name, each)
    count = each * len(three.replicas)
    after = [answer.last_at - answered_at for answer in answers]
    said = {what: told[what] for what in ("replicas", "acknowledged", "streams_cut", "late")}
    result.row(f"round {number}: {said}", spread(after))
    wanted = {"replicas": 3, "acknowledged": 3, "streams_cut": count, "late": []}
    result.expect(f"the answer is {wanted}, not {said}", holds=said == wanted)
    await _judge(three, result, name, count, answers)
    return after


async def _cut(three: Fleet, name: str, each: int) -> tuple[Any, float, list[Answer]]:
    """Let streams run, throw the switch, and lift it when all have ended."""
    lines: list[Wire] = []
    for replica in three.replicas:
        lines += await wires(replica.gateway.port, each)
    stream = request(three.token, run=name, tokens=4_000, stream=True, model=MODEL)
    running = [line.send(stream) for line in lines]

    async def all_run() -> bool:
        return all(line.answer.data.count(b"data:") >= CHUNKS_BEFORE for line in lines)

    if not await until(all_run, 30):
        raise TimeoutError(f"{name}: streams don't run: {lines[0].answer.data!r}")
    told = await three.admin("POST", "/kill", {"scope": "all", "reason": "a drill"})
    answered_at = now()
    async with asyncio.timeout(30):
        answers = [await one for one in running]
    await three.admin("DELETE", f"/kill/{told['id']}")
    for line in lines:
        line.close()
    return told, answered_at, answers


async def _judge(
    three: Fleet, result: Result, name: str, count: int, answers: list[Answer]
) -> None:
    result.expect(f"{name}: nothing stays leased", holds=await three.at_rest())
    traces = await three.read(KILLED, name)
    budget = await three.read(SPENT, name)
    told = sum(b'"kill_switch"' in answer.data + answer.tail for answer in answers)
    result.expect(
        f"{name}: {count} traces, all killed and metered: {dict(traces)}",
        holds=traces["traces"] == traces["killed"] == traces["metered"] == count,
    )
    result.expect(
        f"{name}: spent is the sum of the traces: {dict(budget)}",
        holds=budget["spent"] == traces["cost"] > 0 and budget["unsettled"] == 0,
    )
    result.expect(f"{name}: {told} of {count} clients were told why", holds=told == count)
    _, truth = await three.truth()
    three.provider.reset()
    result.expect(f"{name}: charged at least the truth", holds=budget["spent"] >= truth > 0)


async def _unheard(three: Fleet, result: Result, each: int, deafness: Deafness) -> None:
    """Lose every notice, and see the switch applied when each gateway looks by itself."""
    deafness.is_deaf = True
    told, answered_at, answers = await _cut(three, "unheard", each)
    deafness.is_deaf = False
    after = max(answer.last_at for answer in answers) - answered_at
    said = {what: told[what] for what in ("replicas", "acknowledged", "streams_cut")}
    result.row(f"{deafness.lost} notices lost: {said}", f"last byte {after:.2f} s after the answer")
    result.row("  late", told["late"])
    result.expect("a notice was lost", holds=deafness.lost > 0)
    result.expect("the switch is applied within a lease", holds=after <= LEASE_TTL_SECONDS)
    missing = told["replicas"] - told["acknowledged"]
    result.expect("who has not acknowledged is named", holds=len(told["late"]) == missing)


if __name__ == "__main__":
    sys.exit(main("kill_spread", run))
