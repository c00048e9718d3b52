"""Complete answers: what they say, and which of them are none."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from gateway.core.events import Broken, Delta, Event, Opaque, Served, Thinking, Usage
from gateway.providers.adapter import Endpoint, Path, Wanted
from gateway.providers.dialects.messages import Messages
from tests.unit.providers.asking import wanted

DIALECT = Messages()
USAGE = {"input_tokens": 12, "output_tokens": 5, "service_tier": "standard"}
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5",
    "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn",
    "usage": USAGE,
}


def heard(document: bytes | dict[str, Any], endpoint: Endpoint = Endpoint.MESSAGES) -> list[Event]:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return list(DIALECT.whole(wanted(endpoint), body, []))


def test_a_message_says_who_served_it_what_it_said_and_its_account():
    assert heard(MESSAGE) == [
        Served("claude-opus-5", "default"),
        Delta("Hello"),
        Usage(input=12, output=5),
    ]


def test_a_tier_that_was_asked_for_is_that_which_served_unless_told():
    asked = wanted(Endpoint.MESSAGES)
    fast = Wanted(
        path=Path(endpoint=Endpoint.MESSAGES),
        asked=asked.asked,
        fields={"speed": msgspec.Raw(b'"fast"')},
    )
    served = DIALECT.whole(fast, json.dumps(MESSAGE).encode(), [])[0]
    assert served == Served("claude-opus-5", "fast")


def test_every_kind_of_output_is_heard_and_nothing_else():
    content = [
        {"type": "text", "text": "a", "citations": [{"cited_text": "quoted"}]},
        {"type": "thinking", "thinking": "b", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "c2VjcmV0"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "t", "name": "g", "input": {}},
        {"type": "compaction", "content": "sum"},
        {"type": "web_search_tool_result", "content": [{"encrypted_content": "zzz"}]},
    ]
    events = heard(MESSAGE | {"content": content})
    assert Thinking() in events
    assert Delta('abf{"x": 1}g"sum"') in events


def test_a_kind_that_nobody_knows_is_all_output():
    events = heard(MESSAGE | {"content": [{"type": "hologram", "id": "no", "scene": ["cat", "!"]}]})
    (delta,) = (event for event in events if isinstance(event, Delta))
    assert sorted(delta.text) == sorted("cat!")


@pytest.mark.parametrize(
    "document",
    [
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        {"error": "no"},
        {"error": {"message": "no"}},
    ],
)
@pytest.mark.parametrize("endpoint", [Endpoint.MESSAGES, Endpoint.MESSAGES_COUNT_TOKENS])
def test_an_error_in_disguise_is_broken(document: dict[str, Any], endpoint: Endpoint):
    assert heard(document, endpoint) == [Broken()]


@pytest.mark.parametrize(
    "document", [b"", b"<html>", b"[]", b"5", b"{}", b'{"type":"message"}', b"[" * 20_000, b"\xff"]
)
def test_what_is_no_answer_says_nothing(document: bytes):
    assert heard(document) == []
    assert heard(document, Endpoint.MESSAGES_COUNT_TOKENS) == []


def test_a_count_says_nothing_of_use_and_is_an_answer():
    assert heard({"input_tokens": 14}, Endpoint.MESSAGES_COUNT_TOKENS) == [Opaque()]
    assert heard(MESSAGE, Endpoint.MESSAGES_COUNT_TOKENS) == []


def test_an_empty_message_is_an_answer():
    assert heard({"content": []}) == [Opaque()]


@pytest.mark.parametrize(
    "usage",
    [
        '{"input_tokens":9,"output_tokens":2,"input_tokens":1}',
        '{"input_tokens":9,"output_tokens":2},"usage":{"input_tokens":1,"output_tokens":1}',
        '{"input_tokens":9,"output_tokens":2,"cache_creation":{"a":1,"a":2}}',
        '{"input_tokens":NaN,"output_tokens":2}',
        '{"input_tokens":9,"output_tokens":1' + "0" * 5000 + "}",
        '"none"',
        "[]",
        "true",
    ],
)
@pytest.mark.parametrize("padding", [0, 70_000])
def test_an_account_that_can_be_read_in_two_ways_is_not_told(usage: str, padding: int):
    text = "x" * padding
    document = f'{{"content":[{{"type":"text","text":"{text}"}}],"usage":{usage}}}'.encode()
    assert not any(isinstance(event, Usage) for event in heard(document))


def test_a_large_answers_account_is_told():
    content = [{"type": "text", "text": 'a "usage" ' * 10_000}]
    assert heard(MESSAGE | {"content": content})[-1] == Usage(input=12, output=5)


def test_strange_json_counts_every_text():
    document = json.dumps(MESSAGE).encode()
    for strange in (
        document.replace(b'"Hello"', b'"Hello \\ud800"'),
        document.replace(b'"Hello"', b'"Hello \xff"'),
        document.replace(b'"end_turn"', b"NaN"),
    ):
        events = heard(strange)
        assert events[0] == Served("claude-opus-5", "default")
        (delta,) = (event for event in events if isinstance(event, Delta))
        assert "Hello" in delta.text
        assert not delta.text.encode().decode().isspace()


@given(st.binary(max_size=60))
def test_any_bytes_are_heard(document: bytes):
    heard(document)
    heard(document, Endpoint.MESSAGES_COUNT_TOKENS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "content", "text", "usage", "error", "model", "input", "input_tokens"]
            ),
            inner,
            max_size=4,
        )
    ),
)


@given(JSON)
def test_any_json_is_heard(value: object):
    document = json.dumps(value).encode()
    heard(document)
    heard(document, Endpoint.MESSAGES_COUNT_TOKENS)
