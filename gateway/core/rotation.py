"""Which of a provider's keys is sent: each in its turn, but for those that rest.

A key rests that the provider has just refused: for as long as it says where the key was used too
often, for a minute where it may not be used. That is a preference and no ban: where all rest, the one
that is ready first is used, so a wrong guess about a key never stops a call.
"""

from collections.abc import Collection
from typing import Final

LEAST_REST_S: Final = 1.0
MOST_REST_S: Final = 60.0
_UNSAID_REST_S: Final = 5.0
"""For a 429 that does not say for how long."""
_USED_TOO_OFTEN: Final = 429
_NOT_ALLOWED: Final = frozenset({401, 402, 403})


def is_keys_own(status: int) -> bool:
    """Return whether an error answer may be about the key that was sent, and not about the call."""
    return status == _USED_TOO_OFTEN or status in _NOT_ALLOWED


def rest_s(status: int, retry_after_s: float | None) -> float:
    """Return how long a key rests whose use was answered so; `retry_after_s` is what it was told."""
    if status in _NOT_ALLOWED:
        return MOST_REST_S
    wished = _UNSAID_REST_S if retry_after_s is None else retry_after_s
    return min(max(wished, LEAST_REST_S), MOST_REST_S)


class Rotation:
    """The turns of some keys, which are known here by their index alone, from 0."""

    __slots__ = ("_next", "_ready_at")

    def __init__(self, count: int) -> None:
        """Begin with the first of `count` keys, at least one."""
        self._next = 0
        self._ready_at = [0.0] * count

    def pick(self, now: float, tried: Collection[int] = ()) -> int:
        """Return the key whose turn it is, preferably one that is ready and that was not tried."""
        turns = self._turns()
        ready = (key for key in turns if self._ready_at[key] <= now and key not in tried)
        found = next(ready, None)
        if found is None:
            found = min(turns, key=lambda key: (key in tried, self._ready_at[key]))
        self._next = (found + 1) % len(self._ready_at)
        return found

    def has_ready(self, now: float, tried: Collection[int]) -> bool:
        """Return whether there is a key that is ready and was not tried."""
        return any(at <= now and key not in tried for key, at in enumerate(self._ready_at))

    def rest(self, key: int, until: float) -> None:
        """Let a key rest until then, unless it rests for longer already."""
        self._ready_at[key] = max(self._ready_at[key], until)

    def works(self, key: int) -> None:
        """Note that a key was accepted, so that it need not rest any more."""
        self._ready_at[key] = 0.0

    def _turns(self) -> list[int]:
        count = len(self._ready_at)
        return [(self._next + step) % count for step in range(count)]
