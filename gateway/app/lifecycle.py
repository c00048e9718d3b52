"""One gateway process from its start to its end: open the database, build, serve, drain, close.

The order of the end is the promise that no money is lost: no new call; running ones to their end, or
cut at the end of the grace; everything flushed and every lease given back; then the database.
"""

import gc
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from socket import socket
from typing import Final

import anyio
import msgspec
from anyio.abc import TaskGroup

from gateway import __version__
from gateway.app import banner, local_files, reloading
from gateway.app.clock import SystemClock
from gateway.app.local_files import LocalAdmin
from gateway.app.wiring import Parts, Stores, build, stores
from gateway.config import Config
from gateway.core.access import OWNER_SCOPE
from gateway.core.limits import local_day
from gateway.errors import ConfigurationInvalid, LedgerUnavailable
from gateway.jobs import figures, partitions, reclaim, supervisor
from gateway.store import migrate, state_folder
from gateway.store.database import Database, connect
from gateway.store.embedded import EmbeddedPostgres
from gateway.store.installation import FirstStart, InstallationStore
from gateway.store.minting import Mint
from gateway.store.replicas import Role
from gateway.telemetry import Journal
from gateway.web.edge import EdgeServer, TlsFiles, listen

POOL_SIZE: Final = 8
PARTITIONS_EVERY_S: Final = 3600.0
FIGURES_EVERY_S: Final = 2.0
_CUT_S: Final = 5.0
"""How long cut calls may take to tell their clients, after the grace."""


class Place(msgspec.Struct, frozen=True):
    """Where a process runs: its state folder, its environment, its configuration's file."""

    folder: Path
    environ: Mapping[str, str]
    config_file: Path | None


@asynccontextmanager
async def opened(config: Config, place: Place, journal: Journal) -> AsyncIterator[Database]:
    """Start or reach the database, bring its schema up to date, and close it in the end."""
    if config.database_url is not None:
        async with _migrated(config.database_url.reveal()) as database:
            yield database
        return
    report = partial(journal.log.info, "embedded_database")
    async with (
        EmbeddedPostgres(place.folder, report=lambda line: _note(report, line)) as server,
        anyio.create_task_group() as group,
    ):
        group.start_soon(server.watch)
        async with _migrated(server.dsn) as database:
            yield database
        group.cancel_scope.cancel()


def _note(report: "partial[object]", line: str) -> None:
    report(line=line)


@asynccontextmanager
async def _migrated(dsn: str) -> AsyncIterator[Database]:
    async with connect(dsn, size=POOL_SIZE) as database:
        async with database.direct() as connection:
            await migrate.migrate(connection)
        yield database


class _Installed(msgspec.Struct, frozen=True):
    """A database that was found to be ours; `given` is what a new one was given."""

    store: InstallationStore
    given: FirstStart | None


async def serve(config: Config, place: Place, journal: Journal, clock: SystemClock) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Raises GatewayError where it can't start, or where its database is lost for good.
    """
    sockets = _bind(config, place)
    state_folder.open_folder(place.folder)
    pepper = local_files.pepper(place.folder, place.environ)
    async with opened(config, place, journal) as database:
        tables = stores(database, config, pepper, clock)
        await tables.limits.configure(
            config.limits.month_nusd, local_day(clock.utc(), reloading.zone(config))
        )
        parts = build(config, database, tables, journal, clock)
        servers = _servers(parts, config, sockets, clock)
        mint = Mint(clock.unix_ms, clock.entropy)
        installation = InstallationStore(database, pepper, mint)
        installed = _Installed(installation, await installation.open(clock.utc()))
        with parts.telemetry.libraries_captured():
            await _join(parts, tables, is_alone=config.database_url is None)
            try:
                await _run(parts, place, clock, servers, installed)
            finally:
                with anyio.CancelScope(shield=True):
                    await _leave(parts)


async def _join(parts: Parts, tables: Stores, *, is_alone: bool) -> None:
    """Become a replica that may be granted money. `is_alone`: nobody else can have this database."""
    await tables.replicas.register(parts.replica, Role.ALL, __version__)
    if is_alone:
        for dead in await tables.replicas.reclaim_all_but(parts.replica):
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


async def _run(
    parts: Parts,
    place: Place,
    clock: SystemClock,
    servers: tuple[EdgeServer, EdgeServer],
    installed: _Installed,
) -> None:
    config = parts.settings.config
    main, ops = servers
    async with anyio.create_task_group() as group:
        if any(provider.is_sandbox for provider in config.providers.values()):
            parts.telemetry.sandbox_offered()
        _start_jobs(parts, config, clock, group)
        group.start_soon(reloading.watch, parts, config, place.config_file, place.environ, clock)
        await group.start(ops.serve)
        base_url = banner.url(config, await group.start(main.serve))
        await _welcome(base_url, parts, place, clock, installed)
        parts.telemetry.started(base_url)
        _settle_memory()
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            await anext(signals)
            grace_s = parts.settings.config.shutdown.grace_ms / 1000
            await _drain(parts, main, grace_s, signals)
        await ops.stop(0.0)
        group.cancel_scope.cancel()


def _settle_memory() -> None:
    """Take what the start made out of the garbage collector's sight, and let it look less often.

    A call makes no reference cycles, so looking for them among all that the process holds costs every
    call (measured: 89 of 580 microseconds, and pauses of 40 to 85 ms) and finds nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def _start_jobs(parts: Parts, config: Config, clock: SystemClock, group: TaskGroup) -> None:
    tables, telemetry = parts.stores, parts.telemetry
    ttl = timedelta(milliseconds=config.ledger.lease_ttl_ms)
    jobs = (
        (PARTITIONS_EVERY_S, partial(partitions.run, tables.traces, clock.utc, parts.trace_days)),
        (FIGURES_EVERY_S, partial(figures.run, tables.limits, parts.today, telemetry.budgets)),
        (
            ttl.total_seconds(),
            partial(reclaim.run, tables.replicas, ttl, telemetry.replica_reclaimed),
        ),
    )
    for period_s, job in jobs:
        group.start_soon(supervisor.every, period_s, job)
    group.start_soon(parts.purse.run)
    group.start_soon(parts.signals.run)
    group.start_soon(parts.counter.run)


