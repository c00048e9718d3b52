"""A circuit: opened by failures in a row, tried by one call alone, and never shut for good."""

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.health import MOST_DOUBLINGS, Breaker, Circuit, Closed, Opened, Verdict, verdict
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
from gateway.core.refusal import Code, Refused

CIRCUIT = Circuit(failures=3, cool_down_s=10.0)
NO = Refused(Code.KILL_SWITCH, "no")


def ended(breaker: Breaker, now: float, *verdicts: Verdict) -> list[object]:
    """Let calls begin and end one after the other; return what each changed."""
    return [breaker.end(breaker.begin(), each, now) for each in verdicts]


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker(CIRCUIT)
    ended(breaker, now, *3 * [Verdict.FAILED])
    return breaker


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (Completed(), Verdict.ANSWERED),
        (CapReached(), Verdict.ANSWERED),
        (ProviderError(400), Verdict.ANSWERED),
        (ProviderError(401), Verdict.ANSWERED),
        (ProviderError(404), Verdict.ANSWERED),
        (ProviderError(429), Verdict.ANSWERED),
        (ProviderError(500), Verdict.FAILED),
        (ProviderError(529), Verdict.FAILED),
        (ProviderUnreachable(), Verdict.FAILED),
        (ProviderLost(), Verdict.FAILED),
        (TimedOut(), Verdict.FAILED),
        (TimedOut(is_total=True), Verdict.UNTOLD),
        (ProviderError(302), Verdict.UNTOLD),
        (ProviderError(408), Verdict.UNTOLD),
        (ProviderBroken(), Verdict.UNTOLD),
        (ClientGone(), Verdict.UNTOLD),
        (Killed(NO), Verdict.UNTOLD),
        (ShutDown(), Verdict.UNTOLD),
    ],
)
def test_an_ending_tells_of_the_provider_what_it_can(ending: Ending, said: Verdict):
    assert verdict(ending) is said


def test_it_opens_after_so_many_failures_in_a_row_and_no_sooner():
    breaker = Breaker(CIRCUIT)
    assert ended(breaker, 5.0, Verdict.FAILED, Verdict.FAILED) == [None, None]
    assert breaker.admits(5.0)
    assert ended(breaker, 5.0, Verdict.FAILED) == [Opened(3, 10.0)]
    assert not breaker.admits(14.9)
    assert breaker.wait_s(7.0) == 8.0
    assert breaker.admits(15.0)


def test_a_success_between_ends_the_row_and_what_tells_nothing_does_not():
    breaker = Breaker(CIRCUIT)
    failed, well = Verdict.FAILED, Verdict.ANSWERED
    assert ended(breaker, 0.0, failed, failed, well, failed, failed) == 5 * [None]
    assert ended(breaker, 0.0, Verdict.UNTOLD, failed) == [None, Opened(3, 10.0)]


def test_a_call_that_began_before_the_row_did_does_not_end_it():
    breaker = Breaker(CIRCUIT)
    old = breaker.begin()
    ended(breaker, 0.0, Verdict.FAILED, Verdict.FAILED)
    breaker.end(old, Verdict.ANSWERED, 0.0)
    assert ended(breaker, 0.0, Verdict.FAILED) == [Opened(3, 10.0)]


@pytest.mark.parametrize("late", list(Verdict))
def test_a_call_that_began_before_it_opened_changes_nothing_any_more(late: Verdict):
    breaker = Breaker(CIRCUIT)
    old = [breaker.begin() for _ in range(3)]
    ended(breaker, 0.0, *3 * [Verdict.FAILED])
    assert breaker.end(old[0], late, 1.0) is None
    assert not breaker.admits(9.0)
    probe = breaker.begin()
    assert breaker.end(old[1], late, 10.0) is None
    assert not breaker.admits(10.0), "the probe is still under way"
    breaker.end(probe, Verdict.ANSWERED, 11.0)
    assert breaker.end(old[2], late, 12.0) is None
    assert breaker.failures == 0


def test_one_probe_at_a_time_decides():
    breaker = opened()
    probe = breaker.begin()
    assert not breaker.admits(100.0)
    assert breaker.end(probe, Verdict.ANSWERED, 100.0) == Closed()
    assert breaker.admits(100.0)


