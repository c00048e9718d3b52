"""Streamed responses as scores: given these bytes, these bytes passed on and these events."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st

from gateway.core.events import (
    Broken,
    Delta,
    Event,
    Finished,
    Opaque,
    Served,
    Thinking,
    Usage,
)
from gateway.core.refusal import Code, Refused
from gateway.providers.adapter import Piece
from gateway.providers.dialects.responses.streams import ResponseStream
from gateway.providers.framing import MOST_FRAME_BYTES, FrameTooLong

USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 14,
}
READ = Usage(input=3, cached=4, cache_write=2, output=5, reasoning=3)
TEXT = {"output_index": 0, "content_index": 0, "item_id": "msg_1"}


def event(kind: str, number: int = 0, **fields: object) -> bytes:
    data = {"type": kind, "sequence_number": number} | fields
    return f"event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def response(status: str = "in_progress", **fields: object) -> dict[str, Any]:
    plain = {"id": "resp_1", "object": "response", "status": status, "model": "m-1"}
    return plain | {"service_tier": "auto", "error": None, "output": [], "usage": None} | fields


def message(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": "msg_1", "role": "assistant", "content": [part]}


def pieces(*data: bytes, ends: bool = True) -> list[Piece]:
    read = ResponseStream()
    found = [piece for part in data for piece in read.feed(part)]
    return [*found, *read.end()] if ends else found


def relayed(found: list[Piece]) -> bytes:
    return b"".join(piece.relay for piece in found)


def heard(found: list[Piece]) -> list[Event]:
    return [event for piece in found for event in piece.events if event != Opaque()]


def said(found: list[Piece]) -> str:
    return "".join(event.text for event in heard(found) if isinstance(event, Delta))


DONE = response(
    "completed", service_tier="default", usage=USAGE, output=[message("Hello"), {"type": "x"}]
)
PLAIN = (
    event("response.created", 0, response=response())
    + event("response.in_progress", 1, response=response())
    + event("response.output_item.added", 2, output_index=0, item=message("") | {"content": []})
    + event("response.content_part.added", 3, **TEXT, part={"type": "output_text", "text": ""})
    + event("response.output_text.delta", 4, **TEXT, delta="Hel", obfuscation="xxxx", logprobs=[])
    + event("response.output_text.delta", 5, **TEXT, delta="lo", logprobs=[])
    + event("response.output_text.done", 6, **TEXT, text="Hello")
    + event("response.content_part.done", 7, **TEXT, part={"type": "output_text", "text": "Hello"})
    + event("response.output_item.done", 8, output_index=0, item=message("Hello"))
    + event("response.completed", 9, response=DONE)
)
HEARD = [
    Served("m-1", None),
    Delta("Hel"),
    Delta("lo"),
    Served("m-1", "default"),
    READ,
    Finished(),
]


def test_a_plain_stream_is_passed_on_and_heard():
    found = pieces(PLAIN)
    assert relayed(found) == PLAIN
    assert heard(found) == HEARD
    assert len(found) == 10


@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
def test_other_line_ends_change_nothing(end: bytes):
    stream = PLAIN.replace(b"\n", end)
    assert heard(pieces(stream)) == HEARD
    assert relayed(pieces(stream)) == stream


def test_every_kind_of_output_is_heard_once():
    kinds = [
        ("output_text", "text", "a"),
        ("refusal", "refusal", "b"),
        ("function_call_arguments", "arguments", "c"),
        ("custom_tool_call_input", "input", "d"),
        ("reasoning_text", "text", "e"),
        ("reasoning_summary_text", "text", "f"),
        ("something_new", "text", "g"),
    ]
    stream = b"".join(
        event(f"response.{kind}.delta", output_index=index, delta=text)
        + event(f"response.{kind}.done", output_index=index, **{field: text})
        for index, (kind, field, text) in enumerate(kinds)
    )
    found = pieces(stream, ends=False)
    assert relayed(found) == stream
    assert said(found) == "abcdefg"


def test_a_text_that_came_without_deltas_is_heard_where_it_is_whole():
    done = event("response.output_text.done", **TEXT, text="Hello")
    item = event("response.output_item.done", output_index=0, item=message("Hello"))
    last = event("response.completed", response=DONE)
    assert said(pieces(done + item + last)) == "Hello"
    assert said(pieces(item + last)) == "Hello"
    assert said(pieces(last)) == "Hello"


def test_a_call_says_its_name_and_its_arguments():
    call = {"type": "function_call", "name": "get", "arguments": "", "call_id": "c", "id": "fc"}
    added = event("response.output_item.added", output_index=1, item=call)
    delta = event("response.function_call_arguments.delta", output_index=1, delta='{"a":1}')
    done = event("response.output_item.done", output_index=1, item=call | {"arguments": '{"a":1}'})
    assert said(pieces(added + delta + done)) == 'get{"a":1}'


def test_a_summary_tells_of_thoughts_that_nobody_sees():
    part = event("response.reasoning_summary_part.added", output_index=0, summary_index=0)
    text = event("response.reasoning_summary_text.delta", output_index=0, delta="Hm")
    assert heard(pieces(part + text + text)) == [Thinking(), Delta("Hm"), Delta("Hm")]
    shown = event("response.reasoning_text.delta", output_index=0, delta="Hm")
    assert heard(pieces(shown)) == [Delta("Hm")]


def test_an_incomplete_response_is_finished_and_charged():
    found = heard(pieces(event("response.incomplete", response=response(usage=USAGE))))
    assert found == [Served("m-1", None), READ, Finished()]


def test_a_failed_response_is_broken_and_charged():
    error = {"code": "server_error", "message": "no"}
    failed = event("response.failed", response=response("failed", error=error, usage=USAGE))
    assert heard(pieces(failed)) == [Served("m-1", None), Broken(), READ, Finished()]
    unread = event("response.failed", response=5)
    assert heard(pieces(unread)) == [Broken(), Finished()]
    assert relayed(pieces(unread)) == unread


@pytest.mark.parametrize(
    "error",
    [
        event("error", 3, code="server_error", message="no", param=None),
        b'event: error\ndata: {"code":"x","message":"no"}\n\n',
        b'data: {"error":{"message":"no"}}\n\n',
        b'data: {"type":"error","error":{"message":"no"}}\n\n',
    ],
)
def test_an_error_is_broken_and_passed_on(error: bytes):
    found = pieces(error)
    assert heard(found) == [Broken()]
    assert relayed(found) == error


def test_nothing_follows_the_end():
    found = pieces(PLAIN + b"data: [DONE]\n\n", b"data: more\n\n")
    assert relayed(found) == PLAIN
    assert heard(found) == HEARD


def test_without_its_last_event_a_stream_is_not_finished():
    cut = PLAIN[: PLAIN.rindex(b"event: response.completed")]
    assert Finished() not in heard(pieces(cut + b"data: [DONE]\n\n"))
    assert relayed(pieces(cut)) == cut


def test_what_the_bodys_end_cut_short_is_read_and_passed_on_only_if_it_ends():
    found = pieces(PLAIN[:-1])
    assert heard(found) == HEARD
    assert relayed(found) == PLAIN[:-1]
    half = event("response.output_text.delta", **TEXT, delta="a")[:-1]
    assert heard(pieces(half)) == [Delta("a")]
    assert relayed(pieces(half)) == b""


def test_comments_and_unknown_events_pass():
    stream = b": keep-alive\n\n\n\nid: 1\n\n" + event("response.something.new", x=[1])
    assert relayed(pieces(stream)) == stream
    assert heard(pieces(stream)) == []


@pytest.mark.parametrize(
    "usage",
    [
        '{"input_tokens":"9","output_tokens":5}',
        '{"input_tokens":9,"output_tokens":2.5}',
        '{"input_tokens":-9,"output_tokens":5}',
        '{"input_tokens":9}',
        '{"input_tokens":9,"output_tokens":1' + "0" * 30 + "}",
        '{"input_tokens":9,"output_tokens":1' + "0" * 5000 + "}",
        '{"input_tokens":9,"output_tokens":5,"output_tokens":1}',
        '{"input_tokens":9,"output_tokens":5},"usage":{"input_tokens":1,"output_tokens":1}',
        '{"input_tokens":9,"output_tokens":5,"x":NaN}',
        '{"input_tokens":9,"output_tokens":5},"x":NaN,"y":{"z":0}',
        '"none"',
        "[]",
        "{}",
        "NaN",
    ],
)
def test_usage_that_is_not_sound_is_not_told(usage: str):
    data = f'{{"type":"response.completed","response":{{"output":[],"usage":{usage}}}}}'
    frame = f"event: response.completed\ndata: {data}\n\n".encode()
    found = pieces(frame)
    assert relayed(found) == frame
    assert not any(isinstance(event, Usage) for event in heard(found))
    assert Finished() in heard(found) or len(frame) > 5000


def test_two_responses_in_one_event_are_none():
    one = json.dumps({"usage": {"input_tokens": 1, "output_tokens": 1}})
    data = f'{{"type":"response.completed","response":{json.dumps(DONE)},"response":{one}}}'
    assert not any(isinstance(each, Usage) for each in heard(pieces(f"data: {data}\n\n".encode())))


def test_a_schema_that_names_usage_spoils_nothing():
    tool = {"type": "function", "parameters": {"properties": {"usage": {}, "service_tier": {}}}}
    text = "x" * 100_000
    done = DONE | {"tools": [tool], "output": [message(text)], "pad": '"usage"'}
    assert READ in heard(pieces(event("response.completed", response=done)))
    spaced = json.dumps({"type": "response.completed", "response": done}, indent=1)
    framed = "".join(f"data: {line}\n" for line in spaced.split("\n")) + "\n"
    assert READ in heard(pieces(framed.encode()))


def test_what_hosted_tools_used_is_charged_beside():
    used = {"web_search": {"num_requests": 3}, "image_gen": {"input_tokens": 7, "output_tokens": 9}}
    none = {"web_search": {"num_requests": 0}, "image_gen": {"input_tokens": 0, "x": "y"}}
    found = heard(pieces(event("response.completed", response=DONE | {"tool_usage": used})))
    assert found[-2] == Usage(
        input=10,
        cached=4,
        cache_write=2,
        output=14,
        reasoning=3,
        fees_nusd=75_000_000,
        certain=False,
    )
    for other in (none, None, [], "x", {"web_search": [], "image_gen": {"input_tokens": -1}}):
        done = event("response.completed", response=DONE | {"tool_usage": other})
        assert READ in heard(pieces(done))


def test_a_bill_is_passed_to_the_meter():
    done = response("completed", usage=USAGE | {"cost_in_usd_ticks": 158_500})
    found = heard(pieces(event("response.completed", response=done)))
    assert [each.billed_nusd for each in found if isinstance(each, Usage)] == [15_850]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"not json", "not json"),
        (b'"text"', '"text"'),
        (b'{"type":"response.output_text.delta","delta":"a\\ud800"}', "a?"),
        (b'{"type":"response.output_text.delta","delta":"a","x":NaN}', "a"),
        (b'{"type":"response.output_text.delta","delta":"\xff"}', "\ufffd"),
        (b'{"type":"response.output_text.delta","delta":{"a":["b"]}}', "b"),
        (b'{"type":5,"delta":"a"}', "a"),
        (b"[" * 20_000, "[" * 20_000),
    ],
)
def test_what_is_strange_counts_as_output(data: bytes, text: str):
    assert said(pieces(b"data: " + data + b"\n\n")) == text


def test_a_cut_goes_on_with_the_numbers():
    read = ResponseStream()
    refused = Refused(Code.RUN_CAP_EXCEEDED, "No more.", param="max_output_tokens")
    assert b'"sequence_number":0' in read.cut(refused)
    for _ in read.feed(PLAIN[: PLAIN.index(b"event: response.output_text.done")]):
        pass
    name, data, *rest = read.cut(refused).split(b"\n")
    assert (name, rest) == (b"event: error", [b"", b""])
    error = {"message": "No more.", "type": "billing_error", "code": "run_cap_exceeded"}
    flat = {"type": "error", "sequence_number": 6, "message": "No more."}
    assert json.loads(data.removeprefix(b"data: ")) == flat | {
        "code": "run_cap_exceeded",
        "param": "max_output_tokens",
        "error": error | {"param": "max_output_tokens"},
    }


def test_a_piece_that_was_not_passed_on_does_not_count():
    read = ResponseStream()
    for piece in read.feed(PLAIN):
        if Delta("lo") in piece.events:
            break
    assert b'"sequence_number":5' in read.cut(Refused(Code.REQUEST_CAP_EXCEEDED, "Too much."))


@pytest.mark.parametrize("number", ["-5", "1e3", '"7"', "1" + "0" * 30, "null", "true"])
def test_a_strange_number_does_not_count(number: str):
    read = ResponseStream()
    assert list(read.feed(event("response.output_text.delta", 4, **TEXT, delta="a")))
    assert list(read.feed(f'data: {{"type":"x","sequence_number":{number}}}\n\n'.encode()))
    assert b'"sequence_number":5' in read.cut(Refused(Code.KILL_SWITCH, "Stopped."))


def test_an_event_without_end_is_not_kept():
    read = ResponseStream()
    with pytest.raises(FrameTooLong):
        read.feed(b"x" * (MOST_FRAME_BYTES + 1))
    with pytest.raises(FrameTooLong):
        read.end()


@given(st.lists(st.integers(0, len(PLAIN)), max_size=20))
def test_a_cut_changes_nothing(cuts: list[int]):
    marks = sorted({0, *cuts, len(PLAIN)})
    parts = [PLAIN[start:stop] for start, stop in pairwise(marks)]
    found = pieces(*parts)
    assert relayed(found) == PLAIN
    assert heard(found) == HEARD


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_any_bytes_are_read(parts: list[bytes]):
    pieces(*parts)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
NAMES = [
    *("type", "sequence_number", "delta", "text", "item", "response", "error", "output_index"),
    *("usage", "output", "status", "model", "service_tier", "tool_usage", "content", "summary"),
]
KINDS = ["response.completed", "response.output_text.delta", "x.done", "error", "response.failed"]


@given(
    st.sampled_from(KINDS),
    st.dictionaries(
        st.sampled_from(NAMES), JSON | st.dictionaries(st.sampled_from(NAMES), JSON), max_size=5
    ),
)
def test_any_json_is_read_and_passed_on(kind: str, fields: dict[str, Any]):
    frame = f"data: {json.dumps({'type': kind} | fields)}\n\n".encode()
    found = pieces(frame)
    assert relayed(found) == frame
    read = ResponseStream()
    assert list(read.feed(frame))
    read.cut(Refused(Code.KILL_SWITCH, "Stopped."))
