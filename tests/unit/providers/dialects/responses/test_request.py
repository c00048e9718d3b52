"""What a Responses request asks for, and what is refused."""

import json

import pytest

from gateway.core.refusal import Code, Refused
from gateway.providers.adapter import Endpoint, Path, Wanted
from gateway.providers.dialects.responses import Responses
from gateway.providers.dialects.responses.request import UNBOUNDED
from gateway.providers.fields import OVERRIDES

DIALECT = Responses("openai")
PATH = Path(endpoint=Endpoint.RESPONSES)
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}


def read(path: Path = PATH, **fields: object) -> Wanted | Refused:
    return DIALECT.read(path, json.dumps({"model": "m", "input": "Hi"} | fields).encode())


def wanted(**fields: object) -> Wanted:
    found = read(**fields)
    assert isinstance(found, Wanted), found
    return found


def refused(**fields: object) -> Refused:
    found = read(**fields)
    assert isinstance(found, Refused), found
    return found


def test_a_plain_request_is_all_text():
    asked = wanted(instructions="Be brief", store=False, max_output_tokens=50, stream=True).asked
    assert (asked.model, asked.stream, asked.output_tokens) == ("m", True, 50)
    assert (asked.choices, asked.prompts, asked.tier) == (1, 1, None)
    assert not asked.hides_input
    assert asked.text_bytes > len("Be brief")
    assert wanted().asked.output_tokens is None


@pytest.mark.parametrize(
    "item",
    [
        {"role": "user", "content": "Hi"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}],
        },
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "id": "fc_1"},
        {"type": "function_call_output", "call_id": "c", "output": "42"},
        {"type": "function_call_output", "output": [{"type": "input_text", "text": "42"}]},
        {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "x"},
    ],
)
def test_items_of_text_are_bounded_by_their_bytes(item: dict):
    asked = wanted(input=[item]).asked
    assert not asked.hides_input
    assert asked.messages == 2


@pytest.mark.parametrize(
    "item",
    [
        {"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]},
        {"role": "user", "content": [{"type": "input_image", "file_id": "f"}]},
        *(
            {"role": "user", "content": [{"type": "input_file", name: "x"}]}
            for name in ("file_id", "file_url", "file_data")
        ),
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]},
        {"role": "user", "content": [{"type": ["input_text"], "text": "x"}]},
        {"role": "user", "content": ["text"]},
        {"role": "user", "content": {"type": "input_text"}},
        {"role": "user", "content": "Hi", "file_id": "f"},
        {"role": "user", "content": [{"type": "input_text", "text": "x", "file_id": "f"}]},
        {"type": "item_reference", "id": "msg_1"},
        {"id": "msg_1"},
        {"type": None, "id": "msg_1"},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"},
        {"type": "compaction", "encrypted_content": "gAAA"},
        {"type": "function_call_output", "output": [{"type": "input_image", "file_id": "f"}]},
        {"type": "web_search_call", "id": "ws_1"},
        {"type": "computer_call_output", "output": {"type": "computer_screenshot"}},
        {"type": "image_generation_call", "id": "ig_1"},
        {"type": "something_new", "content": "Hi"},
    ],
)
def test_items_that_are_elsewhere_are_bounded_by_the_context(item: dict):
    assert wanted(input=[item]).asked.hides_input


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("previous_response_id", "resp_1"),
        ("conversation", "conv_1"),
        ("conversation", {"id": "conv_1"}),
        ("prompt", {"id": "pmpt_1"}),
        ("something_new", 1),
        ("instructions", [{"role": "developer", "content": "x"}]),
    ],
)
def test_fields_that_refer_elsewhere_are_bounded_by_the_context(field: str, value: object):
    assert wanted(tool_choice="none", **{field: value}).asked.hides_input
    assert not wanted(**{field: None}).asked.hides_input


@pytest.mark.parametrize("kind", ["additional_tools", "tool_search_output", "something_new"])
@pytest.mark.parametrize(
    "tools",
    [
        [{"type": "web_search"}],
        [{"type": "function", "name": "f"}, {"type": "mcp", "server_url": "x"}],
        [{"type": ["function"]}],
        [{}],
        ["web_search"],
        {"type": "function"},
    ],
)
def test_tools_that_an_item_brings_are_looked_at_as_any_other(kind: str, tools: object):
    found = refused(input=[{"type": kind, "role": "developer", "tools": tools}])
    assert (found.code, found.param) == (Code.BOUND_UNKNOWN, "input")


