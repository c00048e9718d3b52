"""Tokens: made, listed, changed, revoked. A secret is shown once, in the answer that makes it."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

import msgspec
from litestar import Response
from msgspec import UNSET, Meta, UnsetType

from gateway.core import access
from gateway.core.credentials import TOKEN_LIFE
from gateway.core.ids import ModelName, Project, TokenId
from gateway.core.limits import CALL_SCOPE
from gateway.core.rates import MOST_REQUESTS, MOST_TOKENS, RateLimits
from gateway.core.refusal import Code
from gateway.store.access import NewToken, RateLimitChange, Token
from gateway.web import reading
from gateway.web.gate import Visitor, visitor_of
from gateway.web.problems import Problem, invalid, not_found
from gateway.web.routing import API, Described, Sender, route
from gateway.web.services import services_of
from gateway.web.shapes import (
    Body,
    Dollars,
    Life,
    Model,
    Name,
    Page,
    Paging,
    answer,
    nano,
    nothing,
    page,
    uuid,
)

TokenScope = Literal["llm:call", "usage:read", "admin:read", "admin:write", "admin:*"]

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
_LIFE: Final = re.compile(r"([1-9][0-9]{0,5})([mhd])")


Requests = Annotated[int, Meta(ge=1, le=MOST_REQUESTS)]
Tokens = Annotated[int, Meta(ge=1, le=MOST_TOKENS)]


class RateLimitsOrder(Body, frozen=True, kw_only=True):
    """What a token may use in a minute; without a limit, or with null, as much as it likes."""

    requests_per_minute: Requests | None = None
    tokens_per_minute: Tokens | None = None


class TokenOrder(Body, frozen=True, kw_only=True):
    """A token to make. `expires` is how long it is good, such as `30d`, at most and by default a year.

    `budget_usd` caps all that it ever spends; without `models` it may use every model.
    """

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    project: Name | None = None
    scopes: Annotated[list[TokenScope], Meta(min_length=1, max_length=5)] = msgspec.field(
        default_factory=lambda: ["llm:call"]
    )
    expires: Life | None = None
    budget_usd: Dollars | None = None
    models: Annotated[list[Model], Meta(min_length=1, max_length=100)] | None = None
    rate_limits: RateLimitsOrder | None = None


class RateLimitsChange(Body, frozen=True, kw_only=True):
    """Other rate limits: null takes one away, and what is left out stays as it is."""

    requests_per_minute: Requests | UnsetType | None = UNSET
    tokens_per_minute: Tokens | UnsetType | None = UNSET


class TokenChange(Body, frozen=True, kw_only=True):
    """What changes of a token."""

    rate_limits: RateLimitsChange


class KnownToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token as it is kept. `prefix` is all of it that can be shown."""

    id: TokenId
    name: str
    prefix: str
    project: Project
    scopes: Sequence[str]
    models: Sequence[ModelName] | None
    expires_at: datetime | None
    created_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None
    rate_limits: RateLimits


class MintedToken(KnownToken, frozen=True, kw_only=True):
    """A new token, with its secret, which is not kept and never shown again."""

    token: str


@route(
    "POST",
    f"{API}/tokens",
    Described(
        "Make a token; its secret is in this answer alone",
        body=TokenOrder,
        answer=MintedToken,
        status=201,
    ),
)
async def create(request: Sender) -> Response[bytes]:
    """Make a token."""
    services, visitor = services_of(request), visitor_of(request)
    wanted = await reading.body(request, TokenOrder)
    minted = await services.access.create(_ordered(wanted, visitor, services.now()), visitor.actor)
    values = msgspec.structs.asdict(minted.token)
    return answer(MintedToken(**values, token=minted.secret.reveal()), 201)


@route("GET", f"{API}/tokens", Described("List tokens", query=Paging, answer=Page[KnownToken]))
async def listing(request: Sender) -> Response[bytes]:
    """List tokens, newest first, also those that are not good any more."""
    query = reading.query(request, Paging)
    before = None if query.cursor is None else TokenId(uuid(query.cursor, "cursor"))
    tokens = await services_of(request).access.page(before=before, limit=query.limit)
    return answer(page([_shown(token) for token in tokens], query.limit, lambda token: token.id))


@route(
    "PATCH",
    f"{API}/tokens/{{id:str}}",
    Described("Change a token's rate limits", body=TokenChange, answer=KnownToken),
)
async def change(request: Sender) -> Response[bytes]:
    """Change one token that is not revoked."""
    wanted = (await reading.body(request, TokenChange)).rate_limits
    if wanted == RateLimitsChange():
        raise invalid("Name the limit that is to change.", "rate_limits")
    token = TokenId(uuid(request.path_params["id"], "id"))
    ordered = RateLimitChange(**msgspec.structs.asdict(wanted))
    services = services_of(request)
    changed = await services.access.change(token, ordered, visitor_of(request).actor)
    if changed is None:
        raise not_found("valid token")
    return answer(_shown(changed))


@route("DELETE", f"{API}/tokens/{{id:str}}", Described("Revoke a token for good", status=204))
async def revoke(request: Sender) -> Response[bytes]:
    """Revoke one token."""
    await reading.no_body(request)
    token = TokenId(uuid(request.path_params["id"], "id"))
    if not await services_of(request).access.revoke(token, visitor_of(request).actor):
        raise not_found("valid token")
    return nothing()


def life(text: str | None) -> timedelta:
    """Return how long a token is to be good; raises Problem for longer than a year."""
    if text is None:
        return TOKEN_LIFE
    found = _LIFE.fullmatch(text)
    if found is None:
        raise invalid("It is a duration such as 12h or 30d.", "expires")
    asked = timedelta(**{_UNITS[found.group(2)]: int(found.group(1))})
    if asked > TOKEN_LIFE:
        raise invalid(f"A token is good for at most {TOKEN_LIFE.days}d.", "expires")
    return asked


def _ordered(wanted: TokenOrder, visitor: Visitor, now: datetime) -> NewToken:
    beyond = access.beyond(visitor.scopes, wanted.scopes)
    if beyond:
        message = f"Nobody gives away more than they have: {', '.join(beyond)}."
        raise Problem(Code.SCOPE_MISSING, message, param="scopes")
    return NewToken(
        name=wanted.name,
        project=Project(wanted.project or visitor.project),
        scopes=tuple(dict.fromkeys(wanted.scopes)) or (CALL_SCOPE,),
        models=None if wanted.models is None else tuple(map(ModelName, wanted.models)),
        expires_at=now + life(wanted.expires),
        budget_nusd=None if wanted.budget_usd is None else nano(wanted.budget_usd, "budget_usd"),
        rate_limits=RateLimits(**msgspec.structs.asdict(wanted.rate_limits or RateLimitsOrder())),
    )


def _shown(token: Token) -> KnownToken:
    return KnownToken(**msgspec.structs.asdict(token))
