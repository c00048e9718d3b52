"""A route, and what it says of itself for the API's description."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

import msgspec
from litestar import HttpMethod, Request, Response
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

API: Final = "/api/v1"

Sender = Request[Any, Any, Any]
Function = Callable[[Sender], Awaitable[Response[bytes] | ASGIApp]]


class Described(msgspec.Struct, frozen=True):
    """What a route takes and gives: structs for query, body and answer; `kind` is a content type."""

    summary: str
    query: Any = None
    body: Any = None
    answer: Any = None
    status: int = 200
    kind: str = "application/json"


def route(
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"],
    path: str,
    described: Described | None = None,
) -> Callable[[Function], HTTPRouteHandler]:
    """Make a function a route. It reads its request by itself, and its answers carry their status."""
    return HTTPRouteHandler(
        path, http_method=HttpMethod(method), status_code=200, described=described
    )
