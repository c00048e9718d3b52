"""The sandbox on the wire: OpenAI's shapes, honest figures, and the same answer every time."""

import json
import struct
from base64 import b64decode
from math import isclose
from typing import Any

import pytest
from hypothesis import given, strategies as st
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.core.events import Delta, Finished, Usage
from gateway.core.ids import Provider
from gateway.providers.adapter import Endpoint, PreparedRequest
from gateway.providers.dialects.chat_completions import ChatCompletions
from gateway.providers.dialects.chat_completions.streams import ChatStream
from gateway.providers.hosts import sandbox
from gateway.providers.hosts.sandbox.scripts import MOST_OUTPUT_TOKENS, Part, Script
from tests.unit.providers.asking import wanted

HOST = sandbox.SandboxHost(Provider("sandbox"))
CALLS = [Endpoint.CHAT_COMPLETIONS, Endpoint.EMBEDDINGS]
TEXT = "Hello there,\n general  é"


def prepared(body: bytes, endpoint: Endpoint = Endpoint.CHAT_COMPLETIONS) -> PreparedRequest:
    return HOST.request(wanted(endpoint), body, model="echo", key=None, passed=[])


def performed(endpoint: Endpoint, **fields: object) -> tuple[Script, list[Part]]:
    script = sandbox.answer(prepared(json.dumps(fields).encode(), endpoint))
    return script, list(script.parts)


def chat(text: str = TEXT, **fields: object) -> tuple[Script, list[Part]]:
    asked = {"model": "echo", "messages": [{"role": "user", "content": text}]} | fields
    return performed(Endpoint.CHAT_COMPLETIONS, **asked)


def whole(text: str = TEXT, **fields: object) -> ChatCompletion:
    script, parts = chat(text, **fields)
    assert script.status == 200
    assert dict(script.headers)[b"content-type"] == b"application/json"
    (part,) = parts
    return ChatCompletion.model_validate_json(part.data, strict=True)


def chunks(parts: list[Part]) -> list[ChatCompletionChunk]:
    assert parts[-1].data == b"data: [DONE]\n\n"
    frames = [part.data for part in parts[:-1]]
    assert all(frame.startswith(b"data: ") and frame.endswith(b"\n\n") for frame in frames)
    return [ChatCompletionChunk.model_validate_json(frame[6:], strict=True) for frame in frames]


def test_its_requests_go_nowhere_but_to_itself():
    request = prepared(b"{}")
    assert (request.scheme, request.host) == ("sandbox", "sandbox")


def test_an_echo_repeats_the_last_user_message():
    messages = [
        {"role": "user", "content": "first"},
        {"role": "user", "content": [{"type": "text", "text": TEXT}]},
        {"role": "assistant", "content": "no"},
    ]
    found = whole(messages=messages)
    assert found.choices[0].message.content == TEXT
    assert found.choices[0].finish_reason == "stop"
    assert found.usage is not None
    assert found.usage.completion_tokens > 0
    assert found.usage.total_tokens == found.usage.prompt_tokens + found.usage.completion_tokens


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("ceiling", [1, 3, 5, 7])
def test_a_ceiling_ends_an_answer(limit: str, ceiling: int):
    found = whole("é" * 50, **{limit: ceiling})
    assert found.choices[0].finish_reason == "length"
    assert found.choices[0].message.content == "é" * ceiling
    assert found.usage is not None
    assert found.usage.completion_tokens == ceiling


def test_a_stream_says_what_the_whole_answer_says():
    script, parts = chat(stream=True, stream_options={"include_usage": True}, n=2)
    assert dict(script.headers)[b"content-type"] == b"text/event-stream"
    found = chunks(parts)
    answer = whole(n=2)
    for index in (0, 1):
        said = [one.choices[0] for one in found if one.choices and one.choices[0].index == index]
        assert said[0].delta.role == "assistant"
        assert "".join(choice.delta.content or "" for choice in said) == TEXT
        assert [choice.finish_reason for choice in said if choice.finish_reason] == ["stop"]
    assert found[-1].choices == []
    assert found[-1].usage == answer.usage
    assert all(one.usage is None for one in found[:-1])
    assert len({one.id for one in found}) == 1
    assert not any(part.delay_ms for part in parts)


def test_a_stream_reports_usage_only_when_asked():
    _, parts = chat(stream=True)
    assert all(one.choices for one in chunks(parts))
    assert not any(b"usage" in part.data for part in parts)


def test_slow_counts_twenty_tokens_a_second_to_its_ceiling():
    _, parts = chat(model="slow", stream=True, max_tokens=40)
    text = "".join(one.choices[0].delta.content or "" for one in chunks(parts))
    assert text.startswith("one two three four ")
    assert sum(part.delay_ms for part in parts) == 40 * 50
    assert chunks(parts)[-1].choices[0].finish_reason == "length"
    _, (once,) = chat(model="slow", max_tokens=40)
    assert once.delay_ms == 40 * 50


def test_slow_has_an_end_without_a_ceiling_too():
    found = whole(model="slow").usage
    assert found is not None
    assert found.completion_tokens == MOST_OUTPUT_TOKENS


def test_json_is_answered_where_json_is_asked_for():
    found = whole(response_format={"type": "json_object"}).choices[0].message.content
    assert found is not None
    assert json.loads(found) == {"echo": TEXT}


TOOLS = [{"type": "function", "function": {"name": name}} for name in ("first", "second")]


