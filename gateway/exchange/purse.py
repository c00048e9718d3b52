"""This replica's leases and holds: holds from memory where they suffice, and asks where they don't.

What has to ask waits for one task that asks for all of them at once. What is refused because the money
lies idle elsewhere, on its way back or with another replica, is asked for once more when that had
time to come; it is refused then, with the numbers (`docs/guarantees.md`).
"""

from collections.abc import Sequence, Set
from typing import NoReturn, Protocol

import anyio
import msgspec
from anyio.abc import TaskGroup

from gateway.core.budget import (
    BudgetKey,
    Decision,
    Earmark,
    GrantAnswer,
    Hold,
    Leases,
    Need,
    Scope,
    Short,
)
from gateway.core.ids import ReplicaId
from gateway.core.money import NanoDollars
from gateway.core.traces import Trace
from gateway.errors import LedgerUnavailable
from gateway.exchange import fence, flushing
from gateway.exchange.fence import Fence
from gateway.exchange.flushing import Flusher
from gateway.exchange.hopes import Hopes
from gateway.exchange.ports import Clock, Ledger

_RECALL_S = 0.04
"""How long a refusal waits for money that other replicas were asked to give back."""
_GONE_BACK_S = 0.25
"""How long it waits at most for money that this replica is giving back."""
_SLOW_S = 0.8
_MOST_WAIT_S = 3.0
"""Where a grant took so long, the database is slow: others need two of its answers to give back."""
CROWD = 32
"""Where so many calls wait, one that a refusal of the last moment answers as well does not join them."""
_MOMENT_S = 0.1
_MOST_REFUSED = 1000
"""Budgets whose last refusal is remembered."""


class Terms(msgspec.Struct, frozen=True):
    """How leases are granted.

    Their life in seconds, and the share of what is free, in parts per million, that may be granted
    on top of a need.
    """

    ttl_s: float
    share_ppm: int


class Witness(fence.Witness, flushing.Witness, Protocol):
    """Who is told what the purse sees, for metrics and logs."""

    def lease_waited(self, seconds: float) -> None: ...


