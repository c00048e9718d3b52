"""What a Converse request asks for, and what in it can't be bounded."""

import msgspec
import pytest

from gateway.core.refusal import Code
from gateway.providers.adapter import Endpoint
from tests.unit.providers.dialects.bedrock.asking import NOVA, SAID, converse, refused, taken

TIER = b"x-amzn-bedrock-service-tier"
LATENCY = b"x-amzn-bedrock-performanceconfig-latency"
TOOL = {"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object"}}}}
EXTRA = "additionalModelRequestFields"


def said(*blocks: object, role: str = "user") -> list[object]:
    return [{"role": role, "content": list(blocks)}]


def test_a_request_is_read_with_its_figures():
    wanted = converse(
        inferenceConfig={"maxTokens": 77, "temperature": 0.5},
        system=[{"text": "Be kind."}, {"cachePoint": {"type": "default"}}],
        toolConfig={"tools": [TOOL, {"cachePoint": {"type": "default"}}]},
    )
    asked = wanted.asked
    assert (asked.output_tokens, asked.messages, asked.tools) == (77, 1, 2)
    assert (asked.stream, asked.hides_input, asked.tier) == (False, False, None)
    assert (asked.makes_output, asked.choices, asked.prompts) == (True, 1, 1)
    assert asked.text_bytes > 100
    assert wanted.stream_type == b"application/vnd.amazon.eventstream"


def test_the_path_says_whether_it_is_a_stream():
    assert taken(Endpoint.CONVERSE_STREAM, {"messages": SAID}).asked.stream


def test_a_schema_of_the_answer_counts_again():
    schema = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": "{}"}}}}
    assert converse(outputConfig=schema).asked.schema_bytes == len(msgspec.json.encode(schema))


@pytest.mark.parametrize(
    "block",
    [
        {"text": "hello"},
        {"toolUse": {"toolUseId": "1", "name": "f", "input": {"a": 1}}},
        {"toolResult": {"toolUseId": "1", "content": [{"text": "x"}, {"json": {"a": 1}}]}},
        {"cachePoint": {"type": "default", "ttl": "1h"}},
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "abc"}}},
    ],
)
def test_what_is_all_in_its_bytes_hides_nothing(block: object):
    assert not converse(messages=said(block)).asked.hides_input


