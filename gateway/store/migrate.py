"""The schema: numbered SQL files that only go forward, each applied once and never changed after.

A database knows which files made it, by number and checksum; anything else than a beginning of
this release's files is refused rather than guessed at. Each file is one transaction, so a killed
migration leaves nothing half done, and one advisory lock makes several gateways that start at
once take turns. Nothing here needs a superuser: owning the database is enough.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from importlib.abc import Traversable
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import asyncpg
import msgspec

from gateway.errors import SchemaUnusable
from gateway.store.database import is_unavailable, scrub

if TYPE_CHECKING:
    from gateway.store.database import Connection

LOCK_KEY: Final = 0x5265_6173_6F6E
"""Of the advisory lock; "Reason" in ASCII."""
TURN_SECONDS: Final = 300
"""How long to wait for another gateway that migrates."""

_NAME: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")

CREATE: Final = """
CREATE TABLE IF NOT EXISTS schema_migration (
    number     integer PRIMARY KEY,
    name       text NOT NULL,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)"""
EXISTS: Final = "SELECT to_regclass('schema_migration') IS NOT NULL"
APPLIED: Final = "SELECT number, name, checksum FROM schema_migration ORDER BY number"
RECORD: Final = "INSERT INTO schema_migration (number, name, checksum) VALUES ($1, $2, $3)"
TAKE_TURN: Final = "SELECT pg_advisory_lock($1)"
END_TURN: Final = "SELECT pg_advisory_unlock($1)"
WAIT_FOR_TURN: Final = f"SET statement_timeout = '{TURN_SECONDS}s'"
WAIT_AS_BEFORE: Final = "RESET statement_timeout"
LIMITS: Final = "SET LOCAL lock_timeout = '3s'; SET LOCAL statement_timeout = '10min'"
"""A migration that waits for a lock makes every later statement on that table wait behind it."""


class Applied(msgspec.Struct, frozen=True):
    """A migration as a database remembers it."""

    number: int
    name: str
    checksum: str


class Migration(msgspec.Struct, frozen=True):
    """One SQL file. The checksum is SHA-256, in hex, of its text with Unix line ends."""

    number: int
    name: str
    sql: str
    checksum: str

    def __str__(self) -> str:
        """Return it as its file is called, `0001_ledger`."""
        return f"{self.number:04}_{self.name}"


async def migrate(
    connection: "Connection", migrations: Sequence[Migration] | None = None
) -> list[Migration]:
    """Apply what is missing, in order, and return it. Default: the files of this release.

    The connection must be a session of its own (not through a transaction pooler) and in no
    transaction, such as `Database.direct` gives, which also turns a lost connection into
    LedgerUnavailable. Raises SchemaUnusable; what was applied before stays.
    """
    release = packaged() if migrations is None else migrations
    await _take_turn(connection)
    try:
        await connection.execute(CREATE)
        todo = plan(release, await _applied(connection))
        for migration in todo:
            await _apply(connection, migration)
    except asyncpg.InsufficientPrivilegeError as error:
        message = "the database's user may not create tables in the schema `public`"
        raise SchemaUnusable(f"{message}: make it the owner of the database") from error
    finally:
        await _end_turn(connection)
    return todo


async def pending(
    connection: "Connection", migrations: Sequence[Migration] | None = None
) -> list[Migration]:
    """Return what `migrate` would apply, changing nothing. Raises SchemaUnusable."""
    release = packaged() if migrations is None else migrations
    exists = await connection.fetchval(EXISTS)
    return plan(release, await _applied(connection) if exists else [])


def packaged() -> list[Migration]:
    """Return the migrations of this release."""
    return read(files("gateway.store") / "migrations")


def read(folder: Traversable) -> list[Migration]:
    """Return the migrations in a folder, by number. Files that are not SQL are left alone.

    Raises SchemaUnusable for an SQL file that is not called `NNNN_name.sql`, and for numbers that
    are not 1, 2, 3 and so on.
    """
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    migrations = [parse(name, (folder / name).read_bytes()) for name in names]
    for place, migration in enumerate(migrations, start=1):
        if migration.number != place:
            raise SchemaUnusable(f"migration {migration} stands where {place:04} should be")
    return migrations


def parse(file_name: str, content: bytes) -> Migration:
    """Return the migration in a file; raises SchemaUnusable when it isn't called like one."""
    found = _NAME.fullmatch(file_name)
    if found is None:
        raise SchemaUnusable(f"migration {file_name!r} is not called NNNN_name.sql")
    text = content.replace(b"\r\n", b"\n")
    checksum = hashlib.sha256(text).hexdigest()
    return Migration(int(found[1]), found[2], text.decode(), checksum)


def plan(release: Sequence[Migration], applied: Iterable[Applied]) -> list[Migration]:
    """Return what of `release` is still to be applied, in order.

    Raises SchemaUnusable unless `applied`, ordered by number, is a beginning of `release`.
    """
    done = list(applied)
    if len(done) > len(release) or (done and done[-1].number > len(release)):
        newest, known = done[-1].number, len(release)
        message = f"the database's schema is {newest:04}, newer than this release's {known:04}"
        raise SchemaUnusable(f"{message}: run the release that made it, or a later one")
    for here, there in zip(release, done, strict=False):
        if here.number != there.number:
            message = f"the database lacks migration {here} but has {there.number:04}_{there.name}"
            raise SchemaUnusable(f"{message}: restore it from a backup")
        if here.checksum != there.checksum:
            message = f"migration {here} is not the one that made this database (checksum differs)"
            raise SchemaUnusable(f"{message}: install an unchanged release")
    return list(release[len(done) :])


async def _applied(connection: "Connection") -> list[Applied]:
    return [Applied(*row) for row in await connection.fetch(APPLIED)]


async def _take_turn(connection: "Connection") -> None:
    """Wait until no other gateway migrates this database."""
    await connection.execute(WAIT_FOR_TURN)
    try:
        await connection.execute(TAKE_TURN, LOCK_KEY, timeout=TURN_SECONDS + 1)
    except (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError, TimeoutError) as error:
        message = f"another gateway has been migrating this database for {TURN_SECONDS} s"
        raise SchemaUnusable(f"{message}: wait for it, then start again") from error


async def _end_turn(connection: "Connection") -> None:
    """Give the turn back; a lost connection already has."""
    if not connection.is_closed():
        await connection.execute(END_TURN, LOCK_KEY)
        await connection.execute(WAIT_AS_BEFORE)


async def _apply(connection: "Connection", migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(LIMITS)
            await connection.execute(migration.sql, timeout=None)
            await connection.execute(RECORD, migration.number, migration.name, migration.checksum)
    except asyncpg.LockNotAvailableError as error:
        message = (
            f"migration {migration} did not get a lock within 3 s: start again when it is quieter"
        )
        raise SchemaUnusable(message) from error
    except asyncpg.PostgresError as error:
        scrub(error)
        if is_unavailable(error):
            raise
        raise SchemaUnusable(f"migration {migration} failed: {error.args[0]}") from error