@pytest.mark.parametrize(
    ("choice", "name"),
    [("required", "first"), ({"type": "function", "function": {"name": "second"}}, "second")],
)
def test_a_function_is_called_where_one_is_insisted_on(choice: object, name: str):
    found = whole(tools=TOOLS, tool_choice=choice).choices[0]
    assert found.finish_reason == "tool_calls"
    assert found.message.content is None
    (call,) = found.message.tool_calls or ()
    assert call.type == "function"
    assert call.function.name == name
    assert json.loads(call.function.arguments) == {"echo": TEXT}
    _, parts = chat(tools=TOOLS, tool_choice=choice, stream=True)
    calls = [one.choices[0].delta.tool_calls for one in chunks(parts)]
    arguments = [made[0].function.arguments for made in calls if made and made[0].function]
    assert "".join(part or "" for part in arguments) == call.function.arguments


def test_a_function_is_not_called_for_nothing():
    assert whole(tools=TOOLS, tool_choice="auto").choices[0].message.content == TEXT


def test_the_same_request_has_the_same_answer():
    assert [part.data for part in chat(stream=True)[1]] == [
        part.data for part in chat(stream=True)[1]
    ]
    assert whole().id != whole("other").id


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"model": "gpt-5"}, 404),
        ({"messages": "x"}, 400),
        ({"n": 0}, 200),
        ({"n": 129}, 400),
        ({"n": -1}, 400),
    ],
)
def test_what_it_can_not_do_it_refuses(fields: dict[str, Any], status: int):
    script, parts = chat(**fields)
    assert script.status == status
    if status != 200:
        assert json.loads(parts[0].data)["error"]["message"]


def test_other_paths_are_not_its():
    request = PreparedRequest(
        method=b"POST", scheme="sandbox", host="", port=0, target=b"/images", headers=[], body=b""
    )
    assert sandbox.answer(request).status == 404


def embedded(given: object, **fields: object) -> dict[str, Any]:
    script, (part,) = performed(Endpoint.EMBEDDINGS, model="echo", input=given, **fields)
    assert script.status == 200
    body: dict[str, Any] = json.loads(part.data)
    return body


def test_embeddings_are_unit_vectors_the_same_for_the_same_text():
    body = embedded(["a", "b", "a"])
    CreateEmbeddingResponse.model_validate(body)
    first, second, third = (one["embedding"] for one in body["data"])
    assert first == third != second
    assert isclose(sum(number * number for number in first), 1)
    assert body["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert len(embedded("a", dimensions=256)["data"][0]["embedding"]) == 256


def test_embeddings_come_packed_as_the_sdk_asks_for_them():
    plain = embedded("a")["data"][0]["embedding"]
    packed = b64decode(embedded("a", encoding_format="base64")["data"][0]["embedding"])
    unpacked = struct.unpack(f"<{len(plain)}f", packed)
    assert all(
        isclose(one, other, rel_tol=1e-6) for one, other in zip(plain, unpacked, strict=True)
    )


@pytest.mark.parametrize(
    ("given", "count", "used"),
    [([1, 2, 3], 1, 3), ([[1], [2, 3]], 2, 3), ("abc", 1, 2), (["abc", "d"], 2, 3)],
)
def test_embeddings_count_their_inputs(given: object, count: int, used: int):
    body = embedded(given)
    assert (len(body["data"]), body["usage"]["prompt_tokens"]) == (count, used)


@pytest.mark.parametrize(
    "fields",
    [{"input": []}, {"input": ["a"] * 2049}, {"input": "a", "dimensions": 0}, {"input": 5}],
)
def test_embeddings_have_limits(fields: dict[str, Any]):
    assert performed(Endpoint.EMBEDDINGS, model="echo", **fields)[0].status == 400


@given(
    st.text(max_size=60),
    st.none() | st.integers(1, 40),
    st.integers(1, 3),
    st.sampled_from(["echo", "slow"]),
)
def test_the_gateways_own_dialect_hears_what_the_sandbox_says(
    text: str, ceiling: int | None, n: int, model: str
):
    limit = ceiling if ceiling or model == "echo" else 60
    fields: dict[str, Any] = {"model": model, "max_tokens": limit, "n": n}
    _, parts = chat(text, stream=True, stream_options={"include_usage": True}, **fields)
    read = ChatStream(choices=n, hides_usage=False)
    events = [one for part in parts for piece in read.feed(part.data) for one in piece.events]
    said = "".join(one.text for one in events if isinstance(one, Delta))
    (usage,) = (one for one in events if isinstance(one, Usage))
    _, (once,) = chat(text, **fields)
    told = ChatCompletions("openai").whole(wanted(), once.data, ())
    assert events[-1] == Finished()
    assert usage in told
    assert len(said.encode()) <= 2 * usage.output
    assert limit is None or usage.output <= limit * n
    assert len("".join(one.text for one in told if isinstance(one, Delta))) == len(said)


@given(st.binary(max_size=50), st.sampled_from(CALLS))
def test_no_bytes_make_it_raise(body: bytes, endpoint: Endpoint):
    assert sandbox.answer(prepared(body, endpoint)).status == 400


ODD = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just([1]) | st.just({})


@given(
    st.dictionaries(
        st.sampled_from(
            [
                *("stream", "n", "max_tokens", "tools", "tool_choice", "response_format"),
                *("stream_options", "input", "dimensions", "encoding_format"),
            ]
        ),
        ODD,
    ),
    st.sampled_from(CALLS),
)
def test_no_request_makes_it_raise(fields: dict[str, Any], endpoint: Endpoint):
    asked = {"model": "echo", "messages": [{"role": "user"}], "input": "a"} | fields
    script, parts = performed(endpoint, **asked)
    assert script.status in {200, 400}
    assert parts
