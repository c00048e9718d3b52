"""What a request for a message asks for, what is refused in it, and what it may hide."""

import json
import pickle
from typing import Any

import pytest
from hypothesis import given, strategies as st

from gateway.core.refusal import Code, Refused
from gateway.providers.adapter import Change, Endpoint, Path, Wanted
from gateway.providers.dialects.messages import Messages
from gateway.providers.dialects.messages.request import UNBOUNDED

DIALECT = Messages()
HELLO = [{"role": "user", "content": "Hello"}]
WEATHER = {"name": "get_weather", "input_schema": {"type": "object"}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=3)), max_size=3),
    st.dictionaries(st.sampled_from(["type", "content", "edits", "budget_tokens"]), st.none()),
    st.lists(st.dictionaries(st.sampled_from(["type", "content", "strict"]), st.booleans())),
)
FIELDS = st.sampled_from(
    [
        *("model", "messages", "system", "stream", "max_tokens", "thinking", "tools", "speed"),
        *("service_tier", "inference_geo", "container", "mcp_servers", "context_management"),
        *("thread", "output_config", "compaction", "anything"),
    ]
)


def read(**fields: object) -> Wanted | Refused:
    body = {"model": "claude-opus-5", "max_tokens": 100, "messages": HELLO} | fields
    return DIALECT.read(Path(endpoint=Endpoint.MESSAGES), json.dumps(body).encode())


def wanted(**fields: object) -> Wanted:
    found = read(**fields)
    assert isinstance(found, Wanted), found
    return found


def refused(**fields: object) -> Refused:
    found = read(**fields)
    assert isinstance(found, Refused), found
    return found


def said(*blocks: object, role: str = "user") -> list[dict[str, object]]:
    return [{"role": role, "content": list(blocks)}]


def test_a_plain_request_is_read():
    asked = wanted().asked
    assert (asked.model, asked.stream, asked.output_tokens) == ("claude-opus-5", False, 100)
    assert (asked.choices, asked.prompts, asked.messages, asked.tools) == (1, 1, 1, 0)
    assert not asked.hides_input
    assert asked.thinks
    assert asked.makes_output
    assert asked.tier is None
    assert asked.text_bytes > len("Hello")
    assert wanted(stream=True).asked.stream
    assert not wanted(stream=None).asked.stream


@pytest.mark.parametrize("value", [None, -1, 1.5, "100", True, 10**18, [1], 1e2])
def test_a_limit_is_needed_and_is_a_whole_number(value: object):
    found = refused(max_tokens=value)
    assert (found.code, found.param) == (Code.INVALID_REQUEST, "max_tokens")
    assert "whole number from 0 to 10,000,000" in found.message
    body = b'{"model":"m","messages":[]}'
    missing = DIALECT.read(Path(endpoint=Endpoint.MESSAGES), body)
    assert isinstance(missing, Refused)
    assert missing.param == "max_tokens"


def test_no_output_at_all_warms_a_cache():
    assert wanted(max_tokens=0).asked.output_tokens == 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": 5}, "model"),
        ({"stream": "true"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages"),
        ({"system": 5}, "system"),
        ({"system": ["a"]}, "system"),
        ({"tools": {}}, "tools"),
        ({"tools": ["web_search"]}, "tools"),
        ({"thinking": True}, "thinking"),
        ({"thinking": {"type": "enabled", "budget_tokens": "1"}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 0}}, "thinking.budget_tokens"),
        ({"context_management": 7}, "context_management"),
        ({"context_management": {"edits": ["x"]}}, "context_management"),
        ({"service_tier": 1}, "service_tier"),
        ({"speed": ""}, "speed"),
        ({"inference_geo": ["us"]}, "inference_geo"),
        ({"fallbacks": "default"}, "fallbacks"),
        ({"models": ["a"]}, "models"),
    ],
)
def test_what_is_wrong_is_refused_by_name(fields: dict[str, Any], param: str):
    found = refused(**fields)
    assert (found.code, found.param) == (Code.INVALID_REQUEST, param)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"model":"a","model":"b","max_tokens":1,"messages":[]}',
        b'{"model":"a","max_tokens":1,"messages":[{"role":"user","role":"user"}]}',
        b'{"model":"a","max_tokens":NaN,"messages":[]}',
        b'{"model":"\\ud800","max_tokens":1,"messages":[]}',
        b"\xef\xbb\xbf{}",
    ],
)
def test_a_body_that_two_readers_may_understand_differently_is_refused(body: bytes):
    found = DIALECT.read(Path(endpoint=Endpoint.MESSAGES), body)
    assert isinstance(found, Refused)
    assert found.code is Code.INVALID_REQUEST


