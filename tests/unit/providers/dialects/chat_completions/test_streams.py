"""Streams as scores: given these bytes, these bytes passed on and these events."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st

from gateway.core.events import Broken, Delta, Event, Finished, Opaque, Served, Usage
from gateway.providers.adapter import Piece
from gateway.providers.dialects.chat_completions.streams import ChatStream
from gateway.providers.framing import MOST_FRAME_BYTES, FrameTooLong

USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
READ = Usage(input=9, output=2)
DONE = b"data: [DONE]\n\n"


def event(value: object, end: bytes = b"\n") -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + end * 2


def chunk(text: str | None = None, **fields: object) -> dict[str, Any]:
    delta = {} if text is None else {"content": text}
    reason = fields.pop("finish_reason", None)
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]} | fields


def pieces(
    *data: bytes, hides_usage: bool = False, choices: int = 1, ends: bool = True
) -> list[Piece]:
    read = ChatStream(choices=choices, hides_usage=hides_usage)
    found = [piece for part in data for piece in read.feed(part)]
    return [*found, *read.end()] if ends else found


def relayed(found: list[Piece]) -> bytes:
    return b"".join(piece.relay for piece in found)


def heard(found: list[Piece]) -> list[Event]:
    return [event for piece in found for event in piece.events if event != Opaque()]


def test_a_plain_stream_is_passed_on_and_heard():
    head = {"model": "m-1", "service_tier": "default"}
    stream = (
        event(chunk("", **head))
        + event(chunk("Hel", **head))
        + event(chunk("lo", **head))
        + event(chunk(finish_reason="stop", **head))
        + event({"choices": [], "usage": USAGE, **head})
        + DONE
    )
    found = pieces(stream)
    assert relayed(found) == stream
    assert heard(found) == [
        Served("m-1", "default"),
        Delta("Hel"),
        Delta("lo"),
        READ,
        Finished(),
    ]
    assert len(found) == 6


def test_another_model_or_tier_is_told_when_it_appears():
    stream = event(chunk("a", model="m")) + event(chunk("b", model="m", service_tier="priority"))
    stream += event(chunk("c", model="n")) + event(chunk("d"))
    assert heard(pieces(stream)) == [
        *(Served("m", None), Delta("a"), Served("m", "priority"), Delta("b")),
        *(Served("n", "priority"), Delta("c"), Delta("d")),
    ]


def test_every_kind_of_output_is_heard():
    deltas = [
        {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]},
        {"refusal": "no"},
        {"reasoning_content": "hm"},
        {"reasoning": "so"},
        {"function_call": {"arguments": "1"}},
        {"audio": {"transcript": "la"}},
    ]
    stream = b"".join(event({"choices": [{"index": 0, "delta": delta}]}) for delta in deltas)
    found = pieces(stream)
    assert "".join(delta.text for delta in heard(found) if isinstance(delta, Delta)) == (
        'f{"a"nohmso1la'
    )
    assert relayed(pieces(stream, ends=False)) == stream


def test_empty_deltas_and_chunks_without_choices_say_nothing():
    for value in (chunk(""), chunk(), {"choices": []}, {"choices": None}, {"id": "x"}):
        assert pieces(event(value), ends=False) == [Piece(event(value), (Opaque(),))]


def test_comments_blank_lines_and_named_events_pass():
    stream = b": keep-alive\n\n\n\nid: 1\nretry: 5\nevent: message\ndata: {}\n\n" + DONE
    found = pieces(stream)
    assert relayed(found) == stream
    assert heard(found) == [Finished()]


def test_texts_of_one_chunk_are_heard_before_its_usage():
    assert heard(pieces(event(chunk("a", usage=USAGE)))) == [Delta("a"), READ]


def test_usage_in_every_chunk_is_told_each_time():
    more = USAGE | {"completion_tokens": 3, "total_tokens": 12}
    stream = event(chunk("a", usage=USAGE)) + event(chunk("b", usage=more))
    assert heard(pieces(stream)) == [Delta("a"), READ, Delta("b"), Usage(input=9, output=3)]


def test_usage_of_groq_is_found():
    value = chunk(finish_reason="stop", x_groq={"id": "r", "usage": USAGE})
    assert READ in heard(pieces(event(value)))
    assert Broken() in heard(pieces(event(chunk(x_groq={"error": "stopped"}))))


@pytest.mark.parametrize(
    "usage",
    [
        '{"prompt_tokens":"9","completion_tokens":2}',
        '{"prompt_tokens":9,"completion_tokens":2.5}',
        '{"prompt_tokens":-9,"completion_tokens":2}',
        '{"prompt_tokens":9,"completion_tokens":1' + "0" * 30 + "}",
        '{"prompt_tokens":9,"completion_tokens":1' + "0" * 5000 + "}",
        '{"prompt_tokens":9}',
        '{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens":1}',
        '{"prompt_tokens":9,"completion_tokens":2},"usage":{"prompt_tokens":1,"completion_tokens":1}',
        '"none"',
        "[]",
        "{}",
        "true",
        "NaN",
    ],
)
def test_usage_that_is_not_sound_is_not_told(usage: str):
    frame = f'data: {{"choices":[],"usage":{usage}}}\n\n'.encode()
    found = pieces(frame, ends=False)
    assert relayed(found) == frame
    assert not any(isinstance(event, Usage) for event in heard(found))


def test_an_error_is_broken_and_passed_on():
    for error in (
        event({"error": {"message": "overloaded", "code": 529}}),
        event({"error": "overloaded"}),
        event({"object": "error", "message": "overloaded"}),
        b'event: error\ndata: {"message":"overloaded"}\n\n',
    ):
        found = pieces(event(chunk("a")) + error, ends=False)
        assert relayed(found) == event(chunk("a")) + error
        assert heard(found) == [Delta("a"), Broken()]


def test_nothing_after_the_end_is_passed_on():
    stream = event(chunk("a")) + DONE
    for more in (DONE, event(chunk("b")), b": late\n\n", b"junk"):
        for found in (pieces(stream + more), pieces(stream, more)):
            assert relayed(found) == stream
            assert heard(found) == [Delta("a"), Finished()]


def test_an_answer_whose_every_choice_ended_is_finished_without_done():
    stream = event(chunk("a", finish_reason="stop"))
    assert heard(pieces(stream)) == [Delta("a"), Finished()]
    assert heard(pieces(stream, choices=2)) == [Delta("a")]
    other = {"choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]}
    assert heard(pieces(stream + event(other), choices=2)) == [Delta("a"), Finished()]
    assert heard(pieces(stream + stream, choices=2)) == [Delta("a"), Delta("a")]


def test_a_broken_answer_is_not_finished_by_its_end():
    stream = event(chunk("a", finish_reason="stop")) + event({"error": "x"})
    assert Finished() not in heard(pieces(stream))


def test_an_answer_cut_short_is_not_finished():
    assert Finished() not in heard(pieces(event(chunk("a"))))
    assert heard(pieces()) == []


def test_a_last_event_without_its_blank_line_is_read():
    usage = event({"choices": [], "usage": USAGE})[:-2]
    stream = event(chunk("a", finish_reason="stop")) + usage
    found = pieces(stream)
    assert relayed(found) == stream
    assert heard(found) == [Delta("a"), READ, Finished()]
    assert relayed(pieces(event(chunk("a")) + DONE[:-2])) == event(chunk("a")) + DONE[:-2]


def test_half_an_event_is_counted_and_kept_from_the_error_that_follows_it():
    stream = event(chunk("a")) + b'data: {"choices":[{"delta":{"cont'
    found = pieces(stream)
    assert relayed(found) == event(chunk("a"))
    assert heard(found)[0] == Delta("a")
    assert isinstance(heard(found)[1], Delta)


@pytest.mark.parametrize("data", [b"not json", b"[1]", b'"text"', b"[" * 20_000, b'{"a":'])
def test_data_that_nobody_reads_counts_as_output(data: bytes):
    frame = b"data: " + data + b"\n\n"
    assert pieces(frame, ends=False) == [Piece(frame, (Delta(data.decode()),))]


def test_bytes_that_are_not_utf8_are_passed_on_and_counted():
    frame = b'data: {"choices":[{"delta":{"content":"a\xff"}}]}\n\n'
    assert pieces(frame, ends=False) == [Piece(frame, (Delta("a\ufffd"),))]


def test_content_that_is_no_text_is_counted_by_all_its_text():
    frame = event({"choices": [{"delta": {"content": [{"type": "text", "text": "abc"}]}}]})
    (found,) = pieces(frame, ends=False)
    assert found.relay == frame
    (delta,) = found.events
    assert isinstance(delta, Delta)
    assert "abc" in delta.text


def test_one_long_event_is_passed_on_and_a_too_long_one_ends_it():
    text = "x" * (2 << 20)
    assert heard(pieces(event(chunk(text)), ends=False)) == [Delta(text)]
    with pytest.raises(FrameTooLong):
        pieces(b"data: " + b"x" * (MOST_FRAME_BYTES + 1))


# Usage that the gateway asked for is taken out again.


def hidden(frame: bytes) -> bytes:
    return relayed(pieces(frame, hides_usage=True, ends=False))


def test_the_usage_event_is_taken_out_and_heard():
    frame = event({"choices": [], "usage": USAGE, "model": "m"})
    assert pieces(frame, hides_usage=True, ends=False) == [Piece(b"", (Served("m", None), READ))]
    assert hidden(event({"choices": [], "usage": "odd"})) == b""
    assert hidden(event({"usage": USAGE})) == b""


def test_a_null_usage_is_cut_out_of_the_bytes():
    raw = (
        b'data: {"id":"a","choices":[{"delta":{"content":"x"}}],"usage":null,"obfuscation":"y"}\n\n'
    )
    assert hidden(raw) == raw.replace(b',"usage":null', b"")


@pytest.mark.parametrize(
    "raw",
    [
        b'data: {"usage":null,"choices":[{"delta":{"content":"x"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"x"}}], "usage": null}\n\n',
        b'data:{"choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":1}}\r\n\r\n',
        b'id: 7\ndata: {"choices":[{"delta":{"content":"usage"}}],"usage" : null}\n\n',
        b'data: {"choices":[{"delta":{"content":"x"}}],\ndata: "usage":{"prompt_tokens":1}}\n\n',
        b'data: {"choices":[{"delta":{"content":",\\"usage\\":null"}}],"usage":null}\n\n',
        b'data: {"choices":[{"delta":{"content":"usage"}}],"usage":null}\n\n',
        b'data: {"choices":[{"delta":{}}],"usage":{"prompt_tokens":1},"x":{"y":1,"usage":null}}\n\n',
    ],
)
def test_a_usage_beside_choices_is_taken_out_however_it_is_written(raw: bytes):
    (before,) = (json.loads(frame_data(raw)),)
    after = json.loads(frame_data(hidden(raw)))
    before.pop("usage")
    assert after == before
    assert (b"id: 7" in raw) == (b"id: 7" in hidden(raw))


def frame_data(raw: bytes) -> bytes:
    lines = raw.replace(b"\r\n", b"\n").strip(b"\n").split(b"\n")
    return b"\n".join(line[5:] for line in lines if line.startswith(b"data:"))


def test_the_word_usage_in_an_answer_is_left_alone():
    for text in ("usage", '"usage":null', ',"usage":null,', '{"usage": {}}'):
        assert hidden(event(chunk(text))) == event(chunk(text))


def test_an_error_beside_usage_is_passed_on():
    frame = event({"choices": [], "usage": USAGE, "error": {"message": "x"}})
    assert json.loads(frame_data(hidden(frame))) == {"choices": [], "error": {"message": "x"}}


def test_usage_is_not_taken_out_where_the_client_asked_for_it():
    stream = event(chunk("a", usage=None)) + event({"choices": [], "usage": USAGE}) + DONE
    assert relayed(pieces(stream)) == stream


TEXTS = st.text(max_size=6) | st.sampled_from(["usage", '"usage":null', "[DONE]", "data: x\n\n"])
VALUES = st.one_of(
    st.builds(chunk, TEXTS),
    st.builds(lambda text: chunk(text, usage=None, model="m"), TEXTS),
    st.just(chunk("z", usage=USAGE)),
    st.just(chunk(finish_reason="stop")),
    st.just({"choices": [], "usage": USAGE}),
    st.just({"error": {"message": "x"}}),
)
FRAMES = st.one_of(
    st.builds(event, VALUES, st.sampled_from([b"\n", b"\r\n", b"\r"])),
    st.sampled_from([b": ping\n\n", DONE, b"data: junk\n\n", b"data:\n\n", b"\xff\n"]),
)


@given(st.lists(FRAMES, max_size=12), st.lists(st.integers(0, 10**6), max_size=8), st.booleans())
def test_a_split_changes_nothing(frames: list[bytes], cuts: list[int], hides: bool):
    data = b"".join(frames)
    marks = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    parts = [data[a:b] for a, b in pairwise(marks)]
    whole = pieces(data, hides_usage=hides)
    assert pieces(*parts, hides_usage=hides) == whole
    assert pieces(*(data[at : at + 1] for at in range(len(data))), hides_usage=hides) == whole


@given(st.lists(FRAMES, max_size=12))
def test_complete_events_up_to_the_end_are_passed_on_unchanged(frames: list[bytes]):
    data = b"".join(frames)
    assert data.startswith(relayed(pieces(data, ends=False)))


@given(st.lists(st.builds(event, VALUES), max_size=12))
def test_hiding_usage_changes_no_event_that_is_heard(frames: list[bytes]):
    data = b"".join(frames)
    plain, hiding = pieces(data), pieces(data, hides_usage=True)
    assert heard(plain) == heard(hiding)
    assert b'"usage":null}' not in relayed(hiding)


@given(st.lists(st.binary(max_size=30), max_size=6), st.booleans())
def test_no_bytes_make_it_raise(parts: list[bytes], hides: bool):
    pieces(*parts, hides_usage=hides)
