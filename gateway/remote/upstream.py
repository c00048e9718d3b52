"""Provider APIs as byte streams: over our own HTTP/1.1 client, or over stock httpx.

The own client is the default because it costs a tenth (`docs/decisions`); httpx is there for what
ours does not know, which is forward proxies. Both give the same failures.
"""

from collections.abc import Callable, Mapping, Set
from typing import Final, Literal, Protocol

import httpx

from gateway.core.calls import Timeouts
from gateway.core.ids import Provider
from gateway.errors import UpstreamFailed, UpstreamLost, UpstreamTimedOut, UpstreamUnreachable
from gateway.providers.adapter import PreparedRequest, Signing
from gateway.providers.hosts.sandbox import SCHEME
from gateway.remote import http1
from gateway.remote.decoding import Body, Headers, plain

State = Literal["busy", "idle"]
Sending = Callable[[], None]
Place = tuple[str, int]
"""A host and a port."""
_STOCK_LIMITS: Final = httpx.Limits(max_connections=512, keepalive_expiry=30.0)


class Transport(Protocol):
    """One way to send a request."""

    async def open(self, request: PreparedRequest, timeouts: Timeouts, sending: Sending) -> Body:
        """Send a request and return its answer's head; raises UpstreamFailed."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


class Signs(Protocol):
    """What signs requests that must be."""

    async def signed(
        self, request: PreparedRequest, signing: Signing, within_s: float
    ) -> PreparedRequest:
        """Return a request with its signature; raises UpstreamUnreachable."""
        ...


class Providers:
    """Sends each request by the transport that its scheme or place is to use."""

    def __init__(
        self, *, sandbox: Transport, own: Transport, stock: Transport, signer: Signs
    ) -> None:
        """Send the sandbox's requests by `sandbox`, and all others by `own` or `stock`."""
        self.stock_places: Set[Place] = frozenset()
        """Where requests go by stock httpx; may be replaced."""
        self._sandbox = sandbox
        self._own = own
        self._stock = stock
        self._signer = signer

    async def open(self, request: PreparedRequest, timeouts: Timeouts, sending: Sending) -> Body:
        """Send a request and return its answer's head, its body readable uncompressed.

        `sending` is called before a byte of it can have left.

        Raises:
            UpstreamUnreachable: nothing was sent.
            UpstreamLost: sent, then broken off, or answered by what can't be read.
            UpstreamTimedOut: sent, and not answered in time.
        """
        if request.signing is not None:
            patience = timeouts.connect_s
            request = await self._signer.signed(request, request.signing, patience)
        body = await self._transport(request).open(request, timeouts, sending)
        try:
            return plain(body)
        except UpstreamLost:
            await body.aclose()
            raise

    async def aclose(self) -> None:
        """Close every connection."""
        for transport in (self._sandbox, self._own, self._stock):
            await transport.aclose()

    def _transport(self, request: PreparedRequest) -> Transport:
        if request.scheme == SCHEME:
            return self._sandbox
        is_stock = (request.host, request.port) in self.stock_places
        return self._stock if is_stock else self._own


class OwnTransport:
    """Our own client."""

    def __init__(self, client: http1.Http1Client) -> None:
        self._client = client
        self._origins: dict[tuple[str, str, int], http1.Origin] = {}

    async def open(self, request: PreparedRequest, timeouts: Timeouts, sending: Sending) -> Body:
        """Send a request and return its answer's head."""
        own = http1.Request(
            method=request.method,
            origin=self._origin(request),
            target=request.target,
            headers=tuple(pair for pair in request.headers if pair[0] != b"host"),
            body=request.body,
        )
        patience = http1.Timeouts(timeouts.connect_s, timeouts.first_byte_s, timeouts.idle_s)
        return await self._client.open(own, patience, sending)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    def _origin(self, request: PreparedRequest) -> http1.Origin:
        """Return where a request goes; made once, for there are few and checking one costs."""
        place = (request.scheme, request.host, request.port)
        origin = self._origins.get(place)
        if origin is None:
            scheme: Literal["http", "https"] = "https" if request.scheme == "https" else "http"
            origin = self._origins[place] = http1.Origin(scheme, request.host, request.port)
        return origin


class HttpxTransport:
    """Stock httpx, which goes through the proxies that the environment names."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def open(self, request: PreparedRequest, timeouts: Timeouts, sending: Sending) -> Body:
        """Send a request and return its answer's head. When it is sent, httpx does not tell."""
        sending()
        url = httpx.URL(
            scheme=request.scheme,
            host=request.host,
            port=request.port,
            raw_path=request.target,
        )
        patience = httpx.Timeout(
            timeouts.first_byte_s, connect=timeouts.connect_s, pool=timeouts.connect_s
        )
        sent = self._client.build_request(
            request.method.decode(),
            url,
            headers=list(request.headers),
            content=request.body,
            timeout=patience,
        )
        try:
            response = await self._client.send(sent, stream=True)
        except httpx.HTTPError as error:
            raise failure(error, request.host) from error
        return _HttpxBody(response, request.host)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()


class _HttpxBody:
    """An answer of httpx, read raw."""

    def __init__(self, response: httpx.Response, host: str) -> None:
        self.status = response.status_code
        self.headers: Headers = tuple((k.lower(), v) for k, v in response.headers.raw)
        self._response = response
        self._pieces = response.aiter_raw()
        self._host = host

    async def read(self) -> bytes:
        try:
            return await anext(self._pieces, b"")
        except httpx.HTTPError as error:
            raise failure(error, self._host) from error

    async def aclose(self) -> None:
        await self._response.aclose()


def failure(error: httpx.HTTPError, host: str) -> UpstreamFailed:
    """Return our failure for one of httpx's: what was certainly not sent is told from the rest."""
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.PoolTimeout():
            return UpstreamUnreachable(f"{host} can't be reached")
        case httpx.UnsupportedProtocol() | httpx.ProxyError():
            return UpstreamUnreachable(f"{host} can't be reached")
        case httpx.TimeoutException():
            return UpstreamTimedOut(f"{host} sent nothing in time")
        case _:
            return UpstreamLost(f"{host} broke off")


def stock_client() -> httpx.AsyncClient:
    """Return the httpx client for providers that are to be reached by it; it follows no redirect."""
    return httpx.AsyncClient(follow_redirects=False, limits=_STOCK_LIMITS)


def connections(
    client: http1.Http1Client, places: Mapping[Place, Provider]
) -> dict[tuple[Provider, State], int]:
    """Return how many connections each provider has, busy and idle; `places` are (host, port)."""
    counts: dict[tuple[Provider, State], int] = {}
    for origin, (idle, busy) in client.connections().items():
        provider = places.get((origin.host, origin.port))
        if provider is not None:
            counts[provider, "idle"] = counts.get((provider, "idle"), 0) + idle
            counts[provider, "busy"] = counts.get((provider, "busy"), 0) + busy
    return counts
