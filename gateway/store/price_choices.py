"""Which list of prices is in force: the package's own, or a file that an operator gave.

The choice is the database's, so that every replica prices alike and a restart changes nothing. Files
are kept for good: a trace names the version that priced it, and that version can be looked up.
"""

from datetime import date, datetime
from typing import Final

import msgspec

from gateway.store import audit
from gateway.store.audit import Action, Actor
from gateway.store.database import Connection, Database, Record
from gateway.store.notices import PricesChanged, notify

CHOICE: Final = """
SELECT c.seq, c.is_forced, f.sha256, f.published_on
FROM price_choice c LEFT JOIN price_file f ON f.sha256 = c.file
ORDER BY c.seq DESC LIMIT 1"""
CONTENT: Final = "SELECT content FROM price_file WHERE sha256 = $1"
FILES: Final = """
SELECT sha256, published_on, added_at, added_by, length(content) AS bytes
FROM price_file ORDER BY published_on DESC, added_at DESC, sha256"""
NAMED: Final = """
SELECT sha256, published_on FROM price_file WHERE starts_with(sha256, $1) ORDER BY sha256 LIMIT 2"""
ADD: Final = """
INSERT INTO price_file (sha256, published_on, content, added_by) VALUES ($1, $2, $3, $4)
ON CONFLICT (sha256) DO NOTHING"""
CHOOSE: Final = "INSERT INTO price_choice (file, is_forced, by) VALUES ($1, $2, $3)"
HOLD: Final = "LOCK TABLE price_choice IN SHARE ROW EXCLUSIVE MODE"


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file of prices: its digest, and the day on which its prices were what vendors publish."""

    sha256: str
    published_on: date


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What was chosen last; `seq` is 0 where nothing ever was. No file: the package's own list."""

    seq: int
    file: File | None
    is_forced: bool


class Kept(File, frozen=True, kw_only=True):
    """A file in the database."""

    added_at: datetime
    added_by: str
    bytes: int


UNCHOSEN: Final = Choice(seq=0, file=None, is_forced=False)


class PriceChoices:
    """The choice and its files. Every method raises LedgerUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def current(self) -> Choice:
        """Return what is chosen now."""
        return _choice(await self._database.fetch_row(CHOICE))

    async def content(self, file: File) -> bytes:
        """Return the bytes of a file that is in the database."""
        found: bytes = await self._database.fetch_value(CONTENT, file.sha256)
        return found

    async def kept(self) -> list[Kept]:
        """Return every file, the latest prices first."""
        return [_kept(row) for row in await self._database.fetch(FILES)]

    async def named(self, digits: str) -> File | None:
        """Return the one file whose digest begins so; None where there is none, or several."""
        rows = await self._database.fetch(NAMED, digits)
        return _file(rows[0]) if len(rows) == 1 else None

    async def add(
        self, file: File, content: bytes, actor: Actor, *, after: int, is_forced: bool
    ) -> bool:
        """Keep a file and put it in force; False where the choice is not `after` any more."""
        async with self._database.transaction() as connection:
            await connection.execute(HOLD)
            if _choice(await connection.fetchrow(CHOICE)).seq != after:
                return False
            await connection.execute(ADD, file.sha256, file.published_on, content, actor.name)
            day, forced = str(file.published_on), int(is_forced)
            detail: dict[str, str | int] = {"published_on": day, "is_forced": forced}
            await _choose(connection, file, actor, detail, is_forced=is_forced)
        return True

    async def activate(self, file: File | None, actor: Actor) -> None:
        """Put a file that is kept in force, or the package's own list, whatever their days."""
        async with self._database.transaction() as connection:
            await connection.execute(HOLD)
            await _choose(connection, file, actor, {}, is_forced=file is not None)


async def _choose(
    connection: Connection,
    file: File | None,
    actor: Actor,
    detail: dict[str, str | int],
    *,
    is_forced: bool,
) -> None:
    digest = None if file is None else file.sha256
    await connection.execute(CHOOSE, digest, is_forced, actor.name)
    await audit.record(
        connection, actor, Action.PRICES_CHOOSE, f"prices:{digest or 'package'}", detail
    )
    await notify(connection, PricesChanged())


def _choice(row: Record | None) -> Choice:
    if row is None:
        return UNCHOSEN
    file = None if row["sha256"] is None else _file(row)
    return Choice(seq=row["seq"], file=file, is_forced=row["is_forced"])


def _file(row: Record) -> File:
    return File(sha256=row["sha256"], published_on=row["published_on"])


def _kept(row: Record) -> Kept:
    return Kept(
        sha256=row["sha256"],
        published_on=row["published_on"],
        added_at=row["added_at"],
        added_by=row["added_by"],
        bytes=row["bytes"],
    )
