"""A million runs that are closed do not make a call dearer.

    python -m tests.faults.history [--short] [--seed N]

Two gateways on two databases of one server, one empty and one with the history, take turns, since a
machine's speed drifts. Compared are the server's and the gateway's processor time for a call, where
one call in ten opens a run. That no statement reads through what it does not need is seen in the
server's own counts: rows that were read by sequential scans of `run` and `budget`.
"""

import asyncio
import itertools
import sys
from collections.abc import Iterator
from statistics import median
from typing import Final

from tests.faults.calls import now
from tests.faults.database import Server, server
from tests.faults.light import Fleet, Result, cpu_seconds, fleet, main, request, wires
from tests.process import standins
from tests.process.gateway_process import children

CLIENTS: Final = 8
CALLS_OF_A_RUN: Final = 10
FILLED_AT_ONCE: Final = 50_000
MOST_RATIO: Final = 1.25
"""What is beyond the noise of two shared cores."""
FILL: Final = """
WITH made AS (
    INSERT INTO run (id, project, name, state, calls, opened_by, opened_at, closed_at)
    SELECT gen_random_uuid(), 'past', 'past-' || n, 'closed', 10, 'history',
           now() - n * interval '1 second', now() - n * interval '1 second'
    FROM generate_series($1::integer, $2::integer) n RETURNING id
), filled AS (
    INSERT INTO budget (scope, scope_id, time_window, period_start, cap_nusd, spent_nusd, is_closed)
    SELECT 'run', id::text, 'total', '', 5000000000, 1000000, true FROM made RETURNING 1
)
SELECT count(*) FROM filled"""
SCANNED: Final = """
SELECT coalesce(sum(seq_tup_read), 0)::bigint AS rows FROM pg_stat_user_tables
WHERE relname IN ('run', 'budget')"""


async def run(short: bool, seed: int) -> Result:
    """Measure; `seed` decides nothing here. The short form has 50,000 runs and judges no time."""
    del seed
    count, calls, rounds = (50_000, 400, 2) if short else (1_000_000, 2_000, 5)
    result = Result("history")
    with standins.scripted(scripts={"*": {"tokens": 4}}) as provider:
        async with (
            server() as postgres,
            fleet(postgres, provider, 1) as empty,
            fleet(postgres, provider, 1) as full,
        ):
            began = now()
            await _fill(full, count)
            result.row(
                "closed runs with their budgets; made within", f"{count}; {now() - began:.0f} s"
            )
            before = await _scanned(full)
            await _compare(result, empty, full, calls, rounds, is_timed=not short)
            scanned = await _scanned(full) - before
            result.row("rows read by sequential scans", scanned)
            result.expect(
                f"nothing reads through the history: {scanned} rows", holds=scanned < count
            )
    return result


async def _fill(full: Fleet, count: int) -> None:
    for start in range(0, count, FILLED_AT_ONCE):
        await full.read(FILL, start + 1, min(start + FILLED_AT_ONCE, count))
    for table in ("run", "budget"):
        await full.server.read(full.database, f"VACUUM ANALYZE {table}")
    await full.server.read(full.database, "CHECKPOINT")


async def _scanned(full: Fleet) -> int:
    """Return how many rows were read by sequential scans; processes tell that a second late."""
    await asyncio.sleep(1.5)
    rows: int = (await full.read(SCANNED))["rows"]
    return rows


async def _compare(
    result: Result, empty: Fleet, full: Fleet, calls: int, rounds: int, *, is_timed: bool
) -> None:
    names = itertools.count()
    for one in (empty, full):
        await _cost(one, names, calls)
    costs = []
    for _ in range(rounds):
        a, b = await _cost(empty, names, calls), await _cost(full, names, calls)
        costs.append((*a, *b))
    server_empty, gateway_empty, server_full, gateway_full = (
        median(column) for column in zip(*costs, strict=True)
    )
    for what, without, with_it in (
        ("server's", server_empty, server_full),
        ("gateway's", gateway_empty, gateway_full),
    ):
        ratio = with_it / without
        result.row(
            f"{what} CPU, us a call: empty; full; ratio",
            f"{without * 1e6:.0f}; {with_it * 1e6:.0f}; {ratio:.2f}",
        )
        if is_timed:
            result.expect(f"{what} ratio is at most {MOST_RATIO}", holds=ratio <= MOST_RATIO)


async def _cost(one: Fleet, names: Iterator[int], calls: int) -> tuple[float, float]:
    """Make calls; return the server's and the gateway's processor seconds for each."""
    pid = one.replicas[0].gateway.pid
    before = _server_seconds(one.server), cpu_seconds(pid)
    lines = await wires(one.replicas[0].gateway.port, CLIENTS)

    async def client(number: int) -> None:
        run_name = ""
        for count in range(calls // CLIENTS):
            if count % CALLS_OF_A_RUN == 0:
                run_name = f"run-{next(names)}"
            answer = await lines[number].send(request(one.token, run=run_name))
            if answer.status != 200:
                raise RuntimeError(f"not served: {answer.data!r}")

    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(client(number))
    await one.at_rest()
    for line in lines:
        line.close()
    after = _server_seconds(one.server), cpu_seconds(pid)
    return (after[0] - before[0]) / calls, (after[1] - before[1]) / calls


def _server_seconds(postgres: Server) -> float:
    """Return the processor time of the server and of all that it forked, the ended ones too."""
    socket = postgres.socket.with_name(postgres.socket.name + ".lock")
    first = int(socket.read_text().split()[0])
    return cpu_seconds(first, with_children=True) + sum(map(_seconds, children(first)))


def _seconds(pid: int) -> float:
    """Return a child's processor time; nothing of one that has just ended, as its parent has it then."""
    try:
        return cpu_seconds(pid)
    except FileNotFoundError:
        return 0.0


if __name__ == "__main__":
    sys.exit(main("history", run))
