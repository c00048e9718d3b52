"""The edge against what clients of every intent send, over real sockets on loopback."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from math import inf
from pathlib import Path

import anyio
import msgspec
import pytest
import trustme
from litestar.types import HTTPScope

from gateway.web.edge import EdgeServer, TlsFiles, listen
from gateway.web.guard import EdgeLimits

PATIENCE_S = 5.0
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ROOMY = EdgeLimits()
HOST = b"Host: gateway\r\n"
GOOD = b"GET /good HTTP/1.1\r\n" + HOST + b"\r\n"


class App:
    """Notes each request and answers it, in a way that its path names."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, bytes, list[tuple[bytes, bytes]]]] = []
        self.gone = 0
        self.cancelled = 0
        self.settled = 0
        self.may_end = anyio.Event()
        self.began = anyio.Event()

    async def __call__(self, scope: HTTPScope, receive: Callable, send: Callable) -> None:
        if scope["path"] == "/settling":
            while (await receive())["type"] != "http.disconnect":
                pass
            self.gone += 1
            await self.may_end.wait()
            self.settled += 1
            return
        if scope["path"] == "/early":
            await answer(send, 413, b"too large")
            return
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.gone += 1
                return
            body += message["body"]
            more = message["more_body"]
        self.requests.append((scope["path"], body, scope["headers"]))
        if scope["path"] == "/slow":
            await self._slowly(receive, send)
        else:
            await answer(send, 200, b"hello")

    async def _slowly(self, receive: Callable, send: Callable) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            self.began.set()
            async with anyio.create_task_group() as group:
                group.start_soon(self._watch, receive, group.cancel_scope)
                await self.may_end.wait()
                group.cancel_scope.cancel()
            await send({"type": "http.response.body", "body": b"last", "more_body": False})
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def _watch(self, receive: Callable, scope: anyio.CancelScope) -> None:
        if (await receive())["type"] == "http.disconnect":
            self.gone += 1
            scope.cancel()


async def answer(send: Callable, status: int, body: bytes) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [length]})
    await send({"type": "http.response.body", "body": body, "more_body": False})


