"""What the vendors' own bodies ask for, and what in them can't be bounded."""

import pytest

from gateway.core.refusal import Code
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
    refused,
    taken,
)

TALK = [{"role": "user", "content": "hello"}]
OF_CLAUDE = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 50, "messages": TALK}
OF_NOVA = {"messages": [{"role": "user", "content": [{"text": "hello"}]}]}
IMAGE = {"type": "image", "source": {"type": "base64", "data": "aGk="}}


@pytest.mark.parametrize(
    ("model", "body", "limit"),
    [
        (CLAUDE, OF_CLAUDE, 50),
        (CLAUDE, {**OF_CLAUDE, "max_tokens": 0}, 0),
        (NOVA, {**OF_NOVA, "inferenceConfig": {"maxTokens": 9}}, 9),
        (NOVA, {**OF_NOVA, "inferenceConfig": {"maxTokens": 9, "max_new_tokens": 12}}, 12),
        (NOVA, OF_NOVA, None),
        (LLAMA, {"prompt": "hello", "max_gen_len": 7}, 7),
        (MISTRAL, {"prompt": "hello", "max_tokens": 8}, 8),
        (MISTRAL, {"messages": TALK, "max_tokens": 8}, 8),
        (COMMAND, {"message": "hello", "max_tokens": 6}, 6),
        (TITAN, {"inputText": "hello", "textGenerationConfig": {"maxTokenCount": 5}}, 5),
        (TITAN, {"inputText": "hello", "textGenerationConfig": None}, None),
    ],
)
def test_each_vendors_limit_is_read(model: str, body: object, limit: int | None):
    asked = taken(Endpoint.INVOKE, body, model=model).asked
    assert asked.output_tokens == limit
    assert asked.makes_output
    assert not asked.hides_input
    assert not asked.thinks


def test_the_path_says_whether_it_is_a_stream():
    wanted = taken(Endpoint.INVOKE_STREAM, OF_CLAUDE)
    assert wanted.asked.stream
    assert wanted.stream_type == b"application/vnd.amazon.eventstream"


@pytest.mark.parametrize(
    ("model", "body", "prompts"),
    [
        (TITAN_EMBED, {"inputText": "hello", "dimensions": 256}, 1),
        (COHERE_EMBED, {"texts": ["a", "b", "c"], "input_type": "search_query"}, 3),
    ],
)
def test_an_embedding_has_no_output(model: str, body: object, prompts: int):
    asked = taken(Endpoint.INVOKE, body, model=model).asked
    assert (asked.makes_output, asked.prompts, asked.hides_input) == (False, prompts, False)


def test_several_generations_multiply_the_output():
    body = {"prompt": "hello", "max_tokens": 5, "num_generations": 4}
    assert taken(Endpoint.INVOKE, body, model=COMMAND).asked.choices == 4
    found = refused(Endpoint.INVOKE, body | {"num_generations": 10**9}, model=COMMAND)
    assert found.param == "num_generations"


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (CLAUDE, {**OF_CLAUDE, "messages": [{"role": "user", "content": [IMAGE]}]}),
        (CLAUDE, {**OF_CLAUDE, "messages": [{"role": "user", "content": [{"type": "document"}]}]}),
        (
            CLAUDE,
            {
                **OF_CLAUDE,
                "messages": [{"content": [{"type": "tool_result", "content": [IMAGE]}]}],
            },
        ),
        (CLAUDE, {**OF_CLAUDE, "messages": [{"content": [{"type": "redacted_thinking"}]}]}),
        (CLAUDE, {**OF_CLAUDE, "from_tomorrow": {"id": "x"}}),
        (CLAUDE, {**OF_CLAUDE, "system": [{"type": "file"}]}),
        (NOVA, {"messages": [{"content": [{"image": {"source": {}}}]}]}),
        (NOVA, {"messages": [{"content": [{"toolResult": {"content": [{"image": {}}]}}]}]}),
        (LLAMA, {"prompt": "x", "adapter": "y"}),
        (MISTRAL, {"messages": [{"content": [{"type": "image_url", "image_url": {"url": "u"}}]}]}),
        (TITAN_EMBED, {"inputText": "x", "from": "tomorrow"}),
        (COMMAND, {"message": "x", "documents": [{"title": "t", "snippet": "s"}]}),
    ],
)
def test_what_may_be_more_than_its_bytes_hides_input(model: str, body: object):
    assert taken(Endpoint.INVOKE, body, model=model).asked.hides_input


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (CLAUDE, {**OF_CLAUDE, "system": [{"type": "text", "text": "x"}], "top_k": 5}),
        (CLAUDE, {**OF_CLAUDE, "messages": [{"content": [{"type": "text", "text": "x"}]}]}),
        (
            CLAUDE,
            {
                **OF_CLAUDE,
                "messages": [
                    {"content": [{"type": "tool_use", "id": "1", "name": "f", "input": {}}]},
                    {"content": [{"type": "tool_result", "tool_use_id": "1", "content": "x"}]},
                ],
            },
        ),
        (NOVA, {"messages": [{"content": [{"toolResult": {"content": [{"json": {"a": 1}}]}}]}]}),
        (COMMAND, {"message": "x", "chat_history": [{"role": "USER", "message": "y"}]}),
    ],
)
def test_what_is_all_in_its_bytes_hides_nothing(model: str, body: object):
    assert not taken(Endpoint.INVOKE, body, model=model).asked.hides_input


