"""Who may call: tokens, kept as keyed hashes, and their bearers in memory.

A call never waits for the database where its token was seen lately. `refresh`, which runs twice a
second and upon each notice, asks again for every token in memory, so a revocation is in force
within a second wherever the database can be reached; and a replica that can't reach it admits
nothing for longer than its lease, with whatever token.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Final

import anyio
import msgspec
from msgspec import UNSET, UnsetType

from gateway.core import credentials
from gateway.core.budget import Scope, Window
from gateway.core.ids import ModelName, Project, TokenId
from gateway.core.limits import Caller
from gateway.core.money import NanoDollars
from gateway.core.rates import RateLimits
from gateway.core.secret import Secret
from gateway.store import audit
from gateway.store.audit import Action, Actor
from gateway.store.database import Connection, Database, Record
from gateway.store.limits import put_cap
from gateway.store.minting import Mint
from gateway.store.notices import TokensChanged, notify

UNKNOWN_S: Final = 1.0
"""How long a token that was not found is not looked for again, unless some token changed."""
MOST_UNKNOWN: Final = 4096
MOST_LOOK_UPS: Final = 4
"""Look-ups at a time. A flood of made-up tokens takes no more of the pool than these."""
NO_RATE_LIMITS: Final = RateLimits()
FORGET_S: Final = 120.0
TOUCH_S: Final = 60.0

FIND: Final = """
SELECT id, secret_hmac, name, project, scopes, models, expires_at,
       requests_per_minute, tokens_per_minute,
       ARRAY(SELECT time_window FROM budget_cap
             WHERE scope = 'token' AND scope_id = token.id::text AND cap_nusd IS NOT NULL) AS capped
FROM token
WHERE secret_hmac = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"""
FIND_ALL: Final = """
SELECT id, secret_hmac, name, project, scopes, models, expires_at,
       requests_per_minute, tokens_per_minute,
       ARRAY(SELECT time_window FROM budget_cap
             WHERE scope = 'token' AND scope_id = token.id::text AND cap_nusd IS NOT NULL) AS capped
FROM token
WHERE secret_hmac = ANY ($1::bytea[]) AND revoked_at IS NULL
      AND (expires_at IS NULL OR expires_at > now())"""
TOUCH: Final = """
UPDATE token SET last_used_at = date_trunc('minute', now()) WHERE id IN (
    SELECT id FROM token
    WHERE secret_hmac = ANY ($1::bytea[])
          AND (last_used_at IS NULL OR last_used_at < date_trunc('minute', now()))
    FOR UPDATE SKIP LOCKED
)"""
ADD: Final = """
INSERT INTO token (id, name, secret_hmac, prefix, project, scopes, models, expires_at,
                   requests_per_minute, tokens_per_minute)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
RETURNING id, name, prefix, project, scopes, models, expires_at, created_at, revoked_at, last_used_at,
          requests_per_minute, tokens_per_minute"""
CHANGE: Final = """
UPDATE token
SET requests_per_minute = CASE WHEN $2 THEN $3 ELSE requests_per_minute END,
    tokens_per_minute = CASE WHEN $4 THEN $5 ELSE tokens_per_minute END
WHERE id = $1 AND revoked_at IS NULL
RETURNING id, name, prefix, project, scopes, models, expires_at, created_at, revoked_at, last_used_at,
          requests_per_minute, tokens_per_minute"""
LIST: Final = """
SELECT id, name, prefix, project, scopes, models, expires_at, created_at, revoked_at, last_used_at,
       requests_per_minute, tokens_per_minute
FROM token WHERE $1::uuid IS NULL OR id < $1 ORDER BY id DESC LIMIT $2"""
REVOKE: Final = """
UPDATE token SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL RETURNING id"""


class NewToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token as it is ordered. `budget_nusd` caps all it ever spends; `models` None: every model."""

    name: str
    project: Project
    scopes: Sequence[str]
    models: Sequence[ModelName] | None = None
    expires_at: datetime | None = None
    budget_nusd: NanoDollars | None = None
    rate_limits: RateLimits = NO_RATE_LIMITS