class Peer:
    """A client's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def everything(self) -> bytes:
        """Read until the server closes; what a reset destroys is not missed."""
        data = b""
        async with asyncio.timeout(PATIENCE_S):
            with suppress(ConnectionError):
                while piece := await self.reader.read(65_536):
                    data += piece
        return data

    async def flood(self, piece: bytes, pause_s: float = 0) -> int:
        """Send a piece again and again until the server cuts the connection; return how many."""
        count = 0
        async with asyncio.timeout(PATIENCE_S):
            with suppress(ConnectionError):
                while not self.writer.is_closing():
                    self.send(piece)
                    await self.writer.drain()
                    await asyncio.sleep(pause_s)
                    count += 1
        return count

    async def until(self, text: bytes) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readuntil(text)

    async def answered(self) -> bytes:
        """Read one answer of known length."""
        head = await self.until(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        async with asyncio.timeout(PATIENCE_S):
            return head + await self.reader.readexactly(length)

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


class Edge:
    """A running server, and connections to it."""

    def __init__(self, server: EdgeServer, app: App, port: int) -> None:
        self.server = server
        self.app = app
        self.port = port
        self.peers: list[Peer] = []

    async def connect(self, data: bytes = b"", tls: ssl.SSLContext | None = None) -> Peer:
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.port, ssl=tls))
        self.peers.append(peer)
        peer.send(data)
        return peer


@asynccontextmanager
async def running(limits: EdgeLimits = ROOMY, tls: TlsFiles | None = None) -> AsyncIterator[Edge]:
    app = App()
    server = EdgeServer(app, listen("127.0.0.1", 0), now=lambda: NOW, limits=limits, tls=tls)
    async with anyio.create_task_group() as group:
        edge = Edge(server, app, await group.start(server.serve))
        try:
            yield edge
        finally:
            for peer in edge.peers:
                await peer.close()
            await server.stop(0)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # what it waits for is not ours to signal
            await asyncio.sleep(0.005)


def limits(**changes: float) -> EdgeLimits:
    return msgspec.structs.replace(ROOMY, **changes)


def post(*headers: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    lines = [b"POST /good HTTP/" + version, b"Host: gateway", *headers, b"", body]
    return b"\r\n".join(lines)


# A second request that a lenient reader of the first would see, and what hides it.
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: gateway\r\n\r\n"
SMUGGLED = b"0\r\n\r\n" + HIDDEN
BAD_FRAMING = {
    "length and chunks": post(b"Content-Length: 4", b"Transfer-Encoding: chunked", body=SMUGGLED),
    "chunks and length": post(b"Transfer-Encoding: chunked", b"Content-Length: 4", body=SMUGGLED),
    "two lengths": post(b"Content-Length: 0", b"Content-Length: 44", body=HIDDEN),
    "the same length twice": post(b"Content-Length: 2", b"Content-Length: 2", body=b"ok"),
    "lengths in a list": post(b"Content-Length: 2, 2", body=b"ok"),
    "signed length": post(b"Content-Length: +2", body=b"ok"),
    "negative length": post(b"Content-Length: -2", body=b"ok"),
    "space before colon": post(b"Transfer-Encoding : chunked", body=SMUGGLED),
    "unknown coding": post(b"Transfer-Encoding: xchunked", body=SMUGGLED),
    "gzip under chunked": post(b"Transfer-Encoding: gzip, chunked", body=SMUGGLED),
    "chunked not last": post(b"Transfer-Encoding: chunked, identity", body=SMUGGLED),
    "identity": post(b"Transfer-Encoding: identity", body=HIDDEN),
    "chunked twice": post(
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=SMUGGLED
    ),
    "vertical tab": post(b"Transfer-Encoding: \x0bchunked", body=SMUGGLED),
    "chunks in 1.0": post(b"Transfer-Encoding: chunked", body=SMUGGLED, version=b"1.0"),
    "empty chunks in 1.0": post(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n", version=b"1.0"),
    "bare line feeds": b"GET /good HTTP/1.1\nHost: gateway\n\n",
    "folded header": post(b"X-A: b\r\n c: d"),
    "no name": post(b": b"),
    "NUL in a value": post(b"X-A: b\x00c"),
    "no host": b"GET /good HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /good HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    "two hosts in 1.0": b"GET /good HTTP/1.0\r\n" + HOST + HOST + b"\r\n",
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no path": b"GET ? HTTP/1.1\r\n" + HOST + b"\r\n",
    "path not ASCII": b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n",
}


@pytest.mark.parametrize("sent", BAD_FRAMING.values(), ids=BAD_FRAMING)
async def test_a_head_that_can_be_read_in_two_ways_is_refused_once_and_closed(sent: bytes):
    async with running() as edge:
        peer = await edge.connect(sent)
        received = await peer.everything()
        assert received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert received.count(b"HTTP/1.1") == 1
        assert b"connection: close\r\n" in received
        assert edge.app.requests == []


@pytest.mark.parametrize("size", [b"0xd", b"-1", b"d ", b"+5", b"g", b"1" * 17], ids=repr)
async def test_a_chunk_size_that_is_no_hexadecimal_number_closes_the_connection(size: bytes):
    async with running() as edge:
        body = size + b"\r\nhello, world!\r\n0\r\n\r\n" + HIDDEN
        peer = await edge.connect(post(b"Transfer-Encoding: chunked", body=body))
        received = await peer.everything()
        assert received.startswith(b"HTTP/1.1 400 ")
        assert received.count(b"HTTP/1.1") == 1
        assert edge.app.requests == []
        await until(lambda: edge.app.gone == 1)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n", 405),
        (b"CONNECT gateway:443 HTTP/1.1\r\n" + HOST + b"\r\n", 405),
        (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
        (b"GET / HTTP/0.9\r\n" + HOST + b"\r\n", 505),
    ],
)
async def test_other_methods_and_versions_are_refused(sent: bytes, status: int):
    async with running() as edge:
        received = await (await edge.connect(sent)).everything()
        assert received.startswith(b"HTTP/1.1 %d " % status)
        assert edge.app.requests == []


LARGE_HEADS = {
    "101 headers": post(*[b"X-%d: a" % number for number in range(100)]),
    "20,000 headers": post(*[b"X-%d: a" % number for number in range(20_000)]),
    "a header of 40 KiB": post(b"X-A: " + b"a" * 40_960),
    "a header name of 40 KiB": post(b"X" * 40_960 + b": a"),
    "40 headers of 1 KiB": post(*[b"X-A: " + b"a" * 1024] * 40),
    "a target of 40 KiB": b"GET /" + b"a" * 40_960 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a header without an end": b"GET / HTTP/1.1\r\nX-A: " + b"a" * 100_000,
    "trailers of 40 KiB": post(
        b"Transfer-Encoding: chunked", body=b"0\r\n" + b"X-A: " + b"a" * 40_960 + b"\r\n\r\n"
    ),
    "100 trailers": post(b"Transfer-Encoding: chunked", body=b"0\r\n" + b"X-A: b\r\n" * 100),
}


@pytest.mark.parametrize("sent", LARGE_HEADS.values(), ids=LARGE_HEADS)
async def test_a_head_beyond_the_limits_is_refused_and_closed(sent: bytes):
    async with running() as edge:
        received = await (await edge.connect(sent)).everything()
        # Closing with bytes unread resets the connection, which may overtake the answer.
        assert received.startswith(b"HTTP/1.1 431 ") or received == b""
        assert edge.app.requests == []


@pytest.mark.parametrize(
    "first",
    [
        b"GET / HTTP/1.1\r\nX-A: ",
        b"GET /",
        post(b"Transfer-Encoding: chunked", body=b"0\r\nX-A: "),
        post(b"Transfer-Encoding: chunked", body=b"1;"),
    ],
    ids=["header", "target", "trailer", "chunk extension"],
)
async def test_what_never_ends_is_cut_off_soon(first: bytes):
    async with running() as edge:
        peer = await edge.connect(first)
        assert await peer.flood(b"a" * 2**16) < 512  # most of it lies in the sockets' buffers
        assert edge.app.requests == []


async def test_a_head_at_the_limits_passes():
    async with running() as edge:
        most = 32 * 1024 - len(b"/good") - sum(map(len, (b"Host", b"gateway", b"X-A"))) - 8
        edge_peer = await edge.connect(
            b"GET /good HTTP/1.1\r\n" + HOST + b"X-A: " + b"a" * most + b"\r\n\r\n"
        )
        assert (await edge_peer.answered()).endswith(b"hello")
        hundred = post(*[b"X-%d: a" % number for number in range(98)], b"Content-Length: 0")
        edge_peer.send(hundred)
        assert (await edge_peer.answered()).endswith(b"hello")


async def test_trailers_never_pass_as_headers():
    async with running() as edge:
        body = b"5\r\nhello\r\n0\r\nAuthorization: Bearer other\r\n\r\n"
        peer = await edge.connect(post(b"Transfer-Encoding: chunked", body=body))
        await peer.answered()
        path, received, headers = edge.app.requests[0]
        assert (path, received) == ("/good", b"hello")
        assert [name for name, _ in headers] == [b"host", b"transfer-encoding"]


SHORT = limits(head_s=0.2, body_idle_s=0.2, body_s=0.5)
STALLED = {
    "silence": b"",
    "half a request line": b"GET /go",
    "half a head": b"GET /good HTTP/1.1\r\nHost: gate",
    "half a body": post(b"Content-Length: 10", body=b"12345"),
    "half a chunk": post(b"Transfer-Encoding: chunked", body=b"5\r\nhel"),
    "blank lines": b"\r\n\r\n",
}


@pytest.mark.parametrize("sent", STALLED.values(), ids=STALLED)
async def test_who_stops_half_way_is_cut_off_in_time(sent: bytes):
    async with running(SHORT) as edge:
        peer = await edge.connect(sent)
        start = asyncio.get_running_loop().time()
        assert await peer.everything() == b""
        assert 0.15 < asyncio.get_running_loop().time() - start < 2


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (b"GET /good HTTP/1.1\r\nX-A: ", b"a"),
        (b"", b"\r\n"),
        (post(b"Content-Length: 1000"), b"a"),
        (post(b"Transfer-Encoding: chunked"), b"1\r\na\r\n"),
    ],
    ids=["head", "blank lines", "body", "chunks"],
)
async def test_who_sends_a_byte_at_a_time_is_cut_off_in_time(first: bytes, drop: bytes):
    async with running(SHORT) as edge:
        peer = await edge.connect(first)
        start = asyncio.get_running_loop().time()
        await peer.flood(drop, pause_s=0.02)
        assert 0.15 < asyncio.get_running_loop().time() - start < 2
        assert edge.app.requests == []


async def test_blank_lines_do_not_keep_a_used_connection_open():
    async with running(SHORT) as edge:
        peer = await edge.connect(GOOD)
        await peer.answered()
        peer.send(b"\r\n")
        assert await peer.everything() == b""


async def test_a_later_head_has_its_own_time_and_not_that_of_a_body():
    async with running(limits(head_s=0.1)) as edge:
        peer = await edge.connect(post(b"Content-Length: 5"))
        await asyncio.sleep(0.2)  # so that the connection's timer is set for the body
        peer.send(b"hello")
        await peer.answered()
        peer.send(GOOD[:-2])
        assert await peer.everything() == b""


async def test_silent_clients_do_not_keep_others_waiting():
    async with running(SHORT) as edge:
        silent = [await edge.connect() for _ in range(50)]
        good = await edge.connect(GOOD)
        assert (await good.answered()).endswith(b"hello")
        assert await asyncio.wait_for(silent[-1].everything(), PATIENCE_S) == b""


async def test_an_unused_connection_is_kept_for_a_while():
    async with running(limits(keep_alive_s=1, head_s=0.05)) as edge:
        peer = await edge.connect(GOOD)
        await peer.answered()
        start = asyncio.get_running_loop().time()
        assert await peer.everything() == b""
        assert asyncio.get_running_loop().time() - start > 0.9


@pytest.mark.parametrize("more", [b"", b"\r\n", b"GET /go"], ids=repr)
async def test_an_answer_may_take_longer_than_any_limit_of_the_request(more: bytes):
    """Also where the client has begun its next request, which waits for the first."""
    async with running(limits(head_s=0.05, body_idle_s=0.05, body_s=0.05)) as edge:
        peer = await edge.connect(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n")
        await edge.app.began.wait()
        peer.send(more)
        await asyncio.sleep(0.2)
        edge.app.may_end.set()
        assert b"last" in await peer.until(b"0\r\n\r\n")


async def test_pipelined_requests_are_answered_in_order():
    async with running() as edge:
        peer = await edge.connect(post(b"Content-Length: 2", body=b"ab") + GOOD + GOOD)
        for _ in range(3):
            assert (await peer.answered()).endswith(b"hello")
        assert [body for _, body, _ in edge.app.requests] == [b"ab", b"", b""]


async def test_a_request_waiting_behind_another_does_not_hide_that_the_client_left():
    async with running() as edge:
        peer = await edge.connect(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n" + GOOD)
        await edge.app.began.wait()
        await peer.close()
        await until(lambda: edge.app.gone == 1)


async def test_garbage_behind_a_request_never_mixes_with_its_answer():
    async with running() as edge:
        peer = await edge.connect(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n")
        await peer.until(b"first")
        peer.send(b"\x00garbage\r\n\r\n")
        assert b"HTTP/1.1" not in await peer.everything()
        await until(lambda: edge.app.gone == 1)


async def test_what_follows_a_last_request_is_refused():
    async with running() as edge:
        peer = await edge.connect(post(b"Connection: close", b"Content-Length: 0") + HIDDEN)
        received = await peer.everything()
        assert received.startswith(b"HTTP/1.1 400 ")
        assert received.count(b"HTTP/1.1") == 1
        assert edge.app.requests == []


async def test_an_oversized_body_is_refused_without_asking_for_it():
    async with running(SHORT) as edge:
        peer = await edge.connect(
            b"POST /early HTTP/1.1\r\nHost: gateway\r\nContent-Length: 10000000000\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        received = await peer.everything()  # closed by the limit of a body that never comes
        assert received.startswith(b"HTTP/1.1 413 ")
        assert received.count(b"HTTP/1.1") == 1


async def test_a_body_is_asked_for_where_the_application_reads_it():
    async with running() as edge:
        peer = await edge.connect(post(b"Content-Length: 5", b"Expect: 100-continue"))
        assert await peer.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.send(b"hello")
        assert (await peer.answered()).endswith(b"hello")


async def test_a_deadline_that_is_now_can_be_moved():
    """uvloop has no time for what is due at once, and a body's piece may come just then."""
    async with running() as edge:
        protocol = edge.server._protocol()
        now = asyncio.get_running_loop().time()
        for deadline in (now, now - 1, now + 60, now - 2, inf):
            protocol._await_until(deadline)


