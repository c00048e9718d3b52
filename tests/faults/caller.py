"""A client that costs little: HTTP/1.1 on kept connections, which leaves at the stage it is told to.

An SDK would take several times what the gateway takes for a call, and could not leave in the middle
of a request.
"""

import asyncio
from typing import cast

import httptools

from tests.faults.calls import Heard, Leaving, Order

ANSWER_SECONDS = 90.0
"""No call lasts longer, unless its replica is frozen for longer than that."""
KEPT_BODY_BYTES = 65_536


class Line(asyncio.Protocol):
    """One connection; asks one thing at a time. An answer that ends it is not whole."""

    def __init__(self) -> None:
        self.is_open = False
        self._transport: asyncio.Transport
        self._heard: asyncio.Future[Heard] | None = None
        self._leaves: Leaving = "stays"
        self._events_left = 0
        self._begin()

    async def ask(self, request: bytes, leaves: Leaving = "stays", after: float = 0.0) -> Heard:
        """Send a request and return what came of it; raises TimeoutError."""
        self._begin()
        self._leaves, self._events_left = leaves, round(after * 100)
        heard: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()
        self._heard = heard
        if leaves == "unsent":
            self._transport.write(request[: len(request) - 20])
            return self._leave()
        self._transport.write(request)
        if leaves == "unanswered":
            await asyncio.sleep(after)
            return self._leave()
        async with asyncio.timeout(ANSWER_SECONDS):
            return await heard

    def close(self) -> None:
        """Let go of the connection."""
        self.is_open = False
        self._transport.abort()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._status: int | None = None
        self._headers: dict[str, str] = {}
        self._body = bytearray()

    def _leave(self) -> Heard:
        self._answer(has_left=True)
        self.close()
        assert self._heard is not None
        return self._heard.result()

    def _answer(self, *, is_whole: bool = False, has_left: bool = False) -> None:
        if self._heard is not None and not self._heard.done():
            body = bytes(self._body)
            heard = Heard(self._status, self._headers, body, is_whole=is_whole, has_left=has_left)
            self._heard.set_result(heard)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        self._answer()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()
            self._answer()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if not self._parser.should_keep_alive():
            self.is_open = False
        if self._leaves == "answered" and self._status == 200:
            self._leave()

    def on_body(self, body: bytes) -> None:
        if len(self._body) < KEPT_BODY_BYTES:
            self._body += body
        self._events_left -= 1
        if self._leaves == "streaming" and self._status == 200 and self._events_left <= 0:
            self._leave()

    def on_message_complete(self) -> None:
        self._answer(is_whole=True)


class Caller:
    """The connections to one port of a replica."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Line] = []

    async def call(self, order: Order) -> Heard:
        """Make one call; that nobody answered is an answer too."""
        try:
            return await self._ask(order.request(), order.leaves, order.after)
        except TimeoutError:
            return Heard()

    async def get(self, path: str) -> Heard:
        """Ask for something that is no call."""
        return await self._ask(f"GET {path} HTTP/1.1\r\nhost: gateway\r\n\r\n".encode())

    async def send(self, method: str, path: str, token: str, body: bytes) -> Heard:
        """Ask the admin API for something."""
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {token}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return await self._ask(head.encode() + body)

    def close(self) -> None:
        """Let go of all idle connections."""
        for line in self._idle:
            line.close()
        self._idle.clear()

    async def _ask(self, request: bytes, leaves: Leaving = "stays", after: float = 0.0) -> Heard:
        try:
            line = await self._line()
        except OSError:
            return Heard(was_reached=False)
        try:
            heard = await line.ask(request, leaves, after)
        except BaseException:
            line.close()
            raise
        if line.is_open:
            self._idle.append(line)
        return heard

    async def _line(self) -> Line:
        while self._idle:
            line = self._idle.pop()
            if line.is_open:
                return line
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(Line, "127.0.0.1", self._port)
        return made
