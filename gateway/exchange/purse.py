"""This replica's leases and holds: asks for more when short, queues the flush, fences itself.

Holding is memory alone where the leases suffice. Everything that awaits, to be granted more, to
flush and to renew, is done by one task each, so that needs are coalesced and a flush is never sent
beside another. A replica whose lease has ended on its own monotonic clock, counted from before the
request that renewed it, admits nothing until it is renewed (`docs/guarantees.md`).
"""

from collections import deque
from collections.abc import Sequence, Set
from typing import Protocol

import anyio
import msgspec

from gateway.core.budget import (
    BudgetKey,
    Earmark,
    FlushLine,
    GrantAnswer,
    Hold,
    Leases,
    Scope,
    Short,
)
from gateway.core.ids import ReplicaId
from gateway.core.money import NanoDollars
from gateway.core.traces import Trace
from gateway.errors import LedgerUnavailable
from gateway.exchange.ports import Clock, Ledger

FLUSH_EVERY_S = 0.05
FLUSH_AT_TRACES = 500
MOST_TRACES = 20_000
"""Traces that wait beyond this while the database is away are dropped and counted; money never."""
_RETRY_S = 0.25
_MOST_WAIT_S = 0.25
"""How long a refusal may wait for money that is on its way back."""


class Terms(msgspec.Struct, frozen=True):
    """How leases are granted.

    Their life in seconds, and the share of what is free, in parts per million, that may be granted
    on top of a need.
    """

    ttl_s: float
    share_ppm: int


class Witness(Protocol):
    """Who is told what the purse sees, for metrics and logs."""

    def lease_waited(self, seconds: float) -> None: ...
    def traces_queued(self, count: int) -> None: ...
    def traces_dropped(self, count: int) -> None: ...
    def ledger_lost(self, reason: str) -> None: ...
    def ledger_back(self) -> None: ...


class _Waiter:
    """A call that waits for a grant."""

    def __init__(self, earmark: Earmark) -> None:
        self.earmark = earmark
        self.answered = anyio.Event()
        self.answer: Hold | Short | LedgerUnavailable | None = None
        self.has_left = False


class _Batch(msgspec.Struct, frozen=True):
    """A flush under way: kept until its commit is certain, and repeated under the same number."""

    sequence: int
    lines: list[FlushLine]
    traces: list[Trace]


