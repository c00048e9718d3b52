"""Our own pooled HTTP/1.1 client, for the one path where a general one costs more than the gateway.

What it must never do is hand one caller's answer to another: so one request a connection at a time,
and reuse only after an exact end. Nor may it send a request twice that may be billed twice: one that
a reused connection lost before the answer's first byte is sent once more, on a new connection, only
on proof that nobody read the first copy (`gateway.remote.unread`). It follows no redirect, decodes no
content, keeps no cookie, and knows no proxy.

One race is HTTP/1.1's own: a stray answer that arrives after the next request was sent looks like
the answer to it. What has arrived before that is seen, and closes the connection.
"""

import ssl
from collections.abc import Callable, Mapping

from gateway.errors import UpstreamLost
from gateway.remote.answer import Answer
from gateway.remote.connection import Connection
from gateway.remote.pool import Pool, PoolLimits
from gateway.remote.request import Origin, Request, Timeouts, encode_head

__all__ = ["Http1Client", "Origin", "PoolLimits", "Request", "Response", "Timeouts"]


def _ignore() -> None:
    """Tell nobody."""


class Response:
    """An answer whose head has come. Read by one task; closed always."""

    __slots__ = ("_answer", "_connection", "_idle_s", "_is_left", "_pool")

    def __init__(self, answer: Answer, connection: Connection, pool: Pool, idle_s: float) -> None:
        """Own `connection` until the answer's end or `aclose`."""
        self._answer = answer
        self._connection = connection
        self._pool = pool
        self._idle_s = idle_s
        self._is_left = False

    @property
    def status(self) -> int:
        """The final status, 200 to 599."""
        return self._answer.status

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Names in lower case, in the order they came, repeated ones too."""
        return tuple(self._answer.fields)

    async def read(self) -> bytes:
        """Return what has arrived of the body, up to 64 KiB, or wait for it; b"" at its end.

        Raises:
            UpstreamLost: it broke off before its end, or was closed; what had come was returned.
            UpstreamTimedOut: nothing came for the idle time.
        """
        if self._is_left:
            return self._after_end()
        try:
            piece = await self._connection.receive(self._answer, self._idle_s)
        except BaseException:
            self._leave()
            raise
        if self._answer.has_ended and not self._answer.body:
            self._leave()
        return piece

    async def aclose(self) -> None:
        """Give the connection back, or close it at once if the answer has not ended. Idempotent."""
        self._leave()

    def _leave(self) -> None:
        if not self._is_left:
            self._is_left = True
            self._pool.put(self._connection)

    def _after_end(self) -> bytes:
        if self._answer.has_ended and not self._answer.body:
            return b""
        raise UpstreamLost(f"the answer of {self._answer.peer} was closed before its end")


class Http1Client:
    """Connections to any number of origins, in one event loop.

    Keep one for the life of the process: what it holds for an origin stays until `aclose`.
    """

    def __init__(self, *, ssl_context: ssl.SSLContext | None, limits: PoolLimits) -> None:
        """Use `ssl_context` for https, or the system's roots; its ALPN is set to http/1.1."""
        self._ssl_context = ssl_context
        self._limits = limits
        self._pools: dict[Origin, Pool] = {}
        if ssl_context is not None:
            ssl_context.set_alpn_protocols(["http/1.1"])

    async def open(
        self, request: Request, timeouts: Timeouts, sending: Callable[[], None] = _ignore
    ) -> Response:
        """Send a request and return its answer once the head has come. Close what is returned.

        `sending` is called when there is a connection, before a byte of the request leaves.

        Raises:
            ValueError: the request can't be sent as it is; nothing was.
            UpstreamUnreachable: no connection could be had; nothing was sent.
            UpstreamLost: sent, then broken off, or answered by something that is no HTTP.
            UpstreamTimedOut: sent, and not answered in time.
        """
        head = encode_head(request)
        pool = self._pool(request.origin)
        connection = await pool.take(timeouts.connect_s)
        answer = _expect(connection, request)
        sending()
        try:
            try:
                await connection.exchange(head, request.body, answer, timeouts)
            except UpstreamLost:
                if not await connection.was_unread():
                    raise
                connection = await pool.renew(connection, timeouts.connect_s)
                answer = _expect(connection, request)
                await connection.exchange(head, request.body, answer, timeouts)
        except BaseException:
            pool.put(connection)
            raise
        return Response(answer, connection, pool, timeouts.idle_s)

    async def aclose(self) -> None:
        """Close every connection, also under answers being read, which are lost then."""
        for pool in self._pools.values():
            await pool.aclose()

    def connections(self) -> Mapping[Origin, tuple[int, int]]:
        """Return how many connections are idle and how many busy, for each origin used so far."""
        return {origin: pool.counts for origin, pool in self._pools.items()}

    def _pool(self, origin: Origin) -> Pool:
        pool = self._pools.get(origin)
        if pool is None:
            context = self._tls() if origin.scheme == "https" else None
            pool = self._pools[origin] = Pool(origin, context, self._limits)
        return pool

    def _tls(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
            self._ssl_context.set_alpn_protocols(["http/1.1"])
        return self._ssl_context


def _expect(connection: Connection, request: Request) -> Answer:
    return Answer(connection.peer, is_to_head=request.method == b"HEAD")
