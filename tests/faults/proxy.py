"""What lies between the gateways and PostgreSQL: a proxy that delays statements and cuts commits.

It reads PostgreSQL's messages (PostgreSQL manual, "Message Formats") only as far as it must to know
where a request ends: a `Query`, or the `Sync` after a prepared one. A request that is cut has reached
the server, which carries it out, and its answer never passes: the commit is in doubt.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REQUEST_ENDS: Final = frozenset(b"QS")
"""The types of message after which a client waits: simple query, sync."""
READ_BYTES: Final = 262_144


class Framing:
    """Counts the requests that end in a client's bytes. The first messages have no type."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._is_started = False

    def feed(self, data: bytes) -> int:
        """Return how many requests ended within these bytes."""
        self._pending += data
        ended = 0
        while (kind := self._take()) is not None:
            ended += kind in REQUEST_ENDS
        return ended

    def _take(self) -> int | None:
        """Take one message off; returns its type, 0 for one without, None where it is not whole."""
        typed = int(self._is_started)
        if len(self._pending) < typed + 4:
            return None
        size = typed + int.from_bytes(self._pending[typed : typed + 4], "big")
        if len(self._pending) < size:
            return None
        kind = self._pending[0] if typed else 0
        # A request for TLS (8 bytes) is answered before the real first message comes.
        self._is_started = self._is_started or size > 8
        del self._pending[:size]
        return kind


@dataclass(slots=True)
class Weather:
    """What the proxy does at the moment; may be changed at any time."""

    delay: float = 0.0
    """Seconds that each request waits."""
    cut_each: int = 0
    """One request in so many is cut, by chance; 0: none."""
    cuts: int = 0
    """How many were cut so far."""


class Proxy:
    """Listens on a port of 127.0.0.1 for one server's socket."""

    def __init__(self, socket: Path, rng: random.Random) -> None:
        self.weather = Weather()
        self._socket = socket
        self._rng = rng
        self._listener: asyncio.Server

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """Serve for a block; yields the port."""
        self._listener = await asyncio.start_server(self._attend, "127.0.0.1", 0, limit=READ_BYTES)
        try:
            yield int(self._listener.sockets[0].getsockname()[1])
        finally:
            self._listener.close()

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection to its end, which may come from either side."""
        try:
            upstream = await asyncio.open_unix_connection(str(self._socket), limit=READ_BYTES)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(self.weather, self._rng, (reader, writer), upstream)
        await link.carry()


class _Link:
    """One client's connection, and its own to the server."""

    def __init__(
        self,
        weather: Weather,
        rng: random.Random,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._weather = weather
        self._rng = rng
        self._client_reader, self._client = client
        self._server_reader, self._server = server
        self._framing = Framing()
        self._is_cut = False

    async def carry(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._up())
                group.create_task(self._down())
        except* (_Ended, OSError):
            pass
        finally:
            self._client.transport.abort()
            self._server.transport.abort()

    async def _up(self) -> None:
        while data := await self._client_reader.read(READ_BYTES):
            if requests := self._framing.feed(data):
                await self._trouble(requests)
            self._server.write(data)
            await self._server.drain()
        raise _Ended

    async def _trouble(self, requests: int) -> None:
        if self._weather.delay:
            await asyncio.sleep(self._weather.delay * requests)
        one_in = self._weather.cut_each
        if one_in and self._rng.randrange(one_in) == 0:
            self._weather.cuts += 1
            self._is_cut = True

    async def _down(self) -> None:
        while data := await self._server_reader.read(READ_BYTES):
            if self._is_cut:  # the server has done it, and the client will not hear of it
                raise _Ended
            self._client.write(data)
            await self._client.drain()
        raise _Ended


class _Ended(Exception):
    """One side of a connection has gone."""
