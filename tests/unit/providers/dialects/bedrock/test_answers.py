"""What whole answers say: text, usage, tier, and errors in disguise."""

import json

import pytest
from hypothesis import given, strategies as st

from gateway.core.events import Broken, Delta, Event, Opaque, Served, Thinking, Usage
from gateway.providers.adapter import Endpoint, Headers
from tests.unit.providers.dialects.bedrock.asking import (
    CLAUDE,
    COHERE_EMBED,
    COMMAND,
    DIALECT,
    LLAMA,
    MISTRAL,
    NOVA,
    TITAN,
    TITAN_EMBED,
    converse,
    taken,
)

COUNTED = [
    (b"x-amzn-bedrock-input-token-count", b"5"),
    (b"x-amzn-bedrock-output-token-count", b"3"),
]
USAGE = Usage(input=5, output=3)
BODIES: dict[str, object] = {
    CLAUDE: {"messages": [], "max_tokens": 9},
    NOVA: {"messages": []},
    LLAMA: {"prompt": "x"},
    MISTRAL: {"prompt": "x"},
    COMMAND: {"message": "x"},
    TITAN: {"inputText": "x"},
    TITAN_EMBED: {"inputText": "x"},
    COHERE_EMBED: {"texts": ["x"]},
}


def said(body: object, **members: object) -> list[Event]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return list(DIALECT.whole(converse(**members), raw, ()))


def invoked(model: str, body: object, headers: Headers = ()) -> list[Event]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return list(DIALECT.whole(taken(Endpoint.INVOKE, BODIES[model], model=model), raw, headers))


def answer(*content: object, **members: object) -> dict[str, object]:
    usage = {"inputTokens": 5, "outputTokens": 3, "totalTokens": 8}
    return {"output": {"message": {"content": list(content)}}, "usage": usage} | members


def test_converse_says_its_text_and_then_its_usage():
    blocks = (
        {"text": "Hi "},
        {"toolUse": {"name": "f", "input": {"a": 1}}},
        {"citationsContent": {"content": [{"text": "cited"}]}},
    )
    events = said(answer(*blocks))
    assert events[0] == Delta("Hi ")
    assert isinstance(events[1], Delta)
    assert events[1].text.startswith("f{")
    assert events[-1] == USAGE


def test_what_was_thought_is_told_and_counted():
    block = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "abc"}}}
    assert said(answer(block))[:2] == [Thinking(), Delta("hm")]
    redacted = {"reasoningContent": {"redactedContent": "aGk="}}
    assert said(answer(redacted))[0] == Thinking()
    assert said(answer({"image": {"format": "png"}}))[0] == Thinking()


@pytest.mark.parametrize(
    ("members", "asked", "tier"),
    [
        ({"serviceTier": {"type": "priority"}}, {}, "priority"),
        ({"serviceTier": {"type": "default"}}, {"serviceTier": {"type": "priority"}}, "default"),
        ({"performanceConfig": {"latency": "optimized"}}, {}, "optimized"),
    ],
)
def test_the_tier_that_answered_is_told(
    members: dict[str, object], asked: dict[str, object], tier: str
):
    assert Served(None, tier) in said(answer(**members), **asked)


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"", []),
        (b"[]", []),
        (b"<html>", []),
        (b"{}", []),
        (b'{"message":"Too many"}', [Broken()]),
        (b'{"__type":"X","message":"Too many"}', [Broken()]),
        (b'{"output":{}}', [Opaque()]),
    ],
)
def test_what_is_no_answer_says_so(body: bytes, events: list[Event]):
    assert said(body) == events


@pytest.mark.parametrize(
    "body",
    [
        b'{"output":{"message":{"content":[{"text":"\\ud800 hello"}]}}}',
        b'{"output":{"message":{"content":[{"text":"hello"}]}},"x":NaN}',
        b'{"output":{"message":{"content":"hello"}}}',
        b'{"output":{"message":{"content":[{"text":"\xff hello"}]}}}',
    ],
)
def test_what_is_strange_counts_as_produced(body: bytes):
    events = said(body)
    assert isinstance(events[0], Delta)
    assert "hello" in events[0].text


