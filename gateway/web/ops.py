"""The operations port: is the process alive, may it admit calls, and its metrics.

It has no authentication, so its answers about health are single words: no version, host or error text.
"""

from collections.abc import Callable
from typing import Final, Protocol

from litestar.types import HTTPScope, Receive, Send
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder, generate_latest

Ready = Callable[[], tuple[bool, str]]
"""Tells whether calls may be admitted now, and in a word why (`ready`, `draining`, `ledger`)."""

_TEXT: Final = "text/plain; charset=utf-8"
_ANSWERED_METHODS: Final = frozenset({"GET", "HEAD"})


class Health(Protocol):
    """What is asked at each request: one process about itself, or several about all of them."""

    async def readiness(self) -> tuple[bool, str]:
        """Tell as `Ready` does."""
        ...

    async def metrics(self) -> CollectorRegistry:
        """Return what is to be exposed now."""
        ...


class OwnHealth:
    """Of this process alone."""

    def __init__(self, registry: CollectorRegistry, ready: Ready) -> None:
        self._registry = registry
        self._ready = ready

    async def readiness(self) -> tuple[bool, str]:
        """Ask `ready`."""
        return self._ready()

    async def metrics(self) -> CollectorRegistry:
        """Return the registry."""
        return self._registry


class OpsApp:
    """An ASGI application for /healthz, /readyz and /metrics."""

    def __init__(self, health: Health) -> None:
        self._health = health

    async def __call__(self, scope: HTTPScope, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        status, media_type, body = await self._answer(scope)
        headers = [
            (b"content-type", media_type.encode("latin-1")),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        ]
        if status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _answer(self, scope: HTTPScope) -> tuple[int, str, bytes]:
        """Return status, media type and body."""
        if scope["path"] not in {"/healthz", "/readyz", "/metrics"}:
            return 404, _TEXT, b"not found\n"
        if scope["method"] not in _ANSWERED_METHODS:
            return 405, _TEXT, b"method not allowed\n"
        match scope["path"]:
            case "/healthz":
                return 200, _TEXT, b"ok\n"
            case "/readyz":
                is_ready, reason = await self._health.readiness()
                return 200 if is_ready else 503, _TEXT, f"{reason}\n".encode()
            case _:
                return 200, *_encoded(await self._health.metrics(), _accepted(scope))


def _encoded(registry: CollectorRegistry, accepted: str) -> tuple[str, bytes]:
    """Return the media type and text in the exposition format that a scraper asks for."""
    try:
        encode, media_type = choose_encoder(accepted)
    except TypeError:  # it compares versions as tuples, and chokes on `version=latest`
        encode, media_type = generate_latest, CONTENT_TYPE_PLAIN_0_0_4
    return media_type, encode(registry)


def _accepted(scope: HTTPScope) -> str:
    values = (value.decode("latin-1") for name, value in scope["headers"] if name == b"accept")
    return ",".join(values)
