"""What is settled becomes durable: spend and its traces in one flush, repeated until it is booked.

One flush is under way at a time, under a number that the database books once, so one whose commit is
in doubt is simply sent again. While the database is away, money waits in the leases, a line for each
budget, and traces in a queue of bounded length: what is dropped of them is counted, money never is.
"""

from collections import deque
from collections.abc import Iterable
from typing import NoReturn, Protocol

import anyio
import msgspec

from gateway.core.budget import BudgetKey, FlushLine, Leases
from gateway.core.ids import ReplicaId
from gateway.core.traces import Trace
from gateway.errors import LedgerUnavailable, ReplicaRetired
from gateway.exchange.fence import Fence
from gateway.exchange.ports import Clock, Ledger

FLUSH_EVERY_S = 0.05
FLUSH_AT_TRACES = 500
MOST_TRACES = 20_000
"""Traces that wait beyond this while the database is away are dropped and counted; money never."""
_RETRY_S = 0.25
LATE_S = 10.0
"""How long after a grant was given up, and the database answers, it is carried out at the latest.

The server ends a statement after 5 s; one that has not come to it by then died with its connection.
"""
DRAIN_S = 10.0
"""For how long the end is put off for a database that does not take the last flush."""


class Witness(Protocol):
    """Who is told how many traces wait."""

    def traces_queued(self, count: int) -> None: ...
    def traces_dropped(self, count: int) -> None: ...


class _Batch(msgspec.Struct, frozen=True):
    """A flush under way: kept until its commit is certain, and repeated under the same number."""

    sequence: int
    lines: list[FlushLine]
    traces: list[Trace]

    @property
    def is_reconciling(self) -> bool:
        """Whether it says what is left of a lease: no grant may come before it is booked."""
        return any(line.lease_left is not None for line in self.lines)


