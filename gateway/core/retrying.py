"""Is an attempt made again with the same model, and when? Only where the first certainly cost nothing.

A request that was sent and not answered may be billed, so the same model is never asked twice for it:
that it is slow, or broke off, is no sign that it would be quicker the second time.
"""

from typing import Final

import msgspec

from gateway.core.outcome import Ending, ProviderError, ProviderUnreachable

MOST_RETRY_AFTER_S: Final = 3.0
"""A provider that asks for more patience is not asked again by the same call."""
_FIRST_PAUSE_S: Final = 0.25
_MOST_PAUSE_S: Final = 2.0
_PASSING: Final = frozenset({429, 500, 502, 503, 504, 529})
"""Error answers that say: not now. 529 is Anthropic's for overloaded."""


class Advice(msgspec.Struct, frozen=True):
    """What an error answer says of trying again: after how many seconds, if at all; None: nothing."""

    retry_after_s: float | None = None
    forbids: bool = False


NO_ADVICE: Final = Advice()


def repeats(ending: Ending) -> bool:
    """Return whether an attempt that ended so may be made again: it cost nothing, and may pass."""
    match ending:
        case ProviderUnreachable():
            return True
        case ProviderError(status):
            return status in _PASSING
        case _:
            return False


def pause_s(made: int, advice: Advice, chance: float) -> float | None:
    """Return how long to wait before the next attempt, None if it must not be made.

    `made` is how many retries there were, `chance` is from 0 to 1: calls that failed together are not
    all tried again together.
    """
    if advice.forbids:
        return None
    wished = advice.retry_after_s or 0.0
    if wished > MOST_RETRY_AFTER_S:
        return None
    pause: float = min(_FIRST_PAUSE_S * 2**made, _MOST_PAUSE_S)
    return wished + pause * chance
