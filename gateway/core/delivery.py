"""When a message to a webhook is sent again, and when it is given up.

By Standard Webhooks (standard-webhooks/standard-webhooks, spec/standard-webhooks.md, "Operational
considerations"): any 2xx is a delivery; 410 says that the receiver wants no more; everything else,
redirects and silence among it, is tried again on a growing schedule with jitter, for some three days.
"""

from typing import Final, NewType, assert_never

import msgspec

WebhookName = NewType("WebhookName", str)
"""What the configuration calls a webhook."""

SCHEDULE_S: Final = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h: the pause after each failed attempt."""
LONGEST_S: Final = 86_400
"""No receiver may ask for a longer pause."""
_JITTER: Final = 0.2


class Delivered(msgspec.Struct, frozen=True):
    """The receiver has it: it answered 2xx."""


class Rejected(msgspec.Struct, frozen=True):
    """The receiver answered otherwise, and may have asked for a pause (`retry-after`, seconds)."""

    status: int
    retry_after_s: float | None = None


class Unanswered(msgspec.Struct, frozen=True):
    """No answer came, so that it may have been received or not."""

    reason: str
    """A word of ours: `unreachable`, `timed_out`, `broke_off`, `bad_url`."""


Answer = Delivered | Rejected | Unanswered


class Done(msgspec.Struct, frozen=True):
    """It is delivered."""


class Again(msgspec.Struct, frozen=True):
    """It is to be sent again after a pause, for it was not delivered."""

    reason: str
    pause_s: float


class GivenUp(msgspec.Struct, frozen=True):
    """It is not sent again, though it was not delivered."""

    reason: str


Next = Done | Again | GivenUp


def following(attempt: int, answer: Answer, chance: float) -> Next:
    """Return what follows an attempt, the first being 1; `chance` in [0, 1) spreads the pauses."""
    match answer:
        case Delivered():
            return Done()
        case Rejected(410):
            return GivenUp("status 410")
        case Rejected(status, retry_after_s):
            return _again(attempt, f"status {status}", retry_after_s or 0.0, chance)
        case Unanswered(reason):
            return _again(attempt, reason, 0.0, chance)
        case _:
            assert_never(answer)


def _again(attempt: int, reason: str, asked_s: float, chance: float) -> Again | GivenUp:
    if attempt > len(SCHEDULE_S):
        return GivenUp(reason)
    pause_s = SCHEDULE_S[attempt - 1] * (1 - _JITTER / 2 + _JITTER * chance)
    return Again(reason, max(pause_s, min(asked_s, LONGEST_S)))
