"""PostgreSQL as the rest of `store/` sees it: a pool, a transaction, and one failure.

Whatever keeps a statement from being carried out, from a missing socket to a server that is shut
down, too slow or read-only, becomes `LedgerUnavailable`, whose text has the kind of failure and
nothing else. Errors that mean a bug of ours keep their type, but lose every value: PostgreSQL
quotes whole rows in DETAIL, and asyncpg quotes arguments.

`transaction` is asyncpg's own, with no round trip to reset a connection that is given back. So no
caller may change a session: no SET but SET LOCAL, no LISTEN (there is `listen`), no advisory lock
but of the transaction.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import anyio
import asyncpg
import msgspec

from gateway.errors import ConfigurationInvalid, LedgerUnavailable

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

Record: TypeAlias = asyncpg.Record
Connection: TypeAlias = "asyncpg.Connection[Record] | PoolConnectionProxy[Record]"

STATEMENT_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 5.0
IDLE_IN_TRANSACTION_SECONDS: Final = 10.0
"""A replica that is frozen inside a transaction must not keep its locks."""
CLOSE_SECONDS: Final = 10.0
HEARTBEAT_SECONDS: Final = 5.0
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 2.0

_UNAVAILABLE_CLASSES: Final = frozenset({"08", "28", "3D", "40", "53", "57", "58"})
"""Of SQLSTATE (PostgreSQL 18, Appendix A): connection, authorization, no such database, rollback by
deadlock or serialization, resources, operator intervention with time-outs, system error."""
_UNAVAILABLE_STATES: Final = frozenset({"25006", "55P03"})
"""Read-only transaction, as on a standby; lock not available."""
_CAUGHT: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
_BEFORE_A_VALUE: Final = re.compile("[:\"']")
"""'invalid input syntax for type integer: "the value"' and its like."""


def _ignore(_: str) -> None:
    """Tell nobody."""


class Database:
    """A pool of connections to one database; made by `connect`."""

    def __init__(
        self, pool: "asyncpg.Pool[Record]", dsn: str, on_failure: Callable[[str], None]
    ) -> None:
        """Take over an open pool."""
        self._pool = pool
        self._dsn = dsn
        self._on_failure = on_failure

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Run a block in a transaction (read committed): commit it, or roll back if it raises.

        Raises LedgerUnavailable; if that happens at the end, the commit is in doubt. The block
        should do nothing but SQL: its OSError or TimeoutError is taken for the database's.
        """
        async with self._acquired() as connection, connection.transaction():
            yield connection

    async def fetch(self, query: str, *args: object) -> list[Record]:
        """Return the rows of one statement; raises LedgerUnavailable."""
        async with self._acquired() as connection:
            return await connection.fetch(query, *args)

    async def fetch_row(self, query: str, *args: object) -> Record | None:
        """Return the first row of one statement, or None; raises LedgerUnavailable."""
        async with self._acquired() as connection:
            return await connection.fetchrow(query, *args)

    async def fetch_value(self, query: str, *args: object) -> Any:  # noqa: ANN401 - a column's type
        """Return the first column of the first row, or None; raises LedgerUnavailable."""
        row = await self.fetch_row(query, *args)
        return None if row is None else row[0]

    async def execute(self, query: str, *args: object) -> str:
        """Carry out one statement and return its tag, `UPDATE 3`; raises LedgerUnavailable."""
        async with self._acquired() as connection:
            return await connection.execute(query, *args)

    async def execute_many(self, query: str, rows: Iterable[tuple[object, ...]]) -> None:
        """Carry out one statement for each row, all or none; raises LedgerUnavailable."""
        async with self._acquired() as connection:
            await connection.executemany(query, rows)

    async def listen(
        self,
        channel: str,
        on_notice: Callable[[str], None],
        *,
        on_reconnect: Callable[[], Awaitable[None]],
    ) -> None:
        """Call `on_notice` with the payload of each NOTIFY on `channel`, until cancelled.

        Uses a connection of its own, and makes a new one whenever it is lost. `on_reconnect` is
        awaited each time that listening has begun, the first time too: what was notified before
        is lost, so state is to be read there. Notices may come while it is being read.
        """
        pause = FIRST_PAUSE_SECONDS
        while True:
            heard = _Ear(channel, on_notice, on_reconnect)
            try:
                async with self.direct() as connection:
                    await heard.listen(connection)
            except LedgerUnavailable:
                pause = FIRST_PAUSE_SECONDS if heard.began else pause
            await anyio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    @asynccontextmanager
    async def direct(self) -> AsyncIterator["asyncpg.Connection[Record]"]:
        """Open a connection outside the pool for a block, such as for a migration.

        Raises LedgerUnavailable.
        """
        with translated(self._on_failure):
            connection = await asyncpg.connect(
                self._dsn, timeout=CONNECT_SECONDS, server_settings=_session(STATEMENT_SECONDS)
            )
            try:
                await _set_codecs(connection)
                yield connection
            finally:
                connection.terminate()  # nothing is worth a wait for its goodbye

    @asynccontextmanager
    async def _acquired(self) -> AsyncIterator[Connection]:
        with translated(self._on_failure):
            async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
                yield connection


