"""One connection to one origin: moves bytes between a socket and one answer at a time.

Nothing here awaits a task or holds a lock. A caller waits on one future, only when there is nothing
to give it, and under one timer a connection, which is moved lazily: most waits set a number and
touch no timer.
"""

import asyncio
import select
import socket
import ssl
from collections.abc import Callable
from typing import cast

from gateway.errors import UpstreamLost, UpstreamTimedOut, UpstreamUnreachable
from gateway.remote import unread
from gateway.remote.answer import Answer
from gateway.remote.request import Origin, Timeouts

# Unread bytes at which the peer is made to wait, and how much of a request is handed over at once.
_UNREAD_BYTES = 65_536
_SLICE_BYTES = 65_536


class Connection(asyncio.Protocol):
    """A connection, resting or serving one request. Anything out of the ordinary closes it."""

    def __init__(self, peer: str, on_lost: Callable[["Connection"], None]) -> None:
        """Serve `peer` (host and port, for messages); `on_lost` hears of the end, whatever ends it."""
        self.peer = peer
        self._loop = asyncio.get_running_loop()
        self._on_lost = on_lost
        self._transport: asyncio.Transport  # from connection_made to the end, which is `_is_open`
        self._is_open = False
        self._poll = select.poll()
        self._answer: Answer | None = None
        self._failure: UpstreamLost | None = None
        self._waiter: asyncio.Future[bool] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0
        self._deadline: float | None = None
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._is_writable = True
        self._is_paused = False
        self._is_sent = True
        self._is_reused = False
        self._sent_at = 0.0
        self._was_reset = False
        # The socket of a connection that its peer has ended, and may reset yet.
        self._remains: socket.socket | None = None

    async def exchange(self, head: bytes, body: bytes, answer: Answer, timeouts: Timeouts) -> None:
        """Send a request, and return once `answer` has its head.

        Raises:
            UpstreamLost: the connection broke, or what came was no HTTP.
            UpstreamTimedOut: the request or the answer stood still for too long.
        """
        self._answer = answer
        if len(body) <= _SLICE_BYTES:
            self._transport.write(head + body)
        else:
            await self._send(head, body, answer, timeouts.idle_s)
        self._sent_at = self._loop.time()
        while not answer.has_head:
            if not await self._wait(timeouts.first_byte_s):
                raise self._timed_out("did not begin to answer", timeouts.first_byte_s)

    async def receive(self, answer: Answer, idle_s: float) -> bytes:
        """Return what has arrived of the body, or wait for it; b"" at its end.

        Raises:
            UpstreamLost: the connection broke; what came before has been returned.
            UpstreamTimedOut: nothing came for `idle_s` seconds.
        """
        while not answer.body and not answer.has_ended:
            if not await self._wait(idle_s):
                raise self._timed_out("sent no more of its answer", idle_s)
        piece = answer.take()
        if self._is_paused and len(answer.body) < _UNREAD_BYTES:
            self._resume_reading()
        return piece

    def rest(self, idle_s: float) -> None:
        """Wait unused, for `idle_s` seconds at most."""
        self._answer = None
        self._is_reused = True
        self._resume_reading()
        self._arm(idle_s)

    async def was_unread(self) -> bool:
        """Is it proven that nobody read the request, which was lost, whole? False in any doubt.

        The proof may take 250 ms to come. On a new connection there is none: whoever has just
        accepted it meant to read.
        """
        if not self._is_stale:
            return False
        if self._was_reset or not self._is_sent:  # what was not handed over nobody has read
            return True
        return self._remains is not None and await unread.is_reset_soon(self._remains)

    def abort(self) -> None:
        """Close at once, sending nothing more; a second time does nothing."""
        self._close()
        if self._remains is not None:
            self._remains.close()

    async def wait_closed(self) -> None:
        """Return once the socket is closed."""
        await asyncio.shield(self._closed)

    @property
    def is_open(self) -> bool:
        """Is it connected, and neither end about to close it?"""
        return self._is_open and not self._transport.is_closing()

    @property
    def is_fit(self) -> bool:
        """May a request be sent on it? False when closed, rested too long, or with bytes waiting.

        Bytes (or the end) may wait in the kernel that the loop has not read yet: read after a
        request was sent, a stray answer would pass for that request's own.
        """
        if not self.is_open:
            return False
        if self._deadline is not None and self._loop.time() >= self._deadline:
            return False
        return not self._poll.poll(0)

    @property
    def has_finished(self) -> bool:
        """Has its request been sent and answered whole, with no doubt where the answer ended?"""
        answer = self._answer
        if answer is None or not self.is_open:
            return False
        is_answered = answer.has_ended and answer.is_reusable
        return is_answered and self._is_sent and not self._transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport (asyncio's call)."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's have no base class
        self._is_open = True
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Feed the answer, or close if none is expected (asyncio's call)."""
        answer = self._answer
        if answer is None:
            self.abort()
            return
        had_head = answer.has_head
        try:
            answer.feed(data)
        except UpstreamLost as lost:
            self._fail(lost)
            return
        if len(answer.body) > _UNREAD_BYTES:
            self._pause_reading()
        if answer.body or answer.has_ended or answer.has_head is not had_head:
            self._wake()

    def eof_received(self) -> None:
        """End the answer, if an end is what it waits for, and close (asyncio's call)."""
        if self._answer is None or _is_cut(self._transport):
            return
        try:
            self._answer.feed_eof()
        except UpstreamLost as lost:
            if self._is_stale and self._is_just_sent:
                self._remains = unread.kept(self._transport)
            self._fail(lost)
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all who wait (asyncio's call)."""
        self._is_open = False
        answer = self._answer
        if answer is not None and not answer.has_ended and self._failure is None:
            # Where writing is held back, part of the request was still here when the reset came.
            is_in_time = self._is_just_sent or not self._is_writable
            self._was_reset = unread.is_reset(exc) and is_in_time
            self._failure = UpstreamLost(
                f"{self.peer} broke the connection before its answer ended"
            )
            self._failure.__cause__ = exc
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._closed.done():
            self._closed.set_result(None)
        self._wake()
        self._on_lost(self)

    def pause_writing(self) -> None:
        """Hold the request back (asyncio's call)."""
        self._is_writable = False

    def resume_writing(self) -> None:
        """Go on with the request (asyncio's call)."""
        self._is_writable = True
        self._wake()

    async def _send(self, head: bytes, body: bytes, answer: Answer, idle_s: float) -> None:
        """Send piece by piece, as the peer takes it; stop when it answers early."""
        self._is_sent = False
        transport = self._transport
        transport.write(head)
        view = memoryview(body)
        for start in range(0, len(body), _SLICE_BYTES):
            while not self._is_writable and not answer.has_head:
                if not await self._wait(idle_s):
                    raise self._timed_out("took no more of the request", idle_s)
            if answer.has_head or self._failure is not None:
                return
            transport.write(view[start : start + _SLICE_BYTES])
        self._is_sent = True

    async def _wait(self, seconds: float) -> bool:
        """Wait until something happens, then look again; False when nothing did for `seconds`."""
        if self._failure is not None:
            raise self._failure
        waiter: asyncio.Future[bool] = self._loop.create_future()
        self._waiter = waiter
        self._arm(seconds)
        try:
            return await waiter
        finally:
            self._waiter = None
            self._deadline = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(True)

    def _arm(self, seconds: float) -> None:
        deadline = self._deadline = self._loop.time() + seconds
        if self._timer is not None:
            if self._rings_at <= deadline:
                return
            self._timer.cancel()
        self._set_timer(deadline)

    def _set_timer(self, deadline: float) -> None:
        self._rings_at = deadline
        self._timer = self._loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self._loop.time() < self._deadline:
            self._set_timer(self._deadline)
        elif self._waiter is None:
            self.abort()
        elif not self._waiter.done():
            self._waiter.set_result(False)

    def _pause_reading(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()

    def _fail(self, failure: UpstreamLost) -> None:
        self._failure = failure
        self._close()
        self._wake()

    def _close(self) -> None:
        if self._is_open:
            self._transport.abort()

    @property
    def _is_stale(self) -> bool:
        """Is it reused, and has no byte of the answer come?"""
        return self._is_reused and self._answer is not None and not self._answer.has_begun

    @property
    def _is_just_sent(self) -> bool:
        return unread.is_prompt(self._loop.time() - self._sent_at)

    def _timed_out(self, what: str, seconds: float) -> UpstreamTimedOut:
        return UpstreamTimedOut(f"{self.peer} {what} for {seconds:g} s")


def _is_cut(transport: asyncio.Transport) -> bool:
    """Did TLS end without its own end (close_notify), as anyone on the way could make it?

    asyncio reports both alike; uvloop reports only the proper end. After that, a read finds the end
    where it would otherwise ask for more.
    """
    tls = transport.get_extra_info("ssl_object")
    if tls is None:
        return False
    try:
        return bool(tls.read(1) != b"")
    except ssl.SSLZeroReturnError:
        return False
    except ssl.SSLError:
        return True


async def dial(
    origin: Origin, context: ssl.SSLContext | None, on_lost: Callable[[Connection], None]
) -> Connection:
    """Connect to an origin, with TLS where `context` is given; how long that takes is the caller's.

    Raises:
        UpstreamUnreachable: no such host, refused, hung up on, or TLS failed.
    """
    connection = Connection(f"{origin.host}:{origin.port}", on_lost)
    is_made = False
    try:
        await asyncio.get_running_loop().create_connection(
            lambda: connection,
            origin.host,
            origin.port,
            ssl=context,
            server_hostname=origin.host if context is not None else None,
        )
        is_made = connection.is_open
    except (OSError, UnicodeError) as error:
        raise UpstreamUnreachable(f"can't connect to {connection.peer}: {error}") from error
    finally:
        if not is_made:
            connection.abort()
    if not is_made:
        raise UpstreamUnreachable(f"{connection.peer} closed the connection at once")
    return connection
