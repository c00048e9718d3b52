"""One battery for both ways to reach a provider: the same answers, the same failures."""

import gzip
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from msgspec import structs

from gateway.core.calls import Timeouts
from gateway.core.ids import Provider
from gateway.errors import UpstreamLost, UpstreamTimedOut, UpstreamUnreachable
from gateway.providers.adapter import PreparedRequest, Signing
from gateway.providers.hosts.sandbox import SandboxHost
from gateway.remote.decoding import Body
from gateway.remote.http1 import Http1Client, PoolLimits
from gateway.remote.sandbox import SandboxTransport
from gateway.remote.upstream import (
    HttpxTransport,
    OwnTransport,
    Providers,
    connections,
    stock_client,
)
from tests.unit.providers.asking import wanted
from tests.unit.remote.scripted import Peer, Script, Server, until

PATIENT = Timeouts(2.0, 2.0, 2.0, 10.0)
HASTY = Timeouts(2.0, 0.05, 0.05, 10.0)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
Serve = Callable[..., Awaitable[Server]]


class Pen:
    """Signs with a header that says for what, or fails as it is told to."""

    def __init__(self) -> None:
        self.failure: UpstreamUnreachable | None = None

    async def signed(
        self, request: PreparedRequest, signing: Signing, within_s: float
    ) -> PreparedRequest:
        if self.failure is not None:
            raise self.failure
        name = f"{signing.service} {signing.region} {within_s:g}".encode()
        return structs.replace(request, headers=[*request.headers, (b"x-signed", name)])


class Way:
    """One of the two ways, and a request for it."""

    def __init__(self, *, is_stock: bool) -> None:
        self.client = Http1Client(ssl_context=None, limits=PoolLimits())
        self.pen = Pen()
        self.providers = Providers(
            sandbox=SandboxTransport(),
            own=OwnTransport(self.client),
            stock=HttpxTransport(stock_client()),
            signer=self.pen,
        )
        self.is_stock = is_stock
        self.sent = 0

    def to(self, port: int) -> PreparedRequest:
        if self.is_stock:
            self.providers.stock_places = frozenset({("127.0.0.1", port)})
        return PreparedRequest(
            method=b"POST",
            scheme="http",
            host="127.0.0.1",
            port=port,
            target=b"/v1/chat/completions?a=%2F",
            headers=[
                (b"host", b"127.0.0.1"),
                (b"content-type", b"application/json"),
                (b"accept-encoding", b"identity"),
            ],
            body=b"{}",
        )

    def note(self) -> None:
        self.sent += 1

    async def open(self, port: int, patience: Timeouts = PATIENT) -> Body:
        return await self.providers.open(self.to(port), patience, self.note)

    async def read(self, port: int, patience: Timeouts = PATIENT) -> bytes:
        body = await self.open(port, patience)
        parts = []
        try:
            while data := await body.read():
                parts.append(data)
        finally:
            await body.aclose()
        return b"".join(parts)


@pytest.fixture(params=["own", "httpx"])
async def way(request: pytest.FixtureRequest) -> AsyncIterator[Way]:
    made = Way(is_stock=request.param == "httpx")
    yield made
    await made.providers.aclose()