class _Waiter:
    """A call that waits for a grant. While it is put off it has no earmark."""

    def __init__(self, keys: tuple[BudgetKey, ...], amount: NanoDollars, earmark: Earmark) -> None:
        self.keys = keys
        self.amount = amount
        self.earmark: Earmark | None = earmark
        self.short_of: Set[BudgetKey] = frozenset()
        """What it was put off for: it is asked for once more, and not again."""
        self.answered = anyio.Event()
        self.answer: Hold | Short | LedgerUnavailable | None = None
        self.has_left = False


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
        self._fence = Fence(clock, terms.ttl_s, witness)
        self._flusher = Flusher(ledger, replica, clock, self._leases, self._fence, witness)
        self._waiting: list[_Waiter] = []
        self._asked_for: list[_Waiter] = []
        self._put_off: set[_Waiter] = set()
        self._recalled_at: dict[BudgetKey, float] = {}
        self._refused: dict[BudgetKey, tuple[Short, float]] = {}
        self._is_wanted = anyio.Event()
        self._took_s = 0.0

    @property
    def can_admit(self) -> bool:
        """Whether this replica's lease still runs."""
        return self._fence.is_open

    @property
    def retired(self) -> anyio.Event:
        """Set when this replica may never admit again: it has to end."""
        return self._fence.retired

    @property
    def waiting_traces(self) -> int:
        """How many traces wait for a flush."""
        return self._flusher.waiting_traces

    async def hold(self, keys: tuple[BudgetKey, ...], amount: NanoDollars) -> Hold | Short:
        """Hold an amount in every budget of a call, or say which budget lacks it.

        Raises:
            LedgerUnavailable: this replica's lease has ended, or the database can't be asked.
        """
        if not self._fence.is_open:
            raise LedgerUnavailable("the ledger can't be reached; no call can be admitted")
        now = self._clock.monotonic()
        hold = self._leases.hold(keys, amount, now)
        if hold is not None:
            return hold
        if len(self._waiting) + len(self._asked_for) + len(self._put_off) >= CROWD:
            short = self._just_refused(keys, amount, now)
            if short is not None:
                return short
        earmark = self._leases.earmark(keys, amount, now)
        return await self._wait(_Waiter(keys, amount, earmark), now)

    def settle(self, hold: Hold, amount: NanoDollars, trace: Trace) -> None:
        """End a hold with what the call owes; its spend and its trace are flushed together."""
        self.charge(hold, amount)
        self._flusher.record(trace)

    def charge(self, hold: Hold, amount: NanoDollars) -> None:
        """End the hold of an attempt that failed; the call that it was for goes on."""
        self._leases.settle(hold, amount, self._clock.monotonic())

    def record(self, trace: Trace) -> None:
        """Queue a trace for the next flush."""
        self._flusher.record(trace)

    def remaining(self, key: BudgetKey) -> int | None:
        """Return what a budget has left as far as this replica knows; None where it has no cap.

        For people: other replicas' spending since the last grant is not in it.
        """
        lease = self._leases[key]
        return None if lease.cap is None else max(0, lease.available + lease.free)

    def available(self, key: BudgetKey) -> int:
        """Return what a new call could hold of a budget without asking, nothing below zero."""
        return self._leases.slack(key)

    def lower(self, key: BudgetKey, cap: NanoDollars) -> None:
        """Recall what was granted under a higher cap than a call now sets, before it can be held."""
        lease = self._leases[key]
        if lease.cap is None or cap < lease.cap:
            lease.cap = cap
            self._flusher.recall([key])

    def recall(self) -> None:
        """Give back all that no call holds: caps have changed, so what is needed is asked for anew.

        Runs are left alone: their caps are lowered by their calls.
        """
        leased = [key for key, lease in self._leases.items() if lease.leased]
        self._flusher.recall([key for key in leased if key.scope is not Scope.RUN])

    def give_back(self, keys: Sequence[BudgetKey]) -> None:
        """Give back what no call holds of some budgets: another replica lacks it."""
        self._flusher.recall([key for key in keys if self._leases.slack(key)])

    def close_run(self, run: str) -> None:
        """Give a closed run's lease back with the next flush."""
        self._flusher.close_run(run)

    async def run(self) -> None:
        """Grant, flush and renew until cancelled."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._grant_forever, group)
                group.start_soon(self._flusher.run)
        finally:
            left = [*self._waiting, *self._put_off]
            self._put_off.clear()
            self._fail(left, LedgerUnavailable("the gateway stops"))

    async def drain(self) -> None:
        """Flush everything and give every lease back. Call it when no call runs and `run` ended.

        Raises:
            LedgerUnavailable: the database is away; the leases will be reclaimed as unsettled.
        """
        await self._flusher.drain()

    def _just_refused(
        self, keys: tuple[BudgetKey, ...], amount: NanoDollars, now: float
    ) -> Short | None:
        """Return why as much was refused a moment ago, if it was."""
        for key in keys:
            short, at = self._refused.get(key, (None, 0.0))
            if short is not None and now - at < _MOMENT_S and amount > short.left:
                return short
        return None

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
            self._unmark(waiter)

    def _unmark(self, waiter: _Waiter) -> None:
        if waiter.earmark is not None:
            self._leases.forget(waiter.earmark)
            waiter.earmark = None

    async def _grant_forever(self, group: TaskGroup) -> NoReturn:
        while True:
            await self._is_wanted.wait()
            self._is_wanted = anyio.Event()
            self._asked_for = waiters = self._waiting
            self._waiting = []
            try:
                put_off = await self._grant([each for each in waiters if not each.has_left])
                self._put_off.update(put_off)
                if put_off:
                    group.start_soon(self._ask_again, put_off)
            finally:
                self._asked_for = []
                self._fail(waiters, LedgerUnavailable("the gateway stops"))

    async def _grant(self, waiters: list[_Waiter]) -> list[_Waiter]:
        """Get some calls what they lack and answer them; return those that are to be asked for again.

        These keep nothing meanwhile, so that two replicas which wait for each other's money don't
        both keep it.
        """
        asked = [(waiter, waiter.earmark.need) for waiter in waiters if waiter.earmark is not None]
        coming = self._flusher.coming_back()
        answer = await self._ask([need for _, need in asked])
        if answer is None or not self._fence.is_open:  # who was frozen meanwhile admits nothing
            self._fail(waiters, LedgerUnavailable("the ledger can't be reached; try again"))
            return []
        hopes = Hopes(answer, self._not_ours(answer), coming | self._flusher.coming_back())
        put_off = []
        answered = list(zip(asked, answer.decision.answers, strict=True))
        # Who was granted something comes first, or one that was refused would take it.
        for (waiter, need), short in sorted(answered, key=lambda each: each[1] is not None):
            if short is not None and not waiter.short_of and hopes.may_come(short, need):
                waiter.short_of = hopes.lacking(short, need)
                put_off.append(waiter)
            else:
                self._answer(waiter, short)
        for waiter in put_off:
            self._unmark(waiter)
        return put_off

    async def _ask(self, needs: list[Need]) -> GrantAnswer | None:
        """Ask for what some calls lack, at once; None if that failed.

        If it did, something may have been granted that nobody heard of: the next flush tells.
        """
        if not needs:
            return GrantAnswer(Decision({}, ()), {})
        asked_at = self._clock.monotonic()
        wishes = self._leases.wishes(needs, asked_at)
        try:
            with anyio.fail_after(self._terms.ttl_s):
                await self._flusher.reconciled()
                answer = await self._granted(needs, wishes)
        except (LedgerUnavailable, TimeoutError) as error:
            self._fence.lost(str(error) or "a grant was not answered in time")
            return None
        self._took_s = self._clock.monotonic() - asked_at
        if answer.decision.grants:
            self._fence.renewed(asked_at)
        self._fence.heard()
        self._leases.granted(answer.decision, answer.balances)
        return answer

    async def _granted(self, needs: list[Need], wishes: dict[BudgetKey, int]) -> GrantAnswer:
        self._flusher.is_granting = True
        is_heard = False
        try:
            answer = await self._ledger.grant(self._replica, needs, wishes, self._terms.share_ppm)
            is_heard = True
        finally:
            self._flusher.is_granting = False
            if not is_heard:
                self._flusher.doubt(wishes)
        return answer

    def _answer(self, waiter: _Waiter, short: Short | None) -> None:
        earmark, waiter.earmark = waiter.earmark, None
        if earmark is None:  # it has left
            return
        now = self._clock.monotonic()
        hold = self._leases.complete(earmark, now)
        if hold is None:
            short = self._lacking(earmark, short)
            if len(self._refused) > _MOST_REFUSED:
                self._refused.clear()
            self._refused[short.key] = (short, now)
        waiter.answer = short if hold is None else hold
        waiter.answered.set()

    def _lacking(self, earmark: Earmark, short: Short | None) -> Short:
        """Return what a refused call is told: what is left, with what this replica has for it."""
        if short is None:  # granted, and yet short: more was settled than held meanwhile
            key = min(earmark.keys, key=lambda each: self._leases[each].available)
            short = Short(key, 0, self._leases[key].cap or 0)
        return Short(short.key, short.left + max(0, self._leases[short.key].available), short.cap)

    def _not_ours(self, answer: GrantAnswer) -> dict[BudgetKey, int]:
        """Return what is free of each budget, with what other replicas have leased of it.

        The balances are those before the grant, and its part of them is ours by now.
        """
        return {
            key: balance.room
            + balance.leased
            - self._leases.leased(key)
            - self._flusher.ending(key)
            for key, balance in answer.balances.items()
        }

    async def _ask_again(self, waiters: list[_Waiter]) -> None:
        """Ask once more for what some calls lack, after money had time to come back."""
        lacking = frozenset[BudgetKey]().union(*(waiter.short_of for waiter in waiters))
        coming = self._flusher.coming_back()
        if lacking - coming:
            await self._recall_theirs(lacking - coming)
        if lacking & coming:
            await self._flusher.gone_back(self._patience_s(_GONE_BACK_S))
        now = self._clock.monotonic()
        for waiter in waiters:
            self._put_off.discard(waiter)
            if not waiter.has_left:
                waiter.earmark = self._leases.earmark(waiter.keys, waiter.amount, now)
                self._waiting.append(waiter)
        self._is_wanted.set()

    async def _recall_theirs(self, keys: Set[BudgetKey]) -> None:
        """Have the other replicas give back what they can, and give them the time; not too often."""
        now = self._clock.monotonic()
        recent = {key: at for key, at in self._recalled_at.items() if now - at < _RECALL_S}
        fresh = sorted(keys - recent.keys())
        self._recalled_at = recent | dict.fromkeys(fresh, now)
        try:
            if fresh:
                await self._ledger.recall(self._replica, fresh)
        except LedgerUnavailable as error:
            self._fence.lost(str(error))
        await anyio.sleep(self._patience_s(_RECALL_S))

    def _patience_s(self, least_s: float) -> float:
        """Return how long a refusal waits for money: longer where the database is slow."""
        return least_s if self._took_s < _SLOW_S else min(_MOST_WAIT_S, 2 * self._took_s)

    def _fail(self, waiters: list[_Waiter], error: LedgerUnavailable) -> None:
        for waiter in waiters:
            if waiter.answer is None and not waiter.has_left and waiter not in self._put_off:
                self._unmark(waiter)
                waiter.answer = error
                waiter.answered.set()