@pytest.mark.parametrize(
    ("thinking", "least", "thinks"),
    [
        (None, 1, True),
        ({"type": "disabled"}, 1, False),
        ({"type": "adaptive"}, 1, True),
        ({"type": "enabled", "budget_tokens": 60}, 61, True),
        ({"type": "enabled", "budget_tokens": 99}, 100, True),
        ({"type": "enabled", "budget_tokens": 100}, 1, True),
        ({"type": "enabled", "budget_tokens": 5000}, 1, True),
    ],
)
def test_a_thinking_budget_sets_the_lowest_limit(thinking: object, least: int, thinks: bool):
    asked = wanted(thinking=thinking).asked
    assert (asked.least_output_tokens, asked.thinks) == (least, thinks)


@pytest.mark.parametrize(
    ("fields", "tier"),
    [
        ({}, None),
        ({"service_tier": "auto", "speed": "standard", "inference_geo": "global"}, None),
        ({"service_tier": "standard_only", "speed": None}, None),
        ({"speed": "fast"}, "fast"),
        ({"inference_geo": "us"}, "us"),
        ({"service_tier": "flex"}, "flex"),
        ({"inference_geo": "us", "speed": "fast"}, "fast+us"),
    ],
)
def test_what_is_dearer_is_a_tier(fields: dict[str, object], tier: str | None):
    assert wanted(**fields).asked.tier == tier


@pytest.mark.parametrize("name", sorted(UNBOUNDED))
def test_what_no_bound_covers_is_refused(name: str):
    found = refused(**{name: [{"type": "url"}]})
    assert (found.code, found.param) == (Code.BOUND_UNKNOWN, name)
    assert isinstance(read(**{name: None}), Wanted)


@pytest.mark.parametrize(
    "kind",
    [
        *("web_search_20250305", "web_search_20260318", "web_fetch_20250910", "mcp_toolset"),
        *("code_execution_20250825", "tool_search_tool_regex_20251119", "advisor_20260301"),
        *("anything", "", 5, True, {"type": "custom"}, ["custom"]),
    ],
)
def test_a_tool_that_runs_at_the_provider_is_refused(kind: object):
    found = refused(tools=[WEATHER, {"type": kind, "name": "x"}])
    assert (found.code, found.param) == (Code.BOUND_UNKNOWN, "tools")


@pytest.mark.parametrize(
    "definition",
    [
        {"type": "web_search_20260318", "name": "web_search"},
        {"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-5"},
        {"type": ["custom"]},
        "web_search",
    ],
)
def test_a_tool_that_a_message_defines_is_looked_at_as_any_other(definition: object):
    added = {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": definition}}
    found = refused(messages=[*HELLO, *said(added, role="system")])
    assert (found.code, found.param) == (Code.BOUND_UNKNOWN, "tools")


def test_a_tool_of_the_callers_may_come_in_a_message():
    named = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "get_weather"}}
    own = {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": WEATHER}}
    assert wanted(messages=[*HELLO, *said(named, own, role="system")]).asked.hides_input


def test_tools_of_the_callers_are_counted_with_their_framing():
    assert wanted(tools=[WEATHER, WEATHER | {"type": "custom"}]).asked.tools == 2
    editor = {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}
    computer = {"type": "computer_20250124", "name": "computer", "display_width_px": 1}
    for tool in (editor, computer, {"type": "bash_20250124"}, {"type": "memory_20250818"}):
        assert wanted(tools=[tool, WEATHER]).asked.tools == 65
        assert not wanted(tools=[tool]).asked.hides_input
    assert wanted(tools=[{"type": "browser_toolset_20260801"}]).asked.hides_input
    assert wanted(tools=[{"type": "computer_toolset_20260801"}]).asked.hides_input


def test_the_arguments_of_calls_are_counted_with_their_framing():
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1, "b": {"c": 2}}}
    assert wanted(messages=said(call, call, "a", {"type": "text"})).asked.messages == 1 + 4
    assert wanted(messages=said({"type": "tool_use", "input": "a"})).asked.messages == 1


