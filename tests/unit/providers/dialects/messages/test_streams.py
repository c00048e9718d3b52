"""Streams as scores: given these bytes, these bytes passed on and these events."""

import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from gateway.core.events import (
    Broken,
    Delta,
    Event,
    Finished,
    Opaque,
    Prompted,
    Served,
    Thinking,
    Usage,
)
from gateway.providers.adapter import Piece
from gateway.providers.dialects.messages.streams import MessagesStream
from gateway.providers.framing import MOST_FRAME_BYTES, FrameTooLong

START_USAGE = {
    "input_tokens": 25,
    "cache_creation_input_tokens": 100,
    "cache_read_input_tokens": 7,
    "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40},
    "output_tokens": 1,
    "service_tier": "standard",
}
HEARD = Usage(input=25, output=0, cached=7, cache_write=40, cache_write_5m=60)
TOLD = Usage(input=25, output=15, cached=7, cache_write=40, cache_write_5m=60)


def event(value: dict[str, Any], name: str | None = None, end: bytes = b"\n") -> bytes:
    data = json.dumps(value, separators=(",", ":")).encode()
    kind = (name or value["type"]).encode()
    return b"event: " + kind + end + b"data: " + data + end * 2


def start(usage: object = START_USAGE, **fields: object) -> dict[str, Any]:
    message = {"id": "m", "type": "message", "model": "claude-opus-5", "content": []}
    return {"type": "message_start", "message": message | {"usage": usage} | fields}


def block(**fields: object) -> dict[str, Any]:
    return {"type": "content_block_start", "index": 0, "content_block": fields}


def delta(**fields: object) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": fields}


def text(value: str) -> dict[str, Any]:
    return delta(type="text_delta", text=value)


def stop(usage: object = None, reason: str | None = "end_turn") -> dict[str, Any]:
    usage = {"output_tokens": 15} if usage is None else usage
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


BLOCK_STOP = {"type": "content_block_stop", "index": 0}
PING = {"type": "ping"}
END = event({"type": "message_stop"})
PLAIN = [
    event(start()),
    event(block(type="text", text="")),
    event(PING),
    event(text("Hel")),
    event(text("lo")),
    event(BLOCK_STOP),
    event(stop()),
    END,
]


def pieces(*data: bytes, ends: bool = True, **fields: str) -> list[Piece]:
    raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}
    read = MessagesStream(raw)
    found = [piece for part in data for piece in read.feed(part)]
    return [*found, *read.end()] if ends else found


def relayed(found: list[Piece]) -> bytes:
    return b"".join(piece.relay for piece in found)


def heard(found: list[Piece]) -> list[Event]:
    return [event for piece in found for event in piece.events if event != Opaque()]


def test_a_plain_stream_is_passed_on_and_heard():
    stream = b"".join(PLAIN)
    found = pieces(stream)
    assert relayed(found) == stream
    assert heard(found) == [
        Served("claude-opus-5", "default"),
        Prompted(HEARD),
        Thinking(begins=False),
        Delta("Hel"),
        Delta("lo"),
        TOLD,
        Finished(),
    ]
    assert len(found) == len(PLAIN)


def test_thinking_is_told_once_and_so_is_that_there_was_none_at_first():
    thought = block(type="thinking", thinking="", signature="")
    spoken = block(type="text", text="")

    def told(*values: dict) -> list[Thinking]:
        found = heard(pieces(b"".join(map(event, [start(), *values])), ends=False))
        return [each for each in found if isinstance(each, Thinking)]

    assert told() == []
    assert told(spoken, spoken) == [Thinking(begins=False)]
    assert told(thought, spoken, thought) == [Thinking()]
    assert told(spoken, thought, spoken) == [Thinking(begins=False), Thinking()]


@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
def test_any_line_ends_are_heard_alike(end: bytes):
    values = [start(), text("Hello"), stop(), {"type": "message_stop"}]
    stream = b"".join(event(value, end=end) for value in values)
    found = pieces(stream)
    assert relayed(found) == stream
    assert heard(found) == heard(pieces(b"".join(map(event, values))))


def test_every_kind_of_output_is_heard_and_nothing_else():
    values = [
        block(type="tool_use", id="t", name="f", input={}),
        delta(type="input_json_delta", partial_json='{"a"'),
        delta(type="input_json_delta", partial_json=""),
        delta(type="signature_delta", signature="c2lnbmF0dXJl"),
        delta(type="citations_delta", citation={"cited_text": "quoted at length"}),
        block(type="web_search_tool_result", content=[{"title": "found"}]),
        delta(type="compaction_delta", content="sum"),
        {"type": "content_block_delta", "delta": None},
        {"type": "content_block_delta"},
        {"type": "new_event"},
    ]
    found = pieces(b"".join(map(event, values)), ends=False)
    assert [each.text for each in heard(found) if isinstance(each, Delta)] == [
        "f",
        '{"a"',
        "[0:0-0]",
        '"sum"',
    ]
    assert len(heard(found)) == 5
    assert relayed(found) == b"".join(map(event, values))


