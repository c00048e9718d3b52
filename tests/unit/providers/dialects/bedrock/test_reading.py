"""Whatever a body holds, it is read or refused, and what is read can be written."""

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from gateway.core.refusal import Refused
from gateway.providers.adapter import Endpoint
from tests.unit.providers.dialects.bedrock.asking import (
    CLAUDE,
    COHERE_EMBED,
    COMMAND,
    LLAMA,
    MISTRAL,
    NOVA,
    TITAN,
    TITAN_EMBED,
    read,
    written,
)

NAMES = st.sampled_from(
    [
        "messages",
        "content",
        "text",
        "image",
        "toolUse",
        "toolResult",
        "toolConfig",
        "tools",
        "toolSpec",
        "systemTool",
        "system",
        "inferenceConfig",
        "maxTokens",
        "max_new_tokens",
        "max_tokens",
        "max_gen_len",
        "textGenerationConfig",
        "maxTokenCount",
        "additionalModelRequestFields",
        "thinking",
        "type",
        "budget_tokens",
        "anthropic_beta",
        "output_config",
        "effort",
        "serviceTier",
        "performanceConfig",
        "latency",
        "outputConfig",
        "reasoningContent",
        "texts",
        "documents",
        "chat_history",
        "num_generations",
        "n",
        "stream",
        "input",
        "role",
        "prompt",
        "inputText",
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2000)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
BODIES = st.dictionaries(NAMES, VALUES, max_size=6)
TALKS = st.lists(
    st.dictionaries(
        st.just("content"), st.lists(st.dictionaries(NAMES, VALUES, max_size=2), max_size=2)
    ),
    max_size=2,
)
MODELS = [CLAUDE, NOVA, LLAMA, MISTRAL, COMMAND, TITAN, TITAN_EMBED, COHERE_EMBED]


@given(BODIES, TALKS)
@settings(max_examples=300)
def test_converse_is_read_or_refused_and_its_limit_holds(body: dict[str, object], talk: object):
    for one in (body, body | {"messages": talk}):
        wanted = read(Endpoint.CONVERSE, one)
        if isinstance(wanted, Refused):
            continue
        sent = msgspec.json.decode(written(wanted, 50))
        assert 1 <= sent["inferenceConfig"]["maxTokens"] <= 50
        assert {**sent, "inferenceConfig": 0} == {**one, "inferenceConfig": 0}


@pytest.mark.parametrize("model", MODELS)
@given(body=BODIES, talk=TALKS)
def test_invoke_is_read_or_refused_and_nothing_else_changes(
    model: str, body: dict[str, object], talk: object
):
    for one in (body, body | {"messages": talk}):
        wanted = read(Endpoint.INVOKE, one, model=model)
        if isinstance(wanted, Refused):
            continue
        ceiling = 50 if wanted.asked.makes_output else None
        sent = msgspec.json.decode(written(wanted, ceiling, model=model))
        limits = {"max_tokens", "max_gen_len", "inferenceConfig", "textGenerationConfig"}
        assert {name: sent[name] for name in sent.keys() - limits} == {
            name: one[name] for name in one.keys() - limits
        }


@given(
    st.sampled_from([Endpoint.CONVERSE, Endpoint.INVOKE, Endpoint.COUNT_TOKENS]),
    st.binary(max_size=80),
)
def test_arbitrary_bytes_are_refused_and_never_raise(endpoint: Endpoint, body: bytes):
    read(endpoint, body)
    read(endpoint, b"{" + body)