def test_schemas_that_may_be_repeated_are_counted_again():
    schema = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    assert wanted(output_config=schema).asked.schema_bytes == len(
        json.dumps(schema, separators=(",", ":"))
    ) + json.dumps(schema).count(" ")
    assert wanted(tools=[WEATHER]).asked.schema_bytes == 0
    assert wanted(tools=[WEATHER | {"strict": True}]).asked.schema_bytes > 0


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": said({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}})},
        {"messages": said("a")},
        {"messages": said({"type": "text", "text": "a", "citations": None, "new": None})},
        {"system": [{"type": "text", "text": "be brief", "cache_control": {"ttl": "1h"}}]},
        {
            "messages": said(
                {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "c2ln"},
                {"type": "tool_use", "id": "t", "name": "f", "input": {"a": [1]}},
                role="assistant",
            )
        },
        {
            "messages": said(
                {
                    "type": "tool_result",
                    "tool_use_id": "t",
                    "is_error": False,
                    "content": [{"type": "text", "text": "12 degrees"}],
                },
                {"type": "tool_result", "tool_use_id": "t", "content": "12 degrees"},
                {"type": "tool_result", "tool_use_id": "t"},
            )
        },
        {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
        {"context_management": {"edits": []}},
        {"metadata": {"user_id": "u"}, "stop_sequences": ["x"], "tool_choice": {"type": "auto"}},
        {"temperature": 1, "top_k": 5, "mcp_servers": [], "container": None},
    ],
)
def test_what_is_all_text_is_bounded_by_its_bytes(fields: dict[str, Any]):
    assert not wanted(**fields).asked.hides_input


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": said(IMAGE)},
        {"messages": said({"type": "document", "source": {"type": "url", "url": "https://x"}})},
        {"messages": said({"type": "image", "source": {"type": "file", "file_id": "f"}})},
        {"messages": said({"type": "tool_result", "tool_use_id": "t", "content": [IMAGE]})},
        {"messages": said({"type": "container_upload", "file_id": "f"})},
        {"messages": said({"type": "search_result", "source": "s", "title": "t", "content": []})},
        {"messages": said({"type": "compaction", "encrypted_content": "x"})},
        {"messages": said({"type": "text", "text": "a", "file_id": "f"})},
        {"messages": said({"type": ["text"], "text": "a"})},
        {"messages": said({"text": "a"})},
        {"messages": said(5)},
        {"messages": [{"role": "user", "content": {"type": "text"}}]},
        {"messages": [{"role": "user", "content": "a", "attachments": ["f"]}]},
        {"system": [IMAGE]},
        {"thread": {"type": "continue", "previous_message_id": "m"}},
    ],
)
def test_what_may_stand_for_more_than_its_bytes_hides_input(fields: dict[str, Any]):
    assert wanted(**fields).asked.hides_input


@pytest.mark.parametrize(
    "edits", [[{"type": "compact_20260112"}], [{}], [{"type": ["clear_"]}], [{"type": "new_1"}]]
)
def test_an_edit_that_makes_the_model_write_is_refused(edits: list[Any]):
    clears = {"type": "clear_thinking_20251015"}
    found = refused(context_management={"edits": [clears, *edits]})
    assert (found.code, found.param) == (Code.BOUND_UNKNOWN, "context_management")


def test_a_count_of_tokens_is_free_and_has_no_limit():
    body = {"model": "m", "messages": said(IMAGE), "tools": [{"type": "web_search_20250305"}]}
    path = Path(endpoint=Endpoint.MESSAGES_COUNT_TOKENS)
    found = DIALECT.read(path, json.dumps(body).encode())
    assert isinstance(found, Wanted)
    assert (found.asked.is_free, found.asked.makes_output, found.asked.stream) == (
        True,
        False,
        False,
    )
    change = Change(model="n", output_tokens=None, reports_usage=True, names_tier=True)
    assert json.loads(DIALECT.write(found, change)) == body | {"model": "n"}
    assert isinstance(DIALECT.read(path, b'{"model":"m","messages":5}'), Refused)


def test_another_endpoint_takes_no_such_body():
    found = DIALECT.read(Path(endpoint=Endpoint.MODELS), b"{}")
    assert isinstance(found, Refused)
    assert found.code is Code.ENDPOINT_NOT_METERED


def test_a_dialect_and_what_it_read_can_go_to_another_process():
    there = pickle.loads(pickle.dumps(DIALECT))  # noqa: S301  # our own
    found = pickle.loads(pickle.dumps(there.read(Path(endpoint=Endpoint.MESSAGES), b"{")))  # noqa: S301
    assert isinstance(found, Refused)


@given(st.dictionaries(FIELDS, ODD, max_size=4))
def test_any_fields_are_read_or_refused(fields: dict[str, Any]):
    assert isinstance(read(**fields), Wanted | Refused)
    path = Path(endpoint=Endpoint.MESSAGES_COUNT_TOKENS)
    assert isinstance(DIALECT.read(path, json.dumps(fields).encode()), Wanted | Refused)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(body: bytes):
    assert isinstance(DIALECT.read(Path(endpoint=Endpoint.MESSAGES), body), Wanted | Refused)
