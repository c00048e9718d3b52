"""A request lost on a reused connection is sent again only where nobody can have read it whole.

The race of HTTP/1.1 (the peer closes while a request is on its way) is made certain here: the peer
closes just after the client looked at its socket for the last time, in the same turn of the loop.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import trustme

from gateway.errors import UpstreamLost
from gateway.remote import unread
from gateway.remote.connection import Connection
from gateway.remote.http1 import Http1Client, Origin, Request, Timeouts
from tests.unit.remote.scripted import (
    OK,
    PATIENCE_S,
    Clients,
    Peer,
    Script,
    Serve,
    Server,
    always_ok,
    post,
    until,
    whole,
)

BIG = b"x" * 16_000_000
HEAD_END = b"\r\n\r\n"


class Look:
    """Takes a connection's look at its socket, and has something done right after it."""

    def __init__(self, connection: Connection, then: Callable[[], object]) -> None:
        self.poll_object = connection._poll
        self.then = then
        connection._poll = self

    def poll(self, timeout_ms: int) -> list[tuple[int, int]]:
        seen = self.poll_object.poll(timeout_ms)
        self.then()
        return seen


def resting(client: Http1Client, origin: Origin) -> Connection:
    (connection,) = client._pools[origin]._resting
    return connection


def busy(client: Http1Client, origin: Origin) -> Connection:
    (connection,) = client._pools[origin]._busy
    return connection


@contextlib.contextmanager
def socket_of(peer: Peer) -> Iterator[socket.socket]:
    with socket.socket(fileno=socket.dup(peer.writer.get_extra_info("socket").fileno())) as sock:
        yield sock


def shut(peer: Peer, how: int = socket.SHUT_RDWR) -> None:
    """Send a FIN at once; a kernel that was told to read no more answers what comes by a RST."""
    with socket_of(peer) as sock:
        sock.shutdown(how)


async def answers_one(peer: Peer) -> None:
    await peer.request()
    await peer.send(OK)


def then_closes(how: str) -> Script:
    """Answer one request; read the next one whole, and break off without a word."""

    async def script(peer: Peer) -> None:
        await answers_one(peer)
        await peer.request()
        (peer.reset if how == "reset" else peer.close)()

    return script


async def used_once(client: Http1Client, server: Server, patient: Timeouts) -> None:
    assert await whole(await client.open(post(server), patient)) == b"ok"
    assert client.connections() == {server.origin: (1, 0)}


def copies(server: Server) -> list[int]:
    """Requests read whole, on each connection."""
    return [len(peer.requests) for peer in server.peers]


async def test_what_crosses_the_end_of_its_connection_is_sent_once_more(
    serve: Serve, clients: Clients, patient: Timeouts
):
    server = await serve(answers_one, always_ok)
    client = clients(per_origin=1)
    await used_once(client, server, patient)
    Look(resting(client, server.origin), lambda: shut(server.peers[0]))
    assert await whole(await client.open(post(server, b'{"second":1}'), patient)) == b"ok"
    assert copies(server) == [1, 1]
    assert server.peers[1].requests[0].endswith(b'{"second":1}')
    assert client.connections() == {server.origin: (1, 0)}


async def test_what_was_read_whole_before_its_connection_ended_is_lost(
    serve: Serve, clients: Clients, patient: Timeouts
):
    server = await serve(then_closes("close"), always_ok)
    client = clients(per_origin=1)
    await used_once(client, server, patient)
    with pytest.raises(UpstreamLost, match=r"127\.0\.0\.1"):
        await client.open(post(server), patient)
    assert copies(server) == [2]
    assert client.connections() == {server.origin: (0, 0)}


async def test_a_reset_that_follows_the_end_is_waited_for(
    serve: Serve, clients: Clients, patient: Timeouts
):
    async def script(peer: Peer) -> None:
        await answers_one(peer)
        peer.writer.transport.pause_reading()
        await until(lambda: busy(client, server.origin)._remains is not None)
        peer.writer.transport.abort()  # with a request unread, which a kernel answers by a RST

    server = await serve(script, always_ok)
    client = clients(per_origin=1)
    await used_once(client, server, patient)
    Look(resting(client, server.origin), lambda: shut(server.peers[0], socket.SHUT_WR))
    assert await whole(await client.open(post(server), patient)) == b"ok"
    assert copies(server) == [1, 1]


async def test_a_prompt_reset_of_a_reused_connection_is_the_answer_to_what_was_sent(
    serve: Serve, clients: Clients, patient: Timeouts
):
    async def script(peer: Peer) -> None:
        await answers_one(peer)
        peer.writer.transport.pause_reading()
        await sent.wait()
        peer.writer.transport.abort()

    sent = asyncio.Event()
    server = await serve(script, always_ok)
    client = clients(per_origin=1)
    await used_once(client, server, patient)
    Look(resting(client, server.origin), sent.set)
    assert await whole(await client.open(post(server), patient)) == b"ok"
    assert copies(server) == [1, 1]


