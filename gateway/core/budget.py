"""Leases and holds: how this replica's part of the budgets moves, and what may be granted.

The escrow method (O'Neil 1986; Balegas et al. 2015, bounded counters). Two invariants carry the
promise that a cap holds, `docs/guarantees.md` tells the whole story:

1. in the database, for every budget, `spent + unsettled + leased <= cap` after each grant;
2. in a replica, for every budget, `held + spent unflushed <= leased`.

`decide` keeps the first, `Leases` the second. Only an amount above its own bound, which a provider
billed in spite of it, can break them; it is booked as it is and counted as overshoot.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from gateway.core.money import PER_MILLION, ZERO, NanoDollars

MOST_WISHES: Final = 500
"""Budgets that one grant may be about, so that its statement stays small."""
MOST_COUNTED: Final = 4 * 10**18
"""What a budget counts at most, four billion dollars: twice that, less a cap, fits PostgreSQL's bigint.

Only an absurd price comes near. A call that would pass it is refused, and a charge counted as it.
"""
_SECOND: Final = 1.0


class Scope(StrEnum):
    """What a budget is for."""

    WORKSPACE = "workspace"
    PROJECT = "project"
    TOKEN = "token"  # noqa: S105  # a scope, not a credential
    MODEL = "model"
    RUN = "run"


class Window(StrEnum):
    """How long a budget lasts before it starts anew."""

    MONTH = "month"
    DAY = "day"
    TOTAL = "total"


class BudgetKey(msgspec.Struct, frozen=True, order=True):
    """One budget in one period. `period_start` is an ISO date, or empty where the window is total."""

    scope: Scope
    scope_id: str
    window: Window
    period_start: str


class Hold(msgspec.Struct, eq=False):
    """A part of this replica's leases kept for one running call, in every budget it falls under."""

    keys: tuple[BudgetKey, ...]
    amount: NanoDollars
    is_held: bool = True


class Need(msgspec.Struct, frozen=True):
    """What one waiting call lacks: it gets each of `amounts`, all > 0, or nothing.

    What this replica already has for the call is earmarked for it, and not part of the need.
    """

    amounts: Mapping[BudgetKey, int]


class Earmark(msgspec.Struct, frozen=True, eq=False):
    """What a waiting call already has of its hold, budget by budget, and what it lacks."""

    keys: tuple[BudgetKey, ...]
    amount: NanoDollars
    parts: Mapping[BudgetKey, int]
    need: Need


class Lease(msgspec.Struct):
    """One budget as this replica sees it. All amounts are nano-dollars ≥ 0.

    `leased` is what the database granted and no flush has taken yet; `spent` is settled and not yet
    in a flush, `overshoot` the part of it that was beyond its hold. `free` is what the budget had
    left beside all leases when it was last asked (a hint for people, never a licence to spend).
    `recalled` is what the next flush gives back, whatever runs. `used` is the sum of holds since
    `began_at` and `used_before` that of the second before it; times are monotonic.
    """

    leased: int = 0
    held: int = 0
    spent: int = 0
    overshoot: int = 0
    recalled: int = 0
    free: int = 0
    cap: int | None = None
    used: int = 0
    used_before: int = 0
    began_at: float = 0.0
    used_at: float = 0.0

    @property
    def available(self) -> int:
        """What a new call may hold without asking."""
        return self.leased - self.held - self.spent - self.recalled

    @property
    def recent_use(self) -> int:
        """What calls held in the busier of the last two seconds: it sizes the next grant."""
        return max(self.used, self.used_before)

    def use(self, amount: int, now: float) -> None:
        """Note that a call held an amount, or waits to."""
        passed_s = now - self.began_at
        if passed_s >= _SECOND:
            self.used_before = self.used if passed_s < 2 * _SECOND else 0
            self.used, self.began_at = 0, now
        self.used += amount
        self.used_at = now


class FlushLine(msgspec.Struct, frozen=True):
    """One budget's part of a flush: spend to book, and how much of the lease that ends.

    `lease_left`, where it is given, is all that this replica has left of the lease: what the database
    has above it was granted by a commit that the replica never heard of, and goes back.
    """

    key: BudgetKey
    spent: int
    lease_ended: int
    overshoot: int
    lease_left: int | None = None


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """A budget's row, locked by the grant that reads it. `cap` None: counted, not capped."""

    cap: int | None
    spent: int
    leased: int
    unsettled: int

    @property
    def free(self) -> int | None:
        """What may still be leased; None where there is no cap. Below zero after an overshoot."""
        if self.cap is None:
            return None
        return self.room

    @property
    def room(self) -> int:
        """What may still be leased; where there is no cap, what can be counted at all."""
        cap = MOST_COUNTED if self.cap is None else self.cap
        return cap - self.spent - self.unsettled - self.leased


