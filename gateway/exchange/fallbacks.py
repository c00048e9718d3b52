"""The attempt that follows one that failed, admitted and held for as if it came first.

It is for the same model where the failure certainly cost nothing and may pass, else for the next one.
Nothing of the attempt before is used again. It is settled by now, so what it may owe is spent when
the budgets are asked for the next, and no sequence of attempts can pass a cap.
"""

from collections.abc import Callable
from typing import Final

import anyio

from gateway.core import retrying, rotation
from gateway.core.outcome import Ending, ProviderError
from gateway.core.traces import FailedAttempt
from gateway.errors import LedgerUnavailable
from gateway.exchange import admission
from gateway.exchange.holding import Holding
from gateway.exchange.pausing import pause
from gateway.exchange.ports import Clock
from gateway.exchange.progress import Progress
from gateway.exchange.relay import Owned
from gateway.exchange.switchboard import Switchboard

MOST_KEYS: Final = 4
"""So many keys of one provider are tried by a call, beside what its retries are for."""


class Fallbacks:
    """Finds the next attempt of a call."""

    def __init__(
        self,
        *,
        board: Switchboard,
        holding: Holding,
        clock: Clock,
        chance: Callable[[], float],
        is_stopping: Callable[[], bool],
    ) -> None:
        """Look for none while `is_stopping`. `chance` gives from 0 to 1, for the pauses."""
        self._board = board
        self._holding = holding
        self._clock = clock
        self._chance = chance
        self._is_stopping = is_stopping

    def may_repeat(self, progress: Progress, ending: Ending) -> bool:
        """Return whether an attempt that ended so, unseen, may be made again with the same model."""
        if self._has_other_key(progress, ending):
            return True
        terms = progress.standing.doors[progress.model.provider].terms
        return progress.repeats < terms.retries and retrying.repeats(ending)

    async def next(self, failed: Progress, attempt: FailedAttempt, owned: Owned) -> Progress | None:
        """Return the progress of the next attempt, held for; None where there is none.

        One that may not be made, or that a budget has no room for, is passed over. `attempt` is what
        the failed one came to. A call that is ended in a pause has no next attempt: `owned` says how.
        """
        ends_at = _ends_at(failed)
        switches_key = self._has_other_key(failed, owned.ending)
        pause_s = 0.0 if switches_key else self._pause_s(failed, owned)
        now = self._clock.monotonic()
        if pause_s is not None and pause_s < ends_at - now:
            if pause_s and not await pause(owned, failed.client, self._board, pause_s):
                return None
            again = failed.followed(attempt, ends_at, self._clock.monotonic() - now)
            again.tried = (*failed.tried, failed.entry.index)
            again.repeats += not switches_key
            if await self._is_ready(again):
                return again
        return await self._elsewhere(failed, attempt, ends_at)

    async def _elsewhere(
        self, failed: Progress, attempt: FailedAttempt, ends_at: float
    ) -> Progress | None:
        for index, model in enumerate(failed.fallbacks):
            following = failed.followed(attempt, ends_at)
            following.fallbacks = failed.fallbacks[index + 1 :]
            following.repeats = 0
            is_there = model.provider == failed.model.provider
            following.tried = (*failed.tried, failed.entry.index) if is_there else ()
            admission.aim(following, model)
            if await self._is_ready(following):
                return following
        return None

    def _pause_s(self, failed: Progress, owned: Owned) -> float | None:
        """Return how long to wait before the same model is tried again; None where it is not."""
        if owned.ending is None or not owned.may_repeat(owned.ending):
            return None
        return retrying.pause_s(failed.repeats, failed.entry.advice, self._chance())

    def _has_other_key(self, progress: Progress, ending: Ending | None) -> bool:
        match ending:
            case ProviderError(status) if rotation.is_keys_own(status):
                if len(progress.tried) + 1 >= MOST_KEYS:
                    return False
                return progress.entry.has_other_key(self._clock.monotonic(), progress.tried)
            case _:
                return False

    async def _is_ready(self, progress: Progress) -> bool:
        """Return whether an attempt is admitted, has its place and is held for: all, or nothing."""
        left_s = progress.ends_at - self._clock.monotonic()
        if left_s <= 0 or self._is_stopping():
            return False
        refused = (
            admission.admit(progress, self._board.limits)
            or self._holding.bound(progress)
            or admission.enter(progress, self._clock.monotonic())
        )
        if refused is not None:
            return False
        is_held = False
        try:
            is_held = await self._is_held(progress, left_s)
        finally:
            if not is_held:
                progress.entry.leave(self._clock.monotonic())
        return is_held

    async def _is_held(self, progress: Progress, patience_s: float) -> bool:
        is_held = False
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
