"""The client against a server that misbehaves on cue: endings, time-outs, retries, back-pressure."""

import asyncio
import socket

import pytest

from gateway.errors import UpstreamLost, UpstreamTimedOut, UpstreamUnreachable
from gateway.remote.http1 import Http1Client, Origin, Request, Response, Timeouts
from tests.unit.remote.scripted import (
    OK,
    Clients,
    Peer,
    Script,
    Serve,
    always_ok,
    get,
    post,
    until,
    whole,
)

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
HASTY = Timeouts(connect_s=0.05, first_byte_s=0.05, idle_s=0.05)


def says(*pieces: bytes, then: str = "") -> Script:
    """Answer the first request with these pieces, then `close`, `reset`, or wait for the client."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(*pieces)
        if then == "close":
            peer.close()
        elif then == "reset":
            peer.reset()

    return script


async def test_a_request_goes_out_and_its_answer_comes_back(
    serve: Serve, clients: Clients, patient: Timeouts
):
    server = await serve(always_ok)
    response = await clients().open(post(server, b'{"a":1}'), patient)
    assert response.status == 200
    assert response.headers == ((b"content-length", b"2"),)
    assert await whole(response) == b"ok"
    assert server.peers[0].requests == [
        b"POST /v1/chat HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-type: application/json\r\n"
        b'content-length: 7\r\n\r\n{"a":1}' % server.port
    ]


async def test_a_connection_is_used_again_after_an_exact_end(
    serve: Serve, clients: Clients, patient: Timeouts
):
    server = await serve(always_ok)
    client = clients()
    for _ in range(5):
        assert await whole(await client.open(get(server), patient)) == b"ok"
    assert len(server.peers) == 1
    assert client.connections() == {server.origin: (1, 0)}


async def test_the_place_is_left_with_the_last_byte_and_closing_twice_is_harmless(
    serve: Serve, clients: Clients, patient: Timeouts
):
    server = await serve(always_ok)
    client = clients()
    response = await client.open(get(server), patient)
    assert client.connections() == {server.origin: (0, 1)}
    assert await response.read() == b"ok"
    assert client.connections() == {server.origin: (1, 0)}
    other = await client.open(get(server), patient)
    await response.aclose()
    assert await response.read() == b""
    assert client.connections() == {server.origin: (0, 1)}
    assert await whole(other) == b"ok"


@pytest.mark.parametrize("piece_bytes", [1, 7])
async def test_an_answer_that_drips_is_the_same(
    serve: Serve, clients: Clients, patient: Timeouts, piece_bytes: int
):
    stream = b"HTTP/1.1 103 Hints\r\n\r\n" + CHUNKED + b"3;x\r\nabc\r\n2\r\nde\r\n0\r\nt: v\r\n\r\n"
    pieces = [stream[i : i + piece_bytes] for i in range(0, len(stream), piece_bytes)]
    server = await serve(says(*pieces))
    client = clients()
    response = await client.open(get(server), patient)
    assert (response.status, await whole(response)) == (200, b"abcde")
    assert client.connections() == {server.origin: (1, 0)}


async def test_a_redirect_is_returned_and_not_followed(
    serve: Serve, clients: Clients, patient: Timeouts
):
    head = b"HTTP/1.1 307 T\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
    server = await serve(says(head))
    response = await clients().open(post(server), patient)
    assert (response.status, await whole(response)) == (307, b"")
    assert (b"location", b"http://127.0.0.1:1/") in response.headers


async def test_a_body_may_end_with_its_connection(
    serve: Serve, clients: Clients, patient: Timeouts
):
    server = await serve(says(b"HTTP/1.0 200 OK\r\n\r\nall", b" of it", then="close"))
    client = clients()
    assert await whole(await client.open(get(server), patient)) == b"all of it"
    assert client.connections() == {server.origin: (0, 0)}


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", b"part"),
        (CHUNKED, b"4\r\npart\r\n"),
        (CHUNKED, b"9\r\npart"),
    ],
)
@pytest.mark.parametrize("then", ["close", "reset"])
async def test_a_body_cut_short_is_lost_after_what_came(
    serve: Serve, clients: Clients, patient: Timeouts, pieces: tuple[bytes, ...], then: str
):
    server = await serve(says(*pieces, then=then))
    await cut_short(await clients().open(get(server), patient), b"part")


async def test_a_body_without_length_that_is_reset_is_lost(
    serve: Serve, clients: Clients, patient: Timeouts
):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\npart")
        await seen.wait()
        peer.reset()

    seen = asyncio.Event()
    server = await serve(script)
    response = await clients().open(get(server), patient)
    assert await response.read() == b"part"
    seen.set()
    with pytest.raises(UpstreamLost, match=r"127\.0\.0\.1"):
        await response.read()


async def test_broken_chunks_are_lost_after_what_came(
    serve: Serve, clients: Clients, patient: Timeouts
):
    server = await serve(says(CHUNKED + b"4\r\npart\r\nZ\r\n"))
    await cut_short(await clients().open(get(server), patient), b"part")
    await until(lambda: server.peers[0].is_gone)


async def cut_short(response: Response, expected: bytes) -> None:
    got = b""
    while len(got) < len(expected):
        got += await response.read()
    assert got == expected
    for _ in range(2):
        with pytest.raises(UpstreamLost):
            await response.read()


@pytest.mark.parametrize(
    "script", [says(b"SSH-2.0-x\r\n"), says(then="close"), says(then="reset"), says(b"HTTP/1.1 2", then="close")]
)  # fmt: skip
async def test_no_http_is_lost_and_not_tried_again(
    serve: Serve, clients: Clients, patient: Timeouts, script: Script
):
    server = await serve(script)
    client = clients()
    with pytest.raises(UpstreamLost, match=r"127\.0\.0\.1"):
        await client.open(post(server), patient)
    assert len(server.peers) == 1
    assert client.connections() == {server.origin: (0, 0)}


async def test_a_secret_is_in_no_message(serve: Serve, clients: Clients, patient: Timeouts):
    server = await serve(says(b"HTTP/1.1 200 OK\r\nsecret\0: secret\r\n\r\nsecret"))
    request = Request(b"POST", server.origin, b"/secret", ((b"x", b"secret"),), b"secret")
    with pytest.raises(UpstreamLost) as caught:
        await clients().open(request, patient)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("pieces", [(), (b"HTTP/1.1 2",), (b"HTTP/1.1 100 C\r\n\r\n",)])
async def test_silence_before_the_head_is_timed_out(
    serve: Serve, clients: Clients, pieces: tuple[bytes, ...]
):
    server = await serve(says(*pieces))
    client = clients()
    with pytest.raises(
        UpstreamTimedOut, match=r"127\.0\.0\.1:\d+ did not begin to answer for 0\.05 s"
    ):
        await client.open(get(server), Timeouts(connect_s=5, first_byte_s=0.05, idle_s=5))
    await until(lambda: server.peers[0].is_gone)
    assert client.connections() == {server.origin: (0, 0)}


@pytest.mark.parametrize("start", [b"", b"4\r\npart\r\n"])
async def test_silence_in_the_body_is_timed_out(serve: Serve, clients: Clients, start: bytes):
    server = await serve(says(CHUNKED + start))
    response = await clients().open(get(server), Timeouts(connect_s=5, first_byte_s=5, idle_s=0.05))
    if start:
        assert await response.read() == b"part"
    with pytest.raises(UpstreamTimedOut, match="sent no more"):
        await response.read()
    await until(lambda: server.peers[0].is_gone)


async def test_nobody_listening_is_unreachable(clients: Clients, patient: Timeouts):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        origin = Origin("http", "127.0.0.1", sock.getsockname()[1])
        client = clients(per_origin=1)
        for _ in range(3):
            with pytest.raises(UpstreamUnreachable, match=r"127\.0\.0\.1"):
                await client.open(Request(b"GET", origin, b"/", (), b""), patient)
    assert client.connections() == {origin: (0, 0)}


@pytest.mark.parametrize("host", ["nobody.invalid", "a..b", "x" * 70])
async def test_no_such_host_is_unreachable(clients: Clients, patient: Timeouts, host: str):
    request = Request(b"GET", Origin("http", host, 80), b"/", (), b"")
    with pytest.raises(UpstreamUnreachable, match=host):
        await clients().open(request, patient)


async def test_a_connect_that_hangs_is_unreachable(clients: Clients):
    with socket.socket() as sock:  # a full backlog leaves further connects hanging
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        address = sock.getsockname()
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)  # the socket module's own signature
            second.connect_ex(address)
            request = Request(b"GET", Origin("http", *address), b"/", (), b"")
            client = clients(per_origin=1)
            with pytest.raises(UpstreamUnreachable, match=r"within 0\.05 s"):
                await client.open(request, HASTY)
            assert client.connections() == {request.origin: (0, 0)}


async def test_a_bad_header_is_refused_before_anything_is_opened(
    serve: Serve, clients: Clients, patient: Timeouts
):
    server = await serve(always_ok)
    client = clients()
    with pytest.raises(ValueError, match="header"):
        await client.open(
            Request(b"GET", server.origin, b"/", ((b"a", b"b\r\nc: d"),), b""), patient
        )
    assert client.connections() == {}
    assert server.peers == []


@pytest.mark.parametrize("stray", [b"x", b"\r\n", OK])
@pytest.mark.parametrize("when", ["with the end", "later"])
async def test_a_connection_with_stray_bytes_is_closed(
    serve: Serve, clients: Clients, patient: Timeouts, stray: bytes, when: str
):
    async def script(peer: Peer) -> None:
        await peer.request()
        await (peer.send(OK + stray) if when == "with the end" else peer.send(OK))
        if when == "later":
            await read.wait()
            await peer.send(stray)
        await peer.until_gone()

    read = asyncio.Event()
    server = await serve(script)
    client = clients()
    response = await client.open(get(server), patient)
    assert await whole(response) == b"ok"
    read.set()
    await until(lambda: server.peers[0].is_gone)
    assert client.connections() == {server.origin: (0, 0)}


async def test_stray_bytes_still_in_the_kernel_are_no_answer_to_the_next_request(
    serve: Serve, clients: Clients, patient: Timeouts
):
    stray = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstray"
    server = await serve(says(OK), always_ok)
    client = clients()
    assert await whole(await client.open(get(server), patient)) == b"ok"
    # Straight to the socket, so that the loop can't have read it when the next request is made.
    sock = server.peers[0].writer.get_extra_info("socket")
    with socket.socket(fileno=socket.dup(sock.fileno())) as raw:
        raw.send(stray)
    assert await whole(await client.open(get(server), patient)) == b"ok"
    assert len(server.peers) == 2


async def test_a_connection_closed_while_at_rest_is_let_go(
    serve: Serve, clients: Clients, patient: Timeouts
):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        peer.close()

    server = await serve(script, always_ok)
    client = clients()
    assert await whole(await client.open(get(server), patient)) == b"ok"
    await until(lambda: client.connections() == {server.origin: (0, 0)})
    assert await whole(await client.open(get(server), patient)) == b"ok"


def lets_go_after_one(how: str) -> Script:
    """Answer once; take a second request, and say next to nothing."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        if how == "answer a byte":
            await peer.send(b"H")
            peer.reset()

    return script


