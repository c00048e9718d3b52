"""Orders of events that a real socket shows too rarely, played to a connection by hand."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator

import pytest

from gateway.errors import UpstreamLost, UpstreamTimedOut
from gateway.remote.answer import Answer
from gateway.remote.connection import Connection
from gateway.remote.request import Timeouts

Expecting = Callable[[], Awaitable[tuple[Connection, Answer, "asyncio.Task[None]"]]]
T = Timeouts(connect_s=5, first_byte_s=5, idle_s=5)
BODY = b"x" * 200_000


class Transport(asyncio.Transport):
    """Takes 64 KiB, then asks for a pause; like uvloop's, it must not be used once it is closed."""

    def __init__(self, sock: socket.socket, protocol: Connection) -> None:
        super().__init__({"socket": sock})
        self.protocol = protocol
        self.written = 0
        self.closed = False
        protocol.connection_made(self)

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written += len(data)
        if self.written > 65_536:
            self.protocol.pause_writing()

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return 0


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours


@pytest.fixture
async def sending(sock: socket.socket):
    """A connection that waits to go on sending, its transport, and the task that waits."""
    connection = Connection("host:1", lambda connection: None)
    transport = Transport(sock, connection)
    answer = Answer("host:1", is_to_head=False)
    task = asyncio.ensure_future(connection.exchange(b"head", BODY, answer, T))
    while connection._waiter is None:  # noqa: ASYNC110  # it sets no event
        await asyncio.sleep(0)
    yield connection, transport, task
    task.cancel()


Sending = tuple[Connection, Transport, asyncio.Task[None]]


async def test_nothing_is_written_to_a_connection_lost_just_after_it_took_more(sending: Sending):
    connection, transport, task = sending
    connection.resume_writing()
    transport.closed = True
    connection.connection_lost(None)
    written = transport.written
    with pytest.raises(UpstreamLost):
        await task
    assert transport.written == written


async def test_nothing_more_is_written_once_the_answer_has_begun(sending: Sending):
    connection, transport, task = sending
    written = transport.written
    connection.data_received(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
    connection.resume_writing()
    await task
    assert transport.written == written
    assert not connection.has_finished


async def test_a_broken_answer_to_a_request_being_sent_is_lost(sending: Sending):
    connection, transport, task = sending
    connection.data_received(b"what?")
    with pytest.raises(UpstreamLost, match="not HTTP"):
        await task
    assert transport.closed


@pytest.mark.parametrize("is_taken", [True, False])
async def test_a_late_reset_proves_something_only_while_a_part_was_not_taken(
    sock: socket.socket, *, is_taken: bool
):
    connection = Connection("host:1", lambda connection: None)
    Transport(sock, connection)
    connection._is_reused = True
    answer = Answer("host:1", is_to_head=False)
    task = asyncio.ensure_future(connection.exchange(b"head", b"x" * 65_537, answer, T))
    await asyncio.sleep(0)
    connection.resume_writing()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (connection._is_sent, connection._is_writable) == (True, False)
    if is_taken:
        connection.resume_writing()
    connection._sent_at -= 60
    connection.connection_lost(ConnectionResetError())
    with pytest.raises(UpstreamLost):
        await task
    assert await connection.was_unread() is not is_taken


@pytest.mark.parametrize("cause", [None, TimeoutError(), ssl.SSLError(), ConnectionAbortedError()])
async def test_no_loss_but_a_reset_proves_anything(sock: socket.socket, cause: Exception | None):
    connection = Connection("host:1", lambda connection: None)
    Transport(sock, connection)
    connection._is_reused = True
    answer = Answer("host:1", is_to_head=False)
    task = asyncio.ensure_future(connection.exchange(b"head", b"", answer, T))
    await asyncio.sleep(0)
    connection.connection_lost(cause)
    with pytest.raises(UpstreamLost):
        await task
    assert not await connection.was_unread()


HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.fixture
def expecting(sock: socket.socket):
    """Starts a call on one connection: returns the connection, its answer, and the waiting task."""
    made: list[Connection] = []

    async def call() -> tuple[Connection, Answer, asyncio.Task[None]]:
        if not made:
            made.append(Connection("host:1", lambda connection: None))
            Transport(sock, made[0])
        connection, answer = made[0], Answer("host:1", is_to_head=False)
        task = asyncio.ensure_future(connection.exchange(b"head", b"", answer, T))
        await asyncio.sleep(0)
        return connection, answer, task

    return call


async def test_a_head_that_drips_does_not_put_its_deadline_off(expecting: Expecting):
    connection, _, task = await expecting()
    deadline = connection._deadline
    for piece in (b"HTTP/1.1 100 C\r\n\r\n", b"HTTP/1.1 2", b"00 OK\r\n"):
        connection.data_received(piece)
        await asyncio.sleep(0)
        assert (connection._deadline, task.done()) == (deadline, False)
    connection._deadline = asyncio.get_running_loop().time()
    connection._ring()
    with pytest.raises(UpstreamTimedOut):
        await task


async def test_the_idle_time_starts_anew_with_each_piece_and_ends_with_the_wait(
    expecting: Expecting,
):
    connection, answer, task = await expecting()
    connection.data_received(HEAD)
    await task
    before = 0.0
    for _ in range(3):
        assert connection._deadline is None  # nobody reads
        reading = asyncio.ensure_future(connection.receive(answer, 60.0))
        await asyncio.sleep(0)
        deadline = connection._deadline
        assert deadline >= before  # uvloop counts in milliseconds
        connection.data_received(b"1;x")  # no content yet
        await asyncio.sleep(0)
        assert (connection._deadline, reading.done()) == (deadline, False)
        connection.data_received(b"\r\nx\r\n")
        assert await reading == b"x"
        before = deadline


async def test_a_timer_that_rings_early_is_set_again(expecting: Expecting):
    connection, _, task = await expecting()
    timer = connection._timer
    connection._ring()
    assert connection._timer is not timer
    assert not task.done()
    connection.data_received(HEAD)
    await task
    connection._ring()  # and for nobody, it rings no more
    assert connection._timer is None


async def test_a_timer_set_for_later_is_moved_for_a_nearer_deadline_alone(expecting: Expecting):
    connection, _, task = await expecting()
    connection.data_received(HEAD + b"0\r\n\r\n")
    await task
    timer = connection._timer
    connection.rest(60.0)
    assert connection._timer is timer
    connection.rest(1.0)
    assert timer.cancelled()
    assert connection._rings_at < asyncio.get_running_loop().time() + 2


async def test_the_time_at_rest_does_not_count_for_the_next_request(expecting: Expecting):
    connection, _, task = await expecting()
    connection.data_received(HEAD + b"0\r\n\r\n")
    await task
    connection.rest(60.0)
    _, _, task = await expecting()
    assert connection._deadline < asyncio.get_running_loop().time() + 6
    connection._ring()
    assert not task.done()
    task.cancel()
