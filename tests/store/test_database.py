"""The pool, the transaction, the one failure, and listening."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta, timezone

import asyncpg
import pytest
import pytest_asyncio

from gateway.errors import ConfigurationInvalid, LedgerUnavailable
from gateway.store.database import Database, connect, is_unavailable, translated
from gateway.store.embedded import EmbeddedPostgres
from tests.postgres import NOT_DURABLE, passable_folder, until

CANARY = "canary-51c0de"


@pytest_asyncio.fixture
async def stoppable() -> AsyncIterator[EmbeddedPostgres]:
    """A server of this test's own, to be stopped and started."""
    with passable_folder() as folder:
        async with EmbeddedPostgres(folder / "state", report=print, settings=NOT_DURABLE) as server:
            yield server


def everything(error: BaseException) -> str:
    """Return all that a log of an error and its causes could hold."""
    words: list[str] = []
    seen: BaseException | None = error
    while seen is not None:
        words += [str(seen), repr(seen), repr(vars(seen))]
        seen = seen.__cause__ or seen.__context__
    return "\n".join(words)


async def test_a_block_is_committed_as_a_whole(database: Database):
    async with database.transaction() as connection:
        await connection.execute("CREATE TABLE t (n int)")
        await connection.execute("INSERT INTO t VALUES (1), (2)")
    assert [row["n"] for row in await database.fetch("SELECT n FROM t ORDER BY n")] == [1, 2]


async def test_a_block_that_raises_changes_nothing(database: Database):
    await database.execute("CREATE TABLE t (n int UNIQUE)")
    with pytest.raises(asyncpg.UniqueViolationError):
        await insert_twice(database)
    assert await database.fetch_value("SELECT count(*) FROM t") == 0


async def insert_twice(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute("INSERT INTO t VALUES (1)")
        await connection.execute("INSERT INTO t VALUES (1)")


async def test_statements_without_a_transaction_say_what_they_did(database: Database):
    await database.execute("CREATE TABLE t (n int)")
    await database.execute_many("INSERT INTO t VALUES ($1)", [(1,), (2,), (3,)])
    assert await database.execute("UPDATE t SET n = n + 1 WHERE n > $1", 1) == "UPDATE 2"
    assert await database.fetch_row("SELECT n FROM t WHERE n = 99") is None
    assert await database.fetch_value("SELECT n FROM t WHERE n = 99") is None
    row = await database.fetch_row("SELECT max(n) AS most FROM t")
    assert row is not None
    assert row["most"] == 4


@pytest.mark.parametrize("kind", ["json", "jsonb"])
async def test_json_is_read_and_written_as_objects(database: Database, kind: str):
    value = {"a": [1, None, "é", {"b": 12345678901234567890}]}
    assert await database.fetch_value(f"SELECT $1::{kind}", value) == value


async def test_times_are_aware_and_utc_whatever_went_in(database: Database):
    went_in = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=5)))
    came_out = await database.fetch_value("SELECT $1::timestamptz", went_in)
    assert came_out == went_in
    assert came_out.tzinfo == UTC
    assert await database.fetch_value("SHOW timezone") == "UTC"


async def test_a_statement_that_takes_too_long_is_unavailability(dsn: str):
    async with connect(dsn, size=1, statement_seconds=0.05) as database:
        with pytest.raises(LedgerUnavailable, match="QueryCanceledError"):
            await database.execute("SELECT pg_sleep(10)")
        assert await database.fetch_value("SELECT 1") == 1