async def test_a_reused_connection_that_answered_a_byte_is_not_replaced(
    serve: Serve, clients: Clients, patient: Timeouts
):
    server = await serve(lets_go_after_one("answer a byte"))
    client = clients()
    assert await whole(await client.open(post(server), patient)) == b"ok"
    with pytest.raises(UpstreamLost):
        await client.open(post(server), patient)
    assert len(server.peers) == 1


async def test_a_reused_connection_that_is_silent_is_not_replaced(
    serve: Serve, clients: Clients, patient: Timeouts
):
    server = await serve(lets_go_after_one("silence"))
    client = clients()
    assert await whole(await client.open(post(server), patient)) == b"ok"
    with pytest.raises(UpstreamTimedOut):
        await client.open(post(server), Timeouts(connect_s=5, first_byte_s=0.05, idle_s=5))
    assert len(server.peers) == 1


BIG = bytes(range(256)) * 4096 * 8


async def test_a_big_request_arrives_whole(serve: Serve, clients: Clients, patient: Timeouts):
    server = await serve(always_ok)
    client = clients()
    assert await whole(await client.open(post(server, BIG), patient)) == b"ok"
    assert server.peers[0].requests[0].endswith(b"\r\n\r\n" + BIG)
    assert client.connections() == {server.origin: (1, 0)}


