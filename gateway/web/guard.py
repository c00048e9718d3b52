"""uvicorn's httptools protocol with the limits it lacks.

llhttp is strict about framing, which keeps a second request from hiding in the first. But uvicorn
takes heads of any size and waits for ever for the rest of a head or body, so a client without a token
could fill the memory or use up the connections. What is refused here never reaches the application.

Written against uvicorn 0.54, whose private parts it touches in two places.
"""

import asyncio
import http
import sys
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from math import inf
from typing import Any, Final

import anyio
import msgspec
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

WHEN_GONE: Final = "gateway.when_gone"
"""The ASGI extension through which an application is called back when its client leaves."""
_VERSIONS: Final = frozenset({"1.0", "1.1"})
_METHODS_REFUSED: Final = frozenset({b"CONNECT", b"TRACE"})
_UPGRADE_HEADERS: Final = frozenset({b"connection", b"upgrade", b"http2-settings"})


class EdgeLimits(msgspec.Struct, frozen=True):
    """What a client may take before it is cut off. Times are seconds.

    A head has `head_s` from the connection's acceptance, or from its own first byte on a connection
    that was used before. Trailers count as a part of the head.
    """

    head_bytes: int = 32 * 1024
    headers: int = 100
    head_s: float = 10.0
    body_idle_s: float = 30.0
    body_s: float = 120.0
    keep_alive_s: int = 75


class _Refused(ValueError):
    """Raised out of a parser's callback; the parser then gives up, and we answer with `status`."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Phase(Enum):
    """What a connection's client is to send next."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()


class EdgeState(ServerState):
    """What the connections of one server share."""

    def __init__(self) -> None:
        super().__init__()
        self.is_draining = False
        self._closed = anyio.Event()

    def connection_closed(self) -> None:
        """Wake whoever waits for quiet."""
        self._closed.set()
        self._closed = anyio.Event()

    async def quiet(self) -> None:
        """Return when no connection is open and no call runs."""
        while self.connections:
            await self._closed.wait()
        while self.tasks:
            await asyncio.wait(tuple(self.tasks))