@asynccontextmanager
async def connect(
    dsn: str,
    *,
    size: int,
    statement_seconds: float = STATEMENT_SECONDS,
    on_failure: Callable[[str], None] = _ignore,
) -> AsyncIterator[Database]:
    """Open a pool of up to `size` connections for a block, and close it after.

    `dsn` is a postgresql:// URL, also of a socket (`?host=/folder`). A statement ends after
    `statement_seconds`, on the server and, should that be out of reach, here. `on_failure` is
    told the kind of each failure, a class name. Raises LedgerUnavailable when nothing answers
    now, ConfigurationInvalid when the URL can't be read.
    """
    with translated(on_failure):
        pool = await _pool(dsn, size, statement_seconds)
    try:
        yield Database(pool, dsn, on_failure)
    finally:
        await _close(pool)


@contextmanager
def translated(on_failure: Callable[[str], None] = _ignore) -> Iterator[None]:
    """Raise LedgerUnavailable for whatever keeps the database from answering in a block.

    Other errors of PostgreSQL and asyncpg pass, without the values in them.
    """
    try:
        yield
    except _CAUGHT as error:
        scrub(error)
        if not is_unavailable(error):
            raise
        kind = type(error).__name__
        on_failure(kind)
        what = "can't be reached" if isinstance(error, OSError) else "did not carry out a statement"
        message = f"the database {what} ({kind}): see that it runs"
        raise LedgerUnavailable(message) from error


def is_unavailable(error: BaseException) -> bool:
    """Return whether an error says: the database can't be used now. Not: we asked wrongly."""
    match error:
        case asyncpg.InvalidCachedStatementError():  # the schema has changed since it was prepared
            return True
        case asyncpg.PostgresError():
            state = error.sqlstate or ""
            return state[:2] in _UNAVAILABLE_CLASSES or state in _UNAVAILABLE_STATES
        case asyncpg.InterfaceError():
            return not isinstance(error, ValueError)  # an argument that can't be encoded
        case asyncpg.InternalClientError() | OSError():  # TimeoutError is an OSError
            return True
        case _:
            return False


def scrub(error: BaseException) -> None:
    """Take out of an error of PostgreSQL or asyncpg what may quote a row or an argument."""
    state = ""
    if isinstance(error, asyncpg.PostgresError):
        error.detail = error.context = None
        state = error.sqlstate or ""
    if state.startswith("22") or isinstance(error, ValueError):  # data exception, on either side
        message = _BEFORE_A_VALUE.split(str(error.args[0]), maxsplit=1)[0].strip()
        error.args = (message,)
        vars(error)["message"] = message
        error.__cause__ = error.__context__ = None


class _Ear:
    """One connection's listening to one channel."""

    def __init__(
        self,
        channel: str,
        on_notice: Callable[[str], None],
        on_reconnect: Callable[[], Awaitable[None]],
    ) -> None:
        self.began = False
        self._channel = channel
        self._on_notice = on_notice
        self._on_reconnect = on_reconnect

    async def listen(self, connection: "asyncpg.Connection[Record]") -> None:
        """Listen until the connection is lost; a heartbeat finds what the network hides."""
        lost = anyio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        await connection.add_listener(self._channel, self._hear)
        await self._on_reconnect()
        self.began = True
        while not lost.is_set():
            with anyio.move_on_after(HEARTBEAT_SECONDS):
                await lost.wait()
            if not lost.is_set():
                await connection.execute("SELECT 1", timeout=HEARTBEAT_SECONDS)

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        self._on_notice(str(payload))


async def _pool(dsn: str, size: int, statement_seconds: float) -> "asyncpg.Pool[Record]":
    try:
        return await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=size,
            timeout=CONNECT_SECONDS,
            command_timeout=statement_seconds + 1,
            init=_set_codecs,
            reset=_keep,
            server_settings=_session(statement_seconds),
        )
    except ValueError:  # what it says may quote the password
        message = (
            "`database` can't be read as a URL: write postgresql://user:password@host:5432/name"
        )
        raise ConfigurationInvalid(message) from None


async def _close(pool: "asyncpg.Pool[Record]") -> None:
    """Close when all connections are given back, or without waiting after a while."""
    with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_SECONDS) as waiting:
        await pool.close()
    if waiting.cancelled_caught:
        pool.terminate()


def _session(statement_seconds: float) -> dict[str, str]:
    return {
        "application_name": "reasonrank-gateway",
        "timezone": "UTC",
        "statement_timeout": f"{statement_seconds * 1000:.0f}",
        "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_SECONDS * 1000:.0f}",
    }


async def _set_codecs(connection: Connection) -> None:
    """Read and write json and jsonb as Python objects."""
    for name in ("json", "jsonb"):
        await connection.set_type_codec(
            name,
            schema="pg_catalog",
            encoder=lambda value: msgspec.json.encode(value).decode(),
            decoder=msgspec.json.decode,
        )


async def _keep(_connection: object) -> None:
    """Reset nothing: see the module's docstring. asyncpg still rolls back what was left open."""