async def test_a_request_is_handed_over_as_fast_as_it_is_taken(
    serve: Serve, clients: Clients, patient: Timeouts
):
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.transport.pause_reading()
        await taken.wait()
        peer.writer.transport.resume_reading()
        await peer.reader.readexactly(len(BIG))
        await peer.send(OK)

    taken = asyncio.Event()
    server = await serve(script)
    client = clients()
    async with asyncio.TaskGroup() as tasks:
        opening = tasks.create_task(client.open(post(server, BIG), patient))
        await until(lambda: buffered(client) > 0)
        assert buffered(client) <= 3 * 65_536
        taken.set()
    assert await whole(opening.result()) == b"ok"


def buffered(client: Http1Client) -> int:
    """Bytes of requests handed to transports and not yet to the kernel."""
    return sum(
        c._transport.get_write_buffer_size() for pool in client._pools.values() for c in pool._busy
    )


async def test_a_request_that_nobody_takes_is_timed_out(serve: Serve, clients: Clients):
    async def script(peer: Peer) -> None:
        peer.writer.transport.pause_reading()
        await over.wait()
        peer.writer.transport.resume_reading()

    over = asyncio.Event()
    server = await serve(script)
    client = clients()
    with pytest.raises(UpstreamTimedOut, match="took no more"):
        await client.open(post(server, BIG), Timeouts(connect_s=5, first_byte_s=5, idle_s=0.05))
    over.set()
    assert client.connections() == {server.origin: (0, 0)}


