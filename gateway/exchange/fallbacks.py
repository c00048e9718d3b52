"""The attempt that follows one that failed: another model, admitted and held for as if it came first.

Nothing of the attempt before is used again. It is settled by now, so what it may owe is spent when
the budgets are asked for the next, and no sequence of attempts can pass a cap.
"""

from collections.abc import Callable

import anyio

from gateway.core.traces import FailedAttempt
from gateway.errors import LedgerUnavailable
from gateway.exchange import admission
from gateway.exchange.holding import Holding
from gateway.exchange.ports import Clock
from gateway.exchange.progress import Progress
from gateway.exchange.switchboard import Switchboard


class Fallbacks:
    """Finds the next attempt of a call."""

    def __init__(
        self, *, board: Switchboard, holding: Holding, clock: Clock, is_stopping: Callable[[], bool]
    ) -> None:
        """Look for none while `is_stopping`."""
        self._board = board
        self._holding = holding
        self._clock = clock
        self._is_stopping = is_stopping

    async def next(self, failed: Progress, attempt: FailedAttempt) -> Progress | None:
        """Return the progress of the next attempt, held for; None where there is none.

        One that may not be made, or that a budget has no room for, is passed over. `attempt` is what
        the failed one came to.
        """
        ends_at = _ends_at(failed)
        for index, model in enumerate(failed.fallbacks):
            left_s = ends_at - self._clock.monotonic()
            if left_s <= 0 or self._is_stopping():
                return None
            following = failed.followed(attempt, ends_at)
            following.fallbacks = failed.fallbacks[index + 1 :]
            admission.aim(following, model)
            if await self._is_held(following, left_s):
                return following
        return None

    async def _is_held(self, progress: Progress, patience_s: float) -> bool:
        refused = admission.admit(progress, self._board.limits) or self._holding.bound(progress)
        is_held = False
        if refused is None:
            # Who is cancelled while he waits for a hold has none, and who has one awaits nothing here.
            with anyio.move_on_after(patience_s):
                try:
                    is_held = await self._holding.hold(progress) is None
                except LedgerUnavailable:
                    is_held = False
        return is_held


def _ends_at(failed: Progress) -> float:
    """Return when the time of all attempts together is up: the first one's provider sets it."""
    if failed.earlier:
        return failed.ends_at
    return failed.sent_at + failed.standing.timeouts[failed.model.provider].total_s
