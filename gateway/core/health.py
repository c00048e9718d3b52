"""Is a provider to be asked at all? A circuit breaker that learns from calls, and sends none itself.

Closed, it lets every call through and counts failures in a row. So many of them open it: no call goes
through until a time to cool down is over. Then one call alone does, the probe. When that fails the
circuit opens again, for twice as long; when it is answered the circuit closes, on trial: one more
failure opens it at once, and a call that ends well ends the trial.

Only failures in a row count, and no ratio: a provider that serves some calls is worth asking, and a
client whose own requests make a provider fail can't shut it for the others, whose calls go well.
Every replica has its own, in memory: it is a guess from what was seen here, and no promise.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, assert_never

import msgspec

from gateway.core.outcome import (
    CapReached,
    ClientGone,
    Completed,
    Ending,
    Killed,
    ProviderBroken,
    ProviderError,
    ProviderLost,
    ProviderUnreachable,
    ShutDown,
    TimedOut,
)

MOST_DOUBLINGS: Final = 3
"""A provider that stays away is asked each eight times its time to cool down, and no more rarely."""
_TELLING_NOTHING: Final = frozenset({408, 425})
"""Errors of below 500 in which the provider complains of the connection, not of the request."""


class Circuit(msgspec.Struct, frozen=True):
    """When a circuit opens: after so many `failures` in a row (≥ 1), for `cool_down_s` at first."""

    failures: int
    cool_down_s: float


class Verdict(Enum):
    """What a call's ending says of its provider."""

    ANSWERED = auto()
    FAILED = auto()
    UNTOLD = auto()


def verdict(ending: Ending) -> Verdict:
    """Return what an ending says of the provider's health.

    An error about the request, the key or its rate (4xx) was answered by a provider that works. One
    that it sent inside an answer may be about either, and whoever ended a call himself told nothing.
    """
    match ending:
        case Completed() | CapReached():
            return Verdict.ANSWERED
        case ProviderUnreachable() | ProviderLost():
            return Verdict.FAILED
        case ProviderError(status):
            return _of_error(status)
        case TimedOut(is_total):
            return Verdict.UNTOLD if is_total else Verdict.FAILED
        case ProviderBroken() | ClientGone() | Killed() | ShutDown():
            return Verdict.UNTOLD
        case _:
            assert_never(ending)


def _of_error(status: int) -> Verdict:
    if status >= 500:
        return Verdict.FAILED
    return Verdict.UNTOLD if status < 400 or status in _TELLING_NOTHING else Verdict.ANSWERED


class State(Enum):
    """Whether calls go through: all, none, or one alone that is under way."""

    CLOSED = auto()
    OPEN = auto()
    HALF_OPEN = auto()


class _Event(Enum):
    TRIPPED = auto()
    """Too many failures in a row; the probe's is one more."""
    TRIED = auto()
    """A call began, as the time to cool down was over."""
    ANSWERED = auto()
    """The probe was answered."""
    UNTOLD = auto()
    """The probe ended and told nothing: another call may be one."""


_MOVES: Final[Mapping[tuple[State, _Event], State]] = {
    (State.CLOSED, _Event.TRIPPED): State.OPEN,
    (State.OPEN, _Event.TRIED): State.HALF_OPEN,
    (State.HALF_OPEN, _Event.TRIPPED): State.OPEN,
    (State.HALF_OPEN, _Event.ANSWERED): State.CLOSED,
    (State.HALF_OPEN, _Event.UNTOLD): State.OPEN,
}


class Opened(msgspec.Struct, frozen=True):
    """The circuit has opened, after so many failures in a row, for so many seconds."""

    failures: int
    wait_s: float


class Closed(msgspec.Struct, frozen=True):
    """The circuit has closed."""


class Breaker:
    """One circuit. Instants are seconds on a clock that never steps.

    Calls are numbered as they begin, so that one that began before the circuit opened can't speak for
    the provider as it is now, and one that began before the first failure of a row can't end the row.
    """

    __slots__ = ("_begun", "_doublings", "_row_from", "_stale", "_until", "circuit", "failures", "state")  # fmt: skip

    def __init__(self, circuit: Circuit) -> None:
        self.circuit = circuit
        """May be replaced; what was seen stays."""
        self.state = State.CLOSED
        self.failures = 0
        """How many in a row there were."""
        self._begun = 0
        self._stale = 0
        """The number of the last call that began before the circuit opened."""
        self._row_from = 0
        """The number of the last call that had begun when the row of failures did."""
        self._doublings = 0
        self._until = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether all calls go through."""
        return self.state is State.CLOSED

    def admits(self, now: float) -> bool:
        """Return whether a call may begin now."""
        if self.state is State.CLOSED:
            return True
        return self.state is State.OPEN and now >= self._until

    def wait_s(self, now: float) -> float:
        """Return how long it is until a call may be tried; 0 also while one is."""
        return max(0.0, self._until - now) if self.state is State.OPEN else 0.0

    def begin(self) -> int:
        """Note that a call begins, which is admitted; return its number, with which it ends once."""
        self._begun += 1
        if self.state is not State.CLOSED:
            self._move(_Event.TRIED)
        return self._begun

    def answered(self, number: int) -> Closed | None:
        """Note that an answer has begun: a probe's closes the circuit, however long it goes on."""
        if self.state is not State.HALF_OPEN or number <= self._stale:
            return None
        self._move(_Event.ANSWERED)
        return Closed()

    def end(self, number: int, verdict: Verdict, now: float) -> Opened | Closed | None:
        """Note how a call ended; return what that changed."""
        if number <= self._stale or self.state is State.OPEN:
            return None
        match verdict:
            case Verdict.ANSWERED:
                return self._went_well(number)
            case Verdict.FAILED:
                return self._failed(now)
            case Verdict.UNTOLD:
                if self.state is State.HALF_OPEN:
                    self._move(_Event.UNTOLD)
                return None
            case _:
                assert_never(verdict)

    def _went_well(self, number: int) -> Closed | None:
        if number > self._row_from:
            self.failures = self._row_from = self._doublings = 0
        if self.state is not State.HALF_OPEN:
            return None
        self._move(_Event.ANSWERED)
        return Closed()

    def _failed(self, now: float) -> Opened | None:
        if not self.failures:
            self._row_from = self._begun
        self.failures += 1
        if self.failures < self.circuit.failures and self.state is State.CLOSED:
            return None
        self._move(_Event.TRIPPED)
        wait_s = self.circuit.cool_down_s * 2**self._doublings
        self._doublings = min(self._doublings + 1, MOST_DOUBLINGS)
        self._until = now + wait_s
        self._stale = self._begun
        return Opened(self.failures, wait_s)

    def _move(self, event: _Event) -> None:
        self.state = _MOVES[self.state, event]
