"""Rate limits of tokens on one replica, and on several that share them without a word."""

import pytest
from hypothesis import given, settings, strategies as st

from gateway.core.ids import TokenId
from gateway.core.meter import Owed
from gateway.core.money import ZERO
from gateway.core.rates import RateLimits, Size
from gateway.core.refusal import Code, Refused
from gateway.core.traces import Basis
from gateway.exchange.pacing import Pacing, Taken
from tests.fakes import FakeClock

ONE = TokenId("one")
SMALL = Size(10, 5)


def limits(requests: int | None = None, tokens: int | None = None) -> RateLimits:
    return RateLimits(requests_per_minute=requests, tokens_per_minute=tokens)


def owed(basis: Basis, input_tokens: int = 0, output_tokens: int = 0) -> Owed:
    return Owed(amount=ZERO, basis=basis, input_tokens=input_tokens, output_tokens=output_tokens)


class Here:
    """One replica's limits, and a clock that the test turns."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.pacing = Pacing(self.clock)

    def take(self, rate: RateLimits, size: Size = SMALL, token: TokenId = ONE) -> Taken | Refused:
        return self.pacing.take(token, rate, size)

    def taken(self, rate: RateLimits, size: Size = SMALL) -> Taken:
        found = self.take(rate, size)
        assert isinstance(found, Taken)
        return found

    def refused(self, rate: RateLimits, size: Size = SMALL) -> Refused:
        found = self.take(rate, size)
        assert isinstance(found, Refused)
        return found

    def count(self, rate: RateLimits, size: Size = SMALL) -> int:
        """Return how many calls are admitted now, one after the other."""
        count = 0
        while count < 1000 and isinstance(self.take(rate, size), Taken):
            count += 1
        return count


def test_requests_beyond_the_limit_are_told_when_to_come_again():
    here = Here()
    assert here.count(limits(requests=6)) == 6
    refused = here.refused(limits(requests=6))
    assert (refused.code, refused.retry_after_s) == (Code.RATE_LIMITED, 10)
    assert refused.message == "Too many requests for this key; try again in 10 s."
    here.clock.advance(10)
    assert here.count(limits(requests=6)) == 1


def test_tokens_beyond_the_limit_are_told_when_to_come_again():
    here = Here()
    assert here.count(limits(tokens=60)) == 6
    assert here.refused(limits(tokens=60)).message == (
        "Too many tokens for this key; try again in 10 s."
    )
    here.clock.advance(10)
    assert here.count(limits(tokens=60)) == 1


def test_the_longer_wait_is_told_and_a_refused_call_takes_nothing_of_either():
    here = Here()
    both = limits(requests=2, tokens=100)
    here.taken(both, Size(90, 5))
    assert here.refused(both, Size(20, 5)).message.startswith("Too many tokens")
    here.taken(both, Size(10, 5))
    assert here.refused(both, Size(0, 0)).message.startswith("Too many requests")
    assert here.refused(both).message.endswith("try again in 30 s.")


def test_one_tokens_calls_are_not_anothers():
    here = Here()
    assert here.count(limits(requests=1)) == 1
    assert isinstance(here.take(limits(requests=1), token=TokenId("two")), Taken)


def test_what_was_guessed_too_high_comes_back_at_the_end():
    here = Here()
    taken = here.taken(limits(tokens=100), Size(100, 5))
    here.refused(limits(tokens=100))
    taken.use(owed(Basis.REPORTED, 10, 10))
    here.pacing.settle(taken)
    assert here.count(limits(tokens=100)) == 8


def test_what_was_guessed_too_low_is_waited_for():
    here = Here()
    taken = here.taken(limits(tokens=60))
    taken.use(owed(Basis.REPORTED, 100, 80))
    here.pacing.settle(taken)
    assert here.refused(limits(tokens=60)).retry_after_s == 120 + 10
    here.clock.advance(130)
    assert here.count(limits(tokens=60)) == 1


def test_the_attempts_of_a_call_use_together():
    here = Here()
    taken = here.taken(limits(tokens=100), Size(100, 5))
    for _ in range(3):
        taken.use(owed(Basis.REPORTED, 10, 10))
    here.pacing.settle(taken)
    assert here.count(limits(tokens=100)) == 4


@pytest.mark.parametrize(
    ("basis", "left"), [(Basis.NONE, 100), (Basis.BOUND, 50), (Basis.METERED, 30)]
)
def test_where_the_provider_did_not_say_the_guess_stands(basis: Basis, left: int):
    """A bound counts bytes, and would make a client wait for what nobody used."""
    here = Here()
    taken = here.taken(limits(tokens=100), Size(50, 5))
    taken.use(owed(basis, 5000, 70))
    here.pacing.settle(taken)
    assert here.count(limits(tokens=100), Size(1, 1)) == left


def test_a_call_larger_than_a_minutes_worth_takes_all_of_it():
    here = Here()
    big = Size(500, 50)
    here.taken(limits(tokens=100), big)
    assert here.refused(limits(tokens=100)).retry_after_s == 6
    assert here.refused(limits(tokens=100), big).retry_after_s == 60


def test_a_call_whose_input_alone_never_fits_is_not_asked_to_come_again():
    here = Here()
    refused = here.refused(limits(tokens=100, requests=1), Size(500, 101))
    assert (refused.is_final, refused.retry_after_s) == (True, None)
    assert here.count(limits(tokens=100, requests=1)) == 1, "it took nothing"


def test_a_free_call_is_a_request_and_no_tokens():
    here = Here()
    free = Size(0, 0)
    here.taken(limits(tokens=10, requests=3))
    assert here.count(limits(tokens=10, requests=3), free) == 2


def test_changed_limits_hold_from_the_next_call_on():
    here = Here()
    assert here.count(limits(requests=60)) == 60
    here.clock.advance(30)
    assert here.count(limits(requests=6)) == 6
    assert here.count(limits(tokens=60)) == 6, "no limit on requests any more"
    assert here.count(limits(requests=6)) == 6, "a limit that is new again starts anew"


def test_a_share_is_a_part_of_each_limit():
    here = Here()
    here.pacing.share(3)
    assert here.count(limits(requests=60)) == 20
    here.clock.advance(3)
    assert here.count(limits(requests=60)) == 1


def test_another_number_of_replicas_divides_what_is_there_at_once():
    here = Here()
    here.taken(limits(requests=60))
    here.pacing.share(2)
    assert here.count(limits(requests=60)) == 30
    here.pacing.share(1)
    assert here.count(limits(requests=60)) == 0
    here.clock.advance(1)
    assert here.count(limits(requests=60)) == 1


def test_what_comes_in_after_a_change_comes_in_by_the_new_share():
    here = Here()
    assert here.count(limits(requests=60)) == 60
    here.clock.advance(10)
    here.pacing.share(2)
    here.clock.advance(30)
    assert here.count(limits(requests=60)) == 10 + 15


def test_idle_tokens_are_forgotten_and_running_calls_are_not():
    here = Here()
    rate = limits(requests=60, tokens=600)
    running = here.taken(rate)
    for number in range(5000):
        ended = here.take(rate, token=TokenId(f"t{number}"))
        assert isinstance(ended, Taken)
        here.pacing.settle(ended)
        here.clock.advance(1)
    assert len(here.pacing._paces) <= 1024
    running.use(owed(Basis.REPORTED, 600, 600))
    here.pacing.settle(running)
    assert here.refused(rate).message.startswith("Too many tokens")


def test_nothing_is_forgotten_while_it_is_needed():
    here = Here()
    for number in range(3000):
        here.take(limits(requests=1), token=TokenId(f"t{number}"))
    assert len(here.pacing._paces) == 3000
    assert isinstance(here.take(limits(requests=1), token=TokenId("t0")), Refused)


steps = st.lists(
    st.tuples(st.integers(0, 7), st.sampled_from([0.0, 0.001, 0.4, 3.0, 17.0, 61.0])),
    min_size=1,
    max_size=120,
)


@settings(max_examples=200)
@given(st.integers(1, 30), st.integers(1, 8), steps)
def test_replicas_together_never_pass_a_limit(
    per_minute: int, count: int, calls: list[tuple[int, float]]
):
    """In any window: at most the limit (or one a replica, if that is more) and what came in."""
    clock = FakeClock()
    replicas = [Here(clock) for _ in range(count)]
    for replica in replicas:
        replica.pacing.share(count)
    admitted: list[float] = []
    for number, pause_s in calls:
        clock.advance(pause_s)
        one = replicas[number % count]
        found = [one.take(limits(requests=per_minute)) for _ in range(1 + number % 3)]
        admitted += [clock.seconds for each in found if isinstance(each, Taken)]
    most_at_once = max(per_minute, count)
    for first, since in enumerate(admitted):
        for last in range(first, len(admitted)):
            came_in = per_minute * (admitted[last] - since) / 60
            assert last - first + 1 <= most_at_once + came_in + 1e-6


@settings(max_examples=200)
@given(st.integers(1, 30), st.integers(1, 8), steps)
def test_replicas_that_just_began_admit_no_more_than_the_limit_at_first(
    per_minute: int, count: int, calls: list[tuple[int, float]]
):
    clock = FakeClock()
    replicas = [Here(clock) for _ in range(count)]
    for replica in replicas:
        replica.pacing.share(count)
    admitted = 0
    for number, pause_s in calls:
        clock.advance(pause_s)
        one = replicas[number % count]
        admitted += isinstance(one.take(limits(requests=per_minute)), Taken)
        assert admitted <= per_minute * (1 + clock.seconds / 60) + 1e-6


@settings(max_examples=200)
@given(
    st.integers(20, 500),
    st.integers(1, 4),
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 90), st.floats(0, 1), st.integers(0, 20)),
        max_size=60,
    ),
)
def test_tokens_that_were_used_never_pass_a_limit_where_guesses_were_not_too_low(
    per_minute: int, count: int, calls: list[tuple[int, int, float, int]]
):
    """Calls that overlap, and end in any order: what each used counts from its beginning."""
    clock = FakeClock()
    replicas = [Here(clock) for _ in range(count)]
    for replica in replicas:
        replica.pacing.share(count)
    ends: list[tuple[float, Taken, int]] = []
    used: list[tuple[float, int]] = []
    for number, guess, part, lasts_s in calls:
        clock.advance(number)
        for end in [each for each in ends if each[0] <= clock.seconds]:
            end[1].use(owed(Basis.REPORTED, end[2], 0))
            replicas[0].pacing.settle(end[1])
            ends.remove(end)
        size = Size(min(guess, per_minute // count), 1)
        found = replicas[number % count].take(limits(tokens=per_minute), size)
        if isinstance(found, Taken):
            real = int(size.guess * part)
            ends.append((clock.seconds + lasts_s, found, real))
            used.append((clock.seconds, real))
    total = sum(real for _, real in used)
    assert total <= per_minute * (1 + clock.seconds / 60) + 1e-6
