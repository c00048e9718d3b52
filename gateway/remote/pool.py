"""Who may use which connection to an origin: a cap, a queue, and rest for the unused.

A *place* is the right to have one connection under the cap. Whoever takes a connection holds its
place until the connection is put back; a place that is freed goes to the longest waiting. All moves
are made without an await between reading and writing, so the loop is the only lock.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec

from gateway.errors import UpstreamLost, UpstreamUnreachable
from gateway.remote.connection import Connection, dial
from gateway.remote.request import Origin


class PoolLimits(msgspec.Struct, frozen=True):
    """`per_origin` connections at most, each unused for at most `idle_s` seconds."""

    per_origin: int = 256
    idle_s: float = 30.0


class Pool:
    """The connections to one origin. The one used last is used first, so that the rest can expire."""

    def __init__(self, origin: Origin, context: ssl.SSLContext | None, limits: PoolLimits) -> None:
        """Hold connections to `origin`, with TLS where `context` is given."""
        self._origin = origin
        self._context = context
        self._limits = limits
        self._resting: list[Connection] = []
        self._busy: set[Connection] = set()
        self._dialing = 0
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._is_closed = False

    @property
    def counts(self) -> tuple[int, int]:
        """How many connections rest, and how many are in use or being made."""
        return len(self._resting), len(self._busy) + self._dialing

    async def take(self, connect_s: float) -> Connection:
        """Return a connection, which must be put back whatever happens.

        Raises:
            UpstreamUnreachable: none could be had within `connect_s` seconds.
        """
        return self._take_resting() or await self._in_time(self._queue_or_dial, connect_s)

    async def renew(self, stale: Connection, connect_s: float) -> Connection:
        """Return a new connection in the place of a lost one, whose request nobody read.

        Raises:
            UpstreamLost: none could be had; a request was sent on the stale one, so that it is lost
                and not merely undelivered. The place is free then.
        """
        self._busy.discard(stale)
        self._dialing += 1
        stale.abort()
        try:
            return await self._in_time(self._dial, connect_s)
        except UpstreamUnreachable as error:
            raise UpstreamLost(
                f"{stale.peer} broke the connection, and can't be reached"
            ) from error

    def put(self, connection: Connection) -> None:
        """Take a connection back: to the next in the queue, to rest, or closed if in any doubt.

        Putting one that is not out does nothing.
        """
        if connection not in self._busy:
            return
        self._busy.discard(connection)
        if not connection.has_finished or self._is_closed:
            connection.abort()
            self._pass_place_on()
            return
        connection.rest(self._limits.idle_s)
        waiter = self._next_waiter()
        if waiter is None:
            self._resting.append(connection)
        else:
            self._busy.add(connection)
            waiter.set_result(connection)

    async def aclose(self) -> None:
        """Close every connection, also those in use, and refuse whoever waits."""
        self._is_closed = True
        while (waiter := self._next_waiter()) is not None:
            waiter.set_exception(self._refusal())
        connections = [*self._resting, *self._busy]
        for connection in connections:
            connection.abort()
        for connection in connections:
            await connection.wait_closed()

    def _take_resting(self) -> Connection | None:
        while self._resting:
            connection = self._resting.pop()
            if connection.is_fit:
                self._busy.add(connection)
                return connection
            connection.abort()
        return None

    async def _in_time(
        self, connect: Callable[[], Awaitable[Connection]], connect_s: float
    ) -> Connection:
        try:
            async with asyncio.timeout(connect_s):
                return await connect()
        except TimeoutError as error:
            raise UpstreamUnreachable(
                f"no connection to {self._origin.host} within {connect_s:g} s"
            ) from error

    async def _queue_or_dial(self) -> Connection:
        if len(self._busy) + self._dialing < self._limits.per_origin:
            self._dialing += 1
            return await self._dial()
        connection = await self._queue()
        if connection is None:
            return await self._dial()
        if connection.is_fit:
            return connection
        self._busy.discard(connection)
        self._dialing += 1
        connection.abort()
        return await self._dial()

    async def _queue(self) -> Connection | None:
        """Wait for a connection (ours, and busy), or for a place to dial in (counted as dialing)."""
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise

    def _withdraw(self, waiter: asyncio.Future[Connection | None]) -> None:
        """Leave the queue, passing on what was handed over and could not be seen any more."""
        if waiter.cancelled():
            if waiter in self._waiters:
                self._waiters.remove(waiter)
        elif waiter.exception() is None:
            self._give_back(waiter.result())

    def _give_back(self, given: Connection | None) -> None:
        if given is None:
            self._dialing -= 1
        else:
            self._busy.discard(given)
            given.abort()
        self._pass_place_on()

    async def _dial(self) -> Connection:
        """Connect in a place that is counted as dialing; free it when that fails."""
        connection = None
        try:
            if not self._is_closed:
                connection = await dial(self._origin, self._context, self._forget)
        finally:
            self._dialing -= 1
            if connection is None:
                self._pass_place_on()
        if connection is None:
            raise self._refusal()
        self._busy.add(connection)
        if self._is_closed:
            self.put(connection)
            raise self._refusal()
        return connection

    def _pass_place_on(self) -> None:
        waiter = self._next_waiter()
        if waiter is not None:
            self._dialing += 1
            waiter.set_result(None)

    def _next_waiter(self) -> asyncio.Future[Connection | None] | None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                return waiter
        return None

    def _forget(self, connection: Connection) -> None:
        if connection in self._resting:
            self._resting.remove(connection)

    def _refusal(self) -> UpstreamUnreachable:
        return UpstreamUnreachable(f"the client for {self._origin.host} is closed")
