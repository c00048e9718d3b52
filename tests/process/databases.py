"""A PostgreSQL that is not the gateway's own: it can be stopped and started under a gateway."""

import asyncio
import contextlib
from collections.abc import Iterator

import asyncpg

from gateway.store.embedded import EmbeddedPostgres
from tests.postgres import NOT_DURABLE, passable_folder


class Database:
    """A server with as many empty databases as are asked for. Not for use in a running event loop."""

    def __init__(self, server: EmbeddedPostgres, runner: asyncio.Runner) -> None:
        self._server = server
        self._runner = runner
        self._count = 0

    def start(self) -> None:
        self._runner.run(self._server.start())

    def stop(self) -> None:
        self._runner.run(self._server.stop())

    def fresh(self) -> str:
        """Make an empty database, and return its URL."""
        self._count += 1
        name = f"fresh_{self._count}"
        self._runner.run(self._do(f"CREATE DATABASE {name}"))
        return self._server.dsn.replace("@/postgres?", f"@/{name}?")

    async def _do(self, statement: str) -> None:
        connection = await asyncpg.connect(self._server.dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@contextlib.contextmanager
def external() -> Iterator[Database]:
    with passable_folder() as folder, asyncio.Runner() as runner:
        server = EmbeddedPostgres(folder / "s", report=lambda _: None, settings=NOT_DURABLE)
        made = Database(server, runner)
        made.start()
        try:
            yield made
        finally:
            made.stop()
