"""`Http1Client` in the shape that httpx asks for, so that the rest of the program may use httpx on it.

httpx brings redirects, decoding and cookies; what goes over the wire stays ours. Request bodies are
gathered before they are sent, since our client sends a body whose length it knows.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpx

from gateway.errors import UpstreamLost, UpstreamTimedOut, UpstreamUnreachable
from gateway.remote.http1 import Http1Client, Origin, Request, Response, Timeouts

# Ours to add, or about the hop that httpx believed to have.
_OUR_FIELDS = (b"host", b"content-length", b"transfer-encoding", b"connection")
# httpx says None for "wait for ever"; a day is that, for a call.
_FOR_EVER_S = 86_400.0


class Http1Transport(httpx.AsyncBaseTransport):
    """An httpx transport on a client that it is lent, or owns when `closes_client` is set."""

    def __init__(self, client: Http1Client, *, closes_client: bool = False) -> None:
        """Send through `client`."""
        self._client = client
        self._closes_client = closes_client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request (httpx's call), failing only as httpx's own transports fail."""
        body = await request.aread()
        with _as_httpx(request):
            response = await self._client.open(_translated(request, body), _timeouts(request))
        return httpx.Response(
            response.status,
            headers=list(response.headers),
            stream=_Body(response, request),
            extensions={"http_version": b"HTTP/1.1"},
        )

    async def aclose(self) -> None:
        """Close the client, if it is ours (httpx's call)."""
        if self._closes_client:
            await self._client.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: Response, request: httpx.Request) -> None:
        self._response = response
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx(self._request):
            while piece := await self._response.read():
                yield piece

    async def aclose(self) -> None:
        await self._response.aclose()


def _translated(request: httpx.Request, body: bytes) -> Request:
    return Request(
        method=request.method.encode("ascii"),
        origin=_origin(request.url),
        target=request.url.raw_path,
        headers=tuple(
            (name, value) for name, value in request.headers.raw if name.lower() not in _OUR_FIELDS
        ),
        body=body,
    )


def _origin(url: httpx.URL) -> Origin:
    host = url.raw_host.decode("ascii")
    match url.scheme:
        case "https":
            return Origin("https", host, url.port or 443)
        case "http":
            return Origin("http", host, url.port or 80)
        case _:
            raise ValueError("only http and https are spoken here")


def _timeouts(request: httpx.Request) -> Timeouts:
    given = request.extensions.get("timeout", {})
    connect_s, read_s = (given.get(part) or _FOR_EVER_S for part in ("connect", "read"))
    return Timeouts(connect_s=connect_s, first_byte_s=read_s, idle_s=read_s)


@contextmanager
def _as_httpx(request: httpx.Request) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise httpx.LocalProtocolError(str(error), request=request) from error
    except UpstreamUnreachable as error:
        raise _connect_failure(error)(str(error), request=request) from error
    except UpstreamTimedOut as error:
        raise httpx.ReadTimeout(str(error), request=request) from error
    except UpstreamLost as error:
        raise httpx.RemoteProtocolError(str(error), request=request) from error


def _connect_failure(error: UpstreamUnreachable) -> type[httpx.TransportError]:
    return httpx.ConnectTimeout if isinstance(error.__cause__, TimeoutError) else httpx.ConnectError
