"""Token buckets: never more than a filling and what came in, whatever is asked and whenever."""

import pytest
from hypothesis import given, strategies as st

from gateway.core import rates
from gateway.core.calls import Asked
from gateway.core.rates import PARTS, Bucket, Rate, Size
from gateway.core.refusal import Code

S = 10**9
MINUTE = 60 * S
ASKED = Asked(model="m", text_bytes=400, output_tokens=50)


def full(per_minute: int, sharers: int = 1, now_ns: int = 0) -> Bucket:
    return Bucket(Rate(per_minute, sharers), now_ns, 0)


def taken(bucket: Bucket, now_ns: int, most: int = 1000) -> int:
    """Take one unit after the other, and return how many there were."""
    bucket.turn(bucket.rate, now_ns)
    count = 0
    while bucket.wait_ns(PARTS) == 0 and count < most:
        bucket.take(PARTS)
        count += 1
    return count


def test_a_minutes_worth_is_there_at_once_and_then_as_much_as_comes_in():
    bucket = full(6)
    assert taken(bucket, 0) == 6
    assert bucket.wait_ns(PARTS) == 10 * S
    assert taken(bucket, 10 * S - 1) == 0
    assert bucket.wait_ns(PARTS) == 1
    assert taken(bucket, 10 * S) == 1
    assert taken(bucket, 10 * S + MINUTE) == 6
    assert taken(bucket, 100 * MINUTE) == 6, "it holds no more than a minute's worth"


