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


NAMES = st.sampled_from([b"retry-after", b"retry-after-ms", b"x-should-retry"])


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
