"""What complete answers say, and what is not an answer."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from gateway.core.events import Broken, Delta, Event, Served, Usage
from gateway.providers.adapter import Endpoint
from gateway.providers.dialects.chat_completions import ChatCompletions
from tests.unit.providers.asking import wanted

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


def whole(document: bytes, endpoint: Endpoint = Endpoint.CHAT_COMPLETIONS) -> list[Event]:
    asked = wanted(endpoint, makes_output=endpoint is not Endpoint.EMBEDDINGS)
    return list(ChatCompletions("openai").whole(asked, document, ()))


def answer(message: object, **fields: object) -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    plain = {"object": "chat.completion", "model": "m-1", "service_tier": "default"}
    return json.dumps(plain | {"choices": [choice], "usage": USAGE} | fields).encode()


def test_an_answer_says_who_what_and_how_much():
    assert whole(answer({"role": "assistant", "content": "Hello"})) == [
        Served("m-1", "default"),
        Delta("Hello"),
        Usage(input=9, output=4),
    ]


def test_every_kind_of_output_counts():
    message = {
        "content": "a",
        "refusal": "b",
        "reasoning": "c",
        "reasoning_content": "d",
        "tool_calls": [
            {"function": {"name": "f", "arguments": "{}"}},
            {"custom": {"name": "g", "input": "i"}},
        ],
        "function_call": {"name": "h", "arguments": "[]"},
        "audio": {"transcript": "t", "data": "QUJD"},
    }
    found = whole(answer(message))[1]
    assert isinstance(found, Delta)
    assert sorted(found.text) == sorted("abcdf{}gih[]t")


def test_all_choices_count():
    choices = [{"message": {"content": text}} for text in ("one", "two")]
    assert Delta("onetwo") in whole(answer(None, choices=choices))


@pytest.mark.parametrize(
    "document",
    [
        b'{"error":{"message":"overloaded"}}',
        b'{"error":"overloaded"}',
        b'{"object":"error","message":"overloaded","code":503}',
        b'{"choices":null,"error":{"code":1}}',
    ],
)
def test_an_error_in_disguise_is_broken(document: bytes):
    assert whole(document) == [Broken()]


def test_an_error_beside_output_is_broken_and_counted():
    found = whole(answer({"content": "a"}, error={"message": "x"}, model=None, service_tier=None))
    assert found == [Delta("a"), Broken(), Usage(input=9, output=4)]


@pytest.mark.parametrize("error", [None, {}, "", False])
def test_an_empty_error_is_none(error: object):
    assert Broken() not in whole(answer({"content": "a"}, error=error))


@pytest.mark.parametrize(
    "document",
    [b"", b"<html>", b"[]", b"null", b'"x"', b"{}", b'{"id":1}', b"[" * 20_000, b"\xff\xfe"],
)
def test_what_is_no_answer_says_nothing(document: bytes):
    assert whole(document) == []


def test_usage_is_found_where_groq_puts_it():
    assert Usage(input=9, output=4) in whole(answer({}, usage=None, x_groq={"usage": USAGE}))


@pytest.mark.parametrize(
    "text",
    [
        '{"prompt_tokens":9,"completion_tokens":4,"completion_tokens":1}',
        '{"prompt_tokens":9,"completion_tokens":4},"usage":{"prompt_tokens":1,"completion_tokens":1}',
        '"many"',
        "[9,4]",
        '{"prompt_tokens":NaN,"completion_tokens":4}',
        '{"prompt_tokens":1e999,"completion_tokens":4}',
    ],
)
def test_usage_that_can_be_read_in_two_ways_is_not_trusted(text: str):
    document = f'{{"choices":[{{"message":{{"content":"a"}}}}],"usage":{text}}}'
    assert whole(document.encode()) == [Delta("a")]
    large = document[:-1] + ',"more":"' + "x" * (64 << 10) + '"}'
    assert whole(large.encode()) == [Delta("a")]


def test_large_usage_is_trusted():
    assert Usage(input=9, output=4) in whole(answer({"content": "x" * (64 << 10)}))


def test_embeddings_have_usage_without_output():
    usage = {"prompt_tokens": 5, "total_tokens": 5}
    body = {"object": "list", "data": [{"embedding": [0.1]}], "model": "e", "usage": usage}
    document = json.dumps(body).encode()
    assert whole(document, Endpoint.EMBEDDINGS) == [Served("e", None), Usage(input=5, output=0)]


def test_content_in_parts_is_read_as_all_its_text():
    parts = [{"type": "thinking", "thinking": [{"text": "hm"}]}, {"type": "text", "text": "yes"}]
    found = whole(answer({"content": parts}))[1]
    assert isinstance(found, Delta)
    assert "hm" in found.text
    assert "yes" in found.text


@pytest.mark.parametrize(
    "document",
    [
        b'{"choices":[{"message":{"content":"ab"},"logprobs":NaN}]}',
        b'{"choices":[{"message":{"content":"ab"},"logprobs":[-Infinity]}]}',
        b'{"choices":[{"message":{"content":"ab\\ud800"}}]}',
        b'{"choices":[{"message":{"content":"ab\xff"}}]}',
    ],
)
def test_what_only_a_lenient_reader_reads_counts_too(document: bytes):
    (found,) = whole(document)
    assert isinstance(found, Delta)
    assert found.text.startswith("ab")
    assert found.text.encode()


def test_a_name_that_is_none_is_not_taken_for_one():
    assert Served(None, None) in whole(answer({}, model="m" * 257, service_tier="a\nb"))


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["delta", "message", "content", "tool_calls", "function", "index"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)
NAMES = st.sampled_from(["choices", "usage", "model", "error", "x_groq", "object", "data"])


@given(st.dictionaries(NAMES, ODD))
def test_no_json_makes_it_raise(body: dict[str, Any]):
    for event in whole(json.dumps(body).encode()):
        assert not isinstance(event, Delta) or event.text.encode()


@given(st.binary(max_size=60))
def test_no_bytes_make_it_raise(document: bytes):
    whole(document)


def test_a_choice_that_ended_in_an_error_is_broken():
    body = b'{"choices":[{"index":0,"message":{"content":"a"},"finish_reason":"error"}]}'
    assert Broken() in whole(body)


@pytest.mark.parametrize(
    ("usage", "nusd"),
    [
        (USAGE | {"cost": 0.00014}, 140_000),
        (
            USAGE | {"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 1}},
            1_010_000_000,
        ),
        (USAGE | {"cost_in_usd_ticks": 158_501}, 15_851),
        (USAGE | {"cost": -1}, None),
        (USAGE | {"cost": {"total": 1}}, None),
        (USAGE, None),
    ],
)
def test_what_a_host_says_it_bills_is_heard(usage: dict[str, Any], nusd: int | None):
    heard = whole(answer({"content": "a"}, usage=usage))[-1]
    assert heard == Usage(input=9, output=4, billed_nusd=nusd)


def test_a_bill_that_stands_twice_is_none():
    usage = b'"usage":{"prompt_tokens":9,"completion_tokens":4,"cost":5,"cost":0}'
    document = b'{"choices":[{"message":{"content":"a"}}],%s}' % usage
    assert whole(document) == [Delta("a")]
