"""The one private PostgreSQL of the store tests, and a fresh database of it for each test."""

import asyncio
import itertools
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg
import pytest

from gateway.store.database import connect
from gateway.store.embedded import EmbeddedPostgres
from gateway.store.migrate import Migration, migrate

MIGRATED = "migrated"
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
"""Settings for databases that nobody will miss; what tests durability doesn't use them."""


@contextmanager
def passable_folder() -> Iterator[Path]:
    """Make a short-lived folder that the server's user can pass through, when that isn't us.

    pytest's own `tmp_path` is below a closed folder: root's database would go to /var/lib.
    """
    folder = Path(tempfile.mkdtemp(prefix="gateway-test-", dir="/tmp"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


class Databases:
    """Makes databases of one running server as copies of a migrated one."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._numbers = itertools.count(1)

    def dsn(self, name: str) -> str:
        return self._server.dsn.replace("@/postgres?", f"@/{name}?")

    async def make_template(self, migrations: list[Migration] | None = None) -> None:
        await self.do(f"CREATE DATABASE {MIGRATED}")
        async with connect(self.dsn(MIGRATED), size=1) as database, database.direct() as connection:
            await migrate(connection, migrations)

    @asynccontextmanager
    async def fresh(self, template: str = MIGRATED) -> AsyncIterator[str]:
        """Make a database for a block and yield its DSN."""
        name = f"test_{next(self._numbers)}"
        await self.do(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.dsn(name)
        finally:
            await self.do(f"DROP DATABASE {name} WITH (FORCE)")

    async def do(self, statement: str) -> None:
        connection = await asyncpg.connect(self._server.dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def wait_until(claim: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    """Wait for a condition of another process."""
    deadline = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what}")
        time.sleep(0.005)


async def until(claim: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    """Wait for a condition while the event loop goes on."""
    deadline = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what}")
        await asyncio.sleep(0.005)


def owner(pid: int | None) -> int:
    """Return the uid that a process runs as."""
    return Path(f"/proc/{pid}").stat().st_uid


def is_running(pid: int) -> bool:
    """Return whether a process runs; a zombie doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
