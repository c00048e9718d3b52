"""What the management API is given by the composition root, and how a route gets at it."""

from collections.abc import Awaitable, Callable
from datetime import date, datetime
from typing import Any, cast

import msgspec
from litestar import Request

from gateway.core.limits import Caller
from gateway.core.refusal import Refused
from gateway.exchange.estimates import Estimate
from gateway.providers.adapter import Dialect, Headers, Path
from gateway.store.access import AccessStore
from gateway.store.audit_log import AuditLog
from gateway.store.limits import LimitStore
from gateway.store.minting import Mint
from gateway.store.price_choices import PriceChoices
from gateway.store.replicas import ReplicaStore
from gateway.store.runs import RunStore
from gateway.store.sessions import SessionStore
from gateway.store.traces import TraceStore
from gateway.store.unsettled import UnsettledStore
from gateway.web.pricing import Pricing

_KEY = "services"


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """A call that is to be estimated and not made. `headers` are ours, with lower-case names."""

    caller: Caller
    path: Path
    dialect: Dialect
    body: bytes
    headers: Headers


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that routes use of the world; nothing else is reached from one."""

    access: AccessStore
    audit: AuditLog
    limits: LimitStore
    prices: PriceChoices
    pricing: Pricing
    replicas: ReplicaStore
    runs: RunStore
    sessions: SessionStore
    traces: TraceStore
    unsettled: UnsettledStore
    mint: Mint
    now: Callable[[], datetime]
    """This moment, aware UTC."""
    today: Callable[[], date]
    """Today in the configured time zone, which tells the present period of a budget."""
    estimate: Callable[[Quote], Awaitable[Estimate | Refused]]
    is_stopping: Callable[[], bool]
    """Whether the gateway drains: streams of the management API end then."""
    unhandled: Callable[[BaseException, str], None]
    """Reports a bug, and the template of the route that it showed in."""
    version: str
    database: str
    """Which kind of database this is, for people: `embedded` or `external`."""


def state(services: Services) -> dict[str, object]:
    """Return the application state that `services_of` reads."""
    return {_KEY: services}


def services_of(request: Request[Any, Any, Any]) -> Services:
    """Return what the application was made with."""
    return cast("Services", request.app.state[_KEY])
