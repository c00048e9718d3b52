"""What is sent on: the client's members as they came, with the ceiling in its place."""

import msgspec
import pytest
from hypothesis import given, strategies as st

from gateway.providers.adapter import Endpoint
from tests.unit.providers.dialects.bedrock.asking import (
    CLAUDE,
    COHERE_EMBED,
    COMMAND,
    LLAMA,
    MISTRAL,
    NOVA,
    SAID,
    TITAN,
    TITAN_EMBED,
    converse,
    taken,
    written,
)


@pytest.mark.parametrize(
    ("given_", "sent"),
    [
        (None, {"maxTokens": 100}),
        ({}, {"maxTokens": 100}),
        ({"maxTokens": None}, {"maxTokens": 100}),
        ({"maxTokens": 500}, {"maxTokens": 100}),
        ({"maxTokens": 50}, {"maxTokens": 50}),
        ({"temperature": 0.10, "topP": 1}, {"temperature": 0.10, "topP": 1, "maxTokens": 100}),
    ],
)
def test_converse_has_its_limit_in_one_place(given_: object, sent: object):
    wanted = converse(inferenceConfig=given_)
    assert msgspec.json.decode(written(wanted, 100))["inferenceConfig"] == sent


def test_members_that_do_not_change_keep_their_bytes():
    body = b'{"x":1.50e0,"messages":[{"content":[{"text":"\\u00e9"}]}],"inferenceConfig":{"a":1.0}}'
    wanted = taken(Endpoint.CONVERSE, body)
    sent = written(wanted, 9)
    assert sent == body.replace(b'"a":1.0', b'"a":1.0,"maxTokens":9')
    assert msgspec.json.decode(written(wanted, None)) == msgspec.json.decode(body)


@pytest.mark.parametrize(
    ("model", "body", "sent"),
    [
        (CLAUDE, {"max_tokens": 500, "messages": []}, {"max_tokens": 100, "messages": []}),
        (CLAUDE, {"messages": []}, {"messages": [], "max_tokens": 100}),
        (CLAUDE, {"max_tokens": 0, "messages": []}, {"max_tokens": 0, "messages": []}),
        (LLAMA, {"prompt": "x"}, {"prompt": "x", "max_gen_len": 100}),
        (MISTRAL, {"prompt": "x", "max_tokens": 900}, {"prompt": "x", "max_tokens": 100}),
        (COMMAND, {"message": "x"}, {"message": "x", "max_tokens": 100}),
        (NOVA, {"messages": []}, {"messages": [], "inferenceConfig": {"maxTokens": 100}}),
        (
            NOVA,
            {"inferenceConfig": {"max_new_tokens": 900, "topK": 1}},
            {"inferenceConfig": {"max_new_tokens": 100, "topK": 1}},
        ),
        (
            TITAN,
            {"inputText": "x", "textGenerationConfig": None},
            {"inputText": "x", "textGenerationConfig": {"maxTokenCount": 100}},
        ),
    ],
)
def test_each_vendors_body_has_its_own_limit(model: str, body: object, sent: object):
    wanted = taken(Endpoint.INVOKE, body, model=f"aws/{model}")
    assert msgspec.json.decode(written(wanted, 100, model=model)) == sent


@pytest.mark.parametrize("model", [TITAN_EMBED, COHERE_EMBED])
def test_an_embedding_is_sent_as_it_came(model: str):
    body = {"inputText": "x"} if model == TITAN_EMBED else {"texts": ["x"]}
    wanted = taken(Endpoint.INVOKE, body, model=model)
    assert written(wanted, None, model=model) == msgspec.json.encode(body)


@pytest.mark.parametrize("upstream", [NOVA, LLAMA, "deepseek.r1-v1:0", TITAN_EMBED])
def test_a_body_for_another_vendor_than_the_names_is_not_sent(upstream: str):
    wanted = taken(Endpoint.INVOKE, {"messages": []}, model="anthropic.fast")
    assert written(wanted, 100, model=upstream) == b"{}"


@given(
    st.sampled_from([CLAUDE, LLAMA, MISTRAL, COMMAND]),
    st.integers(1, 10**7),
    st.integers(1, 10**7),
)
def test_no_limit_that_is_sent_is_above_the_ceiling(model: str, limit: int, ceiling: int):
    name = "max_gen_len" if model == LLAMA else "max_tokens"
    wanted = taken(Endpoint.INVOKE, {"prompt": "x", name: limit}, model=model)
    assert msgspec.json.decode(written(wanted, ceiling, model=model))[name] == min(limit, ceiling)


def test_converse_writes_any_models_limit_alike():
    wanted = converse(model="fast")
    sent = msgspec.json.decode(written(wanted, 7, model="deepseek.r1-v1:0"))
    assert sent == {"messages": SAID, "inferenceConfig": {"maxTokens": 7}}
