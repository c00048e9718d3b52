"""What error answers say of trying again."""

import pytest
from hypothesis import given, strategies as st

from gateway.core.retrying import Advice
from gateway.exchange import advice
from tests.fakes import START


@pytest.mark.parametrize(
    ("headers", "read"),
    [
        ([], Advice()),
        ([(b"retry-after", b"2")], Advice(2.0)),
        ([(b"retry-after", b" 0.5 ")], Advice(0.5)),
        ([(b"retry-after", b"-3")], Advice(0.0)),
        ([(b"retry-after-ms", b"250"), (b"retry-after", b"1")], Advice(0.25)),
        ([(b"retry-after-ms", b"soon"), (b"retry-after", b"1")], Advice(1.0)),
        ([(b"retry-after", b"Wed, 25 Nov 2026 12:00:07 GMT")], Advice(7.0)),
        ([(b"retry-after", b"Wed, 25 Nov 2026 11:00:00 GMT")], Advice(0.0)),
        ([(b"retry-after", b"Wed, 25 Nov 2026 12:00:07 -0000")], Advice(7.0)),
        ([(b"retry-after", b"soon")], Advice()),
        ([(b"retry-after", b"nan")], Advice()),
        ([(b"retry-after", b"inf")], Advice()),
        ([(b"retry-after", b"")], Advice()),
        ([(b"x-should-retry", b"false")], Advice(forbids=True)),
        ([(b"x-should-retry", b"true")], Advice()),
    ],
)
def test_headers_are_read(headers: list[tuple[bytes, bytes]], read: Advice):
    assert advice.read(headers, START) == read


MADE_AT = (b"date", b"Wed, 25 Nov 2026 12:00:00 GMT")
NO_RETRY = (b"x-should-retry", b"false")
A_MINUTE = (b"retry-after", b"60")


@pytest.mark.parametrize(
    ("headers", "passed"),
    [
        ([], []),
        ([(b"retry-after", b"7")], [(b"retry-after", b"7")]),
        ([(b"retry-after", b"60")], [A_MINUTE]),
        ([(b"retry-after", b"61")], [A_MINUTE]),
        ([(b"retry-after", b"120")], [A_MINUTE]),
        ([(b"retry-after", b"121")], [NO_RETRY, A_MINUTE]),
        ([(b"retry-after", b"2592000")], [NO_RETRY, A_MINUTE]),
        ([(b"retry-after-ms", b"250"), (b"retry-after", b"7")],) * 2,
        ([(b"retry-after-ms", b"90000"), (b"retry-after", b"7")], [A_MINUTE]),
        ([(b"x-should-retry", b"true"), (b"retry-after", b"999")],
         [(b"x-should-retry", b"true"), A_MINUTE]),
        ([(b"retry-after", b"0")],) * 2,
        ([(b"retry-after-ms", b"0.5")],) * 2,
        ([MADE_AT, (b"retry-after", b"Wed, 25 Nov 2026 12:00:59 GMT")],
         [MADE_AT, (b"retry-after", b"59")]),
        ([MADE_AT, (b"retry-after", b"Wed, 25 Nov 2026 11:00:00 GMT")],
         [MADE_AT, (b"retry-after", b"0")]),
        ([MADE_AT, (b"retry-after", b"Wed, 25 Nov 2026 12:01:09 GMT")], [MADE_AT, A_MINUTE]),
        ([(b"retry-after", b"Wed, 25 Nov 2026 12:00:59 GMT")], [NO_RETRY, A_MINUTE]),
        ([(b"date", b"now"), (b"retry-after", b"Wed, 25 Nov 2026 12:00:59 -0000")],
         [(b"date", b"now"), NO_RETRY, A_MINUTE]),
        ([(b"retry-after", b"soon")], [(b"retry-after", b"soon")]),
    ],
)  # fmt: skip
def test_a_wait_of_more_than_a_minute_is_capped(
    headers: list[tuple[bytes, bytes]], passed: list[tuple[bytes, bytes]]
):
    assert advice.capped(headers) == passed


NAMES = st.sampled_from([b"retry-after", b"retry-after-ms", b"x-should-retry", b"date"])


@given(
    st.lists(
        st.tuples(
            NAMES, st.binary(max_size=40) | st.text("0123456789:, GMTNov-+e.").map(str.encode)
        )
    )
)
def test_whatever_they_hold_is_read(headers: list[tuple[bytes, bytes]]):
    found = advice.read(headers, START)
    assert found.retry_after_s is None or found.retry_after_s >= 0
    again = advice.read(advice.capped(headers), START)
    assert again.retry_after_s is None or again.retry_after_s <= max(60, found.retry_after_s or 0)