async def test_a_pool_without_a_free_connection_is_unavailability(
    dsn: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gateway.store.database.CONNECT_SECONDS", 0.1)
    async with connect(dsn, size=1) as database, database.transaction():
        with pytest.raises(LedgerUnavailable, match="TimeoutError"):
            await database.fetch_value("SELECT 1")


async def test_a_connection_that_is_cut_is_unavailability_and_then_replaced(dsn: str):
    kinds: list[str] = []
    async with connect(dsn, size=2, on_failure=kinds.append) as database:
        with pytest.raises(LedgerUnavailable) as cut:
            await end_its_own_connection(database)
        assert await database.fetch_value("SELECT 1") == 1
    assert len(kinds) == 1
    assert kinds[0] in str(cut.value)


async def end_its_own_connection(database: Database) -> None:
    async with database.transaction() as connection:
        pid = await connection.fetchval("SELECT pg_backend_pid()")
        await database.execute("SELECT pg_terminate_backend($1)", pid)
        await connection.execute("SELECT 1")


async def test_a_cancelled_block_is_rolled_back_and_its_connection_used_again(dsn: str):
    async with connect(dsn, size=1) as database:
        begun = asyncio.Event()

        async def forever() -> None:
            async with database.transaction() as connection:
                await connection.execute("CREATE TABLE t (n int)")
                begun.set()
                await connection.execute("SELECT pg_sleep(10)")

        async with asyncio.TaskGroup() as group:
            task = group.create_task(forever())
            await begun.wait()
            task.cancel()
        assert await database.fetch_value("SELECT to_regclass('t')::text") is None


@pytest.mark.parametrize(
    "change",
    [
        lambda dsn: dsn.replace("?host=", "?host=/nowhere"),
        lambda dsn: dsn.replace("@/test_", "@/no_such_database_"),
        lambda dsn: dsn.replace("gateway@", "someone_else@"),
        lambda _: "postgresql://user:secret-word@127.0.0.1:1/name",
    ],
)
async def test_a_database_that_lets_nobody_in_is_unavailable(
    dsn: str, change: Callable[[str], str]
):
    with pytest.raises(LedgerUnavailable) as failed:
        async with connect(change(dsn), size=1):
            pass
    assert "\n" not in str(failed.value)
    assert "secret-word" not in everything(failed.value)


@pytest.mark.parametrize("url", ["mysql://x:secret-word@h/d", "postgresql://u:p@h:secret-word/d"])
async def test_an_unreadable_url_is_refused_without_quoting_it(url: str):
    with pytest.raises(ConfigurationInvalid) as refused:
        async with connect(url, size=1):
            pass
    assert "secret-word" not in str(refused.value)
    assert refused.value.__cause__ is None


async def test_a_password_opens_a_database(dsn: str, visitor: str):
    def url(password: str) -> str:
        return dsn.replace("gateway@", f"visitor:{password}@")

    async with connect(url(visitor), size=1) as database:
        assert await database.fetch_value("SELECT current_user::text") == "visitor"
    with pytest.raises(LedgerUnavailable, match="InvalidPasswordError") as refused:
        async with connect(url("wrong-word"), size=1):
            pass
    assert "wrong-word" not in everything(refused.value)


@pytest.mark.parametrize(
    ("statement", "args"),
    [
        ("INSERT INTO t VALUES ($1, 1), ($1, 2)", (CANARY,)),
        ("INSERT INTO t VALUES ($1, 0)", (CANARY,)),
        ("INSERT INTO t VALUES ($1, NULL)", (CANARY,)),
        ("SELECT $1::text::int", (CANARY,)),
        ("SELECT $1::text::jsonb", (CANARY,)),
        ("SELECT $1::text::timestamptz", (CANARY,)),
        ("SELECT $1::int", (CANARY,)),
        ("SELECT $1::text", (CANARY + "\ud800",)),
        ("SELECT $1::text", ([CANARY],)),
        ("SELECT fail($1)", (CANARY,)),
        ("SELECT ($1::text || '9999999999999')::int", ("1",)),
    ],
)
async def test_an_error_of_ours_keeps_its_type_and_loses_every_value(
    database: Database, statement: str, args: tuple[object, ...]
):
    await database.execute("CREATE TABLE t (v text UNIQUE, n int NOT NULL CHECK (n > 0))")
    await database.execute(FAIL)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)) as failed:
        await database.execute(statement, *args)
    assert CANARY not in everything(failed.value)
    assert str(failed.value)


FAIL = """
CREATE FUNCTION fail(v text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN RAISE unique_violation USING MESSAGE = 'no', DETAIL = v, HINT = 'h'; END $$"""


