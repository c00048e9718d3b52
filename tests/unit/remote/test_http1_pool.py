"""The pool: caps, queues, expiry, and cancellation at every stage, after which all must add up."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from gateway.errors import UpstreamUnreachable
from gateway.remote.http1 import Http1Client, Origin, Request, Timeouts
from tests.unit.remote.scripted import (
    Clients,
    Peer,
    Serve,
    Server,
    always_ok,
    get,
    post,
    until,
    whole,
)

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def answers_on_release(peer: Peer) -> None:
    """Answer with the request's target; to /hold only the head, and then wait for the client."""
    while True:
        target = (await peer.request()).split(b" ")[1]
        if target == b"/hold":
            await peer.send(CHUNKED)
            await peer.until_gone()
            return
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(target) + target)


async def test_no_more_connections_than_the_cap_however_many_ask(
    serve: Serve, clients: Clients, patient: Timeouts
):
    server = await serve(answers_on_release)
    client = clients(per_origin=3)

    async def ask(number: int) -> None:
        target = b"/%d" % number
        assert await whole(await client.open(get(server, target), patient)) == target

    async with asyncio.TaskGroup() as tasks:
        for number in range(60):
            tasks.create_task(ask(number))
    assert server.open_at_most <= 3
    assert client.connections() == {server.origin: (3, 0)}


async def test_who_waits_is_served_in_order(serve: Serve, clients: Clients, patient: Timeouts):
    server = await serve(always_ok)
    client = clients(per_origin=1)
    order: list[int] = []

    async def ask(number: int) -> None:
        response = await client.open(get(server), patient)
        order.append(number)
        await whole(response)

    async with asyncio.TaskGroup() as tasks:
        for number in range(10):
            tasks.create_task(ask(number))
    assert order == list(range(10))
    assert len(server.peers) == 1


async def test_who_waits_dials_when_the_connection_before_is_lost(
    serve: Serve, clients: Clients, patient: Timeouts
):
    server = await serve(answers_on_release)
    client = clients(per_origin=1)
    held = await client.open(get(server, b"/hold"), patient)
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(client.open(get(server, b"/a"), patient)) for _ in range(2)]
        await until(lambda: waiters(client) == 2)
        await held.aclose()
        for task in waiting:
            assert await whole(await task) == b"/a"
    assert [len(peer.requests) for peer in server.peers] == [1, 2]


def waiters(client: Http1Client) -> int:
    return sum(len(pool._waiters) for pool in client._pools.values())


async def test_waiting_counts_as_connecting(serve: Serve, clients: Clients, patient: Timeouts):
    server = await serve(answers_on_release)
    client = clients(per_origin=1)
    held = await client.open(get(server, b"/hold"), patient)
    with pytest.raises(UpstreamUnreachable, match=r"127\.0\.0\.1 within 0\.05 s"):
        await client.open(get(server), Timeouts(connect_s=0.05, first_byte_s=5, idle_s=5))
    assert client.connections() == {server.origin: (0, 1)}
    await held.aclose()
    assert await whole(await client.open(get(server, b"/a"), patient)) == b"/a"


async def test_closing_the_client_refuses_who_waits(
    serve: Serve, clients: Clients, patient: Timeouts
):
    server = await serve(answers_on_release)
    client = clients(per_origin=1)
    held = await client.open(get(server, b"/hold"), patient)

    async def wait_in_vain() -> None:
        with pytest.raises(UpstreamUnreachable, match="closed"):
            await client.open(get(server), patient)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(wait_in_vain())
        await until(lambda: waiters(client) == 1)
        await client.aclose()
    await held.aclose()
    assert client.connections() == {server.origin: (0, 0)}


async def test_the_connection_used_last_is_used_first(
    serve: Serve, clients: Clients, patient: Timeouts
):
    server = await serve(always_ok)
    client = clients()
    first = await client.open(get(server), patient)
    second = await client.open(get(server), patient)
    await whole(second)
    await whole(first)
    for _ in range(3):
        await whole(await client.open(get(server), patient))
    assert [len(peer.requests) for peer in server.peers] == [4, 1]


async def test_a_connection_at_rest_expires(serve: Serve, clients: Clients, patient: Timeouts):
    server = await serve(always_ok)
    client = clients(idle_s=0.05)
    assert await whole(await client.open(get(server), patient)) == b"ok"
    await until(lambda: server.peers[0].is_gone)
    assert client.connections() == {server.origin: (0, 0)}


async def test_a_connection_past_its_rest_is_not_used_though_no_timer_rang(
    serve: Serve, clients: Clients, patient: Timeouts
):
    server = await serve(always_ok)
    client = clients()
    assert await whole(await client.open(get(server), patient)) == b"ok"
    (connection,) = client._pools[server.origin]._resting
    connection._deadline = asyncio.get_running_loop().time()
    assert await whole(await client.open(get(server), patient)) == b"ok"
    assert len(server.peers) == 2


# Each brings a call to a stage where it awaits, and returns the call's task.
Stage = Callable[
    [Http1Client, Server, Timeouts, asyncio.TaskGroup], Awaitable[asyncio.Task[object]]
]
BIG = b"x" * 16_000_000


async def while_connecting(
    client: Http1Client, server: Server, patient: Timeouts, tasks: asyncio.TaskGroup
) -> asyncio.Task[object]:
    task = tasks.create_task(client.open(get(server), patient))
    await until(lambda: client.connections().get(server.origin) == (0, 1))
    return task


