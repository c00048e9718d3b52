"""One gateway process from its start to its end: open the database, build, serve, drain, close.

The order of the end is the promise that no money is lost: no new call; running ones to their end, or
cut at the end of the grace; everything flushed and every lease given back; then the database.
"""

import gc
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from socket import socket
from typing import Final

import anyio
import msgspec
from anyio.abc import TaskGroup

from gateway import __version__
from gateway.app import (
    alerting,
    local_files,
    opening,
    orders as told,
    reloading,
    repricing,
    welcoming,
)
from gateway.app.clock import SystemClock
from gateway.app.opening import Place
from gateway.app.orders import Orders
from gateway.app.wiring import Parts, build, stores
from gateway.config import Config
from gateway.errors import ConfigurationInvalid, LedgerUnavailable
from gateway.jobs import figures, partitions, reclaim, supervisor
from gateway.store import state_folder
from gateway.store.replicas import Role, retired
from gateway.telemetry import Journal
from gateway.web.edge import EdgeServer, TlsFiles

PARTITIONS_EVERY_S: Final = 3600.0
FIGURES_EVERY_S: Final = 2.0
_CUT_S: Final = 5.0
"""How long cut calls may take to tell their clients, after the grace."""


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """A process that is ready to serve. Without `main` it does jobs alone, without `ops` others tell."""

    parts: Parts
    role: Role
    place: Place
    clock: SystemClock
    main: EdgeServer | None
    ops: EdgeServer | None
    orders: Orders
    on_serving: Callable[[int | None, TaskGroup], Awaitable[None]]
    """Is told the main port once clients may connect, and may start tasks of this life."""


async def serve(
    config: Config, place: Place, role: Role, journal: Journal, clock: SystemClock
) -> None:
    """Serve until SIGTERM or SIGINT, then drain: the whole gateway in this process.

    Raises GatewayError where it can't start, or where its database is lost for good.
    """
    check_role(config, role)
    ports = opening.bind(config, place, role)
    state_folder.open_folder(place.folder)
    pepper = local_files.pepper(place.folder, place.environ)
    async with opening.opened(config, place, journal) as found:
        tables = stores(found.database, config, pepper, clock)
        ours = await opening.installed(found.database, tables, config, pepper, clock)
        priced = await repricing.chosen(tables.prices)
        parts = build(config, found.database, tables, journal, clock, priced)

        async def on_serving(port: int | None, group: TaskGroup) -> None:
            spoken = parts.pipeline.standing.spoken
            admin = await welcoming.welcome(port, config, spoken, ours, place, clock)
            if admin is not None:
                group.start_soon(welcoming.keep, place, admin)
            parts.telemetry.started(None if admin is None else f"{admin.url}/v1")

        orders = Orders()
        life = Life(
            parts=parts,
            role=role,
            place=place,
            clock=clock,
            main=main_server(parts, config, ports.main, clock) if ports.main else None,
            ops=EdgeServer(parts.ops, ports.ops, now=clock.utc),
            orders=orders,
            on_serving=on_serving,
        )
        async with anyio.create_task_group() as group:
            await group.start(told.by_signals, orders)
            await live(life, is_alone=config.database_url is None)
            group.cancel_scope.cancel()


def check_role(config: Config, role: Role) -> None:
    """Raise ConfigurationInvalid where nobody could do the other half of the work."""
    if config.database_url is None and role is not Role.ALL:
        message = (
            f"$.database: an embedded database has one gateway, so --role {role} would be alone"
        )
        raise ConfigurationInvalid(f"{message}; set it to a postgresql:// URL, or use --role all")


async def live(life: Life, *, is_alone: bool = False) -> None:
    """Join the replicas, serve until ordered to drain, and leave them with everything settled.

    `is_alone`: nobody else can have this database. Raises ReplicaRetired: it had to end.
    """
    with life.parts.telemetry.libraries_captured():
        await _join(life.parts, life.role, is_alone=is_alone)
        try:
            await _run(life)
        finally:
            with anyio.CancelScope(shield=True):
                await _leave(life.parts)
    if life.parts.purse.retired.is_set():
        raise retired(life.parts.replica)


async def _join(parts: Parts, role: Role, *, is_alone: bool) -> None:
    """Become a replica that may be granted money."""
    await parts.stores.replicas.register(parts.replica, role, __version__)
    if is_alone:
        for dead in await parts.stores.replicas.reclaim_all_but(parts.replica):
            parts.telemetry.replica_reclaimed(dead.replica, reclaim.worst(dead))
    await parts.signals.read()


