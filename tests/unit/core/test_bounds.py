"""A bound holds against real tokenizers, for what people send and for what an adversary would.

The truth is a vendor's own tokenizer over all that a model is given, with the framing that its vendor
documents; where a vendor publishes none, any of those at hand may be its own.
"""

from itertools import zip_longest

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.bounds import conversations as forms
from tests.bounds.conversations import Conversation, Tool, Turn
from tests.bounds.holding import FAMILIES, WINDOW, Family, conversations, held

EACH = 220
"""Conversations for each family: 2,200 requests in all."""
BY_NAME = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


@BY_NAME
def test_no_request_has_more_input_or_costs_more_than_was_held(family: Family):
    for conversation in conversations(EACH):
        check(family, conversation)


@st.composite
def any_conversation(draw: st.DrawFn) -> Conversation:
    said = draw(st.lists(st.text(max_size=80), min_size=1, max_size=4))
    tools = draw(st.lists(st.text(max_size=60), max_size=2))
    turns = tuple(Turn(index % 2 == 0, text) for index, text in enumerate(said))
    return Conversation(
        system=draw(st.none() | st.text(max_size=60)),
        turns=turns if len(turns) % 2 else (*turns, Turn(is_user=True, text="go on")),
        tools=tuple(
            Tool(f"t{index}", text, {"type": "object", "properties": {text: {"type": "string"}}})
            for index, text in enumerate(tools)
        ),
        called=None,
        schema=None,
        is_ascii=draw(st.booleans()),
    )


@BY_NAME
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(any_conversation())
def test_no_text_at_all_has_more_input_than_was_held(family: Family, conversation: Conversation):
    check(family, conversation)


def check(family: Family, conversation: Conversation) -> None:
    one = held(family, conversation)
    real = min(one.input_tokens, WINDOW * one.wanted.asked.prompts)
    for offered in filter(None, (one.bytes_bound, one.counted_bound)):
        assert offered.bound.input_tokens >= real, one.request.body
        assert offered.bound.amount >= one.cost, one.request.body


def test_a_picture_is_bounded_by_the_window():
    turn = Turn(is_user=True, text="What is this?", has_image=True)
    conversation = Conversation(None, (turn,), (), None, None, is_ascii=True)
    for family in FAMILIES:
        one = held(family, conversation)
        if one.request.images and family.form is not forms.embeddings:
            assert one.bytes_bound.bound.input_tokens == WINDOW


def test_there_are_as_many_requests_as_are_promised_and_they_differ():
    assert EACH * len(FAMILIES) >= 2000
    bodies = [forms.chat(conversation).body for conversation in conversations(EACH)]
    again = [forms.chat(conversation).body for conversation in conversations(EACH)]
    assert all(one == other for one, other in zip_longest(bodies, again))
    assert len(set(bodies)) > EACH * 9 // 10


@pytest.mark.parametrize("text", [", ", "'", '"', "\n", ",", '","', " ", "\\", "],["])
@pytest.mark.parametrize("family", [FAMILIES[-2], FAMILIES[-1]], ids=["embeddings", "completions"])
def test_texts_that_merge_with_the_commas_between_them_are_bounded(family: Family, text: str):
    """As JSON, `", ",` has half the tokens that its texts have apart."""
    count = 2000 if family.form is forms.embeddings else 3
    turns = tuple(Turn(is_user=True, text=text) for _ in range(count))
    check(family, Conversation(None, turns, (), None, None, is_ascii=False))
