"""A proxy before PostgreSQL that reads along: the client's messages for who counts, notices to lose them.

Messages are read as the PostgreSQL manual has them under "Message Formats": a type of one byte, a
length of four that counts itself, and the rest; the client's first ones have no type.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final, cast

NOTICE: Final = ord("A")
"""NotificationResponse: what NOTIFY sends to who listens."""

Hear = Callable[[bytes], bytes]
"""Is given the bytes of one direction as they come, and returns those to hand on."""


class Messages:
    """Takes whole messages out of one direction's bytes."""

    def __init__(self, *, of_client: bool) -> None:
        self._pending = bytearray()
        self._is_typed = not of_client
        self._is_first = True

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that end within these bytes, each whole."""
        if self._is_first and data == b"N":  # no TLS: the one answer without a length
            return [data]
        self._is_first = False
        self._pending += data
        found = []
        while (message := self._take()) is not None:
            found.append(message)
        return found

    def _take(self) -> bytes | None:
        typed = int(self._is_typed)
        if len(self._pending) < typed + 4:
            return None
        size = typed + int.from_bytes(self._pending[typed : typed + 4], "big")
        if len(self._pending) < size:
            return None
        message = bytes(self._pending[:size])
        # A request for TLS (8 bytes) is answered before the real first message comes.
        self._is_typed = self._is_typed or size > 8
        del self._pending[:size]
        return message


class Deafness:
    """Loses notices while it is told to; `lost` counts them."""

    def __init__(self) -> None:
        self.is_deaf = False
        self.lost = 0

    def ear(self) -> Hear:
        """Return what one connection's answers pass through."""
        messages = Messages(of_client=False)

        def hear(data: bytes) -> bytes:
            return b"".join(each for each in messages.feed(data) if not self._loses(each))

        return hear

    def _loses(self, message: bytes) -> bool:
        is_lost = self.is_deaf and message[0] == NOTICE
        self.lost += is_lost
        return is_lost


class _Side(asyncio.Protocol):
    """One end of a connection; hands on what is heard of what comes."""

    def __init__(self, hear: Hear) -> None:
        self.transport: asyncio.Transport
        self._hear = hear
        self._other: _Side | None = None
        self._early = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def join(self, other: "_Side") -> None:
        """Hand on to another end from now on, what came early first."""
        self._other = other
        other.transport.write(bytes(self._early))

    def data_received(self, data: bytes) -> None:
        heard = self._hear(data)
        if self._other is None:
            self._early += heard
        else:
            self._other.transport.write(heard)

    def connection_lost(self, error: Exception | None) -> None:
        if self._other is not None:
            self._other.transport.close()


@contextlib.asynccontextmanager
async def tapped(
    socket: Path, asked: Callable[[], Hear], answered: Callable[[], Hear]
) -> AsyncIterator[int]:
    """Listen on a port of 127.0.0.1 for a server's socket; yields the port.

    `asked` and `answered` make, for each connection, what its two directions pass through.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:

        async def join(client: _Side) -> None:
            try:
                _, upstream = await loop.create_unix_connection(
                    lambda: _Side(answered()), str(socket)
                )
            except OSError:
                client.transport.abort()
                return
            upstream.join(client)
            client.join(upstream)

        class Accepted(_Side):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                group.create_task(join(self))

        listener = await loop.create_server(lambda: Accepted(asked()), "127.0.0.1", 0)
        try:
            yield int(listener.sockets[0].getsockname()[1])
        finally:
            listener.close()