@pytest.mark.parametrize("pause_s", [0.39, 0.5, 0.58])
async def test_a_body_goes_on_while_the_application_is_slow_to_read_it(pause_s: float):
    """Reading stops at 64 KiB; the time that it stands still is not the client's.

    Nor is its time up as soon as reading goes on: it then has as long as at first.
    """
    async with running(limits(head_s=0.2, body_idle_s=0.2, body_s=0.3)) as edge:
        may_read = anyio.Event()
        real = edge.app.__call__

        async def late(scope: HTTPScope, receive: Callable, send: Callable) -> None:
            await may_read.wait()
            await real(scope, receive, send)

        edge.server._config.loaded_app = late
        first, rest = b"a" * 66_000, b"a" * 1000  # the first are all read before it stops
        peer = await edge.connect(post(b"Content-Length: %d" % 67_000, body=first))
        await asyncio.sleep(pause_s)
        may_read.set()
        await asyncio.sleep(0.1)
        peer.send(rest)
        assert (await peer.answered()).endswith(b"hello")
        assert len(edge.app.requests[0][1]) == 67_000


OFFER = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEA")
WEBSOCKET = (b"Connection: upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13")


@pytest.mark.parametrize("offer", [OFFER, WEBSOCKET], ids=["HTTP/2", "websocket"])
@pytest.mark.parametrize("cut", [1, 40, 150, 10_000])
async def test_an_offer_to_upgrade_is_ignored(offer: tuple[bytes, ...], cut: int):
    async with running() as edge:
        sent = post(*offer, b"Content-Length: 5", body=b"hello") + post(b"Content-Length: 0")
        peer = await edge.connect()
        for piece in (sent[:cut], sent[cut:]):
            peer.send(piece)
            await peer.writer.drain()
            await asyncio.sleep(0)
        for _ in range(2):
            assert (await peer.answered()).endswith(b"hello")
        assert [body for _, body, _ in edge.app.requests] == [b"hello", b""]


