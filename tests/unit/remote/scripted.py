"""A server that does to the letter what a test's script says, on loopback, in the test's own loop."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable

from gateway.remote.http1 import Http1Client, Origin, Request, Response

PATIENCE_S = 5.0


class Peer:
    """The server's end of one connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer
        self.requests: list[bytes] = []
        self.is_gone = False

    async def request(self) -> bytes:
        """Read one request whole; raises IncompleteReadError when the client leaves instead."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b": ")
            if name == b"content-length":
                length = int(value)
        self.requests.append(head + await self.reader.readexactly(length))
        return self.requests[-1]

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            if self.writer.transport.is_closing():
                raise ConnectionResetError
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    def reset(self) -> None:
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()

    async def until_gone(self) -> None:
        """Wait for the client to leave."""
        try:
            while await self.reader.read(65_536):
                pass
        except ConnectionError:
            pass
        self.is_gone = True


Script = Callable[[Peer], Awaitable[None]]


class Server:
    """Plays the first script to the first connection, and so on; the last one to all that follow."""

    def __init__(self, scripts: tuple[Script, ...]) -> None:
        self.scripts = scripts
        self.peers: list[Peer] = []
        self.failures: list[BaseException] = []
        self.port = 0
        self.scheme = "http"
        self.open_now = 0
        self.open_at_most = 0
        self._server: asyncio.Server | None = None

    @property
    def origin(self) -> Origin:
        return Origin(
            self.scheme, "localhost" if self.scheme == "https" else "127.0.0.1", self.port
        )

    async def start(self, context: ssl.SSLContext | None = None) -> None:
        self.scheme = "http" if context is None else "https"
        self._server = await asyncio.start_server(self._play, "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop_listening(self) -> None:
        self._server.close()

    async def stop(self) -> None:
        self._server.close()
        for peer in self.peers:
            peer.writer.transport.abort()
        await until(lambda: self.open_now == 0)

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self.scripts[min(len(self.peers), len(self.scripts) - 1)]
        peer = Peer(reader, writer, len(self.peers))
        self.peers.append(peer)
        self.open_now += 1
        self.open_at_most = max(self.open_at_most, self.open_now)
        try:
            await script(peer)
            await peer.until_gone()
        except (asyncio.IncompleteReadError, ConnectionError):
            peer.is_gone = True
        except BaseException as error:
            self.failures.append(error)
            raise
        finally:
            self.open_now -= 1
            writer.transport.abort()


Serve = Callable[..., Awaitable[Server]]
Clients = Callable[..., Http1Client]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, for `PATIENCE_S` at most."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # conditions of sockets, which set no event
            await asyncio.sleep(0.001)


def get(server: Server, target: bytes = b"/") -> Request:
    return Request(b"GET", server.origin, target, ((b"accept", b"*/*"),), b"")


def post(server: Server, body: bytes = b"{}") -> Request:
    headers = ((b"content-type", b"application/json"),)
    return Request(b"POST", server.origin, b"/v1/chat", headers, body)


async def whole(response: Response) -> bytes:
    """Read a body to its end, and close."""
    pieces = []
    try:
        while piece := await response.read():
            pieces.append(piece)
    finally:
        await response.aclose()
    return b"".join(pieces)


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def always_ok(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(OK)