class Short(msgspec.Struct, frozen=True):
    """Why a need was not granted: the budget that lacks most, and what it could still lease."""

    key: BudgetKey
    left: int
    cap: int


class Decision(msgspec.Struct, frozen=True):
    """What a grant does: more lease for each budget, and each need's answer (None: granted)."""

    grants: Mapping[BudgetKey, int]
    answers: tuple[Short | None, ...]


class GrantAnswer(msgspec.Struct, frozen=True):
    """What a grant did, and the balances it found, as they were before it."""

    decision: Decision
    balances: Mapping[BudgetKey, Balance]


class Leases:
    """This replica's leases. No method awaits, so each is atomic in one event loop."""

    def __init__(self, *, idle_s: float = 1.0) -> None:
        self._leases: dict[BudgetKey, Lease] = {}
        self._idle_s = idle_s

    def __getitem__(self, key: BudgetKey) -> Lease:
        """Return the lease of a budget, empty where none was granted yet."""
        lease = self._leases.get(key)
        if lease is None:
            lease = self._leases[key] = Lease()
        return lease

    def items(self) -> Iterable[tuple[BudgetKey, Lease]]:
        """Return every budget that this replica knows."""
        return self._leases.items()

    def hold(self, keys: tuple[BudgetKey, ...], amount: NanoDollars, now: float) -> Hold | None:
        """Hold an amount in all of some budgets, or in none: None where a lease is short."""
        leases = [self[key] for key in keys]
        if any(lease.available < amount for lease in leases):
            return None
        for lease in leases:
            lease.held += amount
            lease.use(amount, now)
        return Hold(keys, amount)

    def earmark(self, keys: tuple[BudgetKey, ...], amount: NanoDollars, now: float) -> Earmark:
        """Keep what there is for a call that must wait for more, so that none overtakes it.

        Where more was settled than held, what is granted must fill that too. It is no negative
        part: a flush books it meanwhile, and the part would then be money that nobody leased.
        """
        parts, lacking = {}, {}
        for key in keys:
            lease = self[key]
            available = lease.available
            parts[key] = max(0, min(amount, available))
            if available < amount:
                lacking[key] = amount - available
            lease.held += parts[key]
            lease.use(amount, now)
        return Earmark(keys, amount, parts, Need(lacking))

    def forget(self, earmark: Earmark) -> None:
        """Give an earmark's parts back: its call was refused, or left."""
        for key, part in earmark.parts.items():
            self[key].held -= part

    def complete(self, earmark: Earmark, now: float) -> Hold | None:
        """Turn an earmark into a hold, now that more was granted; None if it still lacks some."""
        self.forget(earmark)
        return self.hold(earmark.keys, earmark.amount, now)

    def settle(self, hold: Hold, amount: NanoDollars, now: float) -> None:
        """End a hold: what was really used becomes spent, the rest goes back to the lease.

        Raises:
            RuntimeError: the hold has ended before, so its owner would charge twice.
        """
        if not hold.is_held:
            raise RuntimeError("a hold ends once")
        hold.is_held = False
        for key in hold.keys:
            lease = self[key]
            lease.held -= hold.amount
            lease.spent += amount
            lease.overshoot += max(0, amount - hold.amount)
            lease.used_at = now

    def release(self, hold: Hold, now: float) -> None:
        """End a hold of which certainly nothing was billed."""
        self.settle(hold, ZERO, now)

    def recall(self, key: BudgetKey) -> None:
        """Let nobody hold what no call holds now, and give it back: its budget's cap was lowered."""
        lease = self._leases.get(key)
        if lease is not None:
            lease.recalled += max(0, lease.available)

    def slack(self, key: BudgetKey) -> int:
        """Return what this replica could give back of a budget at once."""
        lease = self._leases.get(key)
        return 0 if lease is None else max(0, lease.available)

    def leased(self, key: BudgetKey) -> int:
        """Return what this replica has of a budget."""
        lease = self._leases.get(key)
        return 0 if lease is None else lease.leased

    def wishes(self, needs: Sequence[Need], now: float) -> dict[BudgetKey, int]:
        """Return what this replica would like on top of some needs: a second's use of each budget.

        Budgets that are in use and run low are topped up by the way, so that the calls of many runs
        don't each bring a grant of their own.
        """
        wishes = {key: self[key].recent_use for need in needs for key in need.amounts}
        for key, lease in self._leases.items():
            if len(wishes) >= MOST_WISHES:
                break
            is_low = 2 * lease.available < lease.recent_use
            if key not in wishes and is_low and now - lease.used_at < _SECOND:
                wishes[key] = lease.recent_use - lease.available
        return wishes

    def granted(self, decision: Decision, balances: Mapping[BudgetKey, Balance]) -> None:
        """Add what the database granted."""
        for key, balance in balances.items():
            lease = self[key]
            grant = decision.grants.get(key, 0)
            lease.leased += grant
            lease.cap = balance.cap
            lease.free = max(0, (balance.free or 0) - grant)

    def draw(
        self,
        now: float,
        *,
        closing: frozenset[str] = frozenset(),
        doubted: frozenset[BudgetKey] = frozenset(),
        everything: bool = False,
    ) -> list[FlushLine]:
        """Take what the next flush books: all settled spend, and what idle leases give back.

        A lease is idle when nothing is held and nothing moved for `idle_s`, when its run closed
        (`closing` holds run ids), or when `everything` goes back because the replica stops. Of a
        `doubted` budget a grant may have been lost: its line says what is left. Until that flush is
        booked no grant may be asked for.
        """
        lines = [FlushLine(key, 0, 0, 0, 0) for key in doubted if key not in self._leases]
        for key, lease in list(self._leases.items()):
            is_over = everything or (key.scope is Scope.RUN and key.scope_id in closing)
            is_idle = lease.held == 0 and (is_over or now - lease.used_at >= self._idle_s)
            back = max(0, lease.available) if is_idle or is_over else 0
            ended = min(lease.spent + lease.recalled + back, lease.leased)
            lease.leased -= ended
            if lease.spent or ended or key in doubted:
                left = lease.leased if key in doubted else None
                lines.append(FlushLine(key, lease.spent, ended, lease.overshoot, left))
                lease.spent = lease.overshoot = lease.recalled = 0
            if is_idle and lease.leased == 0:
                del self._leases[key]
        return lines


