"""Complete answers as scores: given this body, these events."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from gateway.core.calls import Asked
from gateway.core.events import Broken, Delta, Event, Opaque, Served, Thinking, Usage
from gateway.providers.dialects.generate_content import answers

ASKED = Asked(model="m")
EMBEDDING = Asked(model="e", makes_output=False)
USAGE = {"promptTokenCount": 9, "candidatesTokenCount": 2, "totalTokenCount": 11}
READ = Usage(input=9, output=2)


def whole(body: object, asked: Asked = ASKED) -> tuple[Event, ...]:
    document = body if isinstance(body, bytes) else json.dumps(body).encode()
    return tuple(answers.whole(document, asked))


def said(*parts: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": list(parts), "role": "model"}}]} | more


def test_a_plain_answer():
    body = said({"text": "Hi"}, usageMetadata=USAGE, modelVersion="m-001", responseId="r")
    assert whole(body) == (Served("m-001", None), Delta("Hi"), READ)
    assert whole(json.dumps(body, indent=2).encode()) == (Served("m-001", None), Delta("Hi"), READ)


@pytest.mark.parametrize(
    ("usage", "tier"),
    [
        ({"serviceTier": "priority"}, "priority"),
        ({"serviceTier": "STANDARD"}, "default"),
        ({"trafficType": "ON_DEMAND"}, "default"),
        ({"trafficType": "ON_DEMAND_FLEX"}, "flex"),
        ({"serviceTier": "flex", "trafficType": "ON_DEMAND"}, "flex"),
        ({"trafficType": "PROVISIONED_THROUGHPUT"}, None),
        ({"serviceTier": 3}, None),
    ],
)
def test_the_tier_that_served_it(usage: dict[str, Any], tier: str | None):
    body = said({"text": "a"}, usageMetadata=USAGE | usage, modelVersion="models/m")
    assert whole(body)[0] == Served("m", tier)


def test_every_kind_of_output_is_heard():
    body = said(
        {"text": "a", "thought": False},
        {"functionCall": {"id": "x", "name": "f", "args": {"city": "Gen\u00e8ve"}}},
        {"functionCall": {"name": "g", "partialArgs": [{"stringValue": "p"}]}},
        {"executableCode": {"language": "PYTHON", "code": "1+1"}},
        {"codeExecutionResult": {"output": "not the model's"}},
    )
    text = 'af{"city":"Gen\u00e8ve"}g[{"stringValue":"p"}]1+1'
    assert whole(body) == (Delta(text),)


def test_all_candidates_are_heard():
    body = {"candidates": [{"content": {"parts": [{"text": t}]}, "index": 1} for t in "ab"]}
    assert whole(body) == (Delta("ab"),)


def test_thoughts_say_that_more_was_thought_than_is_shown():
    assert whole(said({"text": "hm", "thought": True})) == (Delta("hm"), Thinking())
    usage = USAGE | {"thoughtsTokenCount": 5, "totalTokenCount": 16}
    found = whole(said({"text": "a"}, usageMetadata=usage))
    assert found == (Delta("a"), Thinking(), Usage(input=9, output=7, reasoning=5))


def test_media_are_not_counted_by_their_bytes():
    body = said({"inlineData": {"mimeType": "image/png", "data": "A" * 4000}})
    assert whole(body) == (Delta("image/png"), Thinking())


@pytest.mark.parametrize("error", [{"error": {"code": 503, "message": "x"}}, {"error": "x"}])
def test_an_error_is_broken(error: dict[str, Any]):
    assert whole(error) == (Broken(),)
    assert Broken() in whole(said({"text": "a"}) | error)


def test_a_blocked_prompt_is_an_answer():
    body = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}}
    assert whole(body) == (Opaque(),)
    body["usageMetadata"] = {"promptTokenCount": 9, "totalTokenCount": 9}
    assert whole(body) == (Usage(input=9, output=0),)


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"1", b"{}", b'{"candidate":[]}', b"<html>"])
def test_what_is_no_answer_of_this_api_says_nothing(body: bytes):
    assert whole(body) == ()


def test_embeddings_report_their_input_or_nothing():
    vector = {"values": [0.5, -1.0]}
    for body in ({"embedding": vector}, {"embeddings": [vector, vector]}):
        assert whole(body, EMBEDDING) == (Opaque(),)
        reported = body | {"usageMetadata": {"promptTokenCount": 7}}
        assert whole(reported, EMBEDDING) == (Usage(input=7, output=0),)


def test_embeddings_may_be_counted_one_by_one():
    counted = [{"values": [1], "statistics": {"tokenCount": n}} for n in (3, 4.0)]
    assert whole({"embeddings": counted}, EMBEDDING) == (Usage(input=7, output=0),)
    assert whole({"embedding": counted[0]}, EMBEDDING) == (Usage(input=3, output=0),)
    zero = {"statistics": {"tokenCount": 0}}
    for odd in ({"values": []}, {"statistics": {"tokenCount": "4"}}, {"statistics": {}}, zero):
        assert whole({"embeddings": [counted[0], odd]}, EMBEDDING) == (Opaque(),)


def test_a_count_of_tokens_is_an_answer():
    assert whole({"totalTokens": 7}, Asked(model="m", is_free=True)) == (Opaque(),)


def usage_of(written: str) -> tuple[Event, ...]:
    return whole(f'{{"candidates":[],"usageMetadata":{written}}}'.encode())


@pytest.mark.parametrize(
    "written",
    [
        '{"promptTokenCount":9,"totalTokenCount":11,"promptTokenCount":1}',
        '{"promptTokenCount":9,"totalTokenCount":11,"promptTokens\\u0044etails":1}'
        ',"usageMetadata":{"promptTokenCount":1,"totalTokenCount":1}',
        '{"promptTokenCount":9,"totalTokenCount":1' + "0" * 5000 + "}",
        '{"promptTokenCount":"9","totalTokenCount":11}',
        '{"promptTokenCount":NaN,"totalTokenCount":11}',
        "[]",
        '"x"',
        "{}",
        "null",
        "true",
    ],
)
def test_an_account_that_is_not_sound_is_none(written: str):
    assert not any(isinstance(event, Usage) for event in usage_of(written))


def test_what_stands_twice_elsewhere_is_no_matter_of_the_account():
    call = b'{"candidates":[{"content":{"parts":[{"functionCall":{"args":{"a":1,"a":2}}}]}}],'
    account = json.dumps(USAGE).encode()
    assert READ in whole(call + b'"usageMetadata":' + account + b"}")


def test_an_arguments_name_may_be_that_of_the_account():
    call = {"name": "f", "args": {"usageMetadata": {"promptTokenCount": 1}}}
    assert READ in whole(said({"functionCall": call}, usageMetadata=USAGE))


@pytest.mark.parametrize(
    "document",
    [
        b'{"candidates":[{"content":{"parts":[{"text":"a\xff"}]}}]}',
        b'{"candidates":[{"content":{"parts":[{"text":"a\\ud800"}]}}]}',
        b'{"candidates":[{"content":{"parts":[{"text":["a","b"]}]},"avgLogprobs":NaN}]}',
        b'{"candidates":[{"content":"abc"}]}',
    ],
)
def test_what_is_strange_is_read_slowly_and_counted_whole(document: bytes):
    (found,) = whole(document)
    assert isinstance(found, Delta)
    assert found.text
    assert found.text.encode()


def test_a_very_deep_answer_is_no_answer():
    assert whole(b'{"candidates":' + b"[" * 20_000) == ()
    deep = b'{"candidates":[{"content":' + b"[" * 20_000 + b"]" * 20_000 + b"}]}"
    assert whole(deep) in ((), (Opaque(),))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("candidates", "content", "parts", "text", "functionCall", "args", "name"),
                    *("usageMetadata", "promptTokenCount", "totalTokenCount", "index", "error"),
                    *("promptFeedback", "blockReason", "embedding", "embeddings", "statistics"),
                    *("tokenCount", "totalTokens", "promptTokensDetails", "modality"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=14,
)


@given(JSON.map(json.dumps).map(str.encode) | st.binary(max_size=60))
def test_no_answer_makes_it_raise(document: bytes):
    for asked in (ASKED, EMBEDDING):
        for event in whole(document, asked):
            if isinstance(event, Delta):
                assert event.text.encode("utf-8", "surrogatepass")
