"""What requests to generate ask for, and what is refused."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from gateway.core.refusal import Code, Refused
from gateway.providers.adapter import Endpoint, Path, Wanted
from gateway.providers.dialects.generate_content import GenerateContent

HELLO = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
PATH = Path(endpoint=Endpoint.GENERATE_CONTENT, model="m", version="v1")
STREAM = Path(endpoint=Endpoint.STREAM_GENERATE_CONTENT, model="m", version="v1")


def read(body: object, path: Path = PATH) -> Wanted | Refused:
    written = body if isinstance(body, bytes) else json.dumps(body).encode()
    return GenerateContent().read(path, written)


def wanted(body: object, path: Path = PATH) -> Wanted:
    found = read(body, path)
    assert isinstance(found, Wanted), found
    return found


def refused(body: object, path: Path = PATH) -> Refused:
    found = read(body, path)
    assert isinstance(found, Refused), found
    return found


def config(**members: object) -> dict[str, Any]:
    return {**HELLO, "generationConfig": members}


def part(**members: object) -> dict[str, Any]:
    return {"contents": [{"parts": [{"text": "a"}, members]}]}


def test_the_least_request():
    found = wanted(HELLO)
    asked = found.asked
    assert (asked.model, asked.stream, asked.output_tokens, asked.choices) == ("m", False, None, 1)
    assert (asked.messages, asked.tools, asked.tier, asked.hides_input) == (1, 0, None, False)
    assert asked.text_bytes == len(json.dumps(HELLO, separators=(",", ":")))
    assert asked.thinks, "no budget of thought certainly rules thought out, whatever the model"
    assert not asked.audio_output
    assert found.fields.keys() == {"contents"}


def test_the_path_says_whether_it_streams_and_how():
    assert wanted(HELLO, STREAM).asked.stream
    assert wanted(HELLO, STREAM).stream_type == b"text/event-stream"
    array = Path(endpoint=Endpoint.STREAM_GENERATE_CONTENT, model="m", is_array=True)
    assert wanted(HELLO, array).stream_type == b"application/json"
    assert not wanted({**HELLO, "stream": True}).asked.stream


@pytest.mark.parametrize(
    "body",
    [
        {**HELLO, "generationConfig": {"maxOutputTokens": 7, "candidateCount": 2}},
        {**HELLO, "generation_config": {"max_output_tokens": 7, "candidate_count": 2}},
        {**HELLO, "generation_config": {"maxOutputTokens": 7, "candidateCount": 2}},
    ],
)
def test_limits_are_read_in_both_spellings(body: object):
    asked = wanted(body).asked
    assert (asked.output_tokens, asked.choices) == (7, 2)


@pytest.mark.parametrize(
    "body",
    [
        {**HELLO, "generationConfig": {"maxOutputTokens": 7, "max_output_tokens": 7}},
        {**HELLO, "generationConfig": {}, "generation_config": {"maxOutputTokens": 7}},
        {**HELLO, "systemInstruction": None, "system_instruction": {"parts": {"text": "a"}}},
        {"contents": [{"parts": [{"functionCall": {}, "function_call": {}}]}]},
        b'{"contents":[{"parts":{"text":"a"}}],"contents":[]}',
    ],
)
def test_a_field_that_is_there_twice_is_refused(body: object):
    assert refused(body).code is Code.INVALID_REQUEST


@pytest.mark.parametrize("name", ["maxOutputTokens", "candidateCount"])
@pytest.mark.parametrize("value", ["100", -1, 0, 1.5, 1.0, True, 10**18, [], {}, "1e2"])
def test_numbers_are_never_coerced(name: str, value: object):
    found = refused(config(**{name: value}))
    assert found.code is Code.INVALID_REQUEST
    assert found.param == f"generationConfig.{name}"


def test_a_missing_number_may_be_null():
    asked = wanted(config(maxOutputTokens=None, candidateCount=None)).asked
    assert (asked.output_tokens, asked.choices) == (None, 1)
    assert wanted({**HELLO, "generationConfig": None}).asked.output_tokens is None


def test_too_many_candidates_are_refused():
    assert wanted(config(candidateCount=128)).asked.choices == 128
    assert refused(config(candidateCount=129)).code is Code.INVALID_REQUEST


def test_a_limit_outside_the_config_is_nothing_to_the_vendor_and_nothing_here():
    for name in ("maxOutputTokens", "max_output_tokens"):
        asked = wanted({**HELLO, name: 5}).asked
        assert asked.output_tokens is None
        assert not asked.hides_input


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"contents": None},
        {"contents": "Hello"},
        {"contents": ["Hello"]},
        {**HELLO, "tools": ["x"]},
        {**HELLO, "generationConfig": []},
        {**HELLO, "generationConfig": "x"},
        {**HELLO, "serviceTier": 2},
        {**HELLO, "serviceTier": ""},
        {**HELLO, "model": "other"},
        {**HELLO, "model": ["m"]},
        {**HELLO, "api_base": "http://x"},
        config(routingConfig={"autoMode": {}}),
        config(modelSelectionConfig={}),
        config(model_config={"x": 1}),
        [],
        None,
        b"",
        b"contents=Hello",
    ],
)
def test_what_is_wrong_in_itself_is_refused(body: object):
    assert refused(body).code is Code.INVALID_REQUEST


def test_a_single_message_may_stand_for_an_array_of_it():
    body = {"contents": {"parts": {"text": "a"}}, "system_instruction": {"parts": {"text": "b"}}}
    asked = wanted(body | {"tools": {"functionDeclarations": {"name": "f"}}}).asked
    assert (asked.hides_input, asked.messages, asked.tools) == (False, 2, 1)


def test_the_model_may_be_said_again_but_not_another():
    for name in ("m", "models/m"):
        assert wanted({**HELLO, "model": name}).asked.model == "m"


@pytest.mark.parametrize(
    "member",
    [
        {"thought": True},
        {"thoughtSignature": "c2ln"},
        {"thought_signature": "c2ln"},
        {"functionCall": {"name": "f", "args": {"a": 1}}},
        {"functionResponse": {"name": "f", "response": {"a": {"inlineData": 1}}}},
        {"function_response": {"name": "f", "response": {}, "will_continue": False}},
        {"executableCode": {"language": "PYTHON", "code": "1"}},
        {"codeExecutionResult": {"output": "1"}},
        {"inlineData": None},
    ],
)
def test_parts_that_are_text_are_bounded_by_it(member: dict[str, Any]):
    assert not wanted(part(**member)).asked.hides_input


@pytest.mark.parametrize(
    "member",
    [
        {"inlineData": {"mimeType": "image/png", "data": ""}},
        {"inline_data": {"mime_type": "audio/wav", "data": ""}},
        {"fileData": {"fileUri": "https://x"}},
        {"file_data": {"file_uri": "gs://x"}},
        {"videoMetadata": {"fps": 1}},
        {"functionResponse": {"name": "f", "parts": [{"inlineData": {}}]}},
        {"toolResponse": {"response": {}}},
        {"somethingNew": {}},
    ],
)
def test_parts_that_may_be_more_than_their_bytes_hide_the_input(member: dict[str, Any]):
    assert wanted(part(**member)).asked.hides_input
    system = {**HELLO, "systemInstruction": {"parts": [member]}}
    assert wanted(system).asked.hides_input


@pytest.mark.parametrize(
    "member",
    [
        {"cachedContent": "cachedContents/x"},
        {"cached_content": "cachedContents/x"},
        {"continuationToken": "eA=="},
        {"somethingNew": {"fileUri": "x"}},
        {"somethingNew": ["x"]},
        {"contents": [{"parts": [], "audio": "x"}]},
    ],
)
def test_members_that_may_refer_to_more_hide_the_input(member: dict[str, Any]):
    assert wanted({**HELLO, **member}).asked.hides_input


def test_known_members_hide_nothing():
    body = HELLO | {
        "systemInstruction": {"parts": [{"text": "a"}]},
        "safetySettings": [{"category": "x", "threshold": "y"}],
        "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
        "labels": {"a": "b"},
        "store": True,
        "cachedContent": None,
    }
    assert not wanted(body).asked.hides_input
    assert wanted(body).asked.messages == 2


@pytest.mark.parametrize(
    "tool",
    [
        *("googleSearch", "google_search", "googleSearchRetrieval", "enterpriseWebSearch"),
        *("googleMaps", "urlContext", "url_context", "codeExecution", "code_execution"),
        *("fileSearch", "file_search", "computerUse", "retrieval", "mcpServers", "somethingNew"),
    ],
)
def test_tools_that_the_vendor_runs_have_no_bound(tool: str):
    for tools in ([{tool: {}}], {tool: {}}, [{"functionDeclarations": []}, {tool: {"a": 1}}]):
        found = refused({**HELLO, "tools": tools})
        assert found.code is Code.BOUND_UNKNOWN
        assert (found.param or "").startswith("tools")
        assert found.message.endswith("Remove it.")


def test_functions_are_counted_and_null_tools_are_none():
    tools = [
        {"functionDeclarations": [{"name": "f"}, {"name": "g"}], "googleSearch": None},
        {"function_declarations": [{"name": "h"}]},
    ]
    assert wanted({**HELLO, "tools": tools}).asked.tools == 3
    assert wanted({**HELLO, "tools": None}).asked.tools == 0


@pytest.mark.parametrize("name", ["responseSchema", "response_json_schema", "responseFormat"])
def test_a_schema_counts_again(name: str):
    body = config(**{name: {"type": "OBJECT"}})
    assert wanted(body).asked.schema_bytes == len(json.dumps(body["generationConfig"]))
    assert wanted(config(temperature=1)).asked.schema_bytes == 0


@pytest.mark.parametrize(
    ("members", "may_speak"),
    [
        ({"responseModalities": ["TEXT", "IMAGE"]}, False),
        ({"responseModalities": []}, False),
        ({"responseModalities": ["AUDIO"]}, True),
        ({"response_modalities": "AUDIO"}, True),
        ({"responseModalities": [3]}, True),
        ({"responseModalities": [{}]}, True),
        ({"speechConfig": {}}, True),
        ({"responseFormat": [{}]}, True),
    ],
)
def test_audio_is_known_to_be_possible(members: dict[str, Any], may_speak: bool):
    assert wanted(config(**members)).asked.audio_output is may_speak


@pytest.mark.parametrize(
    ("said", "tier"),
    [
        (None, None),
        ("standard", None),
        ("UNSPECIFIED", None),
        ("SERVICE_TIER_STANDARD", None),
        ("flex", "flex"),
        ("PRIORITY", "priority"),
        ("service_tier_priority", "priority"),
        ("new", "new"),
    ],
)
def test_tiers_are_named_as_the_price_book_does(said: str | None, tier: str | None):
    assert wanted({**HELLO, "serviceTier": said}).asked.tier == tier
    assert wanted({**HELLO, "service_tier": said}).asked.tier == tier


def test_a_budget_of_no_thought_is_not_believed():
    for budget in (0, -1, 1024):
        assert wanted(config(thinkingConfig={"thinkingBudget": budget})).asked.thinks


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("contents", "parts", "text", "tools", "functionDeclarations", "role"),
                    *("generationConfig", "maxOutputTokens", "max_output_tokens", "model"),
                    *("generateContentRequest", "requests", "content", "functionResponse"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
PATHS = [
    Path(endpoint=endpoint, model="m", version="v1")
    for endpoint in Endpoint
    if endpoint.value.endswith(("Content", "Contents", "countTokens"))
]


@given(JSON, st.sampled_from(PATHS))
def test_no_body_makes_it_raise(body: object, path: Path):
    found = read(body, path)
    assert isinstance(found, Wanted | Refused)


@given(st.binary(max_size=60))
def test_no_bytes_make_it_raise(body: bytes):
    assert isinstance(read(body), Refused)
