"""Who sends a request, and may they? Asked before a byte of the body is read.

A request has one credential: a token, as `Authorization: Bearer`, or the console's session. Whatever
is wrong with it, the answer is the same. A route that the table does not name is closed.
"""

from typing import Any, Final, cast

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import HTTPScope

from gateway.core import access, credentials
from gateway.core.access import Open, Permission
from gateway.core.ids import Project
from gateway.core.limits import Caller
from gateway.core.refusal import Code
from gateway.core.secret import Secret
from gateway.store.audit import Actor
from gateway.store.installation import DEFAULT_PROJECT
from gateway.web import cookies
from gateway.web.problems import Problem, invalid
from gateway.web.services import Services

Connection = ASGIConnection[Any, Any, Any, Any]

_KEY: Final = "visitor"
_UNSAFE: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """Who sends a request: the bearer of a token (`caller`), or the owner in a `session`."""

    name: str
    via: str
    address: str | None
    scopes: frozenset[str]
    caller: Caller | None = None
    session: Secret | None = None

    @property
    def actor(self) -> Actor:
        """The visitor as the audit log names them."""
        return Actor(self.name, self.via, self.address)

    @property
    def project(self) -> Project:
        """The project that the visitor means where a request names none."""
        return DEFAULT_PROJECT if self.caller is None else self.caller.project

    @property
    def confined_to(self) -> Project | None:
        """The one project that the visitor sees; None: every project."""
        if self.caller is None or not access.is_confined(self.scopes):
            return None
        return self.caller.project


class Gate:
    """Admits requests to routes."""

    def __init__(self, services: Services) -> None:
        """Ask the stores of `services`."""
        self._services = services

    async def admit(self, connection: Connection, _: BaseRouteHandler) -> None:
        """Let a request through, with its visitor noted, or raise Problem."""
        method = cast("HTTPScope", connection.scope)["method"]
        needed = access.ROUTES.get((method, connection.scope["path_template"]))
        if needed is None:
            raise Problem(Code.METHOD_NOT_ALLOWED, "This address does not take that method.")
        if isinstance(needed, Open):
            return
        visitor = await self._visitor(connection)
        if visitor is None:
            raise Problem(Code.TOKEN_INVALID, "Unknown or missing gateway key.")
        if visitor.session is not None and method in _UNSAFE:
            _require_own_page(connection, visitor.session)
        _require(visitor, needed)
        connection.scope["state"][_KEY] = visitor

    async def session(self, connection: Connection) -> Visitor | None:
        """Return the owner whose session a request's cookie carries, if it is a valid one."""
        scheme = connection.scope["scheme"]
        secret = connection.cookies.get(cookies.name(scheme))
        if not secret or not cookies.is_safe(scheme, connection.headers.get("host", "")):
            return None
        user = await self._services.sessions.session(secret)
        if user is None:
            return None
        return Visitor(
            name=user,
            via="session",
            address=_address(connection),
            scopes=frozenset({access.OWNER_SCOPE}),
            session=Secret(secret),
        )

    async def _visitor(self, connection: Connection) -> Visitor | None:
        given = connection.headers.getall("authorization", [])
        has_cookie = cookies.name(connection.scope["scheme"]) in connection.cookies
        if len(given) + has_cookie > 1:
            raise invalid("The request carries two credentials. Send one.")
        if given:
            return await self._bearer(connection, given[0])
        return await self.session(connection)

    async def _bearer(self, connection: Connection, header: str) -> Visitor | None:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            return None
        caller = await self._services.access.identify(token.strip(), self._services.now())
        if caller is None:
            return None
        return Visitor(
            name=caller.name,
            via=credentials.prefix(token.strip()),
            address=_address(connection),
            scopes=caller.scopes,
            caller=caller,
        )


def visitor_of(request: Request[Any, Any, Any]) -> Visitor:
    """Return who sends a request that the gate let through."""
    return cast("Visitor", request.scope["state"][_KEY])


def _require(visitor: Visitor, needed: Permission) -> None:
    if not access.may(visitor.scopes, needed):
        message = f"This token lacks a scope such as {access.missing(needed)}, which is needed to {needed}."
        raise Problem(Code.SCOPE_MISSING, message)


def _require_own_page(connection: Connection, session: Secret) -> None:
    """Refuse a change that a browser makes for another site."""
    given = connection.headers.get(cookies.CSRF_HEADER, "")
    is_ours = cookies.is_same_origin(connection.headers, connection.scope["scheme"])
    if not (is_ours and cookies.is_csrf(session, given)):
        message = (
            f"A change needs the header {cookies.CSRF_HEADER} and a request from our own page."
        )
        raise Problem(Code.SCOPE_MISSING, message)


def _address(connection: Connection) -> str | None:
    return connection.client.host if connection.client is not None else None
