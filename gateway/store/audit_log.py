"""The audit log as it is read. What is written there, and when, is `audit`'s matter."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from gateway.store.database import Database, Record

LIST: Final = """
SELECT seq, at, actor, via, address, action, target, detail FROM audit
WHERE $1::bigint IS NULL OR seq < $1 ORDER BY seq DESC LIMIT $2"""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One change. `seq` counts from 1 without a gap."""

    seq: int
    at: datetime
    actor: str
    via: str
    address: str | None
    action: str
    target: str
    detail: Mapping[str, str | int]


class AuditLog:
    """The audit log of one database."""

    def __init__(self, database: Database) -> None:
        """Read the log that `database` has."""
        self._database = database

    async def page(self, *, before: int | None = None, limit: int = 100) -> list[Entry]:
        """Return up to `limit` entries, newest first; `before` is the last one's, for the next page.

        Raises LedgerUnavailable.
        """
        return [_entry(row) for row in await self._database.fetch(LIST, before, limit)]


def _entry(row: Record) -> Entry:
    return msgspec.convert(dict(row), Entry)
