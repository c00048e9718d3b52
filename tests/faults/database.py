"""The PostgreSQL that all replicas share: killed, frozen, stopped and started under them.

What it has committed must outlive its own death, so commits are written at once, as they are for
operators; only the disk's own cache is trusted, since no machine loses its power here.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import asyncpg

from gateway.store.embedded import EmbeddedPostgres
from tests.postgres import passable_folder

SETTINGS: Final = {"fsync": "off", "full_page_writes": "off", "max_connections": "100"}


class Server:
    """One server, its processes, and a connection of our own to read the books with."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self._postgres = postgres
        self._count = 0

    @property
    def socket(self) -> Path:
        """Return the path of its socket."""
        return Path(self._postgres.dsn.partition("?host=")[2], ".s.PGSQL.5432")

    def dsn(self, name: str) -> str:
        """Return the URL of one of its databases."""
        return self._postgres.dsn.replace("@/postgres?", f"@/{name}?")

    async def fresh(self) -> str:
        """Make an empty database, and return its name."""
        self._count += 1
        name = f"books_{self._count}"
        await self.read("postgres", f"CREATE DATABASE {name}")
        return name

    async def read(self, name: str, query: str, *arguments: object) -> list[Any]:
        """Ask one of its databases; waits for a server that recovers from its death."""
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(OSError, asyncpg.CannotConnectNowError):
                    return await self._read(name, query, *arguments)
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """SIGKILL to the server and to each process that it has forked."""
        pids = self._pids()
        self._signal(signal.SIGKILL)
        while any(map(_lives, pids)):  # noqa: ASYNC110  # the kernel wakes nobody for these
            await asyncio.sleep(0.005)

    async def start_again(self) -> None:
        """Start what was killed, or stopped; returns when it has recovered."""
        await self._postgres.stop()
        await self._postgres.start()

    async def stop(self) -> None:
        """Shut it down, as an operator does."""
        await self._postgres.stop()

    def freeze(self) -> None:
        """SIGSTOP to each of its processes: connections stand, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT to each."""
        self._signal(signal.SIGCONT)

    async def _read(self, name: str, query: str, *arguments: object) -> list[Any]:
        connection = await asyncpg.connect(self.dsn(name), timeout=10)
        try:
            return list(await connection.fetch(query, *arguments, timeout=60))
        finally:
            await connection.close()

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _pids(self) -> list[int]:
        """Return the server's process first, then its children: each leads a group of its own."""
        server = self._postgres.pid
        if server is None:
            return []
        task = Path(f"/proc/{server}/task/{server}/children")
        try:
            children = [int(pid) for pid in task.read_text().split()]
        except OSError:
            return []
        return [server, *children] if _lives(server) else children


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextlib.asynccontextmanager
async def server() -> AsyncIterator[Server]:
    """Run a server for a block."""
    with passable_folder() as folder:
        postgres = EmbeddedPostgres(folder / "s", report=lambda _: None, settings=SETTINGS)
        await postgres.start()
        made = Server(postgres)
        try:
            yield made
        finally:
            made.thaw()
            await postgres.stop()
