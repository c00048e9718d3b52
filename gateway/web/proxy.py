"""The data plane: raw ASGI in, one `exchange.Client` out. Dispatched before Litestar's router.

A streamed response of a framework cleans up too late to own money when its client leaves, so this
route owns nothing: the exchange does, and is told when the client has gone.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, assert_never
from urllib.parse import parse_qsl

from msgspec import structs

from gateway.core.refusal import Code, Refused
from gateway.exchange.pipeline import Pipeline
from gateway.exchange.progress import Call
from gateway.providers.adapter import Dialect, Endpoint, Headers, Path
from gateway.providers.paths import Listing, Metered, Routed, Unserved
from gateway.web.guard import WHEN_GONE

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MOST_BODY_BYTES: Final = 32 * 1024 * 1024
_MOST_DISCARDED_BYTES: Final = 64 * 1024 * 1024
"""A body that is too large is read and thrown away up to here, so that its sender hears why."""
_MODELS: Final = Path(endpoint=Endpoint.MODELS)
_UNTYPED: Final = frozenset({Endpoint.INVOKE, Endpoint.INVOKE_STREAM})
"""Calls whose content-type is JSON where it is missing: boto3 sends none (botocore 1.44)."""
_CREDENTIALS: Final = (b"x-api-key", b"api-key", b"x-goog-api-key")


class AsgiClient:
    """One request of an ASGI server, as the exchange sees its caller."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, *, is_typed: bool = True
    ) -> None:
        """Serve the request of `scope`; `receive` and `send` are its own.

        `is_typed`: its body's content-type must be said.
        """
        self._is_typed = is_typed
        self._headers: Headers = scope["headers"]
        self._when_gone: Callable[[Callable[[], None]], None] = scope["extensions"][WHEN_GONE][
            "call"
        ]
        self._receive = receive
        self._send = send
        self._is_read = False

    async def body(self) -> bytes | Refused:
        """Return the request's body, or why it is refused."""
        refused = _bad_head(self._headers, is_typed=self._is_typed)
        if refused is not None:
            return refused
        length = _header(self._headers, b"content-length")
        if length is not None and int(length) > MOST_BODY_BYTES:
            return await self._too_large(int(length))
        parts: list[bytes] = []
        size = 0
        while not self._is_read:
            data = await self._next()
            if data is None:
                return Refused(Code.INVALID_REQUEST, "The request's body ended early.")
            size += len(data)
            if size > MOST_BODY_BYTES:
                return await self._too_large(size)
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head of the answer."""
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send(self, data: bytes, *, more: bool) -> None:
        """Send a part of the body; waits while the client reads slowly."""
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    def when_gone(self, leave: Callable[[], None]) -> None:
        """Have `leave` called when the client has left; the body must have been read before."""
        self._when_gone(leave)

    async def _next(self) -> bytes | None:
        """Return the next piece of the body; None where the client left before its end."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            return None
        self._is_read = not message.get("more_body", False)
        body: bytes = message.get("body", b"")
        return body

    async def _too_large(self, length: int) -> Refused:
        """Refuse a body, and read it to its end where that is not too far."""
        discarded = 0
        waits = _header(self._headers, b"expect") is not None
        while not waits and not self._is_read and discarded <= _MOST_DISCARDED_BYTES:
            data = await self._next()
            if data is None:
                break
            discarded += len(data)
        megabytes = -(-length // (1024 * 1024))
        return Refused(
            Code.BODY_TOO_LARGE,
            f"The request's body is {megabytes} MiB or more; the limit is 32 MiB. Send less.",
        )


class Proxy:
    """The data plane of every dialect."""

    def __init__(self, pipeline: Pipeline) -> None:
        """Serve by `pipeline`."""
        self._pipeline = pipeline

    async def serve(self, routed: Routed, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request of a path that is a provider API's."""
        is_typed = not isinstance(routed, Metered) or routed.path.endpoint not in _UNTYPED
        client = AsgiClient(scope, receive, send, is_typed=is_typed)
        match routed:
            case Metered(path, dialect):
                await self._pipeline.run(_call(scope, dialect, path), client)
            case Listing(dialect, one):
                await self._pipeline.models(_call(scope, dialect, _MODELS), client, one)
            case Unserved(refused, dialect, allow):
                call = _call(scope, dialect, _MODELS)
                await self._pipeline.unserved(call, client, refused, allow)
            case _:
                assert_never(routed)


def _call(scope: Scope, dialect: Dialect, path: Path) -> Call:
    headers: Headers = scope["headers"]
    if path.heeds:
        path = structs.replace(path, headers=[pair for pair in headers if pair[0] in path.heeds])
    return Call(
        path=path,
        dialect=dialect,
        secret=credential(headers, scope["query_string"]),
        headers=headers,
        passed=[pair for pair in headers if pair[0] in dialect.passed],
    )


def credential(headers: Headers, query: bytes) -> str | None:
    """Return the one credential of a request; None where there is none, or there are several.

    It is taken wherever a provider's SDK puts its key, so that a client changes its base URL alone.
    """
    found = {value for name, value in headers if name in _CREDENTIALS}
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.partition(b" ")
            found.add(token.strip() if scheme.lower() == b"bearer" else value)
    if b"key=" in query:
        found.update(
            value.encode() for name, value in parse_qsl(query.decode("latin-1")) if name == "key"
        )
    found.discard(b"")
    return found.pop().decode("latin-1") if len(found) == 1 else None


def _bad_head(headers: Headers, *, is_typed: bool) -> Refused | None:
    if _header(headers, b"content-encoding") not in {None, b"identity"}:
        return Refused(
            Code.UNSUPPORTED_MEDIA_TYPE,
            "The request's body is compressed. Send it as it is, without content-encoding.",
        )
    said = _header(headers, b"content-type")
    media_type = (said or b"").partition(b";")[0].strip().lower()
    if media_type != b"application/json" and (is_typed or said is not None):
        return Refused(Code.INVALID_REQUEST, "The request's content-type must be application/json.")
    return None


def _header(headers: Headers, wanted: bytes) -> bytes | None:
    return next((value for name, value in headers if name == wanted), None)
