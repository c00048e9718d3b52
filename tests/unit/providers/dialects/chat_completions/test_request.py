"""What a chat request asks for, what is refused in it, and what it may hide."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from gateway.core.refusal import Code, Refused
from gateway.providers.adapter import Endpoint, Path, Wanted
from gateway.providers.dialects.chat_completions import ChatCompletions
from gateway.providers.dialects.chat_completions.request import UNBOUNDED
from gateway.providers.fields import OVERRIDES

DIALECT = ChatCompletions("openai")
MESSAGES = [{"role": "user", "content": "Hello"}]
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=3)), max_size=3),
    st.dictionaries(st.sampled_from(["type", "content", "include_usage", "function"]), st.none()),
)
FIELDS = st.sampled_from(
    [
        *("model", "messages", "stream", "stream_options", "n", "best_of", "max_tokens"),
        *("max_completion_tokens", "service_tier", "tools", "functions", "modalities", "input"),
        *("response_format", "prediction", "models", "anything"),
    ]
)


def read(**fields: object) -> Wanted | Refused:
    body = {"model": "gpt-5-mini", "messages": MESSAGES} | fields
    return DIALECT.read(Path(endpoint=Endpoint.CHAT_COMPLETIONS), json.dumps(body).encode())


def wanted(**fields: object) -> Wanted:
    found = read(**fields)
    assert isinstance(found, Wanted), found
    return found


def refused(**fields: object) -> Refused:
    found = read(**fields)
    assert isinstance(found, Refused), found
    return found


@given(st.dictionaries(FIELDS, ODD), st.sampled_from(Endpoint))
def test_no_json_makes_it_raise(body: dict[str, Any], endpoint: Endpoint):
    found = DIALECT.read(Path(endpoint=endpoint), json.dumps(body).encode())
    assert isinstance(found, Wanted | Refused)


@given(st.binary(max_size=80), st.sampled_from(Endpoint))
def test_no_bytes_make_it_raise(body: bytes, endpoint: Endpoint):
    assert isinstance(DIALECT.read(Path(endpoint=endpoint), body), Refused)


def test_a_plain_request_asks_for_what_it_says():
    found = wanted(
        stream=True,
        stream_options={"include_usage": True},
        n=3,
        max_tokens=50,
        service_tier="flex",
        tools=[{"type": "function", "function": {"name": "f"}}, {"type": "custom"}],
        functions=[{"name": "g"}],
    )
    asked = found.asked
    assert (asked.model, asked.stream, asked.output_tokens) == ("gpt-5-mini", True, 50)
    assert (asked.choices, asked.messages, asked.tools, asked.tier) == (3, 1, 3, "flex")
    assert asked.makes_output
    assert not asked.hides_input
    assert found.wants_usage
    assert found.endpoint is Endpoint.CHAT_COMPLETIONS


def test_null_is_as_good_as_absent_where_the_api_says_so():
    names = ("max_tokens", "max_completion_tokens", "n", "stream", "stream_options", "service_tier")
    found = wanted(**dict.fromkeys((*names, "tools", "modalities")))
    assert found.asked == wanted(**dict.fromkeys((*names, "tools", "modalities"))).asked
    assert (found.asked.output_tokens, found.asked.choices, found.asked.stream) == (None, 1, False)
    assert found.asked.tier is None
    assert not found.wants_usage


def test_of_two_ceilings_the_larger_may_be_heeded():
    assert wanted(max_tokens=10, max_completion_tokens=20).asked.output_tokens == 20
    assert wanted(max_tokens=20, max_completion_tokens=10).asked.output_tokens == 20


def test_best_of_multiplies_as_n_does():
    assert wanted(n=2, best_of=5).asked.choices == 5


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n", "best_of"])
@pytest.mark.parametrize("value", [-1, 0, 1.5, 1.0, "100", True, False, 10**18, [], {}, 1e300])
def test_a_number_is_a_number_in_range_or_refused(name: str, value: object):
    found = refused(**{name: value})
    assert (found.code, found.param) == (Code.INVALID_REQUEST, name)
    assert name in found.message
    if isinstance(value, int | float) and not isinstance(value, bool) and value <= 10**18:
        assert found.message.endswith(f"not {value}.")


def test_numbers_end_at_their_limits():
    assert wanted(n=128, max_tokens=10**7).asked.choices == 128
    refused(n=129)
    refused(max_tokens=10**7 + 1)


def test_an_exponent_is_not_a_whole_number():
    body = b'{"model":"m","messages":[],"max_tokens":1e2}'
    assert isinstance(DIALECT.read(Path(endpoint=Endpoint.CHAT_COMPLETIONS), body), Refused)


@pytest.mark.parametrize("value", ["true", 1, 0, [], {}])
def test_stream_is_true_or_false(value: object):
    assert refused(stream=value).param == "stream"
    assert refused(stream_options={"include_usage": value}).param == "stream_options"


@pytest.mark.parametrize("value", [True, "x", [], 1])
def test_stream_options_are_an_object(value: object):
    assert refused(stream_options=value).param == "stream_options"


def test_usage_is_wanted_only_of_a_stream():
    assert not wanted(stream=False, stream_options={"include_usage": True}).wants_usage
    assert not wanted(stream=True, stream_options={"include_usage": False}).wants_usage
    assert not wanted(stream=True).wants_usage


@pytest.mark.parametrize("model", [None, "", "a" * 257, 5, "a\x00b", "a\nb", [], "a\u2028b"])
def test_a_model_is_a_name(model: object):
    assert refused(model=model).param == "model"


@pytest.mark.parametrize("model", ["a/b:c", "A b", "\uff47\uff50\uff54", "gpt-4o ", ".."])
def test_a_models_name_is_kept_as_it_is(model: str):
    assert wanted(model=model).asked.model == model


@pytest.mark.parametrize("messages", [None, "x", {}, [1], ["x"], [[]], [None]])
def test_messages_are_objects(messages: object):
    assert refused(messages=messages).param == "messages"


@pytest.mark.parametrize("name", sorted(OVERRIDES))
def test_a_request_does_not_choose_its_place_or_price(name: str):
    found = refused(**{name: ["canary"]})
    assert (found.code, found.param) == (Code.INVALID_REQUEST, name)
    assert "canary" not in found.message


@pytest.mark.parametrize("name", sorted(UNBOUNDED))
def test_what_no_bound_covers_is_refused(name: str):
    found = refused(**{name: {"type": "content", "content": "canary"}})
    assert (found.code, found.param) == (Code.BOUND_UNKNOWN, name)
    assert "canary" not in found.message
    wanted(**{name: None})
    wanted(**{name: False})


@pytest.mark.parametrize("kind", ["web_search", "mcp", "code_interpreter", None, [], {}])
def test_tools_of_the_provider_are_refused(kind: object):
    found = refused(tools=[{"type": "function"}, {"type": kind}])
    assert (found.code, found.param) == (Code.BOUND_UNKNOWN, "tools")


@pytest.mark.parametrize("name", ["tools", "functions"])
@pytest.mark.parametrize("value", ["x", {}, ["x"], 3])
def test_tools_are_objects(name: str, value: object):
    assert refused(**{name: value}).param == name


@pytest.mark.parametrize("tier", ["", 1, [], "x" * 65, "a\nb"])
def test_a_tier_is_a_name(tier: object):
    assert refused(service_tier=tier).param == "service_tier"


TEXTS = [
    "Hello",
    None,
    [{"type": "text", "text": "Hello"}],
    [{"type": "refusal", "refusal": "No"}, "plain"],
    [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
]
OTHERS: list[Any] = [
    [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}],
    [{"type": "text", "text": "a"}, {"type": "input_audio", "input_audio": {"data": ""}}],
    [{"type": "file", "file": {"file_id": "f"}}],
    [{"type": "text", "text": "a", "image_url": {"url": "u"}}],
    [{"type": "what comes next year", "text": "a"}],
    [{"text": "a"}],
    [{"type": ["text"]}],
    [5],
    {"type": "text", "text": "a"},
    5,
]


@pytest.mark.parametrize("content", TEXTS)
def test_text_hides_nothing(content: object):
    assert not wanted(messages=[{"role": "user", "content": content}]).asked.hides_input


@pytest.mark.parametrize("content", OTHERS)
def test_what_is_not_text_hides_input(content: object):
    messages = [*MESSAGES, {"role": "user", "content": content}]
    assert wanted(messages=messages).asked.hides_input


def test_earlier_audio_and_unknown_members_of_a_message_hide_input():
    for member in ({"audio": {"id": "a1"}}, {"images": ["x"]}):
        assert wanted(messages=[{"role": "assistant", "content": "", **member}]).asked.hides_input


def test_an_answer_sent_back_as_the_sdk_dumps_it_hides_nothing():
    message = {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        ],
        "executed_tools": None,
    }
    tool = {"role": "tool", "tool_call_id": "c", "content": "1"}
    assert not wanted(messages=[message, tool]).asked.hides_input


@pytest.mark.parametrize(
    "name", ["chat_template", "conversation", "previous_response_id", "prompt"]
)
def test_stored_input_hides_input(name: str):
    assert wanted(**{name: "x"}).asked.hides_input


def test_audio_output_is_seen():
    assert wanted(modalities=["text", "audio"]).asked.audio_output
    assert not wanted(modalities=["text"]).asked.audio_output
    assert refused(modalities="audio").param == "modalities"


def test_a_schema_counts_again():
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
    found = wanted(response_format=schema).asked
    assert found.schema_bytes >= len(json.dumps(schema, separators=(",", ":")))
    assert wanted().asked.schema_bytes == 0


def test_text_bytes_bound_the_text():
    assert wanted(messages=[{"role": "user", "content": "é" * 100}]).asked.text_bytes >= 200


def test_a_refusal_quotes_nothing_of_the_body():
    canary = "canary-7f3a"
    fields: list[dict[str, Any]] = [
        {"stream": canary},
        {"model": canary * 100},
        {"max_tokens": canary},
        {"service_tier": canary * 10},
        {"tools": [{"type": canary}]},
        {"messages": canary},
        {canary: 1, "n": "x"},
    ]
    for one in fields:
        assert canary not in refused(**one).message
    twice = f'{{"{canary}":1,"{canary}":2}}'.encode()
    found = DIALECT.read(Path(endpoint=Endpoint.CHAT_COMPLETIONS), twice)
    assert isinstance(found, Refused)
    assert canary not in found.message


@pytest.mark.parametrize(
    "name", ["Model", "MAX_TOKENS", "max_to\u212aens", "me\u017fsages", "N", "Tools"]
)
def test_a_field_in_another_case_is_refused_as_some_hosts_heed_it(name: str):
    found = refused(**{name: 100_000})
    assert (found.code, found.param) == (Code.INVALID_REQUEST, name.casefold())
    assert isinstance(read(**{f"x-{name}": 1, "userTier": 1}), Wanted)


@pytest.mark.parametrize(
    ("arguments", "count"),
    [('{"a": 1, "b" : {"c":2}}', 3), ("{}", 0), ("", 0), (None, 0), (5, 0)],
)
def test_arguments_of_earlier_calls_count_as_two_messages_each(arguments: object, count: int):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    found = read(messages=[{"role": "assistant", "tool_calls": [call, 7, {"function": None}]}])
    assert isinstance(found, Wanted)
    assert found.asked.messages == 1 + 2 * count
