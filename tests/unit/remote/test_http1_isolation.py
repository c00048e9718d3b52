"""No caller ever gets another's answer, whatever the server does; httpcore on the same scripts agrees.

A script tells the server what to do with each request it reads, in the order in which it reads them:
how to frame the answer, where to cut it, and what to do wrong. Each answer names its request.
"""

import asyncio
import enum
import itertools

import httpcore
import msgspec
from hypothesis import HealthCheck, given, settings, strategies as st

from gateway.errors import UpstreamFailed
from gateway.remote.http1 import Http1Client, Origin, PoolLimits, Request, Timeouts
from tests.unit.remote.scripted import Peer, Server, whole

T = Timeouts(connect_s=5, first_byte_s=5, idle_s=5)


class Framing(enum.Enum):
    SIZED = enum.auto()
    CHUNKED = enum.auto()
    TRAILED = enum.auto()
    CLOSED = enum.auto()


class Wrong(enum.Enum):
    """What the server does after, or instead of, the end of its answer."""

    NOTHING = enum.auto()
    CLOSES = enum.auto()
    STRAY_BYTE = enum.auto()
    STRAY_LINE = enum.auto()
    STRAY_ANSWER = enum.auto()
    CUTS_SHORT = enum.auto()
    RESETS = enum.auto()
    SAYS_NOTHING = enum.auto()


HONEST = (Wrong.NOTHING, Wrong.CLOSES)


class Step(msgspec.Struct, frozen=True):
    framing: Framing
    wrong: Wrong
    interim: bool
    cuts: tuple[int, ...]


def steps(wrong: st.SearchStrategy[Wrong]) -> st.SearchStrategy[list[Step]]:
    cuts = st.lists(st.integers(1, 150), max_size=4).map(lambda cuts: tuple(sorted(set(cuts))))
    step = st.builds(Step, st.sampled_from(Framing), wrong, st.booleans(), cuts)
    return st.lists(step, min_size=1, max_size=8)


def answer(name: bytes, step: Step) -> bytes:
    body = b"answer to " + name
    head = b"HTTP/1.1 103 Early Hints\r\n\r\n" if step.interim else b""
    match step.framing:
        case Framing.SIZED:
            return head + b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        case Framing.CLOSED:
            return head + b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body
        case Framing.CHUNKED | Framing.TRAILED:
            end = b"X: y\r\n" if step.framing is Framing.TRAILED else b""
            chunks = b"3;x\r\n%b\r\n%x\r\n%b\r\n0\r\n" % (body[:3], len(body) - 3, body[3:])
            head += b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            return head + chunks + end + b"\r\n"


STRAY = {
    Wrong.STRAY_BYTE: b"x",
    Wrong.STRAY_LINE: b"\r\n",
    Wrong.STRAY_ANSWER: b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\nanswer to other",
}


async def play(peer: Peer, step: Step) -> bool:
    """Answer the next request by the step; True when the connection goes on."""
    name = (await peer.request()).split(b" ")[1]
    stream = answer(name, step)
    if step.wrong is Wrong.SAYS_NOTHING:
        stream = b""
    elif step.framing is not Framing.CLOSED:  # where more or less would pass for the answer itself
        stream += STRAY.get(step.wrong, b"")
        stream = stream[: len(stream) * 2 // 3] if step.wrong is Wrong.CUTS_SHORT else stream
    # The last cut and what is stray go out in one piece: later ones would race with the next request.
    edges = [0, *(cut for cut in step.cuts if cut < len(stream) - 40), len(stream)]
    for start, end in itertools.pairwise(edges):
        await peer.send(stream[start:end])
    if step.wrong is Wrong.RESETS:
        peer.reset()
    elif step.framing is Framing.CLOSED or step.wrong in {
        Wrong.CLOSES,
        Wrong.CUTS_SHORT,
        Wrong.SAYS_NOTHING,
    }:
        peer.close()
    else:
        return True
    return False


async def serving(script: list[Step]) -> Server:
    remaining = list(script)

    async def follow(peer: Peer) -> None:
        step = Step(Framing.SIZED, Wrong.NOTHING, interim=False, cuts=())
        while await play(peer, remaining.pop(0) if remaining else step):
            pass

    server = Server((follow,))
    await server.start()
    return server


async def ask_ours(client: Http1Client, origin: Origin, name: bytes) -> bytes | None:
    try:
        return await whole(await client.open(Request(b"GET", origin, name, (), b""), T))
    except UpstreamFailed:
        return None


async def ask_httpcore(
    pool: httpcore.AsyncConnectionPool, origin: Origin, name: bytes
) -> bytes | None:
    try:
        response = await pool.request("GET", f"http://{origin.host}:{origin.port}{name.decode()}")
    except (httpcore.NetworkError, httpcore.ProtocolError):
        return None
    return response.content


async def run_ours(script: list[Step], callers: int, calls: int) -> dict[bytes, bytes | None]:
    server = await serving(script)
    client = Http1Client(ssl_context=None, limits=PoolLimits(per_origin=2))
    got: dict[bytes, bytes | None] = {}

    async def call(caller: int) -> None:
        for number in range(calls):
            name = b"/%d-%d" % (caller, number)
            got[name] = await ask_ours(client, server.origin, name)

    try:
        async with asyncio.TaskGroup() as tasks:
            for caller in range(callers):
                tasks.create_task(call(caller))
        assert client.connections()[server.origin][1] == 0
    finally:
        await client.aclose()
        await server.stop()
    assert server.failures == []
    return got


async def run_httpcore(script: list[Step], calls: int) -> dict[bytes, bytes | None]:
    server = await serving(script)
    try:
        async with httpcore.AsyncConnectionPool(max_connections=2) as pool:
            names = [b"/0-%d" % number for number in range(calls)]
            return {name: await ask_httpcore(pool, server.origin, name) for name in names}
    finally:
        await server.stop()


SLOW = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])


@SLOW
@given(steps(st.sampled_from(Wrong)), st.integers(1, 4))
def test_no_caller_gets_anothers_answer(script: list[Step], callers: int):
    got = asyncio.run(run_ours(script, callers, calls=3))
    assert len(got) == 3 * callers
    assert {
        name: body for name, body in got.items() if body not in {None, b"answer to " + name}
    } == {}


@SLOW
@given(steps(st.sampled_from(HONEST)))
def test_honest_answers_all_arrive_and_httpcore_agrees(script: list[Step]):
    calls = len(script) + 1
    got = asyncio.run(run_ours(script, callers=1, calls=calls))
    assert got == {name: b"answer to " + name for name in got}
    assert got == asyncio.run(run_httpcore(script, calls))


@SLOW
@given(steps(st.sampled_from(Wrong)))
def test_an_answer_is_lost_where_httpcore_loses_it(script: list[Step]):
    step = script[0]
    ours = asyncio.run(run_ours([step], callers=1, calls=1))
    assert ours == asyncio.run(run_httpcore([step], calls=1))
