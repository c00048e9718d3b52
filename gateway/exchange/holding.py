"""What a call may cost, and the money held for it: from the cheapest bound to the one that fits.

The bound from bytes is offered first. Where a budget lacks room for it, the request's tokens are
counted; where that does not fit either, fewer output tokens are offered, if the workspace allows it.
"""

from functools import partial

import msgspec

from gateway.core import limits as deciding
from gateway.core.budget import BudgetKey, Hold
from gateway.core.ids import RunId
from gateway.core.limits import OnExcess, Target
from gateway.core.pricing import Vocabulary
from gateway.core.refusal import Refused
from gateway.exchange import estimates, offers
from gateway.exchange.estimates import Estimate
from gateway.exchange.ports import Counter, Ledger
from gateway.exchange.progress import Progress
from gateway.exchange.purse import Purse
from gateway.exchange.switchboard import Switchboard


class Holding:
    """Bounds calls, and holds what they may cost. Its awaits raise LedgerUnavailable."""

    def __init__(
        self, *, board: Switchboard, purse: Purse, ledger: Ledger, counter: Counter
    ) -> None:
        self._board = board
        self._purse = purse
        self._ledger = ledger
        self._counter = counter
        self._budgets_of: dict[tuple[Target, RunId | None], tuple[BudgetKey, ...]] = {}
        self._budgets_under = board.limits
        self._budgets_at = 0

    def bound(self, progress: Progress) -> Refused | None:
        """Work out the first offer, and the budgets that it falls under."""
        offer = offers.offer(progress.model, progress.wanted.asked, progress.admitted.ceiling)
        if isinstance(offer, Refused):
            return offer
        progress.offer = offer
        progress.keys = self._budgets(progress)
        return None

    def _budgets(self, progress: Progress) -> tuple[BudgetKey, ...]:
        """Return the budgets that a call falls under; worked out once a second for each target."""
        limits, started = self._board.limits, progress.started
        second = int(started.utc.timestamp())
        if limits is not self._budgets_under or second != self._budgets_at:
            self._budgets_under, self._budgets_at = limits, second
            self._budgets_of.clear()
        run = None if progress.run is None else progress.run.id
        found = self._budgets_of.get((progress.target, run))
        if found is None:
            day = deciding.local_day(started.utc, progress.standing.zone)
            capped = progress.caller.capped
            found = deciding.budgets(progress.target, progress.run, limits, day, capped)
            self._budgets_of[progress.target, run] = found
        return found

    async def hold(self, progress: Progress) -> Refused | None:
        """Hold the bound, sharpened or clamped where the cheap one does not fit."""
        lacking = await self._try_hold(progress)
        if lacking is not None and await self._sharpen(progress):
            lacking = await self._try_hold(progress)
        for _ in range(1 + len(progress.keys)):  # what fits one cap may not fit another
            if lacking is None or not self._clamp(progress, lacking.left):
                break
            lacking = await self._try_hold(progress)
        return None if lacking is None else lacking.refused

    async def estimate(self, progress: Progress) -> Estimate:
        """Return what a bounded call may cost, and whether it would be admitted now."""
        balances = await self._ledger.balances(progress.keys)
        ours = {key: self._purse.available(key) for key in progress.keys}
        lacking = partial(estimates.refusals, progress, balances, ours, self._board.limits)
        found = lacking()
        if found and await self._sharpen(progress):
            found = lacking()
        for _ in range(1 + len(progress.keys)):
            if not found or not self._clamp(progress, estimates.left(found)):
                break
            found = lacking()
        return estimates.estimate(progress, found)

    async def _try_hold(self, progress: Progress) -> "_Lacking | None":
        bound = progress.offer.bound.amount
        excess = deciding.request_cap_excess(bound, self._board.limits)
        if excess is not None:
            return _Lacking(excess.left_nusd or 0, excess)
        held = await self._purse.hold(progress.keys, bound)
        if isinstance(held, Hold):
            progress.hold = held
            return None
        refused = deciding.over_budget(held.key, progress.run, held.left, held.cap, bound)
        return _Lacking(held.left, refused)

    async def _sharpen(self, progress: Progress) -> bool:
        """Count the request's tokens and bound it by them; False where that brings nothing."""
        asked, model = progress.wanted.asked, progress.model
        if asked.hides_input or model.vocabulary is Vocabulary.UNKNOWN:
            return False
        body = b" ".join(bytes(raw) for raw in progress.wanted.fields.values())
        counted = await self._counter.count_body(body, model.vocabulary)
        if counted is None:
            return False
        offer = offers.offer(model, asked, progress.admitted.ceiling, counted)
        if isinstance(offer, Refused) or offer.bound.amount >= progress.offer.bound.amount:
            return False
        progress.offer = offer
        return True

    def _clamp(self, progress: Progress, left: int) -> bool:
        if self._board.limits.short_budget is not OnExcess.CLAMP:
            return False
        offer = offers.clamped(progress.model, progress.wanted.asked, progress.offer, left)
        if offer is None:
            return False
        progress.offer = offer
        return True


class _Lacking(msgspec.Struct, frozen=True):
    """Why a bound could not be held, and what was left of the budget that lacks it."""

    left: int
    refused: Refused