def decide(
    needs: Sequence[Need],
    balances: Mapping[BudgetKey, Balance],
    wishes: Mapping[BudgetKey, int],
    share_ppm: int,
) -> Decision:
    """Return what to grant to a replica that would like `wishes` on top of what its calls need.

    Needs are met in their order, each in all of its budgets or in none. What a wish adds never
    exceeds `share_ppm` millionths of what is then free, so that near a cap a lease shrinks to the calls' own need.
    A wish for a budget that no need names is met alike; one for a budget whose every need is short is not.
    """
    taken: dict[BudgetKey, int] = {}
    answers = []
    for need in needs:
        short = _shortest(need, balances, taken)
        answers.append(short)
        if short is None:
            for key, amount in need.amounts.items():
                taken[key] = taken.get(key, 0) + amount
    needed = {key for need in needs for key in need.amounts}
    asked = taken | {key: 0 for key in wishes if key not in needed}
    grants = {
        key: amount + _extra(balances[key], amount, wishes.get(key, 0), share_ppm)
        for key, amount in asked.items()
    }
    return Decision({key: amount for key, amount in grants.items() if amount}, tuple(answers))


def _shortest(
    need: Need, balances: Mapping[BudgetKey, Balance], taken: Mapping[BudgetKey, int]
) -> Short | None:
    """Return the budget that lacks most for one more need, if any lacks something."""
    worst, most_lacking = None, 0
    for key, amount in need.amounts.items():
        balance = balances[key]
        left = balance.room - taken.get(key, 0)
        if amount - left > most_lacking:
            cap = MOST_COUNTED if balance.cap is None else balance.cap
            worst, most_lacking = Short(key, max(0, left), cap), amount - left
    return worst


def _extra(balance: Balance, needed: int, wish: int, share_ppm: int) -> int:
    free = max(0, balance.room - needed)
    return min(wish, free if balance.cap is None else free * share_ppm // PER_MILLION)
