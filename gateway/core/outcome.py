"""The closed union of endings: every way in which an admitted call can end.

An ending says what happened; what it owes is `meter.Meter.owed`, what a trace calls it `outcome`.
"""

from enum import StrEnum
from typing import Final, assert_never

import msgspec

from gateway.core.refusal import Code, Refused


class Completed(msgspec.Struct, frozen=True, gc=False):
    """The answer ended by its own framing."""


class ClientGone(msgspec.Struct, frozen=True, gc=False):
    """The client closed its connection first."""


class Killed(msgspec.Struct, frozen=True, gc=False):
    """The kill switch cut it, for the reason that new calls are refused with."""

    refused: Refused


class CapReached(msgspec.Struct, frozen=True, gc=False):
    """More output was counted than was held; the provider ignored its limit."""


class ProviderError(msgspec.Struct, frozen=True, gc=False):
    """The provider gave a complete error answer (4xx, 5xx), which costs nothing."""

    status: int


class ProviderUnreachable(msgspec.Struct, frozen=True, gc=False):
    """No request byte reached the provider."""


class ProviderBroken(msgspec.Struct, frozen=True, gc=False):
    """The provider reported an error after it had answered 200."""


class ProviderLost(msgspec.Struct, frozen=True, gc=False):
    """The connection broke after the request was sent."""


class TimedOut(msgspec.Struct, frozen=True, gc=False):
    """No byte in time, or, where `is_total`, not all of them before the whole call's time was up."""

    is_total: bool = False


class ShutDown(msgspec.Struct, frozen=True, gc=False):
    """The gateway stopped, or its task was cancelled."""


Ending = (
    Completed
    | ClientGone
    | Killed
    | CapReached
    | ProviderError
    | ProviderUnreachable
    | ProviderBroken
    | ProviderLost
    | TimedOut
    | ShutDown
)


_NOT_THE_CLIENTS: Final = frozenset(
    {
        401,  # the key that the gateway sent
        402,  # the account behind it is empty
        403,  # it may not use this model, or from this place
        404,  # the provider does not have this model, or has it no more
        408,  # the provider gave up waiting
        409,  # in conflict with something at the provider; SDKs send it again too
        425,  # too early
        429,  # too much for this provider now
    }
)
"""Errors that another provider may not have. Not among them: what is wrong with the request itself
(400, 413, 415, 422 and all others of 4xx), which would be wrong again, and is the client's to hear."""


def falls_back(ending: Ending) -> bool:
    """Return whether another model may be tried after an ending that the client saw nothing of.

    What fails must be the provider. Whoever stopped the call himself, by leaving, by a kill switch, a
    cap or the call's own time, is not answered by somebody else.
    """
    match ending:
        case ProviderUnreachable() | ProviderLost() | ProviderBroken():
            return True
        case ProviderError(status):
            return status < 400 or status >= 500 or status in _NOT_THE_CLIENTS
        case TimedOut(is_total):
            return not is_total
        case Completed() | ClientGone() | Killed() | CapReached() | ShutDown():
            return False
        case _:
            assert_never(ending)


class Outcome(StrEnum):
    """What traces and metrics call an ending (`contract.md` §10)."""

    COMPLETED = "completed"
    CLIENT_GONE = "client_gone"
    KILLED = "killed"
    CAP_REACHED = "cap_reached"
    PROVIDER_ERROR = "provider_error"
    PROVIDER_LOST = "provider_lost"
    TIMED_OUT = "timed_out"
    REFUSED = "refused"
    SHUT_DOWN = "shut_down"


def outcome(ending: Ending) -> Outcome:  # noqa: C901, PLR0911, PLR0912  # one arm a member
    """Return the public name of an ending."""
    match ending:
        case Completed():
            return Outcome.COMPLETED
        case ClientGone():
            return Outcome.CLIENT_GONE
        case Killed():
            return Outcome.KILLED
        case CapReached():
            return Outcome.CAP_REACHED
        case ProviderError() | ProviderBroken():
            return Outcome.PROVIDER_ERROR
        case ProviderUnreachable() | ProviderLost():
            return Outcome.PROVIDER_LOST
        case TimedOut():
            return Outcome.TIMED_OUT
        case ShutDown():
            return Outcome.SHUT_DOWN
        case _:
            assert_never(ending)


def code(ending: Ending) -> Code | None:  # noqa: PLR0911  # one arm a member
    """Return the refusal code a trace keeps beside the outcome, where one applies."""
    match ending:
        case Killed():
            return Code.KILL_SWITCH
        case CapReached():
            return Code.REQUEST_CAP_EXCEEDED
        case ProviderUnreachable() | ProviderBroken() | ProviderLost():
            return Code.UPSTREAM_ERROR
        case TimedOut():
            return Code.UPSTREAM_TIMEOUT
        case ShutDown():
            return Code.DRAINING
        case Completed() | ClientGone() | ProviderError():
            return None
        case _:
            assert_never(ending)
