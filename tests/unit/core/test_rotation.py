"""The turns of a provider's keys: fair while none rests, and never an end."""

from collections import Counter

import pytest
from hypothesis import given, strategies as st

from gateway.core.rotation import Rotation, is_keys_own, rest_s


@given(st.integers(1, 9), st.integers(1, 200))
def test_no_key_is_used_more_than_once_more_than_another(count: int, picks: int):
    keys = Rotation(count)
    used = Counter(keys.pick(0.0) for _ in range(picks))
    assert max(used.values()) - min(used[key] for key in range(count)) <= 1


@given(
    count=st.integers(1, 5),
    rests=st.lists(st.tuples(st.integers(0, 4), st.floats(0, 100)), max_size=8),
    tried=st.sets(st.integers(0, 4)),
    now=st.floats(0, 100),
)
def test_a_key_that_is_ready_and_untried_is_used_if_there_is_one(
    count: int, rests: list[tuple[int, float]], tried: set[int], now: float
):
    keys, until = Rotation(count), [0.0] * count
    for key, at in rests:
        keys.rest(key % count, at)
        until[key % count] = max(until[key % count], at)
    fresh = {key for key in range(count) if until[key] <= now and key not in tried}
    assert keys.has_ready(now, tried) is bool(fresh)
    picked = keys.pick(now, tried)
    if fresh:
        assert picked in fresh
    else:
        same = [key for key in range(count) if (key in tried) is (picked in tried)]
        assert until[picked] == min(until[key] for key in same), "the one that is ready first"
        assert picked not in tried or all(key in tried for key in range(count))


@given(count=st.integers(2, 5), resting=st.sets(st.integers(0, 4)), start=st.integers(0, 4))
def test_those_that_do_not_rest_share_the_turns(count: int, resting: set[int], start: int):
    keys = Rotation(count)
    for _ in range(start):
        keys.pick(0.0)
    resting = {key for key in resting if key < count}
    for key in resting:
        keys.rest(key, 50.0)
    awake = count - len(resting)
    used = Counter(keys.pick(1.0) for _ in range(max(1, awake) * 4))
    if awake:
        assert dict(used) == {key: 4 for key in range(count) if key not in resting}


def test_a_key_is_ready_when_its_rest_is_over_or_it_was_accepted():
    keys = Rotation(2)
    keys.rest(0, 10.0)
    keys.rest(0, 5.0)
    assert [keys.pick(9.0) for _ in range(2)] == [1, 1]
    assert keys.pick(10.0) == 0
    keys.rest(1, 99.0)
    keys.works(1)
    assert keys.pick(11.0) == 1


@pytest.mark.parametrize(
    ("status", "retry_after_s", "seconds"),
    [
        (429, None, 5.0),
        (429, 0.0, 1.0),
        (429, 12.5, 12.5),
        (429, 86_400.0, 60.0),
        (401, None, 60.0),
        (402, None, 60.0),
        (403, 1.0, 60.0),
    ],
)
def test_how_long_a_key_rests(status: int, retry_after_s: float | None, seconds: float):
    assert is_keys_own(status)
    assert rest_s(status, retry_after_s) == seconds


@pytest.mark.parametrize("status", [400, 404, 408, 500, 503, 529])
def test_other_errors_are_not_about_the_key(status: int):
    assert not is_keys_own(status)
