"""The headers of refusals, by which SDKs decide whether to send a call again, and when."""

import pytest

from gateway.core.refusal import Code, Refused
from gateway.providers.adapter import STATUS
from gateway.providers.refusal_headers import MOST_RETRY_AFTER_S, headers

LATER = {Code.RATE_LIMITED, Code.TOO_MANY_STREAMS, Code.LEDGER_UNAVAILABLE, Code.DRAINING}


def told(refused: Refused) -> dict[bytes, bytes]:
    return dict(headers(refused))


@pytest.mark.parametrize("code", Code)
def test_only_what_may_pass_is_sent_again(code: Code):
    found = told(Refused(code, "No."))
    may_pass = code in LATER or code is Code.UPSTREAM_ERROR
    assert (found.get(b"x-should-retry") == b"false") is not may_pass
    assert (found.get(b"retry-after") == b"1") is (code in LATER)
    assert STATUS[code] in {429, 502, 503} or not may_pass


@pytest.mark.parametrize(
    ("asked", "wait"), [(0, b"1"), (7, b"7"), (86_400, b"%d" % MOST_RETRY_AFTER_S)]
)
@pytest.mark.parametrize("code", [*sorted(LATER), Code.UPSTREAM_ERROR])
def test_when_it_is_known_how_long_that_takes_it_is_said(code: Code, asked: int, wait: bytes):
    assert told(Refused(code, "No.", retry_after_s=asked))[b"retry-after"] == wait
