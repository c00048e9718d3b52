"""The scripted provider's HTTP/1.1, close enough to the socket to break it on purpose.

A server framework would hide what these tests are about: the instant at which a client left, an
end of the body that is no end, a reset. One connection answers its requests in turn.
"""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import cast

import httptools

WRITE_BUFFER_BYTES = 64 * 1024
"""Small, so that what counts as sent has left the process but for this much."""


class ClientGone(Exception):
    """The client closed, or reset, its connection while it was being answered."""


@dataclass(slots=True)
class Request:
    method: str
    path: str
    """With its query."""
    headers: dict[str, str]
    """Names in lower case; of a repeated header the last."""
    body: bytes
    arrived: float
    """Monotonic seconds; the clock is shared by all processes of a machine."""


@dataclass(slots=True)
class _Parsing:
    path: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)


class Connection(asyncio.Protocol):
    """Whoever made it awaits `next_request`, writes the answer, and asks for the next."""

    def __init__(self, refuses: Callable[[], bytes | None] = lambda: None) -> None:
        """`refuses` is asked at the end of a request's head for an answer that needs no body."""
        self._refuses = refuses
        self._has_refused = False
        self.gone_at: float | None = None
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._parsing = _Parsing()
        self._requests: asyncio.Queue[Request | None] = asyncio.Queue()
        self._waiter: asyncio.Future[None] | None = None
        self._is_full = False
        self._transport: asyncio.Transport

    async def next_request(self) -> Request | None:
        """Return the next request, or None when the client left instead."""
        return await self._requests.get()

    async def pause(self, seconds: float | None) -> None:
        """Wait so long (None: for ever). Raises `ClientGone` the moment the client leaves."""
        if seconds == 0:
            await asyncio.sleep(0)
            self._raise_if_gone()
            return
        deadline = None if seconds is None else self._loop.time() + seconds
        while deadline is None or self._loop.time() < deadline:
            await self._woken(deadline)

    async def write(self, data: bytes, *, in_pieces_of: int = 0) -> None:
        """Hand bytes to the kernel, waiting while the client does not take them."""
        size = in_pieces_of or len(data)
        for start in range(0, len(data), size):
            self._transport.write(data[start : start + size])
            if in_pieces_of:
                await self.pause(0)
            while self._is_full:
                await self._woken(None)
        self._raise_if_gone()

    async def answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        await self.write(head(status, {"content-length": str(len(body)), **headers}) + body)

    def reset(self) -> None:
        """End the connection with RST, as a process that was killed may."""
        linger = struct.pack("ii", 1, 0)
        self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._transport.abort()

    def close(self) -> None:
        """End the connection with FIN, after what was written."""
        self._transport.close()

    def _socket(self) -> socket.socket:
        found: socket.socket = self._transport.get_extra_info("socket")
        return found

    async def _woken(self, deadline: float | None) -> None:
        """Wait for the deadline, for room to write or for the client's leaving."""
        self._raise_if_gone()
        self._waiter = waiter = self._loop.create_future()
        timer = None if deadline is None else self._loop.call_at(deadline, self._wake)
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()
        self._raise_if_gone()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _raise_if_gone(self) -> None:
        if self.gone_at is not None:
            raise ClientGone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is one, but does not say so.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, error: Exception | None) -> None:
        self.gone_at = time.monotonic()
        self._requests.put_nowait(None)
        self._wake()

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._wake()

    def data_received(self, data: bytes) -> None:
        if self._has_refused:
            return
        with contextlib.suppress(httptools.HttpParserUpgrade):
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserError:
                self._transport.write(head(400, {"content-length": "0", "connection": "close"}))
                self._transport.close()

    def on_message_begin(self) -> None:
        self._parsing = _Parsing()

    def on_url(self, url: bytes) -> None:
        self._parsing.path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._parsing.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        answer = self._refuses()
        if answer is not None:
            # What still comes is read away: to hang up on it would be a reset, and lose the answer.
            self._has_refused = True
            self._transport.write(answer)

    def on_body(self, body: bytes) -> None:
        self._parsing.body += body

    def on_message_complete(self) -> None:
        if self._has_refused:
            return
        self._requests.put_nowait(
            Request(
                method=self._parser.get_method().decode("latin-1"),
                path=self._parsing.path.decode("latin-1"),
                headers=self._parsing.headers,
                body=bytes(self._parsing.body),
                arrived=time.monotonic(),
            )
        )


def head(status: int, headers: Mapping[str, str]) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [
        f"HTTP/1.1 {status} {phrase}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def body_chunk(data: bytes) -> bytes:
    """Return one chunk of the chunked transfer coding (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