class Flusher:
    """Flushes and renews. One event loop only."""

    def __init__(
        self,
        ledger: Ledger,
        replica: ReplicaId,
        clock: Clock,
        leases: Leases,
        fence: Fence,
        witness: Witness,
    ) -> None:
        self.is_granting = False
        """Set by who asks for a grant while it is under way: what is left of a lease is unsure then."""
        self._ledger = ledger
        self._replica = replica
        self._clock = clock
        self._leases = leases
        self._fence = fence
        self._witness = witness
        self._traces: deque[Trace] = deque()
        self._closing: set[str] = set()
        self._recalled: set[BudgetKey] = set()
        self._doubted: set[BudgetKey] = set()
        self._unsure: set[BudgetKey] = set()
        self._doubted_at: dict[BudgetKey, float] = {}
        self._sequence = 0
        self._batch: _Batch | None = None
        self._is_full = anyio.Event()
        self._has_tried = anyio.Event()

    @property
    def waiting_traces(self) -> int:
        """How many traces wait for a flush."""
        return len(self._traces)

    def record(self, trace: Trace) -> None:
        """Queue a trace for the next flush."""
        self._traces.append(trace)
        if len(self._traces) > MOST_TRACES:
            self._traces.popleft()
            self._witness.traces_dropped(1)
        elif len(self._traces) == FLUSH_AT_TRACES:
            self._is_full.set()

    def recall(self, keys: Iterable[BudgetKey]) -> None:
        """Give back at once what no call holds of some budgets."""
        for key in keys:
            self._leases.recall(key)
            self._recalled.add(key)
            self._is_full.set()

    def close_run(self, run: str) -> None:
        """Give a closed run's lease back with the next flush."""
        self._closing.add(run)

    def doubt(self, keys: Iterable[BudgetKey]) -> None:
        """Tell the database with the next flush what this replica has: a grant may have been lost.

        And once more after a while, as one that was given up may yet be carried out.
        """
        self._doubted.update(keys)
        self._unsure.update(keys)

    async def reconciled(self) -> None:
        """Wait until the database knows what this replica has, where that is in doubt.

        Raises:
            LedgerUnavailable: it can't be told now.
        """
        has_tried = False
        while self._doubted or (self._batch is not None and self._batch.is_reconciling):
            if has_tried and self._fence.is_lost:
                raise LedgerUnavailable("the ledger can't be reached; try again")
            self._is_full.set()
            await self._has_tried.wait()
            has_tried = True

    def coming_back(self) -> set[BudgetKey]:
        """Return the budgets that the database takes for leased, though this replica is done with it."""
        lines = () if self._batch is None else self._batch.lines
        return {line.key for line in lines if line.lease_ended > line.spent} | self._recalled

    def ending(self, key: BudgetKey) -> int:
        """Return how much of a lease ends with the flush that is under way."""
        lines = () if self._batch is None else self._batch.lines
        return sum(line.lease_ended for line in lines if line.key == key)

    async def gone_back(self, most_s: float) -> None:
        """Wait until what this replica gives back is back, but not for longer than `most_s`."""
        with anyio.move_on_after(most_s):
            while self.coming_back():
                self._is_full.set()
                await self._has_tried.wait()

    async def run(self) -> NoReturn:
        """Flush and renew until cancelled."""
        while True:
            with anyio.move_on_after(FLUSH_EVERY_S):
                await self._is_full.wait()
            self._is_full = anyio.Event()
            try:
                await self._flush_or_renew()
            except ReplicaRetired as error:
                self._fence.retire(error)
                await anyio.sleep(_RETRY_S)
            except LedgerUnavailable as error:
                self._fence.lost(str(error))
                self._tried()
                await anyio.sleep(_RETRY_S)

    async def drain(self) -> None:
        """Flush everything and give every lease back. Call it when no call runs and `run` ended.

        Raises:
            LedgerUnavailable: the database stays away; the leases will be reclaimed as unsettled.
        """
        until = anyio.current_time() + DRAIN_S
        while True:
            if self._batch is None:
                lines = self._leases.draw(self._clock.monotonic(), everything=True)
                if not lines and not self._traces:
                    return
                self._batch = self._next_batch(lines)
            try:
                await self._send(self._batch)
            except LedgerUnavailable:
                if anyio.current_time() >= until:
                    raise
                await anyio.sleep(_RETRY_S)

    async def _flush_or_renew(self) -> None:
        now = self._clock.monotonic()
        if self._batch is None:
            self._batch = self._drawn(now)
        if self._batch is not None:
            await self._send(self._batch)
        elif self._fence.is_due:
            await self._ledger.renew(self._replica)
            self._fence.renewed(now)

    def _drawn(self, now: float) -> _Batch | None:
        self._doubt_again(now)
        doubted = frozenset() if self.is_granting else frozenset(self._doubted)
        lines = self._leases.draw(now, closing=frozenset(self._closing), doubted=doubted)
        self._closing.clear()
        self._recalled.clear()
        self._doubted -= doubted
        return self._next_batch(lines) if lines or self._traces else None

    def _doubt_again(self, now: float) -> None:
        due = [key for key, at in self._doubted_at.items() if at <= now]
        for key in due:
            del self._doubted_at[key]
            self._doubted.add(key)

    def _next_batch(self, lines: list[FlushLine]) -> _Batch:
        count = min(len(self._traces), FLUSH_AT_TRACES * 4)
        self._sequence += 1
        return _Batch(self._sequence, lines, [self._traces.popleft() for _ in range(count)])

    async def _send(self, batch: _Batch) -> None:
        sent_at = self._clock.monotonic()
        try:
            await self._ledger.flush(self._replica, batch.sequence, batch.lines, batch.traces)
        except ReplicaRetired as error:  # it is booked all the same
            self._fence.retire(error)
        self._batch = None
        self._doubt_later(batch)
        self._fence.renewed(sent_at)
        self._tried()
        self._witness.traces_queued(len(self._traces))

    def _doubt_later(self, batch: _Batch) -> None:
        """Note when the budgets that a flush reconciled for the first time are in doubt again."""
        told = {line.key for line in batch.lines if line.lease_left is not None}
        again = self._clock.monotonic() + LATE_S
        self._doubted_at.update(dict.fromkeys(told & self._unsure, again))
        self._unsure -= told

    def _tried(self) -> None:
        self._has_tried.set()
        self._has_tried = anyio.Event()