async def _leave(parts: Parts) -> None:
    """Flush everything, give every lease back, and say that this replica ended cleanly."""
    try:
        await parts.purse.drain()
        await parts.stores.replicas.stop(parts.replica)
    except LedgerUnavailable as error:
        parts.telemetry.ledger_lost(f"at the end: {error}")
    await parts.providers.aclose()
    parts.telemetry.stopped()


async def _run(life: Life) -> None:
    parts, place = life.parts, life.place
    config = parts.settings.config
    async with anyio.create_task_group() as group:
        if any(provider.is_sandbox for provider in config.providers.values()):
            parts.telemetry.sandbox_offered()
        _start_jobs(life, config, group)
        group.start_soon(_end_when_retired, parts, life.orders)
        group.start_soon(
            reloading.watch, parts, config, place.config_file, place.environ, life.clock
        )
        if life.ops is not None:
            await group.start(life.ops.serve)
        port = None if life.main is None else await group.start(life.main.serve)
        await life.on_serving(port, group)
        _settle_memory()
        await life.orders.drain.wait()
        await _drain(life)
        if life.ops is not None:
            await life.ops.stop(0.0)
        group.cancel_scope.cancel()


async def _end_when_retired(parts: Parts, orders: Orders) -> None:
    await parts.purse.retired.wait()
    orders.to_drain()


def _settle_memory() -> None:
    """Take what the start made out of the garbage collector's sight, and let it look less often.

    A call makes no reference cycles, so looking for them among all that the process holds costs every
    call (measured: 89 of 580 microseconds, and pauses of 40 to 85 ms) and finds nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def _start_jobs(life: Life, config: Config, group: TaskGroup) -> None:
    """Start what this process does by the clock: its own upkeep, and the jobs unless it is a proxy.

    Every process of the other roles does all of the jobs: each is safe beside itself.
    """
    parts, telemetry = life.parts, life.parts.telemetry
    if life.role is not Role.PROXY:
        for period_s, job in _jobs(parts, config, life.clock):
            group.start_soon(supervisor.every, period_s, job)
        group.start_soon(alerting.run, parts, life.clock)
    budgets = partial(figures.run, parts.stores.limits, parts.today, telemetry.budgets)
    group.start_soon(supervisor.every, FIGURES_EVERY_S, budgets)
    group.start_soon(parts.purse.run)
    group.start_soon(parts.signals.run)
    group.start_soon(parts.counter.run)


def _jobs(
    parts: Parts, config: Config, clock: SystemClock
) -> tuple[tuple[float, Callable[[], Awaitable[object]]], ...]:
    """Return each job and how many seconds lie between two of its runs."""
    tables, telemetry = parts.stores, parts.telemetry
    ttl = timedelta(milliseconds=config.ledger.lease_ttl_ms)
    return (
        (PARTITIONS_EVERY_S, partial(partitions.run, tables.traces, clock.utc, parts.trace_days)),
        (
            ttl.total_seconds(),
            partial(reclaim.run, tables.replicas, ttl, telemetry.replica_reclaimed),
        ),
    )


def main_server(
    parts: Parts, config: Config, sockets: list[socket], clock: SystemClock
) -> EdgeServer:
    """Return the server of the main port. Raises ConfigurationInvalid: its certificate is no good."""
    files = config.listen.tls
    tls = None if files is None else TlsFiles(str(files.certificate), str(files.key))
    try:
        return EdgeServer(parts.app, sockets, now=clock.utc, tls=tls)
    except OSError as error:
        named = "" if files is None else f"{files.certificate}, {files.key}: "
        reason = error.strerror or "they hold no certificate and its key"
        raise ConfigurationInvalid(f"$.listen.tls: {named}{reason}") from error


async def _drain(life: Life) -> None:
    """Refuse new calls, let running ones go on for the grace, then cut them with an error event.

    The port stays open until the last has ended, so that a kill switch can be thrown and a refusal
    heard meanwhile; an orphan leaves it at once.
    """
    parts, main, orders = life.parts, life.main, life.orders
    parts.pipeline.is_draining = True
    parts.telemetry.stopping(parts.board.running)
    if main is None:
        return
    if orders.is_orphaned:
        main.leave_port()
    grace_s = parts.settings.config.shutdown.grace_ms / 1000
    async with anyio.create_task_group() as group:
        group.start_soon(_cut_after, parts, grace_s)
        group.start_soon(_cut_on, parts, main, orders)
        with anyio.move_on_after(grace_s + _CUT_S):
            await main.drain()
        await main.stop(_CUT_S)
        group.cancel_scope.cancel()


async def _cut_on(parts: Parts, main: EdgeServer, orders: Orders) -> None:
    await orders.cut.wait()
    parts.board.shut_down()
    await main.stop(_CUT_S)


async def _cut_after(parts: Parts, grace_s: float) -> None:
    await anyio.sleep(grace_s)
    parts.board.shut_down()
