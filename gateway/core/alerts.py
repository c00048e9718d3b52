"""Which thresholds a budget has newly passed, and the message that says so.

A threshold is an amount: a per cent of the cap. It is passed when what counts as spent (settled, and
unsettled) reaches it. A changed cap makes other amounts of the same per cents, so a per cent is told
again only where its amount was not reached yet when that per cent was last told: raising a cap from
10 to 11 with 9 spent says nothing again of 50 and 80 %, raising it to 100 makes both new.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

import msgspec

from gateway.core.budget import BudgetKey
from gateway.core.money import NanoDollars, to_usd


class Event(StrEnum):
    """What a webhook can be told of."""

    BUDGET_THRESHOLD = "budget.threshold"


class Told(msgspec.Struct, frozen=True):
    """A per cent of a budget's cap was told, whatever the cap was, when so much was spent."""

    percent: int
    taken_nusd: NanoDollars


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """A capped budget in its period, and what was told of it. Amounts are nano-dollars ≥ 0."""

    id: int
    key: BudgetKey
    cap_nusd: NanoDollars
    spent_nusd: NanoDollars
    leased_nusd: NanoDollars
    unsettled_nusd: NanoDollars
    told: tuple[Told, ...]

    @property
    def taken_nusd(self) -> NanoDollars:
        """What counts as spent."""
        return NanoDollars(self.spent_nusd + self.unsettled_nusd)

    @property
    def left_nusd(self) -> NanoDollars:
        """What nobody has spent or holds; zero where more is."""
        return NanoDollars(max(0, self.cap_nusd - self.taken_nusd - self.leased_nusd))


class Passed(msgspec.Struct, frozen=True):
    """A budget has newly passed a threshold, `percent` of its cap."""

    budget: Watched
    percent: int


class _Data(msgspec.Struct, frozen=True, kw_only=True):
    scope: str
    scope_id: str
    window: str
    period_start: str
    percent: int
    cap_usd: str
    spent_usd: str
    unsettled_usd: str
    left_usd: str


class _Message(msgspec.Struct, frozen=True, kw_only=True):
    type: Event
    timestamp: datetime
    data: _Data


def passed(budget: Watched, percents: Iterable[int]) -> list[Passed]:
    """Return the thresholds that are passed and were not told, in the order of `percents` (1 to 100).

    A cap of zero is passed by the first nano-dollar, not by having nothing left.
    """
    return [Passed(budget, percent) for percent in percents if _is_new(budget, percent)]


def body(alert: Passed, at: datetime) -> str:
    """Return the message's JSON: `type`, `timestamp`, `data` (Standard Webhooks, "Payload structure").

    `at` is aware UTC. Amounts are those of the budget as it was looked at.
    """
    key = alert.budget.key
    data = _Data(
        scope=key.scope.value,
        scope_id=key.scope_id,
        window=key.window.value,
        period_start=key.period_start,
        percent=alert.percent,
        cap_usd=to_usd(alert.budget.cap_nusd),
        spent_usd=to_usd(alert.budget.spent_nusd),
        unsettled_usd=to_usd(alert.budget.unsettled_nusd),
        left_usd=to_usd(alert.budget.left_nusd),
    )
    message = _Message(type=Event.BUDGET_THRESHOLD, timestamp=at, data=data)
    return msgspec.json.encode(message).decode()


def _is_new(budget: Watched, percent: int) -> bool:
    if not _is_reached(budget.taken_nusd, budget.cap_nusd, percent):
        return False
    return not any(
        told.percent == percent and _is_reached(told.taken_nusd, budget.cap_nusd, percent)
        for told in budget.told
    )


def _is_reached(taken: int, cap: int, percent: int) -> bool:
    return taken > 0 and taken * 100 >= cap * percent