def saying(*pieces: bytes) -> Script:
    """A server that reads a request, says this and closes."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(*pieces)
        peer.close()

    return script


async def test_a_request_goes_out_as_it_was_prepared(way: Way, serve: Serve):
    async def script(peer: Peer) -> None:
        head = await peer.reader.readuntil(b"\r\n\r\n")
        peer.requests.append(head + await peer.reader.readexactly(2))
        await peer.send(HEAD + b"content-length: 2\r\n\r\nok")
        peer.close()

    server = await serve(script)
    assert await way.read(server.origin.port) == b"ok"
    head, _, body = server.peers[0].requests[0].partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert head.startswith(b"POST /v1/chat/completions?a=%2F HTTP/1.1\r\n")
    assert b"accept-encoding: identity" in lines
    assert sum(line.startswith(b"host:") for line in lines) == 1
    assert body == b"{}"


async def test_a_request_that_must_be_signed_is_signed_before_it_leaves(way: Way, serve: Serve):
    async def script(peer: Peer) -> None:
        peer.requests.append(await peer.reader.readuntil(b"\r\n\r\n"))
        await peer.send(HEAD + b"content-length: 2\r\n\r\nok")
        peer.close()

    server = await serve(script)
    request = structs.replace(way.to(server.origin.port), signing=Signing("bedrock", "eu-west-1"))
    body = await way.providers.open(request, PATIENT, way.note)
    await body.aclose()
    assert b"x-signed: bedrock eu-west-1 2\r\n" in server.peers[0].requests[0].lower()


async def test_nothing_is_sent_that_could_not_be_signed(way: Way, serve: Serve):
    server = await serve(saying(HEAD))
    way.pen.failure = UpstreamUnreachable("no credentials")
    request = structs.replace(way.to(server.origin.port), signing=Signing("bedrock", "eu-west-1"))
    with pytest.raises(UpstreamUnreachable, match="no credentials"):
        await way.providers.open(request, PATIENT, way.note)
    assert (way.sent, server.peers) == (0, [])


async def test_head_and_body_come_as_they_were_sent(way: Way, serve: Serve):
    server = await serve(
        saying(HEAD + b"x-a: 1\r\ntransfer-encoding: chunked\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n")
    )
    body = await way.open(server.origin.port)
    assert body.status == 200
    assert (b"x-a", b"1") in body.headers
    assert await body.read() == b"abc"
    assert await body.read() == b""
    await body.aclose()


@pytest.mark.parametrize(
    ("coding", "coded"),
    [
        (b"gzip", gzip.compress(b"plain text" * 50, mtime=0)),
        (b"deflate", zlib.compress(b"plain text" * 50)),
    ],
)
async def test_what_comes_compressed_reads_plain(
    way: Way, serve: Serve, coding: bytes, coded: bytes
):
    length = b"content-length: %d\r\n" % len(coded)
    server = await serve(
        saying(HEAD + b"content-encoding: " + coding + b"\r\n" + length + b"\r\n" + coded)
    )
    body = await way.open(server.origin.port)
    assert not {b"content-encoding", b"content-length"} & {name for name, _ in body.headers}
    parts = []
    while data := await body.read():
        parts.append(data)
    assert b"".join(parts) == b"plain text" * 50


@pytest.mark.parametrize(
    ("coding", "coded"),
    [
        (b"br", b"anything"),
        (b"gzip", b"not gzip at all"),
        (b"gzip", gzip.compress(b"plain text" * 50, mtime=0)[:-9]),
        (b"gzip", gzip.compress(b"a", mtime=0) + b"more"),
        (b"gzip", gzip.compress(bytes(400 * 1024 * 1024 // 8), mtime=0)),
    ],
)
async def test_what_can_not_be_read_plainly_is_lost(
    way: Way, serve: Serve, coding: bytes, coded: bytes
):
    length = b"content-length: %d\r\n" % len(coded)
    server = await serve(
        saying(HEAD + b"content-encoding: " + coding + b"\r\n" + length + b"\r\n" + coded)
    )
    with pytest.raises(UpstreamLost):
        await way.read(server.origin.port)


async def test_nobody_listening_is_unreachable(way: Way, serve: Serve):
    server = await serve(saying(b""))
    port = server.origin.port
    await server.stop()
    with pytest.raises(UpstreamUnreachable):
        await way.read(port)
    assert way.sent == (1 if way.is_stock else 0), "nothing was sent, and ours knows it"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"not http\r\n\r\n",
        HEAD + b"content-length: 10\r\n\r\nabc",
        HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
async def test_a_broken_answer_is_lost(way: Way, serve: Serve, said: bytes):
    server = await serve(saying(said))
    with pytest.raises(UpstreamLost):
        await way.read(server.origin.port)


@pytest.mark.parametrize("said", [b"", HEAD + b"content-length: 10\r\n\r\nabc"])
async def test_silence_is_a_time_out(way: Way, serve: Serve, said: bytes):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(said)
        await peer.until_gone()

    server = await serve(script)
    with pytest.raises(UpstreamTimedOut):
        await way.read(server.origin.port, HASTY)


async def test_a_redirect_is_not_followed(way: Way, serve: Serve):
    server = await serve(saying(b"HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n"))
    body = await way.open(server.origin.port)
    assert body.status == 302
    await body.aclose()


async def test_an_answer_that_is_left_is_closed_at_the_other_end(way: Way, serve: Serve):
    gone: list[Peer] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + b"content-length: 10\r\n\r\nabc")
        await peer.until_gone()
        gone.append(peer)

    server = await serve(script)
    body = await way.open(server.origin.port)
    await body.read()
    await body.aclose()
    await until(lambda: bool(gone))


async def test_connections_are_counted_by_provider(serve: Serve):
    way = Way(is_stock=False)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + b"content-length: 2\r\n\r\nok")
        await peer.until_gone()

    server = await serve(script)
    places = {("127.0.0.1", server.origin.port): Provider("stub")}
    body = await way.open(server.origin.port)
    assert connections(way.client, places) == {("stub", "idle"): 0, ("stub", "busy"): 1}
    while await body.read():
        pass
    await body.aclose()
    assert connections(way.client, places) == {("stub", "idle"): 1, ("stub", "busy"): 0}
    await way.providers.aclose()


async def test_the_sandbox_answers_without_a_network():
    way = Way(is_stock=False)
    host = SandboxHost(Provider("sandbox"))
    asked = b'{"model":"echo","messages":[{"role":"user","content":"hello you"}]}'
    request = host.request(wanted(), asked, model="echo", key=None, passed=())
    body = await way.providers.open(request, PATIENT, way.note)
    answer = await body.read()
    assert body.status == 200
    assert b"hello you" in answer
    assert await body.read() == b""
    await body.aclose()
    assert await body.read() == b""
    await way.providers.aclose()