def test_only_what_hinders_every_statement_is_unavailability():
    yes = (
        asyncpg.PostgresConnectionError("x"),
        asyncpg.CannotConnectNowError("x"),
        asyncpg.AdminShutdownError("x"),
        asyncpg.CrashShutdownError("x"),
        asyncpg.QueryCanceledError("x"),
        asyncpg.TooManyConnectionsError("x"),
        asyncpg.DiskFullError("x"),
        asyncpg.ReadOnlySQLTransactionError("x"),
        asyncpg.DeadlockDetectedError("x"),
        asyncpg.SerializationError("x"),
        asyncpg.LockNotAvailableError("x"),
        asyncpg.InterfaceError("x"),
        asyncpg.InternalClientError("x"),
        ConnectionRefusedError(),
        FileNotFoundError(),
        TimeoutError(),
    )
    no = (
        asyncpg.UniqueViolationError("x"),
        asyncpg.UndefinedTableError("x"),
        asyncpg.InvalidTextRepresentationError("x"),
        asyncpg.PostgresSyntaxError("x"),
        asyncpg.InsufficientPrivilegeError("x"),
        asyncpg.ClientConfigurationError("x"),
        KeyError(),
        LedgerUnavailable(),
    )
    assert [error for error in yes if not is_unavailable(error)] == []
    assert [error for error in no if is_unavailable(error)] == []


def test_failures_of_our_own_pass_untouched():
    with pytest.raises(KeyError), translated():
        raise KeyError


class Listener:
    """What `listen` tells."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.heard: list[str] = []
        self.reads: list[int] = []

    async def listen(self) -> None:
        await self.database.listen("news", self.heard.append, on_reconnect=self.read)

    async def read(self) -> None:
        query = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = $1"
        name = await self.database.fetch_value("SELECT current_database()")
        self.reads += [row["pid"] for row in await self.database.fetch(query, name)]


@asynccontextmanager
async def listening(database: Database) -> AsyncIterator[Listener]:
    listener = Listener(database)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(listener.listen())
        await until(lambda: bool(listener.reads), "listening")
        yield listener
        task.cancel()


async def test_what_is_notified_is_heard_in_order(database: Database):
    async with listening(database) as listener:
        for word in ("one", "two", ""):
            await database.execute("SELECT pg_notify('news', $1)", word)
        await database.execute("SELECT pg_notify('other', 'three')")
        await until(lambda: len(listener.heard) >= 3, "three notices")
    assert listener.heard == ["one", "two", ""]


async def test_listening_begins_again_after_a_loss_and_state_is_read_again(database: Database):
    async with listening(database) as listener:
        await database.execute("SELECT pg_terminate_backend($1)", listener.reads[0])
        await until(lambda: len(listener.reads) == 2, "a second start")
        await database.execute("SELECT pg_notify('news', 'again')")
        await until(lambda: listener.heard == ["again"], "a notice")


async def test_a_silent_loss_is_found_by_the_heartbeat(
    database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gateway.store.database.HEARTBEAT_SECONDS", 0.1)
    async with frozen_by(database) as freeze, listening(database) as listener:
        freeze(listener.reads[0], signal.SIGSTOP)
        await until(lambda: len(listener.reads) > 1, "a second start")
        freeze(listener.reads[0], signal.SIGCONT)


@asynccontextmanager
async def frozen_by(database: Database) -> AsyncIterator[Callable[[int, int], None]]:
    """Let a test stop a server process, which is woken again in the end so that it can end."""
    stopped: set[int] = set()

    def send(pid: int, number: int) -> None:
        stopped.add(pid)
        os.kill(pid, number)

    try:
        yield send
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


async def test_a_server_that_is_away_is_waited_for(stoppable: EmbeddedPostgres):
    kinds: list[str] = []
    async with (
        connect(stoppable.dsn, size=3, on_failure=kinds.append) as database,
        listening(database) as listener,
    ):
        await stoppable.stop()
        with pytest.raises(LedgerUnavailable):
            await database.fetch_value("SELECT 1")
        await stoppable.start()
        assert await database.fetch_value("SELECT 1") == 1
        await until(lambda: len(listener.reads) > 1, "listening again")
    assert kinds
