"""A count of tokens is free, and its body passes as it came."""

import pytest

from gateway.core.events import Broken, Event, Opaque
from gateway.core.refusal import Code
from gateway.providers.adapter import Endpoint
from tests.unit.providers.dialects.bedrock.asking import DIALECT, SAID, refused, taken, written

BODY = b'{"input":{"converse":{"messages":[{"role":"user","content":[{"text":"x"}]}]}},"y":1.0}'


def test_a_count_is_free_and_passes_unchanged():
    wanted = taken(Endpoint.COUNT_TOKENS, BODY)
    assert (wanted.asked.is_free, wanted.asked.makes_output) == (True, False)
    assert written(wanted, None) == BODY


@pytest.mark.parametrize("body", [{}, {"input": "x"}, {"messages": SAID}])
def test_what_is_no_count_is_refused(body: object):
    assert refused(Endpoint.COUNT_TOKENS, body).code is Code.INVALID_REQUEST


def test_an_arn_of_another_model_is_refused():
    arn = "arn:aws:bedrock:us-east-1:1:prompt-router/r"
    assert refused(Endpoint.COUNT_TOKENS, BODY, model=arn).code is Code.BOUND_UNKNOWN


@pytest.mark.parametrize(
    ("answer", "events"),
    [
        (b'{"inputTokens":5}', [Opaque()]),
        (b'{"message":"no"}', [Broken()]),
        (b"{}", []),
        (b"x", []),
        (b'{"inputTokens":"5"}', []),
    ],
)
def test_an_answer_is_one_figure(answer: bytes, events: list[Event]):
    assert list(DIALECT.whole(taken(Endpoint.COUNT_TOKENS, BODY), answer, ())) == events