@pytest.mark.parametrize(("per_minute", "sharers"), [(1, 4), (3, 4), (7, 8)])
def test_a_share_below_one_begins_short_and_admits_one_when_it_has_come_in(
    per_minute: int, sharers: int
):
    bucket = full(per_minute, sharers)
    wait_ns = bucket.wait_ns(PARTS)
    assert wait_ns == -(-MINUTE * (sharers - per_minute) // per_minute)
    assert taken(bucket, wait_ns - 1) == 0
    assert taken(bucket, wait_ns) == 1
    assert taken(bucket, 1000 * MINUTE) == 1


def test_a_new_bucket_of_an_old_replica_is_full_as_a_forgotten_one_was():
    assert taken(Bucket(Rate(1, 4), 4 * MINUTE, 0), 4 * MINUTE) == 1
    assert taken(Bucket(Rate(1, 4), MINUTE, 0), MINUTE) == 0
    assert taken(Bucket(Rate(8, 4), MINUTE, 0), MINUTE) == 2


def test_what_is_asked_beyond_a_full_bucket_takes_all_of_it():
    bucket = full(100)
    assert bucket.wait_ns(500 * PARTS) == 0
    assert bucket.take(500 * PARTS) == 100 * PARTS
    assert bucket.wait_ns(500 * PARTS) == MINUTE
    assert bucket.wait_ns(0) == 0


def test_what_was_not_used_comes_back_and_what_was_used_beyond_is_waited_for():
    bucket = full(60)
    parts = bucket.take(40 * PARTS)
    bucket.correct(parts, 10 * PARTS)
    assert taken(bucket, 0) == 50
    bucket.correct(0, 120 * PARTS)
    assert bucket.wait_ns(PARTS) == 121 * S


def test_nothing_that_comes_back_fills_it_beyond_the_brim():
    bucket = full(60)
    parts = bucket.take(60 * PARTS)
    bucket.turn(bucket.rate, MINUTE)
    bucket.correct(parts, 0)
    assert taken(bucket, MINUTE) == 60
    bucket = full(60)
    bucket.correct(60 * PARTS, 0)
    bucket.take(60 * PARTS)
    assert bucket.wait_ns(PARTS) == S


def test_another_share_fills_by_it_from_then_on_and_keeps_no_more_than_it_holds():
    bucket = full(60)
    bucket.turn(Rate(60, 2), 0)
    assert taken(bucket, 0) == 30
    assert taken(bucket, 10 * S) == 5
    bucket.turn(Rate(60, 1), 20 * S)
    assert taken(bucket, 20 * S) == 5
    assert taken(bucket, 30 * S) == 10


def test_it_is_full_only_when_nothing_would_be_lost_with_it():
    bucket = full(60)
    assert bucket.is_full(0)
    bucket.take(PARTS)
    assert not bucket.is_full(S - 1)
    assert bucket.is_full(S)


moments = st.lists(st.tuples(st.integers(0, 20 * S), st.integers(1, 30)), min_size=1, max_size=40)


@given(st.integers(1, 50), st.integers(1, 9), moments)
def test_no_window_sees_more_than_a_filling_and_what_came_in(
    per_minute: int, sharers: int, steps: list[tuple[int, int]]
):
    """Corrections to less than was taken are part of it: what counts is what was used."""
    rate = Rate(per_minute, sharers)
    bucket = Bucket(rate, 0, 0)
    used: list[tuple[int, int]] = []
    now_ns = 0
    for pause_ns, units in steps:
        now_ns += pause_ns
        bucket.turn(rate, now_ns)
        if bucket.wait_ns(units * PARTS) == 0:
            parts = bucket.take(units * PARTS)
            bucket.correct(parts, parts // 2)
            used.append((now_ns, parts // 2))
    for first, (since_ns, _) in enumerate(used):
        for until_ns, _ in used[first:]:
            within = sum(parts for at, parts in used if since_ns <= at <= until_ns)
            assert within <= rate.capacity + rate.gained(until_ns - since_ns)


@given(st.integers(1, 10**9), st.integers(1, 64), st.integers(0, 10**6))
def test_the_wait_that_is_told_is_enough_and_no_nanosecond_too_long(
    per_minute: int, sharers: int, used: int
):
    bucket = Bucket(Rate(per_minute, sharers), 0, 0)
    bucket.correct(0, used * PARTS)
    wait_ns = bucket.wait_ns(PARTS)
    bucket.turn(bucket.rate, wait_ns)
    assert bucket.wait_ns(PARTS) == 0
    again = Bucket(Rate(per_minute, sharers), 0, 0)
    again.correct(0, used * PARTS)
    again.turn(again.rate, max(0, wait_ns - 1))
    assert (again.wait_ns(PARTS) == 0) == (wait_ns == 0)


@given(st.lists(st.integers(0, 10**10), max_size=20), st.integers(1, 10**9), st.integers(1, 9))
def test_however_often_it_is_looked_at_it_gains_what_time_brings(
    pauses_ns: list[int], per_minute: int, sharers: int
):
    rate = Rate(per_minute, sharers)
    often, once = Bucket(rate, 0, 0), Bucket(rate, 0, 0)
    for bucket in (often, once):
        bucket.correct(0, 10**9 * PARTS)
    now_ns = 0
    for pause_ns in pauses_ns:
        now_ns += pause_ns
        often.turn(rate, now_ns)
    once.turn(rate, now_ns)
    assert often.wait_ns(PARTS) == once.wait_ns(PARTS)


@pytest.mark.parametrize(
    ("asked", "ceiling", "expected"),
    [
        (ASKED, None, Size(100 + 50, 50)),
        (ASKED, 20, Size(100 + 20, 50)),
        (Asked(model="m", text_bytes=401), None, Size(101 + 256, 50)),
        (Asked(model="m", text_bytes=400), 9, Size(100 + 9, 50)),
        (Asked(model="m", output_tokens=50, choices=3), 20, Size(60, 0)),
        (Asked(model="m", text_bytes=8, token_ids=5, makes_output=False), 20, Size(7, 6)),
        (Asked(model="m", text_bytes=10**7, output_tokens=1, hides_input=True), 20, Size(2049, 0)),
        (Asked(model="m", text_bytes=400, hides_input=True), 20, Size(120, 0)),
        (Asked(model="m", text_bytes=400, is_free=True), 20, Size(0, 0)),
    ],
)
def test_a_call_is_guessed_by_its_text_and_the_output_that_it_may_have(
    asked: Asked, ceiling: int | None, expected: Size
):
    assert rates.size(asked, ceiling) == expected


def test_a_refusal_says_how_long_to_wait_in_whole_seconds():
    refused = rates.too_many_requests(6 * S + 1)
    assert refused.message == "Too many requests for this key; try again in 7 s."
    assert (refused.code, refused.retry_after_s) == (Code.RATE_LIMITED, 7)
    assert rates.too_many_tokens(1).message == "Too many tokens for this key; try again in 1 s."


def test_what_never_fits_names_the_limit_and_asks_for_no_other_try():
    refused = rates.never_fits(Size(90, 70), 60)
    assert "at least 70 tokens" in refused.message
    assert "60 tokens a minute" in refused.message
    assert (refused.code, refused.is_final, refused.retry_after_s) == (
        Code.RATE_LIMITED,
        True,
        None,
    )