async def while_waiting(
    client: Http1Client, server: Server, patient: Timeouts, tasks: asyncio.TaskGroup
) -> asyncio.Task[object]:
    for _ in range(2):
        tasks.create_task(client.open(get(server, b"/hold"), patient))
    await until(lambda: sum(len(peer.requests) for peer in server.peers) == 2)
    task = tasks.create_task(client.open(get(server), patient))
    await until(lambda: waiters(client) == 1)
    return task


async def while_sending(
    client: Http1Client, server: Server, patient: Timeouts, tasks: asyncio.TaskGroup
) -> asyncio.Task[object]:
    task = tasks.create_task(client.open(post(server, BIG), patient))
    await until(lambda: len(server.peers) == 1)
    return task


async def while_expecting_the_head(
    client: Http1Client, server: Server, patient: Timeouts, tasks: asyncio.TaskGroup
) -> asyncio.Task[object]:
    task = tasks.create_task(client.open(get(server, b"/silence"), patient))
    await until(lambda: bool(server.peers and server.peers[0].requests))
    return task


async def while_reading(
    client: Http1Client, server: Server, patient: Timeouts, tasks: asyncio.TaskGroup
) -> asyncio.Task[object]:
    response = await client.open(get(server, b"/hold"), patient)
    task = tasks.create_task(response.read())
    await until(lambda: response._connection._waiter is not None)
    return task


async def is_slow(peer: Peer) -> None:
    """Take nothing of a big request, say nothing to /silence, and a head to /hold."""
    if b"POST" in await peer.reader.readuntil(b" "):
        peer.writer.transport.pause_reading()
        return
    target = (await peer.reader.readuntil(b"\r\n\r\n")).split(b" ")[0]
    peer.requests.append(target)
    if target == b"/hold":
        await peer.send(CHUNKED)
    await peer.until_gone()


@pytest.mark.parametrize(
    "stage",
    [while_connecting, while_waiting, while_sending, while_expecting_the_head, while_reading],
)
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
async def test_a_cancelled_call_leaves_no_connection_and_no_place_taken(
    serve: Serve, clients: Clients, patient: Timeouts, stage: Stage, turns: int
):
    server = await serve(is_slow)
    client = clients(per_origin=2)
    async with asyncio.TaskGroup() as tasks:
        task = await stage(client, server, patient, tasks)
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
    assert task.cancelled()
    held = 2 if stage is while_waiting else 0
    assert client.connections() == {server.origin: (0, held)}
    assert waiters(client) == 0


async def test_a_place_handed_to_a_cancelled_waiter_goes_to_the_next(
    serve: Serve, clients: Clients, patient: Timeouts
):
    server = await serve(answers_on_release)
    client = clients(per_origin=1)
    for target in (b"/hold", b"/b"):  # a freed place is handed on, then a connection at rest
        held = await client.open(get(server, target), patient)
        async with asyncio.TaskGroup() as tasks:
            first, second = (
                tasks.create_task(client.open(get(server, b"/a"), patient)) for _ in range(2)
            )
            await until(lambda: waiters(client) == 2)
            await held.aclose()
            first.cancel()
            assert await whole(await second) == b"/a"
        assert first.cancelled()
        assert client.connections() == {server.origin: (1, 0)}


async def test_cancelling_at_any_turn_of_the_loop_adds_up(
    serve: Serve, clients: Clients, patient: Timeouts
):
    server = await serve(answers_on_release)
    client = clients(per_origin=2)

    async def ask(number: int) -> bytes:
        return await whole(await client.open(get(server, b"/%d" % number), patient))

    for turns in range(25):
        async with asyncio.TaskGroup() as tasks:
            asking = [tasks.create_task(ask(number)) for number in range(5)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in asking[::2]:
                task.cancel()
            for number in (1, 3):
                assert await asking[number] == b"/%d" % number
        idle, busy = client.connections()[server.origin]
        assert (busy, waiters(client)) == (0, 0)
        assert idle <= 2
    await client.aclose()
    await until(lambda: server.open_now == 0)


async def test_a_place_whose_dialing_failed_goes_to_the_next(clients: Clients, patient: Timeouts):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        origin = Origin("http", "127.0.0.1", sock.getsockname()[1])
        client = clients(per_origin=1)

        async def ask() -> None:
            with pytest.raises(UpstreamUnreachable, match="can't connect"):
                await client.open(Request(b"GET", origin, b"/", (), b""), patient)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(3):
                tasks.create_task(ask())
    assert client.connections() == {origin: (0, 0)}


async def test_a_connection_handed_over_with_stray_bytes_waiting_is_replaced(
    serve: Serve, clients: Clients, patient: Timeouts
):
    server = await serve(always_ok)
    client = clients(per_origin=1)
    first = await client.open(get(server), patient)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(client.open(get(server), patient))
        await until(lambda: waiters(client) == 1)
        with socket.socket(
            fileno=socket.dup(server.peers[0].writer.get_extra_info("socket").fileno())
        ) as raw:
            raw.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstray")
        await first.aclose()
        assert await whole(await waiting) == b"ok"
    assert len(server.peers) == 2
    assert client.connections() == {server.origin: (1, 0)}