async def test_many_offers_to_upgrade_at_once_are_ignored_one_by_one():
    async with running() as edge:
        peer = await edge.connect(post(*OFFER, b"Content-Length: 0") * 2000)
        for _ in range(2000):
            assert (await peer.answered()).endswith(b"hello")


async def test_an_offer_to_upgrade_hides_no_fault_of_a_head():
    async with running() as edge:
        for fault in (b"Transfer-Encoding: gzip, chunked", b"Host: other"):
            received = await (await edge.connect(post(*OFFER, fault, body=SMUGGLED))).everything()
            assert received.startswith(b"HTTP/1.1 400 ")
        closing = (b"Connection: Upgrade, close", b"Upgrade: h2c", b"Content-Length: 0")
        received = await (await edge.connect(post(*closing) + HIDDEN)).everything()
        assert received.count(b"HTTP/1.1") == 1
        assert [path for path, _, _ in edge.app.requests] in ([], ["/good"])


async def test_an_answer_says_when_but_not_by_what():
    async with running() as edge:
        head, _, _ = (await (await edge.connect(GOOD)).answered()).partition(b"\r\n\r\n")
        assert b"\r\ndate: Fri, 02 Jan 2026 03:04:05 GMT" in head
        assert b"server:" not in head.lower()


async def test_two_servers_share_a_loop_and_no_state():
    async with running() as one, running() as other:
        await one.server.stop(1)
        assert (await (await other.connect(GOOD)).answered()).endswith(b"hello")
        with pytest.raises(ConnectionRefusedError):
            await one.connect()


