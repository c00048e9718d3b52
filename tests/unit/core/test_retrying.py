"""Whether an attempt is made again, and how long that waits."""

import pytest
from hypothesis import given, strategies as st

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
    falls_back,
)
from gateway.core.refusal import Code, Refused
from gateway.core.retrying import MOST_RETRY_AFTER_S, NO_ADVICE, Advice, pause_s, repeats

REPEATED = [ProviderUnreachable(), *map(ProviderError, (429, 500, 502, 503, 504, 529))]
OTHERS = [
    *map(ProviderError, (302, 400, 401, 402, 403, 404, 408, 409, 413, 422, 501)),
    ProviderLost(),
    ProviderBroken(),
    TimedOut(),
    TimedOut(is_total=True),
    Completed(),
    ClientGone(),
    CapReached(),
    Killed(Refused(Code.KILL_SWITCH, "no")),
    ShutDown(),
]


@pytest.mark.parametrize("ending", REPEATED)
def test_what_cost_nothing_and_may_pass_is_repeated(ending: Ending):
    assert repeats(ending)
    assert falls_back(ending), "and may be for somebody else as well"


@pytest.mark.parametrize("ending", OTHERS)
def test_nothing_else_is(ending: Ending):
    assert not repeats(ending)


def test_pauses_grow_to_a_limit():
    assert [pause_s(made, NO_ADVICE, 1.0) for made in range(5)] == [0.25, 0.5, 1.0, 2.0, 2.0]


def test_a_short_wish_is_added_and_a_long_one_or_a_no_ends_it():
    assert pause_s(0, Advice(retry_after_s=2.0), 1.0) == 2.25
    assert pause_s(0, Advice(retry_after_s=MOST_RETRY_AFTER_S + 0.1), 0.0) is None
    assert pause_s(0, Advice(retry_after_s=1.0, forbids=True), 0.0) is None


@given(st.integers(0, 5), st.none() | st.floats(0, 100), st.floats(0, 1))
def test_a_pause_is_never_shorter_than_the_wish_nor_longer_than_five_seconds(
    made: int, wish: float | None, chance: float
):
    pause = pause_s(made, Advice(wish), chance)
    if pause is None:
        assert wish is not None
        assert wish > MOST_RETRY_AFTER_S
    else:
        assert (wish or 0.0) <= pause <= 5.0