def test_a_usage_that_is_there_twice_is_not_trusted():
    twice = b'{"output":{},"usage":{"inputTokens":1,"outputTokens":1,"outputTokens":9}}'
    assert said(twice) == [Opaque()]


def test_usage_of_a_large_answer_is_found():
    body = answer({"text": "x" * 200_000})
    assert said(body)[-1] == USAGE


@pytest.mark.parametrize(
    ("model", "body", "headers", "text"),
    [
        (
            CLAUDE,
            {
                "content": [{"type": "text", "text": "Hi"}],
                "usage": {"input_tokens": 5, "output_tokens": 3},
            },
            (),
            "Hi",
        ),
        (CLAUDE, {"content": [{"type": "text", "text": "Hi"}]}, COUNTED, "Hi"),
        (NOVA, answer({"text": "Hi"}), (), "Hi"),
        (
            LLAMA,
            {"generation": "Hi", "prompt_token_count": 5, "generation_token_count": 3},
            (),
            "Hi",
        ),
        (LLAMA, {"generation": "Hi", "prompt_token_count": "5"}, COUNTED, "Hi"),
        (MISTRAL, {"outputs": [{"text": "H"}, {"text": "i"}]}, COUNTED, "Hi"),
        (
            MISTRAL,
            {
                "choices": [{"message": {"content": "Hi"}}],
                "usage": {"prompt_tokens": 5, "completion_tokens": 3},
            },
            (),
            "Hi",
        ),
        (COMMAND, {"text": "Hi", "chat_history": [{"message": "old"}]}, COUNTED, "Hi"),
        (COMMAND, {"generations": [{"text": "H"}, {"text": "i"}]}, COUNTED, "Hi"),
        (
            TITAN,
            {"inputTextTokenCount": 5, "results": [{"tokenCount": 3, "outputText": "Hi"}]},
            (),
            "Hi",
        ),
    ],
)
def test_each_vendors_answer_is_read(model: str, body: object, headers: Headers, text: str):
    assert invoked(model, body, headers) == [Delta(text), USAGE]


@pytest.mark.parametrize(
    ("model", "body", "headers"),
    [
        (TITAN_EMBED, {"embedding": [0.1], "inputTextTokenCount": 5}, ()),
        (COHERE_EMBED, {"embeddings": [[0.1]]}, COUNTED[:1]),
    ],
)
def test_an_embedding_counts_its_input(model: str, body: object, headers: Headers):
    assert invoked(model, body, headers) == [Usage(input=5, output=0)]


def test_claude_thinks_calls_and_caches():
    body = {
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "tool_use", "name": "f", "input": {"a": 1}},
        ],
        "usage": {"input_tokens": 5, "cache_read_input_tokens": 7, "output_tokens": 3},
    }
    events = invoked(CLAUDE, body)
    assert events[:2] == [Thinking(), Delta("hm")]
    assert isinstance(events[2], Delta)
    assert events[2].text.startswith("f{")
    assert events[-1] == Usage(input=5, output=3, cached=7)


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (CLAUDE, b'{"message":"Too many requests"}'),
        (CLAUDE, b'{"type":"error","error":{"message":"x"}}'),
        (LLAMA, b'{"message":"Too many requests"}'),
        (MISTRAL, b'{"error":{"message":"x"}}'),
    ],
)
def test_an_error_in_disguise_is_broken(model: str, body: bytes):
    assert invoked(model, body) == [Broken()]


@given(st.sampled_from(sorted(BODIES)), st.binary(max_size=80))
def test_arbitrary_bytes_never_raise(model: str, body: bytes):
    invoked(model, body)
    said(body)
    invoked(model, b"{" + body)


@pytest.mark.parametrize("model", sorted(BODIES))
@pytest.mark.parametrize(
    "body", [b'{"a":' * 20_000, b'{"a":' + b"[" * 20_000, b'{"text":NaN}', b'{"content":5}', b"{"]
)
def test_strange_json_never_raises(model: str, body: bytes):
    invoked(model, body)
    said(body)