@pytest.mark.parametrize(
    "block",
    [
        {"image": {"format": "png", "source": {"bytes": "aGk="}}},
        {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://b/k"}}}},
        {"document": {"name": "d", "source": {"text": "x"}}},
        {"video": {"format": "mp4", "source": {"s3Location": {"uri": "s3://b/k"}}}},
        {"audio": {"format": "mp3", "source": {"bytes": "aGk="}}},
        {"guardContent": {"text": {"text": "x"}}},
        {"reasoningContent": {"redactedContent": "aGk="}},
        {"reasoningContent": "x"},
        {"citationsContent": {"content": []}},
        {"searchResult": {"source": "s", "title": "t", "content": [{"text": "x"}]}},
        {"toolResult": {"content": [{"image": {"format": "png"}}]}},
        {"toolResult": {"content": [{"text": "x", "document": {}}]}},
        {"toolResult": {"content": "x"}},
        {"toolResult": 1},
        {"text": "x", "something": "new"},
        {"fromTomorrow": {"id": "x"}},
    ],
)
def test_what_may_be_more_than_its_bytes_hides_input(block: object):
    assert converse(messages=said(block)).asked.hides_input


def test_a_system_prompt_may_hide_input_too():
    assert converse(system=[{"guardContent": {"text": {"text": "x"}}}]).asked.hides_input


@pytest.mark.parametrize(
    ("member", "value", "param"),
    [
        ("guardrailConfig", {"guardrailIdentifier": "g"}, "guardrailConfig"),
        ("guardrailConfig", "", "guardrailConfig"),
        ("promptVariables", {"a": {"text": "x"}}, "promptVariables"),
        ("promptVariables", {}, "promptVariables"),
        ("toolConfig", {"tools": [{"systemTool": {"name": "nova_grounding"}}]}, "toolConfig.tools"),
        ("toolConfig", {"tools": [TOOL, {"fromTomorrow": {}}]}, "toolConfig.tools"),
        (EXTRA, {"max_tokens": 9}, EXTRA),
        (EXTRA, {"maxTokens": 9}, EXTRA),
        (EXTRA, {"max_gen_len": 9}, EXTRA),
        (EXTRA, {"max_completion_tokens": 9}, EXTRA),
        (EXTRA, {"n": 5}, EXTRA),
        (EXTRA, {"tools": [{"type": "web_search_20250305"}]}, EXTRA),
        (EXTRA, {"inferenceConfig": {"maxTokens": 9}}, f"{EXTRA}.inferenceConfig"),
        (EXTRA, {"inferenceConfig": 9}, f"{EXTRA}.inferenceConfig"),
        (EXTRA, {"output_config": {"task_budget": {}}}, f"{EXTRA}.output_config"),
        (EXTRA, {"anthropic_beta": ["context-1m-2025-08-07"]}, f"{EXTRA}.anthropic_beta"),
        (EXTRA, {"anthropic_beta": "context-1m-2025-08-07"}, f"{EXTRA}.anthropic_beta"),
        (EXTRA, {"from_tomorrow": None}, EXTRA),
    ],
)
def test_what_would_be_billed_unbounded_is_refused(member: str, value: object, param: str):
    found = refused(Endpoint.CONVERSE, {"messages": SAID, member: value})
    assert (found.code, found.param) == (Code.BOUND_UNKNOWN, param)


@pytest.mark.parametrize(
    "extra",
    [
        {"top_k": 5, "stop_sequences": ["x"], "anthropic_version": "bedrock-2023-05-31"},
        {"inferenceConfig": {"topK": 20}},
        {"anthropic_beta": ["token-efficient-tools-2025-02-19"]},
        {"thinking": {"type": "disabled"}},
    ],
)
def test_what_changes_no_bound_passes(extra: object):
    wanted = converse(additionalModelRequestFields=extra)
    assert not wanted.asked.thinks
    assert msgspec.json.decode(wanted.fields[EXTRA]) == extra


@pytest.mark.parametrize(
    ("extra", "least"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, 2001),
        ({"reasoning_config": {"type": "enabled", "budget_tokens": 1024}}, 1025),
        ({"thinking": {"type": "adaptive"}}, 1),
        ({"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}, 1),
        ({"reasoning_effort": "high"}, 1),
        ({"output_config": {"effort": "high"}}, 1),
    ],
)
def test_a_model_that_is_to_think_may_do_so_unseen(extra: object, least: int):
    asked = converse(additionalModelRequestFields=extra).asked
    assert asked.thinks
    assert asked.least_output_tokens == least


def test_an_effort_makes_a_model_think():
    assert not converse().asked.thinks
    assert converse(outputConfig={"effort": "high"}).asked.thinks


def test_a_model_that_thinks_by_itself_does_so_unless_it_is_forbidden():
    name = "us.anthropic.claude-opus-5-5"
    assert converse(model=name).asked.thinks
    extra = {"thinking": {"type": "disabled"}}
    assert not converse(model=name, additionalModelRequestFields=extra).asked.thinks


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"inferenceConfig": {"maxTokens": 0}}, "inferenceConfig.maxTokens"),
        ({"inferenceConfig": {"maxTokens": -1}}, "inferenceConfig.maxTokens"),
        ({"inferenceConfig": {"maxTokens": 1.5}}, "inferenceConfig.maxTokens"),
        ({"inferenceConfig": {"maxTokens": 1e2}}, "inferenceConfig.maxTokens"),
        ({"inferenceConfig": {"maxTokens": "100"}}, "inferenceConfig.maxTokens"),
        ({"inferenceConfig": {"maxTokens": True}}, "inferenceConfig.maxTokens"),
        ({"inferenceConfig": {"maxTokens": 10**18}}, "inferenceConfig.maxTokens"),
        ({"inferenceConfig": []}, "inferenceConfig"),
        ({"inferenceConfig": ""}, "inferenceConfig"),
        ({"inferenceConfig": 0}, "inferenceConfig"),
        ({"toolConfig": False}, "toolConfig"),
        ({"toolConfig": {"tools": {}}}, "toolConfig.tools"),
        ({"toolConfig": {"tools": [1]}}, "toolConfig.tools"),
        ({EXTRA: []}, EXTRA),
        ({EXTRA: {"thinking": "on"}}, "thinking"),
        ({EXTRA: {"thinking": {"budget_tokens": "9"}}}, "thinking.budget_tokens"),
        ({"performanceConfig": "optimized"}, "performanceConfig"),
        ({"serviceTier": "flex"}, "serviceTier"),
        ({"serviceTier": {"type": 5}}, "serviceTier.type"),
        ({"outputConfig": []}, "outputConfig"),
        ({"messages": None}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages"),
        ({"messages": [{"role": "user", "content": "hello"}]}, "messages"),
        ({"messages": [{"role": "user", "content": ["hello"]}]}, "messages"),
        ({"system": "hello"}, "system"),
        ({"system": ["hello"]}, "system"),
        ({"modelId": "another"}, "modelId"),
        ({"projectIdentifier": "p"}, "projectIdentifier"),
        ({"api_key": "k"}, "api_key"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, object], param: str):
    found = refused(Endpoint.CONVERSE, {"messages": SAID} | change)
    assert (found.code, found.param) == (Code.INVALID_REQUEST, param)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b'{"messages":[],"messages":[]}', b'{"a":NaN}', b"\xff", b"{"],
)
def test_what_is_not_strict_json_is_refused(body: bytes):
    assert refused(Endpoint.CONVERSE, body).code is Code.INVALID_REQUEST


