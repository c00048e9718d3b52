"""Keeps this replica's view of kill switches, caps, tokens, runs, prices and replicas up to date.

A notice makes it quick, a poll makes it sure: what was notified while the connection was away is
read when it is back, and everything is read again every third of a lease's life in any case.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final, Protocol, assert_never

import anyio
from msgspec import structs

from gateway.core.ids import KillId, ReplicaId
from gateway.core.limits import Kill, KillScope
from gateway.errors import LedgerUnavailable
from gateway.exchange.purse import Purse
from gateway.exchange.switchboard import Switchboard
from gateway.store.database import Database
from gateway.store.limits import LimitStore
from gateway.store.notices import (
    CHANNEL,
    CapsChanged,
    KillOff,
    KillOn,
    PricesChanged,
    Recalled,
    ReplicasChanged,
    RunClosed,
    TokensChanged,
    parse,
)
from gateway.store.replicas import ReplicaStore
from gateway.store.runs import RunStore

_RETRY_S: Final = 0.25


class Tokens(Protocol):
    """The tokens that are kept in memory."""

    async def refresh(self) -> None:
        """Ask which of them changed."""
        ...


class Prices(Protocol):
    """The price book that calls are bounded and settled by."""

    async def refresh(self) -> None:
        """Ask which list of prices is in force, and work by it."""
        ...


class Witness(Protocol):
    """Who is told of kill switches."""

    def kill_applied(self, kill: Kill, cut: int) -> None:
        """A kill switch was applied here, and cut so many running calls."""
        ...

    def kill_propagated(self, seconds: float) -> None:
        """A kill switch took so long from the database to here."""
        ...

    def kills(self, scopes: Iterable[KillScope]) -> None:
        """Kill switches of these scopes are on."""
        ...


class Signals:
    """Reads what others changed, and says which kill switches were applied."""

    def __init__(  # noqa: PLR0913  # what it keeps up to date, each by name
        self,
        *,
        replica: ReplicaId,
        database: Database,
        limits: LimitStore,
        runs: RunStore,
        tokens: Tokens,
        prices: Prices,
        replicas: ReplicaStore,
        share: Callable[[int], None],
        board: Switchboard,
        purse: Purse,
        witness: Witness,
        now: Callable[[], datetime],
        poll_s: float,
    ) -> None:
        self._replica = replica
        self._database = database
        self._limits = limits
        self._runs = runs
        self._tokens = tokens
        self._prices = prices
        self._replicas = replicas
        self._share = share
        self._board = board
        self._purse = purse
        self._witness = witness
        self._now = now
        self._poll_s = poll_s
        self._is_following = False
        self._cut: dict[KillId, int] = {}
        self._is_changed = anyio.Event()
        self._reads_all = False

    async def run(self) -> None:
        """Listen, poll and read until cancelled."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._listen)
            group.start_soon(self._follow)

    async def read(self) -> None:
        """Read everything now, put it in force, and acknowledge it. Raises LedgerUnavailable."""
        await self._read_limits()
        await self._read_memories()

    async def _read_memories(self) -> None:
        self._reads_all = False
        await self._tokens.refresh()
        await self._prices.refresh()
        self._share(max(1, await self._replicas.serving()))
        for run in await self._runs.refresh():
            self._purse.close_run(run)

    async def _read_limits(self) -> None:
        standing = await self._limits.load()
        cut = self._board.apply(
            structs.replace(self._board.limits, kills=standing.kills, caps=standing.caps)
        )
        self._cut.update(cut)
        self._witness.kills(kill.scope for kill in standing.kills)
        for kill in standing.kills:
            if kill.id in self._cut:
                await self._limits.acknowledge(kill.id, self._replica, self._cut[kill.id])
                self._witness.kill_applied(kill, self._cut.pop(kill.id))
                if self._is_following:
                    self._witness.kill_propagated(max(0.0, (self._now() - kill.at).total_seconds()))

    async def _listen(self) -> None:
        await self._database.listen(CHANNEL, self._hear, on_reconnect=self._missed)

    async def _missed(self) -> None:
        self._reads_all = True
        self._is_changed.set()

    def _hear(self, payload: str) -> None:
        match parse(payload):
            case KillOn() | KillOff():
                pass
            case CapsChanged():
                self._purse.recall()
            case TokensChanged() | PricesChanged() | ReplicasChanged():
                self._reads_all = True
            case RunClosed(run):
                self._runs.closed(run)
                self._purse.close_run(run)
            case Recalled(replica, keys):
                if replica != self._replica:
                    self._purse.give_back(keys)
                return
            case None:
                return  # of another release: the poll reads what it was about
            case notice:
                assert_never(notice)
        self._is_changed.set()

    async def _follow(self) -> None:
        self._is_following = True
        while True:
            with anyio.move_on_after(self._poll_s) as waiting:
                await self._is_changed.wait()
            self._is_changed = anyio.Event()
            try:
                await self._read_limits()
                if self._reads_all or waiting.cancelled_caught:
                    await self._read_memories()
            except LedgerUnavailable:
                self._reads_all = True
                self._is_changed.set()
                await anyio.sleep(_RETRY_S)
