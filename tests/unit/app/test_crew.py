"""When a worker that died is tried again, and when the gateway gives up."""

import pytest
from hypothesis import given, strategies as st

from gateway.app.crew import DEATHS_S, PAUSES_S, pause_after


@pytest.mark.parametrize(
    ("deaths", "pause_s"), list(zip(range(1, 7), (*PAUSES_S, 5.0, 5.0), strict=True))
)
def test_the_pause_grows_with_the_deaths_of_the_last_minute(deaths: int, pause_s: float):
    instants = [float(number) for number in range(deaths)]
    assert pause_after(instants, 0, is_any_serving=False) == pause_s


def test_old_deaths_are_forgotten():
    assert pause_after([0.0, 1.0, 2.0, 2.0 + DEATHS_S], 0, is_any_serving=True) == PAUSES_S[0]


def test_who_can_never_start_is_given_up_where_nobody_else_serves():
    instants = [float(number) for number in range(5)]
    assert pause_after(instants, 4, is_any_serving=False) is not None
    assert pause_after(instants, 5, is_any_serving=False) is None
    assert pause_after(instants, 5, is_any_serving=True) == PAUSES_S[-1]


@given(st.lists(st.floats(0, 1e6), min_size=1).map(sorted), st.integers(0, 100))
def test_while_another_serves_it_is_tried_for_ever(deaths: list[float], failures: int):
    assert pause_after(deaths, failures, is_any_serving=True) in PAUSES_S