async def test_a_draining_server_serves_old_and_new_connections_and_closes_each_after_its_answer():
    async with running() as edge:
        idle = await edge.connect(GOOD)
        await idle.answered()
        busy = await edge.connect(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n")
        await busy.until(b"first")
        async with anyio.create_task_group() as group:
            group.start_soon(edge.server.drain)
            await until(lambda: edge.server._state.is_draining)
            idle.send(GOOD)
            for late in (idle, await edge.connect(GOOD)):
                answered = await late.everything()
                assert b"connection: close\r\n" in answered
                assert answered.endswith(b"hello")
            edge.app.may_end.set()
            assert (await busy.everything()).endswith(b"4\r\nlast\r\n0\r\n\r\n")
        assert edge.app.cancelled == 0


async def test_a_drain_waits_for_what_ran_when_it_began_and_not_for_what_came_later():
    async with running() as edge:
        early = await edge.connect(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n")
        await early.until(b"first")
        async with asyncio.timeout(PATIENCE_S), anyio.create_task_group() as group:
            group.start_soon(edge.server.drain)
            await until(lambda: edge.server._state.is_draining)
            late = await edge.connect(b"GET /settling HTTP/1.1\r\n" + HOST + b"\r\n")
            await until(lambda: len(edge.server._state.tasks) == 2)
            edge.app.may_end.set()
        assert len(edge.server._state.tasks) == 1
        await late.close()


async def test_a_port_that_was_left_can_be_had_while_its_connections_go_on():
    async with running() as edge:
        busy = await edge.connect(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n")
        await busy.until(b"first")
        edge.server.leave_port()
        (next_one,) = listen("127.0.0.1", edge.port)
        next_one.close()
        edge.app.may_end.set()
        await busy.until(b"last")


async def test_a_stopping_server_closes_idle_connections_and_finishes_the_others():
    async with running() as edge:
        idle = await edge.connect(GOOD)
        await idle.answered()
        half = await edge.connect(GOOD[:-10])
        silent = await edge.connect()
        busy = await edge.connect(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n")
        await busy.until(b"first")
        async with anyio.create_task_group() as group:
            group.start_soon(edge.server.stop, PATIENCE_S)
            assert await idle.everything() == b""
            assert await silent.everything() == b""
            half.send(GOOD[-10:])
            late = await half.everything()
            assert b"connection: close\r\n" in late
            assert late.endswith(b"hello")
            edge.app.may_end.set()
            assert (await busy.everything()).endswith(b"4\r\nlast\r\n0\r\n\r\n")
        assert edge.app.cancelled == 0


async def test_a_stopping_server_waits_for_calls_whose_clients_have_left():
    async with running() as edge:
        peer = await edge.connect(b"GET /settling HTTP/1.1\r\n" + HOST + b"\r\n")
        await peer.close()
        await until(lambda: edge.app.gone == 1)
        async with anyio.create_task_group() as group:
            group.start_soon(edge.server.stop, PATIENCE_S)
            await until(lambda: not edge.server._state.connections)
            await asyncio.sleep(0)
            edge.app.may_end.set()
        assert edge.app.settled == 1


async def test_what_runs_beyond_the_grace_is_cancelled_and_closed():
    async with running() as edge:
        busy = await edge.connect(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n")
        await busy.until(b"first")
        await edge.server.stop(0.05)
        assert edge.app.cancelled == 1
        assert not (await busy.everything()).endswith(b"0\r\n\r\n")


async def test_a_second_shorter_grace_overrides_the_first():
    async with running() as edge:
        busy = await edge.connect(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n")
        await busy.until(b"first")
        async with asyncio.timeout(PATIENCE_S), anyio.create_task_group() as group:
            group.start_soon(edge.server.stop, 3600)
            await asyncio.sleep(0)
            await edge.server.stop(0)
        assert edge.app.cancelled == 1


async def test_a_cancelled_server_leaves_nothing_behind():
    app = App()
    server = EdgeServer(app, listen("127.0.0.1", 0), now=lambda: NOW)
    async with anyio.create_task_group() as group:
        port = await group.start(server.serve)
        edge = Edge(server, app, port)
        busy = await edge.connect(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n")
        await busy.until(b"first")
        group.cancel_scope.cancel()
    assert app.cancelled == 1
    assert not (await busy.everything()).endswith(b"0\r\n\r\n")
    await busy.close()


async def test_tls_is_served_from_files(tmp_path: Path):
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    certificate.private_key_pem.write_to_path(key)
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(chain, append=True)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with running(tls=TlsFiles(str(chain), str(key))) as edge:
        peer = await edge.connect(GOOD, tls=context)
        assert (await peer.answered()).endswith(b"hello")
        await peer.close()
        plain = await edge.connect(GOOD)
        assert b"HTTP" not in await plain.everything()


async def test_a_tls_handshake_has_the_time_of_a_head(tmp_path: Path):
    certificate = trustme.CA().issue_cert("127.0.0.1")
    pem = tmp_path / "both.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(pem)
    async with running(SHORT, TlsFiles(str(pem), str(pem))) as edge:
        silent = await edge.connect()
        assert await silent.everything() == b""


def test_a_missing_certificate_is_reported_when_the_server_is_made(tmp_path: Path):
    sockets = listen("127.0.0.1", 0)
    missing = str(tmp_path / "none.pem")
    with pytest.raises(FileNotFoundError):
        EdgeServer(App(), sockets, now=lambda: NOW, tls=TlsFiles(missing, missing))
    for sock in sockets:
        sock.close()


def test_a_taken_port_is_an_error_and_leaves_no_socket():
    taken = listen("127.0.0.1", 0)
    taken[0].listen()
    with pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", taken[0].getsockname()[1])
    taken[0].close()


def test_a_port_is_shared_only_by_those_who_want_to():
    (first,) = listen("127.0.0.1", 0, is_shared=True)
    port = first.getsockname()[1]
    (second,) = listen("127.0.0.1", port, is_shared=True)
    first.listen()
    with pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", port)
    for sock in (first, second):
        sock.close()
    (alone,) = listen("127.0.0.1", port)
    alone.listen()
    with pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", port, is_shared=True)
    alone.close()


def test_a_name_with_several_addresses_is_bound_to_one_port():
    sockets = listen("localhost", 0)
    ports = {sock.getsockname()[1] for sock in sockets}
    assert len(ports) == 1
    for sock in sockets:
        sock.close()