async def test_an_early_refusal_is_delivered_and_the_connection_not_reused(
    serve: Serve, clients: Clients, patient: Timeouts
):
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.transport.pause_reading()
        await peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
        await over.wait()
        peer.writer.transport.resume_reading()

    over = asyncio.Event()
    server = await serve(script)
    client = clients()
    response = await client.open(post(server, BIG), patient)
    assert (response.status, await whole(response)) == (413, b"big")
    assert client.connections() == {server.origin: (0, 0)}
    over.set()
    await until(lambda: server.peers[0].is_gone)


async def test_a_request_cut_short_by_its_answer_leaves_a_connection_that_is_not_reused(
    serve: Serve, clients: Clients, patient: Timeouts
):
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.transport.pause_reading()
        await peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
        await over.wait()
        peer.writer.transport.resume_reading()

    over = asyncio.Event()
    server = await serve(script)
    client = clients()
    response = await client.open(post(server, BIG), patient)
    over.set()
    await until(lambda: buffered(client) == 0)
    assert await whole(response) == b"big"
    assert client.connections() == {server.origin: (0, 0)}


async def test_closing_before_the_end_closes_the_connection_at_once(
    serve: Serve, clients: Clients, patient: Timeouts
):
    server = await serve(says(CHUNKED + b"4\r\npart\r\n"))
    client = clients()
    response = await client.open(get(server), patient)
    assert await response.read() == b"part"
    await response.aclose()
    assert not response._connection.is_open  # in this very turn of the loop
    await until(lambda: server.peers[0].is_gone)
    with pytest.raises(UpstreamLost, match="closed before its end"):
        await response.read()
    assert client.connections() == {server.origin: (0, 0)}


async def test_closing_after_the_end_keeps_the_connection_though_nobody_read(
    serve: Serve, clients: Clients, patient: Timeouts
):
    server = await serve(always_ok)
    client = clients()
    response = await client.open(get(server), patient)
    await response.aclose()
    assert client.connections() == {server.origin: (1, 0)}
    assert await whole(await client.open(get(server), patient)) == b"ok"


async def test_a_fast_server_is_made_to_wait_for_a_caller_that_does_not_read(
    serve: Serve, clients: Clients, patient: Timeouts
):
    size = 32 * 1024 * 1024

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(size // 65_536):
            await peer.send(b"x" * 65_536)

    server = await serve(script)
    response = await clients().open(get(server), patient)
    await until(lambda: response._connection._is_paused)
    await until(lambda: server.peers[0].writer.transport.get_write_buffer_size() > 65_536)
    most = len(response._answer.body)
    got = 0
    while piece := await response.read():
        assert len(piece) <= 65_536
        got += len(piece)
        most = max(most, len(response._answer.body))
    assert got == size
    assert most <= 65_536 + 262_144  # what was allowed to wait, and one read of the loop's


async def test_a_closed_client_loses_what_is_running_and_opens_nothing(
    serve: Serve, clients: Clients, patient: Timeouts
):
    server = await serve(says(CHUNKED + b"4\r\npart\r\n"))
    client = clients()
    response = await client.open(get(server), patient)
    assert await response.read() == b"part"
    await client.aclose()
    with pytest.raises(UpstreamLost):
        await response.read()
    with pytest.raises(UpstreamUnreachable, match="closed"):
        await client.open(get(server), patient)
    await until(lambda: server.peers[0].is_gone)


async def test_a_server_that_hangs_up_before_a_request_is_unreachable_or_lost(
    serve: Serve, clients: Clients, patient: Timeouts
):
    async def script(peer: Peer) -> None:
        peer.reset()

    server = await serve(script)
    client = clients(per_origin=1)
    for _ in range(20):
        with pytest.raises((UpstreamUnreachable, UpstreamLost)):
            await client.open(get(server), patient)
    assert client.connections() == {server.origin: (0, 0)}


async def test_what_came_is_read_though_the_client_was_closed_meanwhile(
    serve: Serve, clients: Clients, patient: Timeouts
):
    server = await serve(
        says(b"HTTP/1.1 200 OK\r\ncontent-length: 900000\r\n\r\n" + b"x" * 800_000)
    )
    client = clients()
    response = await client.open(get(server), patient)
    await until(lambda: response._connection._is_paused)
    expected = len(response._answer.body)
    await client.aclose()
    got = 0
    while got < expected:
        got += len(await response.read())
    assert got == expected
    with pytest.raises(UpstreamLost):
        await response.read()


async def test_a_connection_left_with_much_unread_serves_the_next_request(
    serve: Serve, clients: Clients, patient: Timeouts
):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * 100_000)
        await peer.request()
        await peer.send(OK)

    server = await serve(script)
    client = clients()
    response = await client.open(get(server), patient)
    await until(lambda: response._answer.has_ended)
    await response.aclose()
    assert await whole(await client.open(get(server), patient)) == b"ok"
    assert len(server.peers) == 1
