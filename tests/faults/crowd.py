"""Ten thousand calls at once on the cap of one run, at several gateways.

    python -m tests.faults.crowd [--short] [--seed N]

All connections are open before the first byte is sent, so what is measured is a call's way through
the gateway, and its wait for its turn: from the moment its bytes were written until its answer was
whole, and by the gateway's own traces.
"""

import random
import sys
from collections import Counter
from typing import Any

from tests.faults.calls import usd
from tests.faults.database import server
from tests.faults.light import (
    Answer,
    Fleet,
    Result,
    Wire,
    allow_connections,
    cpu_seconds,
    fleet,
    main,
    request,
    spread,
    wires,
)
from tests.process import standins

BOUND_NUSD = 200_000
"""About what a call of the crowd is held for."""
FITTING = 100
LATENCY = """
SELECT coalesce(percentile_cont(ARRAY[0.5, 0.99, 1.0]) WITHIN GROUP (ORDER BY latency_ms),
                ARRAY[0, 0, 0]::float8[]) AS ms, count(*) AS count
FROM trace WHERE run = $1 AND outcome = 'refused'"""
MOST_SECONDS = 1.0


async def run(short: bool, seed: int) -> Result:
    """Measure; the short form is a thousand calls at two gateways, and no time is judged."""
    count, gateways = (1_000, 2) if short else (10_000, 4)
    result = Result("crowd")
    allow_connections(20_000)
    with standins.scripted() as provider:
        async with server() as postgres, fleet(postgres, provider, gateways) as many:
            cap = BOUND_NUSD * FITTING
            lines = await _connected(many, count)
            await _warm(many, lines)
            provider.reset()
            random.Random(seed).shuffle(lines)  # noqa: S311  # to be repeated, not to be secret
            before = sum(cpu_seconds(each.gateway.pid) for each in many.replicas)
            answers = await _sent(many, lines, usd(cap))
            spent = sum(cpu_seconds(each.gateway.pid) for each in many.replicas) - before
            result.row("gateways' CPU, ms a call", f"{spent / count * 1000:.2f}")
            await _judge(many, result, answers, cap, is_timed=not short)
    return result


async def _connected(many: Fleet, count: int) -> list[Wire]:
    share = count // len(many.replicas)
    opened = [await wires(each.gateway.port, share) for each in many.replicas]
    return [line for group in opened for line in group]


async def _warm(many: Fleet, lines: list[Wire]) -> None:
    """Let every gateway serve a little: code that runs first is slower than it will ever be."""
    for line in lines[:: max(1, len(lines) // 200)]:
        await line.send(request(many.token, run="warm"))


async def _sent(many: Fleet, lines: list[Wire], cap: str) -> list[Answer]:
    prepared = request(many.token, run="crowd", cap=cap)
    sent = [line.send(prepared) for line in lines]
    return [await answer for answer in sent]


async def _judge(
    many: Fleet, result: Result, answers: list[Answer], cap: int, *, is_timed: bool
) -> None:
    statuses = Counter(answer.status for answer in answers)
    result.row("answers by status", dict(sorted(statuses.items())))
    began = min(answer.sent_at for answer in answers)
    result.row("all answered within", f"{max(a.last_at for a in answers) - began:.2f} s")
    refused = [answer.seconds for answer in answers if answer.status == 402]
    result.row("refusals at the client, p50 / p99 / most", spread(refused))
    rests = await many.at_rest()
    traced: Any = await many.read(LATENCY, "crowd")
    result.row("refusals by their traces", " / ".join(f"{ms:.0f}" for ms in traced["ms"]) + " ms")
    served, truth = await many.truth()
    result.row("truth / cap, USD", f"{usd(truth)} / {usd(cap)} ({served} served)")
    result.expect("what the provider charges is within the cap", holds=0 < truth <= cap)
    result.expect("no answer is a failure", holds=set(statuses) <= {200, 402})
    result.expect("every refusal has its trace", holds=traced["count"] == len(refused))
    result.expect("every lease went back", holds=rests)
    if is_timed:
        slow = spread(refused)
        ninety_ninth = sorted(refused)[int(len(refused) * 0.99)]
        result.expect(f"99 in 100 refusals within 1 s: {slow}", holds=ninety_ninth <= MOST_SECONDS)


if __name__ == "__main__":
    sys.exit(main("crowd", run))