def test_a_limit_that_is_there_twice_is_refused():
    twice = b'{"messages":[],"inferenceConfig":{"maxTokens":1,"maxTokens":9}}'
    assert refused(Endpoint.CONVERSE, twice).code is Code.INVALID_REQUEST


def test_the_tier_is_in_the_body_or_in_a_header_and_never_in_both():
    assert converse(serviceTier={"type": "priority"}).asked.tier == "priority"
    assert converse(performanceConfig={"latency": "optimized"}).asked.tier == "optimized"
    assert converse(headers=[(TIER, b"flex")]).asked.tier == "flex"
    assert (
        converse(headers=[(LATENCY, b"optimized"), (TIER, b"flex")]).asked.tier == "flex-optimized"
    )
    body = {"messages": SAID, "serviceTier": {"type": "flex"}}
    found = refused(Endpoint.CONVERSE, body, headers=[(TIER, b"priority")])
    assert found.param == "serviceTier"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([(b"x-amzn-bedrock-guardrailidentifier", b"g")], Code.BOUND_UNKNOWN),
        ([(b"x-amzn-bedrock-guardrailversion", b"1")], Code.BOUND_UNKNOWN),
        ([(b"x-amzn-bedrock-projectidentifier", b"p")], Code.BOUND_UNKNOWN),
        ([(TIER, b"flex"), (TIER, b"priority")], Code.INVALID_REQUEST),
        ([(TIER, b"")], Code.INVALID_REQUEST),
    ],
)
def test_a_header_that_bears_on_the_bill_is_read_or_refused(
    headers: list[tuple[bytes, bytes]], code: Code
):
    assert refused(Endpoint.CONVERSE, {"messages": SAID}, headers=headers).code is code


def test_an_arn_of_another_model_is_refused():
    arn = "arn:aws:bedrock:us-east-1:1:prompt-router/r"
    found = refused(Endpoint.CONVERSE, {"messages": SAID}, model=arn)
    assert (found.code, found.param) == (Code.BOUND_UNKNOWN, "modelId")


def test_no_refusal_quotes_the_prompt():
    secret = "a private text"
    body = {"messages": said({"text": secret}), EXTRA: {secret * 40: 1}}
    found = refused(Endpoint.CONVERSE, body, model=NOVA)
    assert secret not in found.message


def test_the_arguments_of_calls_are_counted_with_their_framing():
    call = {"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": 1, "b": 2}}}
    messages = [*SAID, {"role": "assistant", "content": [call, call, {"text": "x"}]}]
    assert converse(messages=messages).asked.messages == 2 + 4
