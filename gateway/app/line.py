"""The line between a supervisor and one of its workers: a pair of sockets that nobody else can reach.

It carries what must not be seen on a command line, orders, and figures for the operations port. When
either end dies the kernel closes the line, so that both know it of each other, whatever the cause.
A message is its length in four bytes, then MessagePack.
"""

from collections.abc import Sequence
from socket import socket
from typing import Final, Generic, TypeVar

import anyio
import msgspec
from anyio.abc import UNIXSocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from gateway.core.ids import ReplicaId
from gateway.store.replicas import Role
from gateway.telemetry.merging import Family

_LENGTH_BYTES: Final = 4


class Assignment(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A worker's first message: who it is, and where. Without a port it does jobs alone."""

    number: int
    role: Role
    dsn: str
    host: str
    port: int | None
    folder: str
    config_file: str | None


class Drain(msgspec.Struct, frozen=True, tag=True):
    """Admit nothing more, and end when what runs has ended."""


class Cut(msgspec.Struct, frozen=True, tag=True):
    """Drain, and the grace is over."""


class Ask(msgspec.Struct, frozen=True, tag=True):
    """Tell how it goes; questions are numbered from 1."""

    question: int


Order = Assignment | Drain | Cut | Ask


class Serving(msgspec.Struct, frozen=True, tag=True):
    """Clients may connect."""

    replica: ReplicaId


class Failed(msgspec.Struct, frozen=True, tag=True):
    """A worker's last words: one line for the operator."""

    line: str


class Told(msgspec.Struct, frozen=True, tag=True):
    """How it goes, and what was counted since the worker began; question 0 was never asked."""

    question: int
    is_ready: bool
    reason: str
    families: Sequence[Family]


Report = Serving | Failed | Told

T = TypeVar("T")


class Line(Generic[T]):
    """One end. One task receives; any may send."""

    def __init__(self, stream: UNIXSocketStream, decode: msgspec.msgpack.Decoder[T]) -> None:
        self._stream = stream
        self._received = BufferedByteReceiveStream(stream)
        self._decode = decode.decode
        self._encode = msgspec.msgpack.Encoder().encode
        self._turn = anyio.Lock()

    async def send(self, message: Order | Report) -> None:
        """Send a message; where the other end is gone it is lost, which `receive` tells."""
        body = self._encode(message)
        async with self._turn:
            try:
                await self._stream.send(len(body).to_bytes(_LENGTH_BYTES) + body)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return

    async def receive(self) -> T | None:
        """Return the next message, None when the other end is gone."""
        try:
            head = await self._received.receive_exactly(_LENGTH_BYTES)
            body = await self._received.receive_exactly(int.from_bytes(head))
        except (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError):
            return None
        return self._decode(body)

    async def aclose(self) -> None:
        """Hang up."""
        await self._stream.aclose()


async def to_worker(end: socket) -> Line[Report]:
    """Return the supervisor's end."""
    return Line(await UNIXSocketStream.from_socket(end), msgspec.msgpack.Decoder(Report))


async def to_supervisor(end: socket) -> Line[Order]:
    """Return a worker's end."""
    return Line(await UNIXSocketStream.from_socket(end), msgspec.msgpack.Decoder(Order))
