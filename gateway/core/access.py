"""Who may do what: scopes to permissions, and one table of routes to the permission each needs.

A route that is not in the table is refused, so that a forgotten one is closed and not open. A token
that makes calls (`llm:call`) has no permission here at all.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from gateway.core.limits import CALL_SCOPE


class Permission(StrEnum):
    """What a route of the management API does."""

    SEE_API = "see the API's description"
    SEE_USAGE = "see usage"
    SEE_SETTINGS = "see settings"
    ESTIMATE = "estimate"
    MAKE_RUNS = "make runs"
    SET_BUDGETS = "set budgets"
    KILL = "throw a kill switch"
    LIFT = "lift a kill switch"
    RESOLVE = "resolve unsettled money"
    SET_PRICES = "set prices"
    SET_TOKENS = "set tokens"
    ADMIT_OWNERS = "admit owners"


class Open(StrEnum):
    """A route that asks for no credential: it shows and changes nothing of the workspace's."""

    OPEN = "open"


USAGE_SCOPE: Final = "usage:read"
READ_SCOPE: Final = "admin:read"
WRITE_SCOPE: Final = "admin:write"
OWNER_SCOPE: Final = "admin:*"
LOCAL_SCOPES: Final = (OWNER_SCOPE,)
"""Those of the token that commands on the gateway's own host use."""

_READING: Final = frozenset({Permission.SEE_API, Permission.SEE_USAGE, Permission.SEE_SETTINGS})
_WRITING: Final = frozenset(
    {
        Permission.SEE_API,
        Permission.MAKE_RUNS,
        Permission.SET_BUDGETS,
        Permission.KILL,
        Permission.LIFT,
        Permission.RESOLVE,
        Permission.SET_PRICES,
        Permission.SET_TOKENS,
    }
)
GRANTED: Final[Mapping[str, frozenset[Permission]]] = {
    CALL_SCOPE: frozenset(),
    USAGE_SCOPE: frozenset({Permission.SEE_API, Permission.SEE_USAGE, Permission.ESTIMATE}),
    READ_SCOPE: _READING | {Permission.ESTIMATE},
    WRITE_SCOPE: _WRITING | {Permission.ESTIMATE},
    OWNER_SCOPE: frozenset(Permission),
}
"""Every scope that a token can have. `usage:read` sees its own project alone."""

_EVERYWHERE: Final = frozenset({READ_SCOPE, WRITE_SCOPE, OWNER_SCOPE})

_API: Final = "/api/v1"
ROUTES: Final[Mapping[tuple[str, str], Permission | Open]] = {
    ("GET", "/status"): Open.OPEN,
    ("GET", "/console"): Open.OPEN,
    ("GET", "/console/assets/{name}"): Open.OPEN,
    ("GET", "/console/sign-in/{secret}"): Open.OPEN,
    ("POST", "/console/sign-in/{secret}"): Open.OPEN,
    ("POST", "/console/sign-out"): Open.OPEN,
    ("GET", f"{_API}/openapi.json"): Permission.SEE_API,
    ("GET", f"{_API}/spend"): Permission.SEE_USAGE,
    ("GET", f"{_API}/spend/live"): Permission.SEE_USAGE,
    ("GET", f"{_API}/runs"): Permission.SEE_USAGE,
    ("POST", f"{_API}/runs"): Permission.MAKE_RUNS,
    ("GET", f"{_API}/runs/{{run}}"): Permission.SEE_USAGE,
    ("POST", f"{_API}/runs/{{run}}/close"): Permission.MAKE_RUNS,
    ("GET", f"{_API}/budgets"): Permission.SEE_USAGE,
    ("GET", f"{_API}/budgets/{{of}}/{{id}}"): Permission.SEE_USAGE,
    ("PUT", f"{_API}/budgets/{{of}}/{{id}}"): Permission.SET_BUDGETS,
    ("DELETE", f"{_API}/budgets/{{of}}/{{id}}"): Permission.SET_BUDGETS,
    ("GET", f"{_API}/kill"): Permission.SEE_SETTINGS,
    ("POST", f"{_API}/kill"): Permission.KILL,
    ("DELETE", f"{_API}/kill"): Permission.LIFT,
    ("DELETE", f"{_API}/kill/{{id}}"): Permission.LIFT,
    ("GET", f"{_API}/unsettled"): Permission.SEE_SETTINGS,
    ("POST", f"{_API}/unsettled"): Permission.RESOLVE,
    ("GET", f"{_API}/prices"): Permission.SEE_SETTINGS,
    ("POST", f"{_API}/prices"): Permission.SET_PRICES,
    ("GET", f"{_API}/prices/check"): Permission.SEE_SETTINGS,
    ("GET", f"{_API}/prices/versions"): Permission.SEE_SETTINGS,
    ("POST", f"{_API}/prices/versions/{{version}}/activate"): Permission.SET_PRICES,
    ("POST", f"{_API}/estimate"): Permission.ESTIMATE,
    ("GET", f"{_API}/traces"): Permission.SEE_USAGE,
    ("GET", f"{_API}/traces/export"): Permission.SEE_USAGE,
    ("GET", f"{_API}/tokens"): Permission.SEE_SETTINGS,
    ("POST", f"{_API}/tokens"): Permission.SET_TOKENS,
    ("PATCH", f"{_API}/tokens/{{id}}"): Permission.SET_TOKENS,
    ("DELETE", f"{_API}/tokens/{{id}}"): Permission.SET_TOKENS,
    ("GET", f"{_API}/audit"): Permission.SEE_SETTINGS,
    ("GET", f"{_API}/status"): Permission.SEE_SETTINGS,
    ("POST", f"{_API}/sign-in-links"): Permission.ADMIT_OWNERS,
}
"""Methods and path templates of the management API and the pages beside it."""


def may(scopes: Iterable[str], permission: Permission) -> bool:
    """Return whether a bearer of these scopes has a permission. An unknown scope gives none."""
    return any(permission in GRANTED.get(scope, frozenset()) for scope in scopes)


def is_confined(scopes: Iterable[str]) -> bool:
    """Return whether a bearer of these scopes sees its own project alone."""
    return _EVERYWHERE.isdisjoint(scopes)


def missing(permission: Permission) -> str:
    """Return the least scope that gives a permission."""
    return next(scope for scope, granted in GRANTED.items() if permission in granted)


def beyond(scopes: frozenset[str], wanted: Iterable[str]) -> list[str]:
    """Return the scopes that a bearer of `scopes` may not give away: nobody raises their own rights.

    Whoever may make tokens may make them for calls and for usage.
    """
    if OWNER_SCOPE in scopes:
        return []
    own = scopes | {CALL_SCOPE, USAGE_SCOPE}
    return [scope for scope in wanted if scope not in own]
