"""One replica as `exchange.purse` and `exchange.flushing` drive the core, a step at a time.

What they do between two awaits is one method here, so that whoever calls these methods can have
anything else happen in between. Also kept is what this process knows to be true, whatever the code
under test makes of it: what the provider charged for its calls, and what it settled.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from gateway.core.budget import (
    Balance,
    BudgetKey,
    Decision,
    Earmark,
    FlushLine,
    GrantAnswer,
    Hold,
    Lease,
    Leases,
    Need,
    Short,
    decide,
)
from gateway.core.ids import ReplicaId
from gateway.errors import ReplicaRetired
from gateway.exchange.fence import Fence
from tests.ledger.books import State
from tests.ledger.calls import Call, Ended, Wanted

TTL_S = 15.0
SHARE_PPM = 250_000


class Clock:
    """A process's own monotonic clock, which stands still while its machine is paused."""

    def __init__(self, now: float) -> None:
        self.seconds = now
        self.is_paused = False
        self.lag = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def wait(self, seconds: float) -> None:
        if self.is_paused:
            self.lag += seconds
        else:
            self.seconds += seconds


class Deaf:
    """Hears that the ledger was lost and found, and says nothing."""

    def ledger_lost(self, _: str) -> None: ...
    def ledger_back(self) -> None: ...


class Waiting(msgspec.Struct):
    """A call that waits for a grant; without an earmark while it is put off."""

    wanted: Wanted
    earmark: Earmark | None
    is_second_time: bool = False


class Asking(msgspec.Struct):
    """A grant under way: what was asked for, what was seen, and what was done."""

    waiting: list[Waiting]
    needs: list[Need]
    wishes: Mapping[BudgetKey, int]
    at: float
    lag: float
    doubtful: frozenset[BudgetKey]
    balances: Mapping[BudgetKey, Balance] | None = None
    answer: GrantAnswer | None = None

    def decided(self) -> Decision:
        """Decide on what was seen, as the store does."""
        assert self.balances is not None
        return decide(self.needs, self.balances, self.wishes, SHARE_PPM)

    def found(self, balances: Mapping[BudgetKey, Balance]) -> None:
        """Take in by which balances it did not fit: the next try is for needs alone."""
        self.balances = {**(self.balances or {}), **balances}
        self.wishes = {}


class Flush(msgspec.Struct):
    """A flush under way, and its answer while nobody has heard it."""

    sequence: int
    lines: list[FlushLine]
    sent_at: float = 0.0
    lag: float = 0.0
    answer: State | None = None

    @property
    def is_reconciling(self) -> bool:
        return any(line.lease_left is not None for line in self.lines)

    def change(self, key: BudgetKey) -> tuple[int, int]:
        """Return what it books of a budget: spent, and the lease that ends."""
        lines = [line for line in self.lines if line.key == key]
        return sum(line.spent for line in lines), sum(line.lease_ended for line in lines)


