"""The first start: what a new database is given, and how a later start knows it again."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from gateway.core import credentials
from gateway.core.credentials import TOKEN_LIFE
from gateway.core.ids import Project
from gateway.core.limits import CALL_SCOPE
from gateway.core.secret import Secret
from gateway.errors import ConfigurationInvalid
from gateway.store.access import FIND, Minted, NewToken, add_token
from gateway.store.audit import AT_START
from gateway.store.database import Connection, Database
from gateway.store.minting import Mint
from gateway.store.sessions import add_owner_link

DEFAULT_PROJECT: Final = Project("default")

TAKE_TURN: Final = "SELECT pg_advisory_xact_lock(hashtext('installation'))"
KNOWN: Final = "SELECT pepper_check FROM installation"
ADD: Final = "INSERT INTO installation (id, pepper_check) VALUES ($1, $2)"


class FirstStart(msgspec.Struct, frozen=True):
    """What the first start shows once: a token for calls, and the owner's sign-in link."""

    client: Minted
    owner_link: Secret


class InstallationStore:
    """One database as an installation. Every method raises LedgerUnavailable."""

    def __init__(self, database: Database, pepper: bytes, mint: Mint) -> None:
        self._database = database
        self._pepper = pepper
        self._mint = mint

    async def open(self, now: datetime) -> FirstStart | None:
        """Check that this database belongs to our pepper, or give a new one what it needs.

        Returns what a new one was given; to whoever comes first, if several start at once.

        Raises:
            ConfigurationInvalid: the tokens in this database were made with another pepper.
        """
        async with self._database.transaction() as connection:
            await connection.execute(TAKE_TURN)
            known = await connection.fetchval(KNOWN)
            if known is None:
                return await self._install(connection, now)
        if not credentials.are_same(known, credentials.pepper_check(self._pepper)):
            message = "the token pepper is not the one that this database's tokens were made with"
            raise ConfigurationInvalid(
                f"{message}: start with the first one, or on another database"
            )
        return None

    async def local_token(
        self, existing: str | None, scopes: Sequence[str], now: datetime
    ) -> Minted | None:
        """Make a token for commands on this host, unless `existing` is still good here."""
        async with self._database.transaction() as connection:
            if existing is not None:
                digest = credentials.keyed_hash(self._pepper, existing)
                if await connection.fetchrow(FIND, digest) is not None:
                    return None
            wanted = NewToken(
                name="local commands",
                project=DEFAULT_PROJECT,
                scopes=scopes,
                expires_at=now + TOKEN_LIFE,
            )
            return await add_token(connection, self._mint, self._pepper, wanted, AT_START)

    async def _install(self, connection: Connection, now: datetime) -> FirstStart:
        check = credentials.pepper_check(self._pepper)
        await connection.execute(ADD, self._mint.id(), check)
        wanted = NewToken(
            name="first",
            project=DEFAULT_PROJECT,
            scopes=(CALL_SCOPE,),
            expires_at=now + TOKEN_LIFE,
        )
        client = await add_token(connection, self._mint, self._pepper, wanted, AT_START)
        return FirstStart(client, await add_owner_link(connection, self._mint, AT_START))