@pytest.mark.parametrize("how", ["reset", "end, then reset"])
async def test_a_reset_long_after_the_request_proves_nothing(
    serve: Serve, clients: Clients, patient: Timeouts, how: str
):
    async def script(peer: Peer) -> None:
        await answers_one(peer)
        await peer.request()
        busy(client, server.origin)._sent_at -= 1.001
        if how != "reset":
            shut(peer, socket.SHUT_WR)
        peer.reset()

    server = await serve(script, always_ok)
    client = clients(per_origin=1)
    await used_once(client, server, patient)
    with pytest.raises(UpstreamLost):
        await client.open(post(server), patient)
    assert copies(server) == [2]
    assert client.connections() == {server.origin: (0, 0)}


def takes_a_part(how: str, client: Callable[[], Http1Client]) -> Script:
    """Answer one request; of the next one read the head, and break off when no more can be sent."""

    async def script(peer: Peer) -> None:
        await answers_one(peer)
        await peer.reader.readuntil(HEAD_END)
        peer.writer.transport.pause_reading()
        (pool,) = client()._pools.values()
        (connection,) = pool._busy
        await until(lambda: not connection._is_writable)
        connection._sent_at -= 60
        shut(peer, socket.SHUT_WR) if how == "end" else peer.reset()

    return script


@pytest.mark.parametrize("how", ["reset", "end"])
async def test_a_request_that_was_not_yet_sent_whole_is_sent_again_however_long_it_took(
    serve: Serve, clients: Clients, patient: Timeouts, how: str
):
    client = clients(per_origin=1)
    server = await serve(takes_a_part(how, lambda: client), always_ok)
    await used_once(client, server, patient)
    assert await whole(await client.open(post(server, BIG), patient)) == b"ok"
    assert copies(server) == [1, 1]


async def test_a_request_that_a_new_connection_lost_is_not_sent_again(
    serve: Serve, clients: Clients, patient: Timeouts
):
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(HEAD_END)
        peer.writer.transport.pause_reading()
        await until(lambda: not busy(client, server.origin)._is_writable)
        peer.reset()

    server = await serve(script)
    client = clients()
    with pytest.raises(UpstreamLost):
        await client.open(post(server, BIG), patient)
    assert copies(server) == [0]


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_second_copy_that_is_lost_is_the_last(
    serve: Serve, clients: Clients, patient: Timeouts, how: str
):
    async def loses(peer: Peer) -> None:
        await peer.request()
        (peer.reset if how == "reset" else peer.close)()

    server = await serve(answers_one, loses, always_ok)
    client = clients(per_origin=1)
    await used_once(client, server, patient)
    Look(resting(client, server.origin), lambda: shut(server.peers[0]))
    with pytest.raises(UpstreamLost):
        await client.open(post(server), patient)
    assert copies(server) == [1, 1]
    assert client.connections() == {server.origin: (0, 0)}


async def test_an_unread_request_that_can_not_be_sent_again_is_lost_and_not_unreachable(
    serve: Serve, clients: Clients, patient: Timeouts
):
    server = await serve(answers_one)
    client = clients(per_origin=1)
    await used_once(client, server, patient)
    await server.stop_listening()
    Look(resting(client, server.origin), lambda: shut(server.peers[0]))
    with pytest.raises(UpstreamLost, match="can't be reached"):
        await client.open(post(server), patient)
    assert client.connections() == {server.origin: (0, 0)}


