"""TLS: who is talked to is checked, and an end without TLS's own end is no end."""

import contextlib
import ssl
from collections.abc import Iterator

import pytest
import trustme

from gateway.errors import UpstreamLost, UpstreamTimedOut, UpstreamUnreachable
from gateway.remote.http1 import Http1Client, Origin, PoolLimits, Timeouts
from tests.unit.remote.scripted import OK, Clients, Peer, Serve, always_ok, get, post, until, whole


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def serving(request: pytest.FixtureRequest, authority: trustme.CA) -> Iterator[ssl.SSLContext]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = request.param
    context.set_alpn_protocols(["h2", "http/1.1"])
    authority.issue_cert("localhost").configure_cert(context)
    return context


async def test_requests_go_over_tls_and_the_connection_is_reused(
    serve: Serve,
    clients: Clients,
    patient: Timeouts,
    serving: ssl.SSLContext,
    trusting: ssl.SSLContext,
):
    server = await serve(always_ok, context=serving)
    client = clients(context=trusting)
    body = b"x" * 3_000_000
    for _ in range(4):
        assert await whole(await client.open(post(server, body), patient)) == b"ok"
    assert len(server.peers) == 1
    tls = server.peers[0].writer.get_extra_info("ssl_object")
    assert tls.selected_alpn_protocol() == "http/1.1"
    assert server.peers[0].requests[0].endswith(body)


async def test_a_name_that_the_certificate_lacks_is_unreachable(
    serve: Serve,
    clients: Clients,
    patient: Timeouts,
    serving: ssl.SSLContext,
    trusting: ssl.SSLContext,
):
    server = await serve(always_ok, context=serving)
    request = get(server)
    elsewhere = Origin("https", "127.0.0.1", server.port)
    client = clients(context=trusting)
    request = type(request)(b"GET", elsewhere, b"/", (), b"")
    with pytest.raises(UpstreamUnreachable, match="certificate"):
        await client.open(request, patient)
    assert client.connections() == {elsewhere: (0, 0)}
    assert all(not peer.requests for peer in server.peers)


async def test_an_unknown_authority_is_unreachable_by_default(
    serve: Serve, patient: Timeouts, serving: ssl.SSLContext
):
    server = await serve(always_ok, context=serving)
    client = Http1Client(ssl_context=None, limits=PoolLimits())
    with pytest.raises(UpstreamUnreachable, match="certificate"):
        await client.open(get(server), patient)
    await client.aclose()


async def test_a_server_without_tls_is_unreachable(
    serve: Serve, clients: Clients, patient: Timeouts, trusting: ssl.SSLContext
):
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = await serve(script)
    server.scheme = "https"
    with pytest.raises(UpstreamUnreachable):
        await clients(context=trusting).open(get(server), patient)


async def test_a_handshake_that_hangs_is_unreachable(
    serve: Serve, clients: Clients, trusting: ssl.SSLContext
):
    async def script(peer: Peer) -> None:
        await peer.until_gone()

    server = await serve(script)
    server.scheme = "https"
    with pytest.raises(UpstreamUnreachable, match="within"):
        await clients(context=trusting).open(get(server), Timeouts(0.1, 5, 5))
    await until(lambda: server.peers[0].is_gone)


@pytest.mark.parametrize("how", ["close", "cut", "reset"])
async def test_a_body_without_length_ends_only_by_the_end_of_tls(
    serve: Serve,
    clients: Clients,
    patient: Timeouts,
    serving: ssl.SSLContext,
    trusting: ssl.SSLContext,
    how: str,
):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        if how == "close":
            peer.close()
        elif how == "reset":
            peer.reset()
        else:  # a FIN, with no close_notify before it
            peer.writer.transport.abort()

    server = await serve(script, context=serving)
    response = await clients(context=trusting).open(get(server), patient)
    if how == "close":
        assert await whole(response) == b"all of it"
    else:
        with pytest.raises(UpstreamLost):
            await whole(response)


async def test_leaving_early_is_seen_by_the_server_and_time_outs_work(
    serve: Serve,
    clients: Clients,
    serving: ssl.SSLContext,
    trusting: ssl.SSLContext,
):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart")

    server = await serve(script, context=serving)
    client = clients(context=trusting)
    response = await client.open(get(server), Timeouts(5, 5, 0.05))
    assert await response.read() == b"part"
    with pytest.raises(UpstreamTimedOut):
        await response.read()
    await until(lambda: server.peers[0].is_gone)
    response = await client.open(get(server), Timeouts(5, 5, 5))
    await response.aclose()
    await until(lambda: server.peers[1].is_gone)


async def test_a_fast_server_is_made_to_wait(
    serve: Serve,
    clients: Clients,
    patient: Timeouts,
    serving: ssl.SSLContext,
    trusting: ssl.SSLContext,
):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 16777216\r\n\r\n")
        for _ in range(256):
            await peer.send(b"x" * 65_536)
        await peer.request()
        await peer.send(OK)

    server = await serve(script, context=serving)
    client = clients(context=trusting)
    response = await client.open(get(server), patient)
    await until(lambda: response._connection._is_paused)
    got = 0
    while piece := await response.read():
        got += len(piece)
        assert len(response._answer.body) <= 65_536 + 262_144
    assert got == 16_777_216
    assert await whole(await client.open(get(server), patient)) == b"ok"
    assert len(server.peers) == 1


async def test_a_server_that_hangs_up_after_the_handshake_is_unreachable_or_lost(
    serve: Serve,
    clients: Clients,
    patient: Timeouts,
    serving: ssl.SSLContext,
    trusting: ssl.SSLContext,
):
    async def script(peer: Peer) -> None:
        peer.close()

    server = await serve(script, context=serving)
    client = clients(context=trusting, per_origin=1)
    for _ in range(10):
        with pytest.raises((UpstreamUnreachable, UpstreamLost)):
            await client.open(get(server), patient)
    assert client.connections() == {server.origin: (0, 0)}


# uvloop tells of the end a turn later, when the request is on its way: lost, which is the safe word.
@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_server_whose_goodbye_comes_with_its_handshake_is_unreachable(
    serve: Serve,
    clients: Clients,
    patient: Timeouts,
    authority: trustme.CA,
    trusting: ssl.SSLContext,
):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # whose handshake ends with the server's word
    authority.issue_cert("localhost").configure_cert(context)

    async def script(peer: Peer) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            incoming.write(await peer.reader.read(65_536))
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                break
            await peer.send(outgoing.read())
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.unwrap()
        await peer.send(outgoing.read())

    server = await serve(script)
    server.scheme = "https"
    with pytest.raises(UpstreamUnreachable, match="at once"):
        await clients(context=trusting).open(get(server), patient)
