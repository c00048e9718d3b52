"""Streams as scores: given these bytes, these bytes passed on and these events."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st

from gateway.core.calls import Asked
from gateway.core.events import Broken, Delta, Event, Finished, Opaque, Served, Usage
from gateway.core.refusal import Code, Refused
from gateway.providers.adapter import Piece, StreamReader
from gateway.providers.dialects.generate_content.streams import ElementStream, EventStream
from gateway.providers.framing import MOST_FRAME_BYTES, FrameTooLong

USAGE = {"promptTokenCount": 9, "candidatesTokenCount": 2, "totalTokenCount": 11}
READ = Usage(input=9, output=2)
ERROR = {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}
KILLED = Refused(Code.KILL_SWITCH, "Stopped.")


def chunk(text: str | None = None, finish: str | None = None, **more: object) -> dict[str, Any]:
    index = more.pop("index", 0)
    candidate: dict[str, Any] = {"index": index}
    if text is not None:
        candidate["content"] = {"parts": [{"text": text}], "role": "model"}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate]} | more


def event(value: object, end: bytes = b"\r\n") -> bytes:
    return b"data: " + json.dumps(value).encode() + end * 2


LAST = chunk("", "STOP", usageMetadata=USAGE)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    marks = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(marks)]


def run(read: StreamReader, *data: bytes, ends: bool = True) -> list[Piece]:
    found = [piece for part in data for piece in read.feed(part)]
    return [*found, *read.end()] if ends else found


def pieces(*data: bytes, ends: bool = True, choices: int = 1) -> list[Piece]:
    return run(EventStream(Asked(model="m", choices=choices)), *data, ends=ends)


def relayed(found: list[Piece]) -> bytes:
    return b"".join(piece.relay for piece in found)


def heard(found: list[Piece]) -> list[Event]:
    return [event for piece in found for event in piece.events if event != Opaque()]


# Server-sent events.


def test_a_plain_stream_is_passed_on_and_heard():
    stream = (
        event(chunk("Hel", modelVersion="m-1", usageMetadata=USAGE))
        + event(chunk("lo", modelVersion="m-1", usageMetadata=USAGE))
        + event(LAST)
    )
    found = pieces(stream)
    assert relayed(found) == stream
    assert heard(found) == [
        *(Served("m-1", None), Delta("Hel"), READ),
        *(Delta("lo"), READ, READ, Finished()),
    ]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_both_line_ends_pass_unchanged(end: bytes):
    stream = event(chunk("a"), end) + event(LAST, end)
    assert relayed(pieces(stream)) == stream


def test_usage_in_every_chunk_is_told_each_time_and_the_last_is_final():
    more = USAGE | {"candidatesTokenCount": 5, "totalTokenCount": 14}
    stream = event(chunk("a", usageMetadata=USAGE)) + event(chunk("b", "STOP", usageMetadata=more))
    found = heard(pieces(stream))
    assert found == [Delta("a"), READ, Delta("b"), Usage(input=9, output=5), Finished()]


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        (b'data:{"a":1}\n\n', b'data: {"a":1}\n\n'),
        (b'data:  {"a":1}\n\n', b'data:  {"a":1}\n\n'),
        (b': ping\ndata: {"a":1}\n\n', b'data: {"a":1}\n\n'),
        (b'id: 7\nretry: 5\nevent: message\ndata: {"a":1}\r\n\r\n', b'data: {"a":1}\n\n'),
        (b'\xef\xbb\xbfdata: {"a":1}\n\n', b'data: {"a":1}\n\n'),
        (b'data: {"a":1}\r\r', b'data: {"a":1}\n\n'),
        (b'data: {"a":\ndata: 1}\n\n', b'data: {"a":\ndata: 1}\n\n'),
        (b'data: {"a":\ndata:1}\n\n', b'data: {"a":1}\n\n'),
        (b'data: {"a":\rdata: 1}\n\n', b'data: {"a":1}\n\n'),
        (b": ping\n\n", b""),
        (b"id: 7\n\n", b""),
        (b"\n\n\n\n", b""),
        (b"data: \n\n", b""),
        (b"data\n\n", b""),
        (b"data: [DONE]\n\n", b""),
        (b"nonsense\n\n", b""),
    ],
)
def test_what_googles_reader_dies_of_is_cleaned_or_kept_back(dirty: bytes, clean: bytes):
    found = pieces(dirty, b'data: {"b":2}\n\n', ends=False)
    assert relayed(found) == clean + b'data: {"b":2}\n\n'
    assert heard(found) == []


def test_unicode_line_separators_are_text():
    frame = 'data: {"candidates":[{"content":{"parts":[{"text":"\u2028\u0085"}]}}]}\n\n'.encode()
    assert pieces(frame, ends=False) == [Piece(frame, (Delta("\u2028\u0085"),))]


def test_an_error_is_broken_and_passed_on():
    stream = event(chunk("a")) + event(ERROR)
    found = pieces(stream)
    assert relayed(found) == stream
    assert heard(found) == [Delta("a"), Broken()]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n\r\n"])
def test_a_bare_error_is_passed_on_as_an_event(end: bytes):
    bare = json.dumps(ERROR, indent=2).replace("\n", "\r\n").encode() + end
    found = pieces(event(chunk("a")) + bare)
    assert heard(found) == [Delta("a"), Broken()]
    last = relayed(found).removeprefix(event(chunk("a")))
    assert last.startswith(b'data: {"error":')
    assert last.endswith(b"}\n\n")
    assert json.loads(last.removeprefix(b"data: ")) == ERROR


def test_a_stream_is_finished_when_every_candidate_is():
    assert heard(pieces(event(chunk("a", "STOP"))))[-1] == Finished()
    assert heard(pieces(event(chunk("a", "MAX_TOKENS"))))[-1] == Finished()
    one, two = event(chunk("a", "STOP", index=0)), event(chunk("b", "STOP", index=1))
    assert Finished() not in heard(pieces(one, choices=2))
    assert Finished() not in heard(pieces(one + one, choices=2))
    assert heard(pieces(one + two, choices=2))[-1] == Finished()


def test_a_blocked_prompt_finishes_a_stream():
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}}
    assert heard(pieces(event(blocked))) == [Finished()]
    assert heard(pieces(event({"promptFeedback": {}}))) == []


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        event(chunk("a")),
        event(chunk("a", "FINISH_REASON_UNSPECIFIED")),
        event(chunk("a", "STOP")) + event(ERROR),
        event(LAST)[:-12],
    ],
)
def test_a_stream_cut_short_is_not_finished(stream: bytes):
    assert Finished() not in heard(pieces(stream))


def test_a_last_event_without_its_blank_line_is_read():
    for end in (b"", b"\n"):
        stream = event(chunk("a")) + event(LAST)[:-4] + end
        found = pieces(stream)
        assert relayed(found) == stream
        assert heard(found) == [Delta("a"), READ, Finished()]


def test_half_an_event_is_counted_and_kept_from_the_error_that_follows_it():
    found = pieces(event(chunk("a")) + event(chunk("b"))[:40])
    assert relayed(found) == event(chunk("a"))
    assert isinstance(heard(found)[1], Delta)


@pytest.mark.parametrize("data", [b"not json", b"[1]", b'"text"', b"[" * 20_000, b'{"a":'])
def test_data_that_nobody_reads_counts_as_output(data: bytes):
    frame = b"data: " + data + b"\n\n"
    assert pieces(frame, ends=False) == [Piece(frame, (Delta(data.decode()),))]


def test_a_late_usage_is_still_heard():
    stream = event(chunk("a", "STOP")) + event({"usageMetadata": USAGE, "candidates": []})
    assert heard(pieces(stream)) == [Delta("a"), READ, Finished()]


def test_a_cut_is_an_error_event():
    read = EventStream(Asked(model="m"))
    run(read, event(chunk("a")), ends=False)
    cut = read.cut(KILLED)
    assert cut.startswith(b'data: {"error":{"code":403,')
    assert cut.endswith(b"}\n\n")
    assert cut.count(b"\n") == 2


def test_one_long_event_is_passed_on_and_a_too_long_one_ends_it():
    text = "x" * (2 << 20)
    assert heard(pieces(event(chunk(text)), ends=False)) == [Delta(text)]
    with pytest.raises(FrameTooLong):
        pieces(b"data: " + b"x" * (MOST_FRAME_BYTES + 1))


# One JSON array.


def array(*values: object, indent: int | None = None, ends: bytes = b"\r\n]\r\n") -> bytes:
    written = [json.dumps(value, indent=indent).encode() for value in values]
    return b"[" + b",\r\n".join(written) + ends


def elements(*data: bytes) -> list[Piece]:
    return run(ElementStream(Asked(model="m")), *data)


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_is_passed_on_and_heard(indent: int | None):
    first = chunk("Hel", modelVersion="m-1", usageMetadata=USAGE)
    stream = array(first, chunk("lo"), LAST, indent=indent)
    found = elements(stream)
    assert relayed(found) == stream
    assert heard(found) == [Served("m-1", None), Delta("Hel"), READ, Delta("lo"), READ, Finished()]


def test_each_element_is_passed_on_with_its_last_byte():
    read = ElementStream(Asked(model="m"))
    first = json.dumps(chunk("a")).encode()
    assert run(read, b"[" + first, ends=False) == [Piece(b"[" + first, (Delta("a"),))]


def test_an_array_that_breaks_off_is_not_closed():
    for stream in (array(chunk("a")), array(chunk("a"), ends=b""), array(chunk("a"), ends=b',{"b')):
        read = ElementStream(Asked(model="m"))
        found = run(read, stream)
        assert Finished() not in heard(found)
        assert relayed(found) == array(chunk("a"), ends=b"")
        ended = json.loads(relayed(found) + read.cut(KILLED))
        assert ended[0] == chunk("a")
        assert ended[1]["error"]["code"] == 403


def test_every_candidate_may_be_done_and_the_array_not():
    read = ElementStream(Asked(model="m"))
    found = run(read, array(LAST, ends=b""))
    assert Finished() not in heard(found)
    assert len(json.loads(relayed(found) + read.cut(KILLED))) == 2


def test_nothing_was_passed_on_yet():
    for begun in (b"", b"  ", b"[", b"[ ", b'[{"a"'):
        read = ElementStream(Asked(model="m"))
        found = run(read, begun, ends=False)
        assert relayed(found) == b""
        ((error),) = json.loads(read.cut(KILLED))
        assert error["error"]["status"] == "PERMISSION_DENIED"


def test_a_piece_that_was_not_passed_on_does_not_count():
    """The relay takes an error event out that quotes the prompt, and stops at what was not held."""
    read = ElementStream(Asked(model="m"))
    for found in read.feed(array(ERROR, ends=b"")):
        assert Broken() in found.events
        instead = read.cut(KILLED)
    assert len(json.loads(instead)) == 1
    assert relayed(list(read.feed(b",{}"))) == b""
    assert relayed(list(read.end())) == b""


def test_an_error_element_ends_an_array_whether_the_provider_closes_it_or_not():
    whole = array(chunk("a"), ERROR)
    assert relayed(elements(whole)) == whole
    for ends in (b"", b",", b",\r\n{"):
        found = elements(array(chunk("a"), ERROR, ends=ends))
        assert heard(found)[:2] == [Delta("a"), Broken()]
        assert json.loads(relayed(found)) == [chunk("a"), ERROR]


def test_an_error_instead_of_an_array_becomes_one():
    bare = json.dumps(ERROR, indent=2).encode()
    found = elements(bare[:20], bare[20:] + b"\n")
    assert heard(found) == [Broken()]
    assert json.loads(relayed(found)) == [ERROR]


@pytest.mark.parametrize("body", [json.dumps(LAST).encode(), b"<html>", b'"x"', b"data: {}\n\n"])
def test_anything_else_than_an_array_is_heard_and_not_passed_on(body: bytes):
    found = elements(body)
    assert relayed(found) == b""
    assert heard(found)
    assert Finished() not in heard(found)


def test_an_empty_array_is_no_answer():
    read = ElementStream(Asked(model="m"))
    found = run(read, b"[]")
    assert (relayed(found), heard(found)) == (b"", [])
    assert len(json.loads(read.cut(KILLED))) == 1


def test_what_follows_the_array_is_not_passed_on():
    stream = array(LAST)
    found = elements(stream + b"{}", b"junk")
    assert relayed(found) == stream
    assert heard(found) == [READ, Finished()]


def test_a_finished_array_needs_no_cut():
    read = ElementStream(Asked(model="m"))
    run(read, array(LAST))
    assert read.cut(KILLED) == b""


# Both.

TEXTS = st.text(max_size=6) | st.sampled_from(['"]}', "},{", "data: x\n\n", "[DONE]"])
VALUES = st.one_of(
    st.builds(chunk, TEXTS),
    st.builds(lambda text: chunk(text, usageMetadata=USAGE, modelVersion="m"), TEXTS),
    st.just(LAST),
    st.just(ERROR),
    st.just({"promptFeedback": {"blockReason": "x"}}),
)
FRAMES = st.one_of(
    st.builds(event, VALUES, st.sampled_from([b"\n", b"\r\n", b"\r"])),
    st.sampled_from(
        [b": ping\n\n", b"data: junk\n\n", b"data:\n\n", b"\xff\n", b'{"error":1}\n\n']
    ),
)
CUTS = st.lists(st.integers(0, 10**6), max_size=8)


@given(st.lists(FRAMES, max_size=10), CUTS)
def test_a_split_changes_no_event_of_a_stream(frames: list[bytes], cuts: list[int]):
    data = b"".join(frames)
    whole = pieces(data)
    assert pieces(*split(data, cuts)) == whole
    assert pieces(*(data[at : at + 1] for at in range(len(data)))) == whole


@given(st.lists(VALUES, max_size=6), st.sampled_from([b"]", b"\r\n]\n", b"", b",{", b"]]"]), CUTS)
def test_a_split_changes_no_element_of_an_array(values: list[object], ends: bytes, cuts: list[int]):
    data = array(*values, ends=ends)
    whole = elements(data)
    assert elements(*split(data, cuts)) == whole
    assert elements(*(data[at : at + 1] for at in range(len(data)))) == whole


@given(st.lists(VALUES, max_size=6), st.sampled_from([b"]", b"", b",{"]), st.integers(0, 10**6))
def test_an_array_can_be_cut_at_any_byte(values: list[object], ends: bytes, at: int):
    data = array(*values, ends=ends)
    read = ElementStream(Asked(model="m"))
    passed = relayed(run(read, data[: at % (len(data) + 1)], ends=False))
    *before, last = json.loads(passed + read.cut(KILLED))
    assert last["error"]["message"] == "Stopped."
    assert before == values[: len(before)]


@given(st.lists(st.builds(event, VALUES), max_size=8))
def test_what_google_sends_passes_byte_for_byte(frames: list[bytes]):
    data = b"".join(frames)
    assert relayed(pieces(data, ends=False)) == data


@given(st.lists(FRAMES, max_size=8))
def test_all_that_is_passed_on_is_read_by_googles_reader(frames: list[bytes]):
    """It wants nothing but lines of `data: ` and blank ones (google-genai 3.6, `_api_client.py`)."""
    passed = relayed(pieces(b"".join(frames), ends=False)).replace(b"\r\n", b"\n")
    assert b"\r" not in passed
    assert all(line.startswith(b"data: ") for line in passed.split(b"\n") if line)


@given(st.lists(st.binary(max_size=30), max_size=6))
def test_no_bytes_make_it_raise(parts: list[bytes]):
    pieces(*parts)
    elements(*parts)
    elements(b"[", *parts)
