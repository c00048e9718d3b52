"""What a start does once, however many processes it comes to: ports, database, installation."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from socket import socket
from typing import Final

import anyio
import msgspec

from gateway.app import reloading
from gateway.app.clock import SystemClock
from gateway.app.wiring import Stores
from gateway.config import Config
from gateway.core.limits import local_day
from gateway.errors import ConfigurationInvalid
from gateway.store import migrate, state_folder
from gateway.store.database import Database, connect
from gateway.store.embedded import EmbeddedPostgres
from gateway.store.installation import FirstStart, InstallationStore
from gateway.store.minting import Mint
from gateway.store.replicas import Role
from gateway.telemetry import Journal
from gateway.web.edge import listen

POOL_SIZE: Final = 8
"""Connections of a process that serves; one more listens."""
_SPARE_CONNECTIONS: Final = 20
"""For commands, backups and those who look, beside what the processes use."""


class Place(msgspec.Struct, frozen=True):
    """Where a process runs: its state folder, its environment, its configuration's file."""

    folder: Path
    environ: Mapping[str, str]
    config_file: Path | None


class Opened(msgspec.Struct, frozen=True):
    """A database whose schema is up to date, and the URL that reaches it."""

    database: Database
    dsn: str


@asynccontextmanager
async def opened(
    config: Config, place: Place, journal: Journal, processes: int = 1
) -> AsyncIterator[Opened]:
    """Start or reach the database, bring its schema up to date, and close it in the end.

    An embedded one has room for so many processes that serve.
    """
    if config.database_url is not None:
        async with _migrated(config.database_url.reveal()) as found:
            yield found
        return
    report = partial(journal.log.info, "embedded_database")
    room = {} if processes == 1 else {"max_connections": str(_connections(processes))}
    async with (
        EmbeddedPostgres(
            place.folder, report=lambda line: _note(report, line), settings=room
        ) as server,
        anyio.create_task_group() as group,
    ):
        group.start_soon(server.watch)
        async with _migrated(server.dsn) as found:
            yield found
        group.cancel_scope.cancel()


def _connections(processes: int) -> int:
    return (processes + 1) * (POOL_SIZE + 2) + _SPARE_CONNECTIONS


def _note(report: "partial[object]", line: str) -> None:
    report(line=line)


@asynccontextmanager
async def _migrated(dsn: str) -> AsyncIterator[Opened]:
    async with connect(dsn, size=POOL_SIZE) as database:
        async with database.direct() as connection:
            await migrate.migrate(connection)
        yield Opened(database, dsn)


class Ports(msgspec.Struct, frozen=True):
    """What clients and operators connect to: bound before anything else is begun."""

    main: list[socket]
    ops: list[socket]


def bind(config: Config, place: Place, role: Role) -> Ports:
    """Bind both ports; if another gateway on this state has them, say that and not the port.

    A process that only does jobs has no main port. Raises ConfigurationInvalid, StateBusy.
    """
    where = config.listen
    try:
        main = [] if role is Role.WORKER else _bound("port", where.host, where.port)
        return Ports(main, _bound("ops_port", where.host, where.ops_port))
    except ConfigurationInvalid:
        if config.database_url is None and _is_folder(place.folder):
            state_folder.StateLock(place.folder).release()
        raise


def share(sockets: list[socket], host: str) -> list[socket]:
    """Return sockets of the same port that other processes may share, in the place of these.

    These had the port alone, which is how one finds out that nobody else listens on it.
    """
    port: int = sockets[0].getsockname()[1]
    for sock in sockets:
        sock.close()
    return bind_shared(host, port)


def bind_shared(host: str, port: int) -> list[socket]:
    """Bind the main port beside other processes that do the same; raises ConfigurationInvalid."""
    return _bound("port", host, port, is_shared=True)


def _is_folder(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except OSError:
        return False


def _bound(key: str, host: str, port: int, *, is_shared: bool = False) -> list[socket]:
    try:
        return listen(host, port, is_shared=is_shared)
    except OSError as error:
        message = f"$.listen.{key}: {host} {port}: {error.strerror}"
        raise ConfigurationInvalid(f"{message}; stop what uses it, or choose another") from error


class Installed(msgspec.Struct, frozen=True):
    """A database that was found to be ours; `given` is what a new one was given."""

    store: InstallationStore
    given: FirstStart | None


async def installed(
    database: Database, tables: Stores, config: Config, pepper: bytes, clock: SystemClock
) -> Installed:
    """Put the month's cap in force, and give a new database what it needs.

    Raises ConfigurationInvalid: it belongs to another pepper.
    """
    today = local_day(clock.utc(), reloading.zone(config))
    await tables.limits.configure(config.limits.month_nusd, today)
    store = InstallationStore(database, pepper, Mint(clock.unix_ms, clock.entropy))
    return Installed(store, await store.open(clock.utc()))