class RateLimitChange(msgspec.Struct, frozen=True, kw_only=True):
    """Other rate limits for a token: None takes one away, and what is not set stays."""

    requests_per_minute: int | UnsetType | None = UNSET
    tokens_per_minute: int | UnsetType | None = UNSET


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token as it is kept. `prefix` is all of it that may be shown."""

    id: TokenId
    name: str
    prefix: str
    project: Project
    scopes: tuple[str, ...]
    models: tuple[ModelName, ...] | None
    expires_at: datetime | None
    created_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None
    rate_limits: RateLimits


class Minted(msgspec.Struct, frozen=True):
    """A new token, and the one time that its secret is there."""

    token: Token
    secret: Secret


class _Known(msgspec.Struct):
    """A valid token in memory; times are monotonic seconds."""

    caller: Caller
    checked_at: float
    used_at: float


class AccessStore:
    """The tokens of one database. Every method that awaits raises LedgerUnavailable.

    `monotonic` returns seconds; what was checked longer than `stale_s` ago, which is the life of a
    lease, is asked for before it is believed.
    """

    def __init__(
        self,
        database: Database,
        pepper: bytes,
        mint: Mint,
        monotonic: Callable[[], float],
        *,
        stale_s: float,
    ) -> None:
        self._database = database
        self._pepper = pepper
        self._mint = mint
        self._monotonic = monotonic
        self._stale_s = stale_s
        self._known: dict[bytes, _Known] = {}
        self._unknown: dict[bytes, float] = {}
        self._look_ups = anyio.Semaphore(MOST_LOOK_UPS)
        self._touched_at = monotonic()
        self._quick_key = mint.secret().encode()
        self._digests: dict[bytes, bytes] = {}

    async def identify(self, secret: str, now: datetime) -> Caller | None:
        """Return the bearer of a valid token; None for one unknown, expired or revoked alike."""
        digest = self._digest(secret)
        caller = self._recall(digest)
        if caller is None and credentials.is_token(secret) and not self._is_unknown(digest):
            async with self._look_ups:
                caller = self._recall(digest)
                if caller is None and not self._is_unknown(digest):
                    caller = await self._look_up(digest)
        if caller is None or (caller.expires_at is not None and caller.expires_at <= now):
            return None
        return caller

    async def refresh(self) -> None:
        """Ask again for the tokens in memory, forget idle ones, and note which were used."""
        asked_at = self._monotonic()
        asked = [d for d, known in self._known.items() if asked_at - known.used_at < FORGET_S]
        rows = await self._database.fetch(FIND_ALL, asked) if asked else []
        callers = {row["secret_hmac"]: _caller(row) for row in rows}
        self._unknown.clear()
        self._digests.clear()
        for digest in [d for d, known in self._known.items() if known.checked_at < asked_at]:
            caller = callers.get(digest)
            if caller is None:
                del self._known[digest]
            else:
                self._known[digest].caller = caller
                self._known[digest].checked_at = asked_at
        if asked_at - self._touched_at >= TOUCH_S:
            await self._touch(asked_at)

    async def create(self, wanted: NewToken, actor: Actor) -> Minted:
        """Make a token, with its budget if it has one."""
        async with self._database.transaction() as connection:
            return await add_token(connection, self._mint, self._pepper, wanted, actor)

    async def page(self, *, before: TokenId | None = None, limit: int = 100) -> list[Token]:
        """Return up to `limit` tokens, newest first; `before` is the last one's id, for the next page."""
        return [_token(row) for row in await self._database.fetch(LIST, before, limit)]

    async def change(self, token: TokenId, change: RateLimitChange, actor: Actor) -> Token | None:
        """Give a token other rate limits, and return it; None where there is none that is valid."""
        requests, tokens = change.requests_per_minute, change.tokens_per_minute
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(
                CHANGE,
                token,
                requests is not UNSET,
                None if requests is UNSET else requests,
                tokens is not UNSET,
                None if tokens is UNSET else tokens,
            )
            if row is None:
                return None
            changed = _token(row)
            detail = {"name": changed.name, **_shown(changed.rate_limits)}
            await audit.record(connection, actor, Action.TOKEN_CHANGE, f"token:{token}", detail)
            await notify(connection, TokensChanged())
        return changed

    async def revoke(self, token: TokenId, actor: Actor) -> bool:
        """Make a token invalid for good; False where there is none that was valid."""
        async with self._database.transaction() as connection:
            if await connection.fetchval(REVOKE, token) is None:
                return False
            await audit.record(connection, actor, Action.TOKEN_REVOKE, f"token:{token}")
            await notify(connection, TokensChanged())
        self._known = {d: known for d, known in self._known.items() if known.caller.token != token}
        return True

    def _digest(self, secret: str) -> bytes:
        """Return a token's keyed hash, remembered for tokens in memory.

        They are found again by a hash that costs a tenth, under a key that this process made up.
        """
        text = secret.encode(errors="replace")
        quick = blake2b(text, key=self._quick_key, digest_size=16).digest()
        digest = self._digests.get(quick)
        if digest is None:
            digest = credentials.keyed_hash(self._pepper, secret)
            if digest in self._known:
                self._digests[quick] = digest
        return digest

    def _recall(self, digest: bytes) -> Caller | None:
        known = self._known.get(digest)
        now = self._monotonic()
        if known is None or now - known.checked_at > self._stale_s:
            return None
        known.used_at = now
        return known.caller

    def _is_unknown(self, digest: bytes) -> bool:
        until = self._unknown.get(digest)
        return until is not None and self._monotonic() < until

    async def _look_up(self, digest: bytes) -> Caller | None:
        asked_at = self._monotonic()
        row = await self._database.fetch_row(FIND, digest)
        if row is None or not credentials.are_same(row["secret_hmac"], digest):
            self._known.pop(digest, None)
            self._unknown[digest] = asked_at + UNKNOWN_S
            if len(self._unknown) > MOST_UNKNOWN:
                del self._unknown[next(iter(self._unknown))]
            return None
        caller = _caller(row)
        self._known[digest] = _Known(caller, checked_at=asked_at, used_at=asked_at)
        return caller

    async def _touch(self, now: float) -> None:
        used = [d for d, known in self._known.items() if known.used_at >= self._touched_at]
        self._touched_at = now
        if used:
            await self._database.execute(TOUCH, used)