def test_what_nobody_knows_is_all_output():
    found = pieces(event(delta(type="song_delta", verses=["la", "lu"])), ends=False)
    (produced,) = heard(found)
    assert isinstance(produced, Delta)
    assert all(word in produced.text for word in ("la", "lu"))
    unread = pieces(b"event: content_block_delta\ndata: <html>\n\n", ends=False)
    assert heard(unread) == [Delta("<html>")]


@pytest.mark.parametrize(
    "first",
    [
        block(type="thinking", thinking="", signature=""),
        block(type="redacted_thinking", data="c2VjcmV0"),
        delta(type="thinking_delta", thinking="hm"),
    ],
)
def test_thinking_is_told_once_and_its_text_is_output(first: dict[str, Any]):
    values = [first, delta(type="thinking_delta", thinking="so"), text("a")]
    found = heard(pieces(b"".join(map(event, values)), ends=False))
    assert found[0] == Thinking()
    assert found.count(Thinking()) == 1
    assert found[-2:] == [Delta("so"), Delta("a")]


def test_a_later_account_overwrites_per_field_and_lowers_nothing():
    stream = event(start()) + event(stop({"input_tokens": 3, "output_tokens": 9}))
    stream += event(stop({"cache_read_input_tokens": None, "output_tokens": 15}))
    stream += event(stop({"cache_read_input_tokens": 8, "output_tokens": 4}))
    usages = [each for each in heard(pieces(stream)) if isinstance(each, Usage)]
    assert [(usage.input, usage.output, usage.cached) for usage in usages] == [
        (25, 9, 7),
        (25, 15, 7),
        (25, 15, 8),
    ]


def test_an_account_that_opens_the_stream_is_not_its_last():
    stream = event(start()) + event(text("a")) + event(stop({"input_tokens": 25}, None)) + END
    assert heard(pieces(stream)) == [
        *(Served("claude-opus-5", "default"), Prompted(HEARD), Delta("a"), Finished()),
    ]


@pytest.mark.parametrize(
    "usage",
    [
        '{"output_tokens":"9"}',
        '{"output_tokens":2.5}',
        '{"output_tokens":-9}',
        '{"output_tokens":1' + "0" * 30 + "}",
        '{"output_tokens":1' + "0" * 5000 + "}",
        '{"output_tokens":9,"output_tokens":1}',
        '{"output_tokens":9},"usage":{"output_tokens":1}',
        '{"output_tokens":null}',
        '"none"',
        "[]",
        "{}",
        "true",
        "NaN",
        "null",
    ],
)
def test_an_account_that_is_not_sound_is_not_told(usage: str):
    frame = f'event: message_delta\ndata: {{"type":"message_delta","usage":{usage}}}\n\n'.encode()
    found = pieces(event(start()) + frame, ends=False)
    assert relayed(found) == event(start()) + frame
    assert not any(isinstance(each, Usage) for each in heard(found))


def test_an_opening_account_that_is_not_sound_leaves_the_input_unknown():
    for usage in (None, {}, {"input_tokens": "25"}, {"output_tokens": 1}, {"input_tokens": -1}):
        found = heard(pieces(event(start(usage)) + event(stop()) + END))
        assert not any(isinstance(each, Prompted | Usage) for each in found)
        told = event(start(usage)) + event(stop({"input_tokens": 30, "output_tokens": 4}))
        assert heard(pieces(told, ends=False))[-1] == Usage(input=30, output=4)


def test_an_opening_account_of_nothing_leaves_the_input_unknown():
    """So do hosts that count the input at the end alone."""
    opened = event(start({"input_tokens": 0, "output_tokens": 0})) + event(text("Hi"))
    assert not any(isinstance(each, Prompted) for each in heard(pieces(opened, ends=False)))
    ended = event(stop({"input_tokens": 30, "output_tokens": 4})) + END
    assert heard(pieces(opened + ended))[-2:] == [Usage(input=30, output=4), Finished()]


def test_a_dearer_tier_is_told():
    served = heard(pieces(event(start(START_USAGE | {"speed": "fast"})), ends=False))[0]
    assert served == Served("claude-opus-5", "fast")
    silent = {"input_tokens": 1, "output_tokens": 1}
    assert heard(pieces(event(start(silent)), speed="fast", ends=False))[0] == Served(
        "claude-opus-5", None
    )