def test_tools_of_the_callers_may_come_in_an_item():
    tools = [{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}]
    item = {"type": "additional_tools", "role": "developer", "tools": tools}
    assert wanted(input=[item]).asked.hides_input


def test_summing_up_what_came_before_is_refused():
    found = refused(input=[{"role": "user", "content": "Hi"}, {"type": "compaction_trigger"}])
    assert (found.code, found.param) == (Code.BOUND_UNKNOWN, "input")
    found = refused(context_management=[{"type": "compaction", "compact_threshold": 1000}])
    assert (found.code, found.param) == (Code.BOUND_UNKNOWN, "context_management")


@pytest.mark.parametrize("choice", [None, "auto", "required", ["none"], {"type": "none"}])
def test_a_stored_prompt_that_may_bring_tools_is_refused(choice: object):
    found = refused(prompt={"id": "pmpt_1"}, tool_choice=choice)
    assert (found.code, found.param) == (Code.BOUND_UNKNOWN, "prompt")


@pytest.mark.parametrize(
    "kind",
    [
        *("web_search", "web_search_preview", "file_search", "code_interpreter", "mcp"),
        *("image_generation", "shell", "local_shell", "computer", "computer_use_preview"),
        *("apply_patch", "tool_search", "namespace", "something_new", None, ["function"]),
    ],
)
def test_a_tool_that_the_provider_runs_is_refused(kind: object):
    found = refused(tools=[FUNCTION, {"type": kind}])
    assert (found.code, found.param) == (Code.BOUND_UNKNOWN, "tools")
    assert "function or custom" in found.message


def test_the_callers_own_tools_are_text():
    custom = {"type": "custom", "name": "c", "format": {"type": "text"}}
    asked = wanted(tools=[FUNCTION, custom]).asked
    assert asked.tools == 2
    assert not asked.hides_input


def test_a_schema_counts_twice():
    text = {"format": {"type": "json_schema", "name": "s", "schema": {"type": "object"}}}
    assert wanted(text=text).asked.schema_bytes == len(json.dumps(text))
    assert wanted().asked.schema_bytes == 0


@pytest.mark.parametrize("name", sorted(UNBOUNDED))
def test_what_no_bound_covers_is_refused(name: str):
    found = refused(**{name: True})
    assert (found.code, found.param) == (Code.BOUND_UNKNOWN, name)
    wanted(**{name: None})


def test_work_in_the_background_is_refused():
    assert refused(background=True).code is Code.BOUND_UNKNOWN
    assert refused(background="false").code is Code.INVALID_REQUEST
    assert not wanted(background=False).asked.hides_input


@pytest.mark.parametrize("name", sorted(OVERRIDES))
def test_a_place_or_price_is_not_the_requests_to_choose(name: str):
    assert refused(**{name: "x"}).param == name


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("max_output_tokens", value) for value in (-1, 0, 1.5, "9", True, 10**18)),
        *(("stream", value) for value in ("true", 1)),
        *(("stream_options", value) for value in ([], "x")),
        *(("input", value) for value in (5, {}, True, ["text"], [None])),
        *(("tools", value) for value in (5, {}, ["f"])),
        *(("model", value) for value in ("", None, 5, "a\n")),
        *(("service_tier", value) for value in ("", 5)),
        *(("n", 2), ("max_tool_calls", 0)),
    ],
)
def test_a_field_that_money_depends_on_is_checked(field: str, value: object):
    found = refused(**{field: value})
    assert (found.code, found.param) == (Code.INVALID_REQUEST, field)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"model":"a","model":"b"}', b"\xff{}"])
def test_a_body_is_one_strict_object(body: bytes):
    found = DIALECT.read(PATH, body)
    assert isinstance(found, Refused)
    assert found.code is Code.INVALID_REQUEST


def test_a_count_of_tokens_is_free_whatever_it_counts():
    path = Path(endpoint=Endpoint.RESPONSES_INPUT_TOKENS)
    found = read(path, tools=[{"type": "web_search"}], previous_response_id="resp_1")
    assert isinstance(found, Wanted)
    assert found.asked.is_free
    assert not found.asked.makes_output
    assert isinstance(read(path, model=None), Refused)
    assert isinstance(read(path, api_base="x"), Refused)


def test_another_endpoint_takes_no_such_body():
    found = read(Path(endpoint=Endpoint.EMBEDDINGS))
    assert isinstance(found, Refused)
    assert found.code is Code.ENDPOINT_NOT_METERED