async def add_token(
    connection: Connection, mint: Mint, pepper: bytes, wanted: NewToken, actor: Actor
) -> Minted:
    """Make a token in a transaction that may have other things to do as well."""
    secret = mint.token()
    row = await connection.fetchrow(
        ADD,
        mint.id(),
        wanted.name,
        credentials.keyed_hash(pepper, secret),
        credentials.prefix(secret),
        wanted.project,
        list(wanted.scopes),
        None if wanted.models is None else list(wanted.models),
        wanted.expires_at,
        wanted.rate_limits.requests_per_minute,
        wanted.rate_limits.tokens_per_minute,
    )
    if row is None:
        raise AssertionError("INSERT … RETURNING returned nothing")
    token = _token(row)
    if wanted.budget_nusd is not None:
        key = (Scope.TOKEN, token.id, Window.TOTAL)
        await put_cap(connection, key, wanted.budget_nusd, "", actor)
    detail = {"name": token.name, "prefix": token.prefix, "scopes": " ".join(token.scopes)}
    if token.rate_limits != NO_RATE_LIMITS:
        detail |= _shown(token.rate_limits)
    await audit.record(connection, actor, Action.TOKEN_CREATE, f"token:{token.id}", detail)
    await notify(connection, TokensChanged())
    return Minted(token, Secret(secret))


def _caller(row: Record) -> Caller:
    models, limits = row["models"], _rate_limits(row)
    return Caller(
        token=TokenId(str(row["id"])),
        name=row["name"],
        project=Project(row["project"]),
        scopes=frozenset(row["scopes"]),
        models=None if models is None else frozenset(models),
        expires_at=row["expires_at"],
        capped=frozenset(map(Window, row["capped"])),
        rate_limits=None if limits == NO_RATE_LIMITS else limits,
    )


def _token(row: Record) -> Token:
    models = row["models"]
    return Token(
        id=TokenId(str(row["id"])),
        name=row["name"],
        prefix=row["prefix"],
        project=row["project"],
        scopes=tuple(row["scopes"]),
        models=None if models is None else tuple(models),
        expires_at=row["expires_at"],
        created_at=row["created_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
        rate_limits=_rate_limits(row),
    )


def _rate_limits(row: Record) -> RateLimits:
    return RateLimits(
        requests_per_minute=row["requests_per_minute"],
        tokens_per_minute=row["tokens_per_minute"],
    )


def _shown(limits: RateLimits) -> dict[str, str]:
    """Return rate limits as a row of the audit log has them."""
    return {
        name: "none" if value is None else str(value)
        for name, value in msgspec.structs.asdict(limits).items()
    }