class _Sockets(msgspec.Struct, frozen=True):
    """What clients and operators connect to: bound before anything else is begun."""

    main: list[socket]
    ops: list[socket]


def _bind(config: Config, place: Place) -> _Sockets:
    """Bind both ports; if another gateway on this state has them, say that and not the port."""
    where = config.listen
    try:
        return _Sockets(
            _bound("port", where.host, where.port), _bound("ops_port", where.host, where.ops_port)
        )
    except ConfigurationInvalid:
        if config.database_url is None and _is_folder(place.folder):
            state_folder.StateLock(place.folder).release()
        raise


def _is_folder(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except OSError:
        return False


def _bound(key: str, host: str, port: int) -> list[socket]:
    try:
        return listen(host, port)
    except OSError as error:
        message = f"$.listen.{key}: {host} {port}: {error.strerror}"
        raise ConfigurationInvalid(f"{message}; stop what uses it, or choose another") from error


def _servers(
    parts: Parts, config: Config, sockets: _Sockets, clock: SystemClock
) -> tuple[EdgeServer, EdgeServer]:
    files = config.listen.tls
    tls = None if files is None else TlsFiles(str(files.certificate), str(files.key))
    try:
        main = EdgeServer(parts.app, sockets.main, now=clock.utc, tls=tls)
    except OSError as error:
        named = "" if files is None else f"{files.certificate}, {files.key}: "
        reason = error.strerror or "they hold no certificate and its key"
        raise ConfigurationInvalid(f"$.listen.tls: {named}{reason}") from error
    return main, EdgeServer(parts.ops, sockets.ops, now=clock.utc)


async def _welcome(
    base_url: str, parts: Parts, place: Place, clock: SystemClock, installed: _Installed
) -> None:
    """Show a new installation its first token and link; keep this host's admin token fresh."""
    config, models = parts.settings.config, parts.pipeline.standing.directory
    site = base_url.removesuffix("/v1")
    known = local_files.read_admin(place.folder)
    old = None if known is None else known.token
    minted = await installed.store.local_token(old, (OWNER_SCOPE,), clock.utc())
    token = old if minted is None else minted.secret.reveal()
    local_files.write_admin(place.folder, LocalAdmin(site, token or ""))
    given = installed.given
    lines = banner.again(base_url, config)
    if given is not None:
        lines = banner.first(base_url, given, config, models)
    print("\n".join(lines), flush=True)  # noqa: T201  # the one thing that goes to standard output


async def _drain(
    parts: Parts, main: EdgeServer, grace_s: float, signals: AsyncIterator[object]
) -> None:
    """Refuse new calls, let running ones go on for the grace, then cut them with an error event.

    A second signal ends the grace: whoever sends it has waited enough.
    """
    parts.pipeline.is_draining = True
    parts.telemetry.stopping(parts.board.running)
    async with anyio.create_task_group() as group:
        group.start_soon(_cut_after, parts, grace_s)
        group.start_soon(_cut_on, parts, main, signals)
        await main.stop(grace_s + _CUT_S)
        group.cancel_scope.cancel()


async def _cut_on(parts: Parts, main: EdgeServer, signals: AsyncIterator[object]) -> None:
    await anext(signals)
    parts.board.shut_down()
    await main.stop(_CUT_S)


async def _cut_after(parts: Parts, grace_s: float) -> None:
    await anyio.sleep(grace_s)
    parts.board.shut_down()
