"""What a call may cost and whether it would be admitted: the dry run's answer."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from gateway.core import limits as deciding
from gateway.core.budget import Balance, BudgetKey, Scope, Window
from gateway.core.limits import Limits
from gateway.core.money import NanoDollars, to_usd
from gateway.core.refusal import Refused
from gateway.exchange.progress import Progress


class Shortage(msgspec.Struct, frozen=True):
    """One budget that the call does not fit."""

    code: str
    budget: str
    left_usd: str


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a dry run's answer."""

    model: str
    provider: str
    input_tokens_bound: int
    output_tokens_bound: int
    bound_usd: str
    admitted: bool
    refusals: Sequence[Shortage]


def refusals(
    progress: Progress,
    balances: Mapping[BudgetKey, Balance],
    ours: Mapping[BudgetKey, int],
    limits: Limits,
) -> list[Refused]:
    """Return every reason why the offer of a prepared call does not fit the budgets as they stand.

    `ours` is what this replica could hold of each without asking. A run that is not open yet is
    taken at the cap that it would be opened with.
    """
    found = [deciding.request_cap_excess(progress.offer.bound.amount, limits)]
    found += [
        _lacking(key, progress, balance, ours.get(key, 0))
        for key, balance in [*balances.items(), *_unopened(progress, limits)]
    ]
    return [refused for refused in found if refused is not None]


def left(found: Iterable[Refused]) -> int:
    """Return what is left of the budget that has least, in nano-dollars."""
    return min(refused.left_nusd or 0 for refused in found)


def estimate(progress: Progress, found: Iterable[Refused]) -> Estimate:
    """Return what a prepared call may cost, by its last offer, and what that does not fit."""
    bound = progress.offer.bound
    shortages = [
        Shortage(refused.code.value, refused.budget or "", to_usd(refused.left_nusd or 0))
        for refused in found
    ]
    return Estimate(
        model=progress.model.name,
        provider=progress.model.provider,
        input_tokens_bound=bound.input_tokens,
        output_tokens_bound=bound.output_tokens,
        bound_usd=to_usd(bound.amount),
        admitted=not shortages,
        refusals=shortages,
    )


def _unopened(progress: Progress, limits: Limits) -> list[tuple[BudgetKey, Balance]]:
    if progress.controls.run is None or progress.run is not None:
        return []
    asked = progress.controls.run_cap
    cap = limits.run_cap if asked is None else asked
    key = BudgetKey(Scope.RUN, "", Window.TOTAL, "")
    return [(key, Balance(cap=cap, spent=0, leased=0, unsettled=0))]


def _lacking(key: BudgetKey, progress: Progress, balance: Balance, ours: int) -> Refused | None:
    amount: NanoDollars = progress.offer.bound.amount
    if balance.cap is None or balance.free is None or balance.free + ours >= amount:
        return None
    left = max(0, balance.free + ours)
    return deciding.over_budget(key, progress.run, left, balance.cap, amount)