def test_a_probe_that_fails_opens_it_again_for_twice_as_long_up_to_a_limit():
    breaker, now, waits = opened(), 10.0, []
    for _ in range(MOST_DOUBLINGS + 2):
        (change,) = ended(breaker, now, Verdict.FAILED)
        assert isinstance(change, Opened)
        waits.append(change.wait_s)
        now += change.wait_s
    assert waits == [20.0, 40.0, 80.0, 80.0, 80.0]
    ended(breaker, now, Verdict.ANSWERED, *2 * [Verdict.FAILED])
    assert ended(breaker, now, Verdict.FAILED) == [Opened(3, 10.0)], "well again, it starts anew"


def test_a_probe_that_tells_nothing_lets_another_try_at_once():
    breaker = opened()
    assert ended(breaker, 10.0, Verdict.UNTOLD) == [None]
    assert breaker.admits(10.0)
    assert ended(breaker, 10.0, Verdict.ANSWERED) == [Closed()]


def test_an_answer_that_begins_closes_it_on_trial():
    breaker = opened()
    probe = breaker.begin()
    assert breaker.answered(probe) == Closed()
    assert breaker.answered(probe) is None
    other = breaker.begin()
    assert breaker.end(probe, Verdict.FAILED, 12.0) == Opened(4, 20.0), "one more is enough"
    assert breaker.end(other, Verdict.ANSWERED, 13.0) is None, "it began before that"
    assert not breaker.admits(13.0)


def test_a_call_that_ends_well_ends_the_trial():
    breaker = opened()
    probe = breaker.begin()
    breaker.answered(probe)
    assert breaker.end(probe, Verdict.ANSWERED, 12.0) is None
    assert ended(breaker, 12.0, Verdict.FAILED, Verdict.FAILED) == [None, None]


def test_another_setting_holds_from_the_next_failure_on():
    breaker = Breaker(CIRCUIT)
    ended(breaker, 0.0, Verdict.FAILED)
    breaker.circuit = Circuit(failures=2, cool_down_s=1.0)
    assert ended(breaker, 0.0, Verdict.FAILED) == [Opened(2, 1.0)]


class Circuits(RuleBasedStateMachine):
    """Any calls in any order: what is promised of the state holds after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(CIRCUIT)
        self.now = 0.0
        self.running: list[int] = []
        self.probe: int | None = None
        self.opened_at: float | None = None

    @rule(seconds=st.sampled_from([0.5, 5.0, 10.0, 200.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.breaker.admits(self.now))
    @rule()
    def begin(self) -> None:
        was_closed = self.breaker.is_closed
        number = self.breaker.begin()
        self.running.append(number)
        if not was_closed:
            assert self.probe is None, "never two probes at once"
            assert self.opened_at is not None
            self.probe = number

    @precondition(lambda self: self.running)
    @rule(data=st.data(), verdict=st.sampled_from(list(Verdict)))
    def end(self, data: st.DataObject, verdict: Verdict) -> None:
        number = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        was_closed, probe = self.breaker.is_closed, self.probe
        change = self.breaker.end(number, verdict, self.now)
        self._follow(change)
        if number == probe:
            self.probe = None
            assert was_closed or (change is None) is (verdict is Verdict.UNTOLD)
        elif not was_closed:
            assert change is None, "only the probe moves a circuit that is not closed"

    @precondition(lambda self: self.probe is not None and self.probe in self.running)
    @rule()
    def answered(self) -> None:
        assert self.probe is not None
        was_closed = self.breaker.is_closed
        change = self.breaker.answered(self.probe)
        assert (change is None) is was_closed
        self._follow(change)
        self.probe = None

    def _follow(self, change: Opened | Closed | None) -> None:
        match change:
            case Opened(failures, wait_s):
                assert failures >= CIRCUIT.failures
                assert 10.0 <= wait_s <= 80.0
                self.opened_at = self.now
            case Closed():
                self.opened_at = None

    @invariant()
    def it_always_recovers(self) -> None:
        if self.probe is None:
            assert self.breaker.admits(self.now + 80.0)
            assert self.breaker.wait_s(self.now) <= 80.0

    @invariant()
    def while_a_probe_runs_nobody_else_begins(self) -> None:
        if self.probe is not None:
            assert not self.breaker.admits(self.now + 10**6)

    @invariant()
    def it_is_closed_unless_that_was_told(self) -> None:
        assert self.breaker.is_closed is (self.opened_at is None)


TestCircuits = Circuits.TestCase
TestCircuits.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
