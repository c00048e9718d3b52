"""Keeps the metrics of budgets as they stand in the database."""

from collections.abc import Callable, Iterable
from datetime import date

from gateway.core.budget import Scope, Window
from gateway.store.limits import LimitStore
from gateway.telemetry import BudgetFigures

_SHOWN = frozenset({Scope.WORKSPACE, Scope.PROJECT})


async def run(
    limits: LimitStore,
    today: Callable[[], date],
    report: Callable[[Iterable[BudgetFigures]], None],
) -> None:
    """Report this month's budgets of the workspace and its projects."""
    report(
        BudgetFigures(state.scope, state.cap_nusd, state.spent_nusd, state.held_nusd)
        for state in await limits.spend(today())
        if state.scope in _SHOWN and state.window is Window.MONTH
    )