def test_an_error_is_broken_and_passed_on():
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    for frame in (
        event(error),
        event(error, "message_delta"),
        event({"type": "ping"}, "error"),
        b"event: error\n\n",
        b"event: error\ndata: overloaded\n\n",
        event({"type": "content_block_delta", "error": "x"}, "error"),
    ):
        found = pieces(event(start()) + frame)
        assert Broken() in heard(found)
        assert Finished() not in heard(found)
        assert relayed(found) == event(start()) + frame


def test_nothing_after_the_end_is_passed_on():
    stream = b"".join(PLAIN)
    found = pieces(stream + event(text("more")), event(text("still more")))
    assert relayed(found) == stream
    assert heard(found)[-1] == Finished()


def test_a_body_without_its_end_is_finished_when_the_message_stopped():
    finished = pieces(*PLAIN[:-1])
    assert heard(finished)[-1] == Finished()
    assert relayed(finished) == b"".join(PLAIN[:-1])
    assert Finished() not in heard(pieces(*PLAIN[:-2]))
    error = event({"type": "error", "error": {}})
    assert Finished() not in heard(pieces(*PLAIN[:-1], error))


def test_an_end_without_its_blank_line_is_an_end():
    found = pieces(*PLAIN[:-1], END.removesuffix(b"\n"))
    assert heard(found)[-1] == Finished()
    assert relayed(found) == b"".join(PLAIN).removesuffix(b"\n")


def test_what_the_bodys_end_cut_short_is_read_and_not_passed_on():
    cut = event(stop(reason=None)).removesuffix(b"\n")
    found = pieces(event(start()), event(text("a")), cut)
    assert heard(found)[-1] == TOLD
    assert relayed(found) == event(start()) + event(text("a"))


def test_strange_json_counts_every_text():
    for data in (
        b'{"type":"content_block_delta","delta":{"type":"text_delta","text":"Hi \\ud800"}}',
        b'{"type":"content_block_delta","delta":{"type":"text_delta","text":"Hi \xff"}}',
        b'{"type":"content_block_delta","index":NaN,"delta":{"type":"text_delta","text":"Hi "}}',
        b'{"type":5,"delta":{"type":["x"],"text":{"a":["Hi "]}}}',
        b'{"type":"content_block_delta","delta":["Hi "]}',
        b'{"type":"content_block_delta","delta":"Hi "}',
    ):
        frame = b"event: content_block_delta\ndata: " + data + b"\n\n"
        found = pieces(frame, ends=False)
        assert relayed(found) == frame
        (produced,) = heard(found)
        assert isinstance(produced, Delta)
        assert "Hi " in produced.text


def test_deep_json_is_all_output():
    data = b'{"a":' * 20_000
    (produced,) = heard(pieces(b"event: x\ndata: " + data + b"\n\n", ends=False))
    assert produced == Delta(data.decode())


def test_a_never_ending_event_is_cut():
    read = MessagesStream({})
    read.feed(event(start()))
    read.feed(b"data: " + b"x" * (MOST_FRAME_BYTES - 6))
    with pytest.raises(FrameTooLong):
        read.feed(b"x")


STREAMS = st.lists(
    st.sampled_from(
        [
            *PLAIN,
            event(block(type="thinking", thinking="")),
            event(delta(type="thinking_delta", thinking="h\u00e9 \u4f60")),
            event(text("\u2028 two"), end=b"\r\n"),
            event(stop({"output_tokens": 7, "iterations": []})),
            event({"type": "error", "error": {"message": "no"}}),
            b": comment\n\n",
            b"data: [1\n\n",
            b"\xef\xbb\xbf",
            b"event: message_delta\n",
            b"data: {}\r\rdata:",
        ]
    ),
    max_size=10,
).map(b"".join)


@given(STREAMS | st.binary(max_size=80), st.data())
def test_a_cut_changes_nothing(stream: bytes, data: st.DataObject):
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=5))
    marks = [0, *sorted(cuts), len(stream)]
    parts = [stream[one:other] for one, other in pairwise(marks)]
    assert heard(pieces(*parts)) == heard(pieces(stream))
    assert relayed(pieces(*parts)) == relayed(pieces(stream))


@given(STREAMS)
def test_complete_events_are_passed_on_unchanged_in_order(stream: bytes):
    assert stream.startswith(relayed(pieces(stream)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("type", "message", "delta", "content_block", "usage", "error", "text"),
                    *("content", "stop_reason", "output_tokens", "input_tokens"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
)


@given(st.lists(JSON, max_size=3), st.sampled_from(["message_start", "message_delta", "x"]))
def test_any_json_is_heard(values: list[object], name: str):
    stream = b"".join(
        b"event: %b\ndata: %b\n\n" % (name.encode(), json.dumps(value).encode()) for value in values
    )
    assert stream.startswith(relayed(pieces(stream)))