class Purse:
    """The money that this replica may spend. One event loop only."""

    def __init__(
        self, ledger: Ledger, replica: ReplicaId, clock: Clock, terms: Terms, witness: Witness
    ) -> None:
        self._ledger = ledger
        self._replica = replica
        self._clock = clock
        self._terms = terms
        self._witness = witness
        self._leases = Leases()
        self._waiting: list[_Waiter] = []
        self._is_wanted = anyio.Event()
        self._traces: deque[Trace] = deque()
        self._closing: set[str] = set()
        self._recalled: set[BudgetKey] = set()
        self._sequence = 0
        self._batch: _Batch | None = None
        self._renewed_at = clock.monotonic()
        self._lease_ends_at = self._renewed_at + terms.ttl_s
        self._is_lost = False
        self._is_full = anyio.Event()
        self._has_flushed = anyio.Event()

    @property
    def can_admit(self) -> bool:
        """Whether this replica's lease still runs."""
        return self._clock.monotonic() < self._lease_ends_at

    @property
    def waiting_traces(self) -> int:
        """How many traces wait for a flush."""
        return len(self._traces)

    async def hold(self, keys: tuple[BudgetKey, ...], amount: NanoDollars) -> Hold | Short:
        """Hold an amount in every budget of a call, or say which budget lacks it.

        Raises:
            LedgerUnavailable: this replica's lease has ended, or the database can't be asked.
        """
        if not self.can_admit:
            raise LedgerUnavailable("the ledger can't be reached; no call can be admitted")
        now = self._clock.monotonic()
        hold = self._leases.hold(keys, amount, now)
        if hold is not None:
            return hold
        return await self._wait(_Waiter(self._leases.earmark(keys, amount, now)), now)

    def settle(self, hold: Hold, amount: NanoDollars, trace: Trace) -> None:
        """End a hold with what the call owes; its spend and its trace are flushed together."""
        self._leases.settle(hold, amount, self._clock.monotonic())
        self.record(trace)

    def charge(self, hold: Hold, amount: NanoDollars) -> None:
        """End the hold of an attempt that failed; the call that it was for goes on."""
        self._leases.settle(hold, amount, self._clock.monotonic())

    def record(self, trace: Trace) -> None:
        """Queue a trace for the next flush."""
        self._traces.append(trace)
        if len(self._traces) > MOST_TRACES:
            self._traces.popleft()
            self._witness.traces_dropped(1)
        elif len(self._traces) == FLUSH_AT_TRACES:
            self._is_full.set()

    def remaining(self, key: BudgetKey) -> int | None:
        """Return what a budget has left as far as this replica knows; None where it has no cap.

        For people: other replicas' spending since the last grant is not in it.
        """
        lease = self._leases[key]
        return None if lease.cap is None else max(0, lease.available + lease.free)

    def available(self, key: BudgetKey) -> int:
        """Return what a new call could hold of a budget without asking, nothing below zero."""
        return max(0, self._leases[key].available)

    def lower(self, key: BudgetKey, cap: NanoDollars) -> None:
        """Recall what was granted under a higher cap than a call now sets, before it can be held."""
        lease = self._leases[key]
        if lease.cap is None or cap < lease.cap:
            lease.cap = cap
            self._recall([key])

    def recall(self) -> None:
        """Give back all that no call holds: caps have changed, so what is needed is asked for anew.

        Runs are left alone: their caps are lowered by their calls.
        """
        leased = [key for key, lease in self._leases.items() if lease.leased]
        self._recall([key for key in leased if key.scope is not Scope.RUN])

    def _recall(self, keys: Sequence[BudgetKey]) -> None:
        for key in keys:
            self._leases.recall(key)
        self._recalled.update(keys)
        self._is_full.set()

    def close_run(self, run: str) -> None:
        """Give a closed run's lease back with the next flush."""
        self._closing.add(run)

    async def run(self) -> None:
        """Grant, flush and renew until cancelled."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._grant_forever)
                group.start_soon(self._flush_forever)
        finally:
            self._fail(self._waiting, LedgerUnavailable("the gateway stops"))

    async def drain(self) -> None:
        """Flush everything and give every lease back. Call it when no call runs and `run` ended.

        Raises:
            LedgerUnavailable: the database is away; the leases will be reclaimed as unsettled.
        """
        while True:
            if self._batch is None:
                lines = self._leases.draw(self._clock.monotonic(), everything=True)
                if not lines and not self._traces:
                    return
                self._batch = self._next_batch(lines)
            await self._send(self._batch)

    async def _wait(self, waiter: _Waiter, asked_at: float) -> Hold | Short:
        self._waiting.append(waiter)
        self._is_wanted.set()
        try:
            await waiter.answered.wait()
        except BaseException:
            self._leave(waiter)
            raise
        self._witness.lease_waited(self._clock.monotonic() - asked_at)
        match waiter.answer:
            case Hold() | Short():
                return waiter.answer
            case LedgerUnavailable():
                raise waiter.answer
            case None:
                raise LedgerUnavailable("the grant was never answered")

    def _leave(self, waiter: _Waiter) -> None:
        """Put back what a call has that is cancelled while it waits."""
        if isinstance(waiter.answer, Hold):
            self._leases.release(waiter.answer, self._clock.monotonic())
        elif waiter.answer is None:
            waiter.has_left = True
            self._leases.forget(waiter.earmark)

    async def _grant_forever(self) -> None:
        while True:
            await self._is_wanted.wait()
            self._is_wanted = anyio.Event()
            waiters, self._waiting = self._waiting, []
            try:
                await self._grant([waiter for waiter in waiters if not waiter.has_left])
            finally:
                self._fail(waiters, LedgerUnavailable("the gateway stops"))

    async def _grant(self, waiters: list[_Waiter]) -> None:
        """Get some calls what they lack, and answer each of them.

        Who is short of what this replica is just giving back is asked for once more, after it went.
        """
        coming = self._coming_back()
        answer = await self._ask(waiters)
        if answer is None:
            return
        again = self._answer(waiters, answer, coming | self._coming_back())
        if again:
            await self._gone_back()
            answer = await self._ask(again)
            if answer is not None:
                self._answer(again, answer, frozenset())

    async def _ask(self, waiters: list[_Waiter]) -> GrantAnswer | None:
        """Ask for what some calls lack, in one round trip; None if it failed and they were told."""
        needs = [waiter.earmark.need for waiter in waiters]
        if not needs:
            return None
        asked_at = self._clock.monotonic()
        try:
            with anyio.fail_after(self._terms.ttl_s):
                answer = await self._ledger.grant(
                    self._replica,
                    needs,
                    self._leases.wishes(needs, asked_at),
                    self._terms.share_ppm,
                )
        except (LedgerUnavailable, TimeoutError) as error:
            self._lost(str(error) or "a grant was not answered in time")
            self._fail(waiters, LedgerUnavailable("the ledger can't be reached; try again"))
            return None
        self._renewed(asked_at)
        self._leases.granted(answer.decision, answer.balances)
        return answer

    def _answer(
        self, waiters: list[_Waiter], answer: GrantAnswer, coming: Set[BudgetKey]
    ) -> list[_Waiter]:
        """Answer waiting calls, but for those that are short of what is `coming` back: return them."""
        now = self._clock.monotonic()
        again = []
        for waiter, short in zip(waiters, answer.decision.answers, strict=True):
            if waiter.has_left:
                continue
            if short is not None and short.key in coming:
                again.append(waiter)
                continue
            hold = self._leases.complete(waiter.earmark, now)
            waiter.answer = hold if hold is not None else self._lacking(waiter.earmark, short)
            waiter.answered.set()
        return again

    def _coming_back(self) -> set[BudgetKey]:
        """Return the budgets that the database takes for leased, though this replica is done with it."""
        lines = () if self._batch is None else self._batch.lines
        return {line.key for line in lines if line.lease_ended > line.spent} | self._recalled

    async def _gone_back(self) -> None:
        with anyio.move_on_after(_MOST_WAIT_S):
            while self._coming_back():
                self._is_full.set()
                await self._has_flushed.wait()

    def _lacking(self, earmark: Earmark, short: Short | None) -> Short:
        """Return what a refused call is told: what is left, with what this replica has for it."""
        if short is None:  # granted, and yet short: more was settled than held meanwhile
            key = min(earmark.keys, key=lambda each: self._leases[each].available)
            short = Short(key, 0, self._leases[key].cap or 0)
        return Short(short.key, short.left + max(0, self._leases[short.key].available), short.cap)

    def _fail(self, waiters: list[_Waiter], error: LedgerUnavailable) -> None:
        for waiter in waiters:
            if waiter.answer is None and not waiter.has_left:
                self._leases.forget(waiter.earmark)
                waiter.answer = error
                waiter.answered.set()

    async def _flush_forever(self) -> None:
        while True:
            with anyio.move_on_after(FLUSH_EVERY_S):
                await self._is_full.wait()
            self._is_full = anyio.Event()
            try:
                await self._flush_or_renew()
            except LedgerUnavailable as error:
                self._lost(str(error))
                await anyio.sleep(_RETRY_S)

    async def _flush_or_renew(self) -> None:
        now = self._clock.monotonic()
        if self._batch is None:
            lines = self._leases.draw(now, closing=frozenset(self._closing))
            self._closing.clear()
            self._recalled.clear()
            if lines or self._traces:
                self._batch = self._next_batch(lines)
        if self._batch is not None:
            await self._send(self._batch)
        elif now - self._renewed_at >= self._terms.ttl_s / 3:
            await self._ledger.renew(self._replica)
            self._renewed(now)

    def _next_batch(self, lines: list[FlushLine]) -> _Batch:
        count = min(len(self._traces), FLUSH_AT_TRACES * 4)
        self._sequence += 1
        return _Batch(self._sequence, lines, [self._traces.popleft() for _ in range(count)])

    async def _send(self, batch: _Batch) -> None:
        sent_at = self._clock.monotonic()
        await self._ledger.flush(self._replica, batch.sequence, batch.lines, batch.traces)
        self._batch = None
        self._has_flushed.set()
        self._has_flushed = anyio.Event()
        self._renewed(sent_at)
        self._witness.traces_queued(len(self._traces))

    def _renewed(self, asked_at: float) -> None:
        """Note that the database answered a request that was sent at `asked_at`."""
        if asked_at > self._renewed_at:
            self._renewed_at = asked_at
            self._lease_ends_at = asked_at + self._terms.ttl_s
        if self._is_lost:
            self._is_lost = False
            self._witness.ledger_back()

    def _lost(self, reason: str) -> None:
        if not self._is_lost:
            self._is_lost = True
            self._witness.ledger_lost(reason)
