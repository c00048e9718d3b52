import pytest
from hypothesis import given, strategies as st

from gateway.core.delivery import (
    LONGEST_S,
    SCHEDULE_S,
    Again,
    Delivered,
    Done,
    GivenUp,
    Rejected,
    Unanswered,
    following,
)

chances = st.floats(0, 1, exclude_max=True)
failures = st.one_of(
    st.integers(300, 599).filter(lambda status: status != 410).map(Rejected),
    st.sampled_from(["timed_out", "unreachable"]).map(Unanswered),
)


def test_the_pauses_are_those_of_the_standard():
    pauses = [following(n, Rejected(500), 0.5) for n in range(1, 10)]
    hours = 3600
    assert [step.pause_s for step in pauses if isinstance(step, Again)] == pytest.approx([
        5, 300, 1800, 2 * hours, 5 * hours, 10 * hours, 14 * hours, 20 * hours, 24 * hours,
    ])  # fmt: skip


@given(failures, chances)
def test_what_fails_is_tried_nine_times_more_and_given_up(
    answer: Rejected | Unanswered, chance: float
):
    for attempt, pause_s in enumerate(SCHEDULE_S, start=1):
        step = following(attempt, answer, chance)
        assert isinstance(step, Again)
        assert 0.9 * pause_s <= step.pause_s <= 1.1 * pause_s
    assert isinstance(following(10, answer, chance), GivenUp)
    assert isinstance(following(11, answer, chance), GivenUp), "a sender that died was counted"


@given(st.integers(1, 12), chances)
def test_what_is_delivered_is_done_and_what_is_gone_is_given_up(attempt: int, chance: float):
    assert following(attempt, Delivered(), chance) == Done()
    assert following(attempt, Rejected(410), chance) == GivenUp("status 410")


@given(st.integers(1, 9), st.floats(0, 10**9), chances)
def test_a_receiver_may_ask_for_a_longer_pause_of_a_day_at_most(
    attempt: int, asked_s: float, chance: float
):
    step = following(attempt, Rejected(429, asked_s), chance)
    assert isinstance(step, Again)
    assert step.pause_s >= min(asked_s, LONGEST_S)
    assert step.pause_s <= max(min(asked_s, LONGEST_S), 1.1 * SCHEDULE_S[attempt - 1])


def test_the_reason_is_kept():
    assert following(1, Rejected(503), 0) == Again("status 503", pytest.approx(4.5))
    assert following(10, Unanswered("timed_out"), 0) == GivenUp("timed_out")