class GuardedProtocol(HttpToolsProtocol):
    """One connection. Keeps a single deadline, and a timer that is rarely moved, as both are hot."""

    def __init__(self, config: Config, state: EdgeState, limits: EdgeLimits) -> None:
        """Serve `config`'s application to one client within `limits`."""
        super().__init__(config, state, {}, asyncio.get_running_loop())
        self.parser.set_dangerous_leniencies(lenient_data_after_close=False)
        self._state = state
        self._limits = limits
        self._phase = _Phase.IDLE
        self._status = 400
        self._head_size = self._header_count = self._unparsed = 0
        self._plain_head: bytes | None = None
        self._upgrade_at = 0
        self._answering: RequestResponseCycle | None = None
        self._deadline = self._body_until = inf
        self._is_excused = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf
        self._leaving: dict[RequestResponseCycle, Callable[[], None]] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the application, also where a pipelined request waits behind the one that runs."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)
        self._disconnect()
        self._state.connection_closed()

    def data_received(self, data: bytes) -> None:
        """Parse what came, and count what the parser only keeps: an endless header value, say."""
        self._unparsed += len(data)
        if self._phase is _Phase.IDLE:
            self._await_head()
        super().data_received(data)
        rest = memoryview(data)
        while self._plain_head is not None:
            rest = rest[self._upgrade_at :]
            head, self._plain_head = self._plain_head, None
            self.parser = type(self.parser)(self)
            super().data_received(head)
            super().data_received(rest)  # type: ignore[arg-type]  # the parser takes any buffer
        if self._unparsed > 2 * self._limits.head_bytes and not self.transport.is_closing():
            self._status = 431
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """A request's first byte was read."""
        self._head_size = self._header_count = 0
        if self._phase is not _Phase.HEAD:
            self._await_head()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target was read."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header was read, or a trailer, which is counted and dropped: it must not pass as a header."""
        self._header_count += 1
        self._count(len(name) + len(value) + 4)
        if self._phase is _Phase.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Check the head as a whole, and start the application."""
        status = self._fault()
        if status is not None:
            self._refuse(status)
        if self.parser.should_upgrade():
            self._plain_head = self._head_without_upgrade()
            return
        self._phase = _Phase.BODY
        self._unparsed = 0
        now = self.loop.time()
        self._body_until = now + self._limits.body_s
        self._await_until(min(now + self._limits.body_idle_s, self._body_until))
        super().on_headers_complete()
        if self._state.is_draining:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """A piece of the body was read."""
        self._unparsed = 0
        self._await_until(min(self.loop.time() + self._limits.body_idle_s, self._body_until))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole: its answer may take as long as it takes."""
        if self._plain_head is not None:
            return
        self._phase = _Phase.IDLE
        self._unparsed = 0
        self._deadline = inf
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's own words
        """Refuse and close; in the middle of an answer, or of an earlier request's, only close."""
        if not self._is_answering or not (self.pipeline or self.cycle.response_started):
            self.transport.write(self._refusal(self._status))
        self.transport.close()
        self._disconnect()

    def conclude(self) -> None:
        """Close the connection after the answer that is under way, or the next one."""
        if self._is_answering:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """Close the connection as soon as nothing is under way on it: at once, or after an answer."""
        self.conclude()
        if self._is_answering:
            return
        if self._phase is not _Phase.HEAD or not self._unparsed:
            self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Note where the parser stopped; its exception, which uvicorn is handling, says it."""
        error = sys.exception()
        self._upgrade_at = error.args[0] if error is not None else 0

    def _head_without_upgrade(self) -> bytes:
        """Return this head without its offer to change the protocol, which a server may ignore.

        Java's client offers HTTP/2 in clear with every request, and httptools takes the end of such a
        head for the end of the request: a body would be lost, or read as the next request.
        """
        kept = [(name, value) for name, value in self.headers if name not in _UPGRADE_HEADERS]
        if not self.parser.should_keep_alive():
            kept.append((b"connection", b"close"))
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [name + b": " + value for name, value in kept]
        return b"\r\n".join([*lines, b"", b""])

    @property
    def _is_answering(self) -> bool:
        return self._answering is not None and not self._answering.response_complete

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401
        self._answering = cycle
        cycle.scope["extensions"] = {WHEN_GONE: {"call": partial(self._when_gone, cycle)}}
        super()._start_asgi_task(cycle, app)

    def _disconnect(self) -> None:
        """Tell whoever answers that the client is gone; uvicorn tells the newest request only."""
        for cycle in (self._answering, self.cycle):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
                leave = self._leaving.pop(cycle, None)
                if leave is not None:
                    leave()

    def _when_gone(self, cycle: RequestResponseCycle, leave: Callable[[], None]) -> None:
        if cycle.disconnected:
            leave()
            return
        self._leaving[cycle] = leave
        self.flow.resume_reading()  # a large body paused it, and only a reader hears of the end

    def on_response_complete(self) -> None:
        """An answer is whole: nobody can leave it any more."""
        self._leaving.clear()
        super().on_response_complete()

    def _count(self, size: int) -> None:
        self._head_size += size
        if self._head_size > self._limits.head_bytes or self._header_count > self._limits.headers:
            self._refuse(431)

    def _refuse(self, status: int) -> None:
        self._status = status
        raise _Refused(status)

    def _fault(self) -> int | None:
        """Return the status that refuses this head, None if it is sound."""
        version = self.parser.get_http_version()
        if version not in _VERSIONS:
            return 505
        if self.parser.get_method() in _METHODS_REFUSED:
            return 405
        hosts = codings = 0
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
            elif name == b"transfer-encoding":
                codings += 1 if value.lower() == b"chunked" else 2
        is_sound = hosts == 1 and codings <= (0 if version == "1.0" else 1)
        return None if is_sound else 400

    def _refusal(self, status: int) -> bytes:
        phrase = http.HTTPStatus(status).phrase.encode()
        lines = [
            b"HTTP/1.1 %d %s" % (status, phrase),
            *(name + b": " + value for name, value in self.server_state.default_headers),
            b"content-type: text/plain; charset=utf-8",
            b"content-length: %d" % len(phrase),
            b"connection: close",
            b"",
            phrase,
        ]
        return b"\r\n".join(lines)

    def _await_head(self) -> None:
        self._phase = _Phase.HEAD
        self._await_until(self.loop.time() + self._limits.head_s)

    def _await_until(self, deadline: float) -> None:
        self._deadline = deadline
        if self._timer is not None and deadline >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        # Kept apart: of a time that is now, uvloop makes a handle that does not know it.
        self._timer_at = deadline
        self._timer = self.loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        """Cut the connection if its deadline has passed, and else look again at the deadline."""
        self._timer = None
        if self._deadline == inf or self.transport.is_closing():
            return
        is_our_turn = self._is_our_turn()
        if self._deadline > self.loop.time():
            self._await_until(self._deadline)
        elif is_our_turn or self._is_excused:
            self._is_excused = is_our_turn
            self._start_anew()
        else:
            self.transport.abort()

    def _start_anew(self) -> None:
        """Give the client its whole time again: until just now, it may have been waiting for us."""
        now = self.loop.time()
        self._body_until = now + self._limits.body_s
        is_head = self._phase is _Phase.HEAD
        self._await_until(now + (self._limits.head_s if is_head else self._limits.body_idle_s))

    def _is_our_turn(self) -> bool:
        """Whether the client waits for us: reading is paused, or an earlier answer is under way."""
        is_earlier = self._phase is _Phase.HEAD or self._answering is not self.cycle
        return self.flow.read_paused or (self._is_answering and is_earlier)
