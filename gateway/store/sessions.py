"""The owner's way into the console: a one-time link opens a session, and nothing else does."""

from typing import Final

from gateway.core import credentials
from gateway.core.credentials import LINK_LIFE, SESSION_IDLE, SESSION_LIFE
from gateway.core.secret import Secret
from gateway.store import audit
from gateway.store.audit import Action, Actor
from gateway.store.database import Connection, Database
from gateway.store.minting import Mint

OWNER: Final = "owner"
BY_LINK: Final = Actor(OWNER, "link")

ADD_LINK: Final = "INSERT INTO owner_link (hash, expires_at) VALUES ($1, now() + $2)"
USE_LINK: Final = """
UPDATE owner_link SET used_at = now() WHERE hash = $1 AND used_at IS NULL AND expires_at > now()
RETURNING hash"""
START: Final = "INSERT INTO session (hash, user_name, expires_at) VALUES ($1, $2, now() + $3)"
SEE: Final = """
WITH valid AS (
    SELECT hash, user_name FROM session
    WHERE hash = $1 AND ended_at IS NULL AND expires_at > now() AND seen_at > now() - $2::interval
), seen AS (
    UPDATE session s SET seen_at = now() FROM valid v
    WHERE s.hash = v.hash AND s.seen_at < now() - interval '1 minute'
)
SELECT user_name FROM valid"""
END: Final = """
UPDATE session SET ended_at = now() WHERE hash = $1 AND ended_at IS NULL RETURNING user_name"""


class SessionStore:
    """Links and sessions of one database. Every method raises LedgerUnavailable."""

    def __init__(self, database: Database, mint: Mint) -> None:
        self._database = database
        self._mint = mint

    async def owner_link(self, actor: Actor) -> Secret:
        """Make a one-time sign-in link's secret, good for 30 minutes."""
        async with self._database.transaction() as connection:
            return await add_owner_link(connection, self._mint, actor)

    async def sign_in(self, link: str) -> Secret | None:
        """Use a link and return the secret of a new session; None for a link that isn't good."""
        async with self._database.transaction() as connection:
            if await connection.fetchval(USE_LINK, credentials.plain_hash(link)) is None:
                return None
            secret = self._mint.secret()
            digest = credentials.plain_hash(secret)
            await connection.execute(START, digest, OWNER, SESSION_LIFE)
            await audit.record(connection, BY_LINK, Action.SESSION_START, _target(digest))
        return Secret(secret)

    async def session(self, secret: str) -> str | None:
        """Return whose session it is, unless it has ended or was idle for a day; keep it going."""
        digest = credentials.plain_hash(secret)
        name: str | None = await self._database.fetch_value(SEE, digest, SESSION_IDLE)
        return name

    async def end(self, secret: str) -> bool:
        """End a session; False where there was none."""
        digest = credentials.plain_hash(secret)
        async with self._database.transaction() as connection:
            name = await connection.fetchval(END, digest)
            if name is None:
                return False
            actor = Actor(name, "session")
            await audit.record(connection, actor, Action.SESSION_END, _target(digest))
        return True


async def add_owner_link(connection: Connection, mint: Mint, actor: Actor) -> Secret:
    """Make a link in a transaction that may have other things to do as well."""
    secret = mint.secret()
    await connection.execute(ADD_LINK, credentials.plain_hash(secret), LINK_LIFE)
    await audit.record(connection, actor, Action.OWNER_LINK_CREATE, "user:owner")
    return Secret(secret)


def _target(digest: bytes) -> str:
    """Return a session's name in the audit log: enough to tell it from others, of no use to enter."""
    return f"session:{digest.hex()[:16]}"