@pytest.mark.parametrize("how", ["the call is cancelled", "the client is closed"])
async def test_who_leaves_while_a_reset_is_waited_for_leaves_nothing(
    serve: Serve, clients: Clients, patient: Timeouts, how: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(unread, "_RESET_AFTER_END_S", 60.0)
    server = await serve(then_closes("close"), always_ok)
    client = clients(per_origin=1)
    await used_once(client, server, patient)
    opening = asyncio.ensure_future(client.open(post(server), patient))
    await until(lambda: client.connections() == {server.origin: (0, 1)})
    connection = busy(client, server.origin)
    await until(lambda: connection._remains is not None)
    if how == "the call is cancelled":
        opening.cancel()
        await asyncio.wait([opening])
        assert opening.cancelled()
    else:
        await client.aclose()
        with pytest.raises(UpstreamLost):
            await opening
    assert connection._remains.fileno() == -1
    assert client.connections() == {server.origin: (0, 0)}
    await until(lambda: server.open_now == 0)
    assert copies(server) == [2]


async def test_a_call_that_waits_for_a_proof_keeps_its_place(
    serve: Serve, clients: Clients, patient: Timeouts, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(unread, "_RESET_AFTER_END_S", 60.0)
    server = await serve(then_closes("close"), always_ok)
    client = clients(per_origin=1)
    await used_once(client, server, patient)
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(client.open(post(server), patient))
        await until(lambda: client.connections() == {server.origin: (0, 1)})
        connection = busy(client, server.origin)
        await until(lambda: connection._remains is not None)
        second = tasks.create_task(client.open(post(server), patient))
        await until(lambda: len(client._pools[server.origin]._waiters) == 1)
        assert len(server.peers) == 1
        first.cancel()
        assert await whole(await second) == b"ok"
    assert copies(server) == [2, 1]


class TlsServer:
    """A server on blocking sockets, whose goodbyes are said when the test says so, and no sooner."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE_S)
        self.origin = Origin("https", "localhost", self.listener.getsockname()[1])
        self.accepted: list[ssl.SSLSocket] = []
        self.requests: list[bytes] = []

    def accept_and_answer(self) -> None:
        raw, _ = self.listener.accept()
        raw.settimeout(PATIENCE_S)
        self.accepted.append(self.context.wrap_socket(raw, server_side=True))
        self.answer()

    def answer(self) -> None:
        self.read()
        self.accepted[-1].sendall(OK)

    def read(self) -> None:
        got = b""
        while not got.endswith(HEAD_END + b"{}"):
            piece = self.accepted[-1].recv(65_536)
            assert piece
            got += piece
        self.requests.append(got)

    def say_goodbye(self) -> None:
        """Close as a server does that has nothing more to say: close_notify, FIN, and no waiting."""
        tls = self.accepted[0]
        tls.setblocking(False)
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.unwrap()
        tls.close()

    def cut(self) -> None:
        self.accepted[0].close()

    def reset(self) -> None:
        self.accepted[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.accepted[0].close()

    def close(self) -> None:
        self.listener.close()
        for tls in self.accepted:
            tls.close()


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def tls(request: pytest.FixtureRequest) -> AsyncIterator[tuple[TlsServer, ssl.SSLContext]]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = request.param
    authority.issue_cert("localhost").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with contextlib.closing(TlsServer(context)) as server:
        yield server, trusting


Tls = tuple[TlsServer, ssl.SSLContext]


async def asked(
    client: Http1Client, server: TlsServer, act: Callable[[], None], patient: Timeouts
) -> bytes:
    """Send one request while a thread of the server's acts."""
    acting = asyncio.ensure_future(asyncio.to_thread(act))
    try:
        request = Request(b"POST", server.origin, b"/", (), b"{}")
        return await whole(await client.open(request, patient))
    finally:
        await acting


@pytest.mark.parametrize("goodbye", ["say_goodbye", "reset"])
async def test_under_tls_too_what_crosses_the_end_is_sent_once_more(
    clients: Clients, patient: Timeouts, tls: Tls, goodbye: str
):
    server, trusting = tls
    client = clients(per_origin=1, context=trusting)
    assert await asked(client, server, server.accept_and_answer, patient) == b"ok"
    Look(resting(client, server.origin), getattr(server, goodbye))
    assert await asked(client, server, server.accept_and_answer, patient) == b"ok"
    assert len(server.requests) == len(server.accepted) == 2


# Where our goodbye went out in answer to the peer's, the reset that it draws would pass for a proof.
@pytest.mark.parametrize("goodbye", ["say_goodbye", "cut"])
async def test_under_tls_too_what_was_read_whole_is_lost(
    clients: Clients, patient: Timeouts, tls: Tls, goodbye: str
):
    server, trusting = tls
    client = clients(per_origin=1, context=trusting)
    assert await asked(client, server, server.accept_and_answer, patient) == b"ok"

    def read_and_leave() -> None:
        server.read()
        getattr(server, goodbye)()

    with pytest.raises(UpstreamLost):
        await asked(client, server, read_and_leave, patient)
    assert (len(server.requests), len(server.accepted)) == (2, 1)
    assert client.connections() == {server.origin: (0, 0)}


async def test_under_tls_an_end_that_anyone_could_make_proves_nothing(
    clients: Clients, patient: Timeouts, tls: Tls
):
    server, trusting = tls
    client = clients(per_origin=1, context=trusting)
    assert await asked(client, server, server.accept_and_answer, patient) == b"ok"
    Look(resting(client, server.origin), server.cut)
    with pytest.raises(UpstreamLost):
        await asked(client, server, lambda: None, patient)
    assert client.connections() == {server.origin: (0, 0)}
