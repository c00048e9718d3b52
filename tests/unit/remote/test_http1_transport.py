"""The client as httpx sees it: httpx's own types, and failures of httpx's own kinds."""

from collections.abc import AsyncIterator

import httpx
import pytest

from gateway.remote.transport import Http1Transport
from tests.unit.remote.scripted import Clients, Peer, Serve, Server, always_ok, until


def url(server: Server, path: str = "/") -> str:
    return f"http://127.0.0.1:{server.port}{path}"


def says(*pieces: bytes, then: str = "close") -> object:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(*pieces)
        if then == "close":
            peer.close()

    return script


async def test_httpx_sends_and_reads_through_it(serve: Serve, clients: Clients):
    answer = b'{"a": 1}'
    head = b"HTTP/1.1 201 Created\r\ncontent-length: 8\r\nset-cookie: a\r\nset-cookie: b\r\n\r\n"
    server = await serve(says(head + answer))
    async with httpx.AsyncClient(transport=Http1Transport(clients())) as client:
        response = await client.post(
            url(server, "/a/b%20c?d=e"), json={"x": 1}, headers={"x-y": "z"}
        )
    assert (response.status_code, response.json()) == (201, {"a": 1})
    assert response.headers.get_list("set-cookie") == ["a", "b"]
    assert response.http_version == "HTTP/1.1"
    head, _, body = server.peers[0].requests[0].partition(b"\r\n\r\n")
    assert body == b'{"x":1}'
    lines = head.lower().split(b"\r\n")
    assert lines[0] == b"post /a/b%20c?d=e http/1.1"
    assert lines[1] == b"host: 127.0.0.1:%d" % server.port
    assert {b"x-y: z", b"content-type: application/json", b"content-length: 7"} < set(lines)
    assert not [line for line in lines if line.startswith(b"connection")]


async def test_connections_are_reused_under_httpx(serve: Serve, clients: Clients):
    server = await serve(always_ok)
    async with httpx.AsyncClient(transport=Http1Transport(clients())) as client:
        for _ in range(3):
            assert (await client.get(url(server))).text == "ok"
    assert len(server.peers) == 1


async def test_a_streamed_request_body_is_gathered(serve: Serve, clients: Clients):
    async def pieces() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"c"

    server = await serve(always_ok)
    async with httpx.AsyncClient(transport=Http1Transport(clients())) as client:
        assert (await client.post(url(server), content=pieces())).text == "ok"
    assert server.peers[0].requests[0].endswith(b"content-length: 3\r\n\r\nabc")


async def test_leaving_a_stream_early_closes_it(serve: Serve, clients: Clients):
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart"
    server = await serve(says(head, then="wait"))
    async with (
        httpx.AsyncClient(transport=Http1Transport(clients())) as client,
        client.stream("GET", url(server)) as response,
    ):
        assert await anext(response.aiter_raw()) == b"part"
    await until(lambda: server.peers[0].is_gone)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (says(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart"), httpx.RemoteProtocolError),
        (says(b"hello"), httpx.RemoteProtocolError),
        (says(), httpx.RemoteProtocolError),
        (says(then="wait"), httpx.ReadTimeout),
        (says(b"HTTP/1.1 200 OK\r\n\r\npart", then="wait"), httpx.ReadTimeout),
    ],
)
async def test_failures_are_of_httpx_kinds(
    serve: Serve, clients: Clients, script: object, kind: type[httpx.TransportError]
):
    server = await serve(script)
    async with httpx.AsyncClient(transport=Http1Transport(clients()), timeout=0.05) as client:
        with pytest.raises(kind, match=r"127\.0\.0\.1") as caught:
            await client.get(url(server))
    assert caught.value.request.method == "GET"


async def test_no_connection_is_a_connect_error_and_none_in_time_a_connect_timeout(
    serve: Serve, clients: Clients
):
    server = await serve(says(b"HTTP/1.1 200 OK\r\n\r\n", then="wait"))
    lent = clients(per_origin=1)
    async with httpx.AsyncClient(transport=Http1Transport(lent), timeout=5) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("http://nobody.invalid/")
        async with client.stream("GET", url(server)):
            with pytest.raises(httpx.ConnectTimeout):
                await client.get(url(server), timeout=0.05)


async def test_what_can_not_be_sent_is_a_local_protocol_error(serve: Serve, clients: Clients):
    server = await serve(always_ok)
    async with httpx.AsyncClient(transport=Http1Transport(clients())) as client:
        for headers in ({"x": "a\r\nb: c"}, {"upgrade": "h2c"}):
            with pytest.raises(httpx.LocalProtocolError):
                await client.get(url(server), headers=headers)
        with pytest.raises(httpx.LocalProtocolError):
            await client.request("CONNECT", url(server))
    assert server.peers == []


@pytest.mark.parametrize("closes_client", [True, False])
async def test_a_lent_client_outlives_the_transport(
    serve: Serve, clients: Clients, *, closes_client: bool
):
    server = await serve(always_ok)
    lent = clients()
    async with httpx.AsyncClient(
        transport=Http1Transport(lent, closes_client=closes_client)
    ) as client:
        await client.get(url(server))
    assert sum(idle for idle, _ in lent.connections().values()) == (0 if closes_client else 1)


async def test_no_time_out_asked_is_none_kept(serve: Serve, clients: Clients):
    server = await serve(always_ok)
    async with httpx.AsyncClient(
        transport=Http1Transport(clients()), timeout=httpx.Timeout(None)
    ) as client:
        assert (await client.get(url(server))).text == "ok"