class Process:
    """One incarnation of a replica."""

    def __init__(self, name: ReplicaId, now: float) -> None:
        self.name = name
        self.clock = Clock(now)
        self.leases = Leases()
        self.fence = Fence(self.clock, TTL_S, Deaf())  # type: ignore[arg-type]
        self.renewed_lag = 0.0
        self.is_frozen = False
        self.calls: list[Call] = []
        self.waiting: list[Waiting] = []
        self.put_off: list[Waiting] = []
        self.asking: Asking | None = None
        self.sequence = 0
        self.flush: Flush | None = None
        self.doubted: set[BudgetKey] = set()
        self.closing: set[str] = set()
        self.traces = 0
        self.leaks = False
        """Whether it was granted something after it had given up on hearing of it."""
        self.charged: Counter[BudgetKey] = Counter()
        self.beyond: Counter[BudgetKey] = Counter()
        self.settled: Counter[BudgetKey] = Counter()
        self.settled_beyond: Counter[BudgetKey] = Counter()
        self.misreported: Counter[BudgetKey] = Counter()

    @property
    def now(self) -> float:
        return self.clock.seconds

    @property
    def can_ask(self) -> bool:
        """Whether a grant may be asked for: none is under way, and no lost one is in doubt."""
        is_sure = not self.doubted and not (self.flush and self.flush.is_reconciling)
        return bool(self.waiting) and self.asking is None and is_sure

    @property
    def is_clock_trusted(self) -> bool:
        """Whether its clock went on ever since it sent the request that renewed it last."""
        return self.clock.lag == self.renewed_lag

    def hold(self, wanted: Wanted, seed: int) -> bool:
        """Begin a call, which then runs or waits; False where none may begin."""
        if not self.fence.is_open:
            return False
        hold = self.leases.hold(wanted.keys, wanted.amount, self.now)
        if hold is None:
            earmark = self.leases.earmark(wanted.keys, wanted.amount, self.now)
            self.waiting.append(Waiting(wanted, earmark))
        else:
            self._run(wanted, hold, seed)
        return True

    def leave(self, waiter: Waiting) -> None:
        """Let a call go that is waiting for a grant."""
        self._unmark([waiter])
        self.waiting = [each for each in self.waiting if each is not waiter]
        self.put_off = [each for each in self.put_off if each is not waiter]

    def ask(self) -> None:
        """Ask for what every waiting call lacks."""
        waiting, self.waiting = self.waiting, []
        needs = [each.earmark.need for each in waiting if each.earmark is not None]
        wishes = self.leases.wishes(needs, self.now)
        self.asking = Asking(waiting, needs, wishes, self.now, self.clock.lag, frozenset(wishes))

    def ask_fails(self) -> None:
        """Give up a grant of which nobody knows whether it was done."""
        asking, self.asking = self.asking, None
        assert asking is not None
        self.fence.lost("")
        self.doubted |= asking.doubtful
        self._unmark(asking.waiting)

    def hear_grant(self, seed: int, *, may_put_off: bool) -> None:
        """Take what was granted, and begin the calls that it is for."""
        asking, self.asking = self.asking, None
        assert asking is not None
        answer = asking.answer
        assert answer is not None
        if answer.decision.grants:
            self._renewed(asking.at, asking.lag)
        self.fence.heard()
        self.leases.granted(answer.decision, answer.balances)
        if not self.fence.is_open:  # it was heard of too late, and no call may begin
            self._unmark(asking.waiting)
            return
        answered = list(zip(asking.waiting, answer.decision.answers, strict=True))
        answered.sort(key=lambda each: each[1] is not None)  # nobody refused takes what is granted
        for waiter, short in answered:
            if waiter.earmark is not None:
                self._answer(waiter, short, seed, may_put_off=may_put_off)

    def ask_again(self) -> None:
        """Ask once more for what money had time to come back for."""
        for waiter in self.put_off:
            wanted = waiter.wanted
            waiter.earmark = self.leases.earmark(wanted.keys, wanted.amount, self.now)
        self.waiting += self.put_off
        self.put_off = []

    def end(self, call: Call, ended: Ended) -> None:
        """Settle a call for what it owes, and note what the provider charged."""
        self.calls.remove(call)
        amount = ended.owed.amount
        self.leases.settle(call.hold, amount, self.now)
        self.traces += 1
        for key in call.hold.keys:
            self.settled[key] += amount
            self.settled_beyond[key] += max(0, amount - call.hold.amount)
            if ended.is_reported:
                self.misreported[key] += abs(amount - ended.charged)
        self._charge(call, ended.charged)

    def die(self) -> None:
        """End at once; the provider charges what it may."""
        for call in self.calls:
            self._charge(call, call.worst)

    def draw(self) -> None:
        """Take what the next flush books, where there is anything."""
        doubted = frozenset() if self.asking else frozenset(self.doubted)
        lines = self.leases.draw(self.now, closing=frozenset(self.closing), doubted=doubted)
        self.closing.clear()
        self.doubted -= doubted
        self._begin_flush(lines)

    def draw_everything(self) -> None:
        """Take all there is: the process stops."""
        self._begin_flush(self.leases.draw(self.now, everything=True))

    def send_flush(self) -> Flush:
        """Return the flush that is under way, sent now; nobody listens for an earlier answer."""
        assert self.flush is not None
        self.flush.answer = None
        self.flush.sent_at, self.flush.lag = self.now, self.clock.lag
        return self.flush

    def hear_flush(self, state: State) -> None:
        """Take it that the flush under way is booked."""
        flush, self.flush = self.flush, None
        assert flush is not None
        if state is State.RESOLVED:
            self.retire()
        self._renewed(flush.sent_at, flush.lag)

    def renewed(self) -> None:
        """Take it that the database renewed this replica just now."""
        self._renewed(self.now, self.clock.lag)

    def retire(self) -> None:
        self.fence.retire(ReplicaRetired("resolved by hand"))

    def recall(self, keys: Iterable[BudgetKey]) -> None:
        for key in keys:
            self.leases.recall(key)

    def lease(self, key: BudgetKey) -> Lease:
        """Return a lease as it stands, without making any."""
        return dict(self.leases.items()).get(key) or Lease()

    def unheard(self, key: BudgetKey) -> int:
        """Return what a grant has granted whose answer is on its way."""
        answer = None if self.asking is None else self.asking.answer
        return 0 if answer is None else answer.decision.grants.get(key, 0)

    def held(self, key: BudgetKey) -> int:
        """Return what running calls may cost, by the calls themselves."""
        return sum(call.hold.amount for call in self.calls if key in call.hold.keys)

    def _run(self, wanted: Wanted, hold: Hold, seed: int) -> None:
        self.calls.append(Call(wanted, hold, seed))

    def _charge(self, call: Call, amount: int) -> None:
        for key in call.hold.keys:
            self.charged[key] += amount
            self.beyond[key] += max(0, amount - call.hold.amount)

    def _unmark(self, waiting: Iterable[Waiting]) -> None:
        for waiter in waiting:
            if waiter.earmark is not None:
                self.leases.forget(waiter.earmark)
                waiter.earmark = None

    def _answer(
        self, waiter: Waiting, short: Short | None, seed: int, *, may_put_off: bool
    ) -> None:
        assert waiter.earmark is not None
        if short is not None and may_put_off and not waiter.is_second_time:
            self._unmark([waiter])
            waiter.is_second_time = True
            self.put_off.append(waiter)
            return
        hold = self.leases.complete(waiter.earmark, self.now)
        waiter.earmark = None
        if hold is not None:
            self._run(waiter.wanted, hold, seed)
        elif short is None:
            assert any(self.settled_beyond[key] for key in waiter.wanted.keys), "granted, yet short"

    def _begin_flush(self, lines: list[FlushLine]) -> None:
        if lines or self.traces:
            self.traces = 0
            self.sequence += 1
            self.flush = Flush(self.sequence, lines)

    def _renewed(self, sent_at: float, lag: float) -> None:
        self.fence.renewed(sent_at)
        self.renewed_lag = max(self.renewed_lag, lag)