@pytest.mark.parametrize(
    ("model", "change", "param"),
    [
        (CLAUDE, {"amazon-bedrock-guardrailConfig": {}}, "amazon-bedrock-guardrailConfig"),
        (CLAUDE, {"context_management": {"edits": []}}, "context_management"),
        (CLAUDE, {"mcp_servers": []}, "mcp_servers"),
        (CLAUDE, {"compaction": {"type": "summarize"}}, "compaction"),
        (CLAUDE, {"fallbacks": "default"}, "fallbacks"),
        (CLAUDE, {"speed": "fast"}, "speed"),
        (CLAUDE, {"container": "c"}, "container"),
        (CLAUDE, {"model": "another"}, "model"),
        (CLAUDE, {"max_tokens_to_sample": 900}, "max_tokens_to_sample"),
        (CLAUDE, {"anthropic_beta": ["context-1m-2025-08-07"]}, "anthropic_beta"),
        (CLAUDE, {"tools": [{"type": "web_search_20250305", "name": "w"}]}, "tools"),
        (CLAUDE, {"tools": [{"type": "code_execution_20250522"}]}, "tools"),
        (CLAUDE, {"tools": [{"type": 5}]}, "tools"),
        (NOVA, {"toolConfig": {"tools": [{"systemTool": {"name": "g"}}]}}, "tools"),
        (
            NOVA,
            {"tools": [{"name": "f"}], "toolConfig": {"tools": [{"systemTool": {"name": "g"}}]}},
            "tools",
        ),
        (LLAMA, {"images": ["aGk="]}, "images"),
        (COHERE_EMBED, {"images": ["data:"]}, "images"),
        (COHERE_EMBED, {"inputs": [{}]}, "inputs"),
        (TITAN_EMBED, {"inputImage": "aGk="}, "inputImage"),
    ],
)
def test_what_would_be_billed_unbounded_is_refused(
    model: str, change: dict[str, object], param: str
):
    found = refused(Endpoint.INVOKE, {"messages": []} | change, model=model)
    assert (found.code, found.param) == (Code.BOUND_UNKNOWN, param)


@pytest.mark.parametrize("kind", ["bash_20250124", "text_editor_20250728", "computer_20250124"])
def test_a_tool_that_the_client_runs_passes(kind: str):
    body = {**OF_CLAUDE, "tools": [{"type": kind, "name": "x"}, {"name": "y", "input_schema": {}}]}
    assert taken(Endpoint.INVOKE, body).asked.tools == 65


@pytest.mark.parametrize(
    ("model", "change", "param"),
    [
        (CLAUDE, {"max_tokens": -1}, "max_tokens"),
        (CLAUDE, {"max_tokens": "5"}, "max_tokens"),
        (CLAUDE, {"max_tokens": True}, "max_tokens"),
        (CLAUDE, {"max_tokens": 5.0}, "max_tokens"),
        (CLAUDE, {"messages": "x"}, "messages"),
        (CLAUDE, {"tools": {}}, "tools"),
        (CLAUDE, {"thinking": True}, "thinking"),
        (LLAMA, {"max_gen_len": 0}, "max_gen_len"),
        (NOVA, {"inferenceConfig": []}, "inferenceConfig"),
        (NOVA, {"inferenceConfig": {"max_new_tokens": 0}}, "inferenceConfig.max_new_tokens"),
        (NOVA, {"toolConfig": []}, "toolConfig"),
        (NOVA, {"toolConfig": {"tools": "x"}}, "tools"),
        (TITAN, {"textGenerationConfig": 5}, "textGenerationConfig"),
        (COHERE_EMBED, {"texts": "x"}, "texts"),
        (MISTRAL, {"n": 0}, "n"),
    ],
)
def test_what_is_wrong_is_named(model: str, change: dict[str, object], param: str):
    found = refused(Endpoint.INVOKE, change, model=model)
    assert (found.code, found.param) == (Code.INVALID_REQUEST, param)


@pytest.mark.parametrize("model", ["fast", "deepseek.r1-v1:0", "amazon.nova-canvas-v1:0"])
def test_a_body_of_an_unknown_family_can_not_be_bounded(model: str):
    found = refused(Endpoint.INVOKE, OF_CLAUDE, model=model)
    assert (found.code, found.param) == (Code.BOUND_UNKNOWN, "modelId")


def test_a_budget_for_thinking_must_fit_below_the_limit():
    thinking = {"type": "enabled", "budget_tokens": 1024}
    asked = taken(Endpoint.INVOKE, {**OF_CLAUDE, "thinking": thinking}).asked
    assert (asked.thinks, asked.least_output_tokens) == (True, 1025)


def test_the_tier_is_in_a_header():
    headers = [(b"x-amzn-bedrock-service-tier", b"priority")]
    assert taken(Endpoint.INVOKE, OF_CLAUDE, headers=headers).asked.tier == "priority"


def test_guardrails_in_a_header_are_refused():
    headers = [(b"x-amzn-bedrock-guardrailidentifier", b"g")]
    assert refused(Endpoint.INVOKE, OF_CLAUDE, headers=headers).code is Code.BOUND_UNKNOWN


def test_the_arguments_of_calls_are_counted_with_their_framing():
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1, "b": 2}}
    body = {"messages": [{"role": "assistant", "content": [call]}]}
    assert taken(Endpoint.INVOKE, body).asked.messages == 1 + 2
