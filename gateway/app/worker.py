"""One of several processes of a gateway: serves beside its siblings, under a supervisor.

`python -P -m gateway.app.worker`, with the line to the supervisor as standard input. SIGTERM drains
this worker alone, and is no second order where the supervisor's came first: a service manager may
send it to every process at once. When the supervisor is gone the worker drains too, and leaves the
port to whoever comes next.
"""

import os
import signal
import sys
from pathlib import Path
from socket import socket
from typing import assert_never

import anyio
import uvloop
from anyio.abc import TaskGroup, TaskStatus

from gateway.app import lifecycle, local_files, repricing
from gateway.app.clock import SystemClock
from gateway.app.lifecycle import Life
from gateway.app.line import (
    Ask,
    Assignment,
    Cut,
    Drain,
    Failed,
    Line,
    Order,
    Serving,
    Told,
    to_supervisor,
)
from gateway.app.opening import POOL_SIZE, Place, bind_shared
from gateway.app.orders import Orders
from gateway.app.process import journal, one_line
from gateway.app.wiring import Parts, build, stores
from gateway.config import load
from gateway.errors import GatewayError
from gateway.store.database import connect
from gateway.telemetry.merging import families


def main() -> None:
    """Work until told to stop, and exit: 0 settled, 1 failed."""
    sys.exit(uvloop.run(_main()))


async def _main() -> int:
    line = await to_supervisor(socket(fileno=sys.stdin.fileno()))
    assigned = await line.receive()
    if not isinstance(assigned, Assignment):
        return 0  # the supervisor is gone already
    try:
        await one_line(_work(assigned, line))
    except GatewayError as error:
        await line.send(Failed(str(error)))
        return 1
    return 0


async def _work(assigned: Assignment, line: Line[Order]) -> None:
    clock, orders = SystemClock(), Orders()
    file = None if assigned.config_file is None else Path(assigned.config_file)
    place = Place(Path(assigned.folder), os.environ, file)
    config = load(file, place.environ)
    pepper = local_files.pepper(place.folder, place.environ)
    async with connect(assigned.dsn, size=POOL_SIZE) as database:
        tables = stores(database, config, pepper, clock)
        priced = await repricing.chosen(tables.prices)
        parts = build(config, database, tables, journal(clock), clock, priced)
        main = None
        if assigned.port is not None:
            sockets = bind_shared(assigned.host, assigned.port)
            main = lifecycle.main_server(parts, config, sockets, clock)

        async def on_serving(_: int | None, __: TaskGroup) -> None:
            parts.telemetry.worker_started(assigned.number, os.getpid(), parts.replica)
            await line.send(Serving(parts.replica))

        life = Life(
            parts=parts,
            role=assigned.role,
            place=place,
            clock=clock,
            main=main,
            ops=None,
            orders=orders,
            on_serving=on_serving,
        )
        async with anyio.create_task_group() as group:
            await group.start(_heed_signals, orders)
            group.start_soon(_obey, line, orders, parts)
            await lifecycle.live(life)
            await line.send(_told(parts, 0))
            group.cancel_scope.cancel()


async def _heed_signals(orders: Orders, *, task_status: TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            orders.to_drain()


async def _obey(line: Line[Order], orders: Orders, parts: Parts) -> None:
    """Carry out what the supervisor says, until it is gone."""
    while (order := await line.receive()) is not None:
        match order:
            case Drain():
                orders.to_drain()
            case Cut():
                orders.to_drain()
                orders.cut.set()
            case Ask(question):
                await line.send(_told(parts, question))
            case Assignment():
                pass  # a worker is assigned once
            case _:
                assert_never(order)
    orders.orphan()


def _told(parts: Parts, question: int) -> Told:
    is_ready, reason = parts.ready()
    return Told(question, is_ready, reason, families(parts.telemetry.registry))


if __name__ == "__main__":
    main()
