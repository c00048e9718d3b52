"""Streams as a score: given these frames, these events, whatever way they are cut."""

import base64
import json
from itertools import pairwise

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
from gateway.core.refusal import Code, Refused
from gateway.errors import UpstreamLost
from gateway.providers.adapter import Endpoint, StreamReader
from gateway.providers.eventstream import EventStreamFraming, FrameDamaged, encode
from tests.unit.providers.dialects.bedrock.asking import (
    CLAUDE,
    COMMAND,
    DIALECT,
    LLAMA,
    MISTRAL,
    NOVA,
    SAID,
    TITAN,
    converse,
    taken,
)

USAGE = {"inputTokens": 5, "outputTokens": 3, "totalTokens": 8}


def frame(kind: str, body: object) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return encode({":message-type": "event", ":event-type": kind}, raw)


def delta(**said: object) -> bytes:
    return frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": said, "p": "abc"})


def chunk(body: object) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return frame("chunk", {"bytes": base64.b64encode(raw).decode(), "p": "abcd"})


def exception(kind: str = "throttlingException") -> bytes:
    return encode({":message-type": "exception", ":exception-type": kind}, b'{"message":"x"}')


START = frame("messageStart", {"role": "assistant"})
STOP = frame("messageStop", {"stopReason": "end_turn"})
END = frame("metadata", {"usage": USAGE, "metrics": {"latencyMs": 1}})
METRICS = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 5, "outputTokenCount": 3}}
STREAM = [START, delta(text="Hi "), delta(text="\u2713"), STOP, END]


def reader(asked_tier: str | None = None) -> StreamReader:
    extra = {} if asked_tier is None else {"serviceTier": {"type": asked_tier}}
    wanted = taken(Endpoint.CONVERSE_STREAM, {"messages": SAID, **extra})
    return DIALECT.stream(wanted, hides_usage=False)


BODIES: dict[str, object] = {
    CLAUDE: {"messages": [], "max_tokens": 9},
    NOVA: {"messages": []},
    LLAMA: {"prompt": "x"},
    MISTRAL: {"prompt": "x"},
    COMMAND: {"message": "x"},
    TITAN: {"inputText": "x"},
}


def invoke_reader(model: str) -> StreamReader:
    wanted = taken(Endpoint.INVOKE_STREAM, BODIES[model], model=model)
    return DIALECT.stream(wanted, hides_usage=False)


def played(stream: StreamReader, *parts: bytes) -> tuple[bytes, list[Event]]:
    pieces = [piece for part in parts for piece in stream.feed(part)]
    pieces += stream.end()
    events = [event for piece in pieces for event in piece.events]
    return b"".join(piece.relay for piece in pieces), events


def told(stream: StreamReader, *parts: bytes) -> list[Event]:
    """The events that say something."""
    return [event for event in played(stream, *parts)[1] if event != Opaque()]


def test_a_stream_says_its_text_its_usage_and_its_end():
    relayed, events = played(reader(), *STREAM)
    assert relayed == b"".join(STREAM)
    assert [event for event in events if event != Opaque()] == [
        Delta("Hi "),
        Delta("\u2713"),
        Usage(input=5, output=3),
        Finished(),
    ]


@given(st.lists(st.integers(0, 2000), max_size=12))
def test_any_split_says_and_relays_the_same(cuts: list[int]):
    stream = b"".join(STREAM)
    marks = sorted({0, len(stream), *(cut % len(stream) for cut in cuts)})
    parts = [stream[start:end] for start, end in pairwise(marks)]
    assert played(reader(), *parts) == played(reader(), stream)


@given(st.lists(st.integers(0, 2000), max_size=12))
def test_any_split_of_a_vendors_stream_says_the_same(cuts: list[int]):
    stream = b"".join([chunk({"generation": "Hi"}), chunk({"generation": "", **METRICS})])
    marks = sorted({0, len(stream), *(cut % len(stream) for cut in cuts)})
    parts = [stream[start:end] for start, end in pairwise(marks)]
    assert played(invoke_reader(LLAMA), *parts) == played(invoke_reader(LLAMA), stream)


def test_nothing_after_the_end_is_passed_on():
    relayed, events = played(reader(), b"".join([*STREAM, delta(text="more")]), delta(text="more"))
    assert relayed == b"".join(STREAM)
    assert events[-1] == Finished()


def test_without_its_account_a_stream_that_stopped_is_finished_and_metered():
    events = told(reader(), START, delta(text="Hi"), STOP)
    assert events == [Delta("Hi"), Finished()]


def test_a_stream_that_breaks_off_is_not_finished():
    relayed, events = played(reader(), START, delta(text="Hi"))
    assert relayed == START + delta(text="Hi")
    assert Finished() not in events


@pytest.mark.parametrize("cut", [1, 12, 40])
def test_a_stream_that_breaks_off_within_a_frame_is_lost_even_after_its_stop(cut: int):
    stream = reader()
    pieces = list(stream.feed(START + STOP + END[:cut]))
    assert b"".join(piece.relay for piece in pieces) == START + STOP
    with pytest.raises(FrameDamaged):
        stream.end()


def test_tools_thoughts_and_images_are_told():
    start = frame("contentBlockStart", {"start": {"toolUse": {"toolUseId": "1", "name": "f"}}})
    events = told(
        reader(),
        start,
        delta(toolUse={"input": '{"a"'}),
        delta(reasoningContent={"text": "hm"}),
        delta(reasoningContent={"text": " hm"}),
        delta(reasoningContent={"signature": "xyz"}),
        frame("contentBlockStart", {"start": {"image": {"format": "png"}}}),
        delta(citation={"title": "t"}),
    )
    assert events == [Delta("f"), Delta('{"a"'), Thinking(), Delta("hm"), Delta(" hm")]


def test_thoughts_that_are_not_shown_are_told():
    assert told(reader(), delta(reasoningContent={"redactedContent": "aGk="})) == [Thinking()]


@pytest.mark.parametrize("kind", ["exception", "error"])
def test_an_exception_is_broken_and_relayed(kind: str):
    failed = encode({":message-type": kind, ":exception-type": "x"}, b'{"message":"no"}')
    relayed, events = played(reader(), START, failed)
    assert relayed == START + failed
    assert events[-1] == Broken()


def test_an_exception_after_the_stop_is_no_finish():
    assert told(reader(), STOP, exception()) == [Broken()]


def test_the_tier_that_answered_is_told():
    end = frame("metadata", {"usage": USAGE, "serviceTier": {"type": "default"}})
    assert told(reader("priority"), end)[0] == Served(None, "default")


@pytest.mark.parametrize(
    "usage",
    [
        b'{"inputTokens":"5","outputTokens":3}',
        b'{"inputTokens":5}',
        b'{"inputTokens":5,"outputTokens":-3}',
        b'{"inputTokens":5,"outputTokens":3,"outputTokens":1}',
        b"null",
        b"NaN",
    ],
)
def test_an_account_that_is_not_sound_is_left_out(usage: bytes):
    assert told(reader(), frame("metadata", b'{"usage":' + usage + b"}")) == [Finished()]


@pytest.mark.parametrize(
    "payload",
    [
        b'{"delta":{"text":"\\ud800 x"}}',
        b'{"delta":{"text":5,"y":"x"}}',
        b"x",
        b'{"x":NaN,"y":"x"}',
    ],
)
def test_strange_payloads_count_as_produced(payload: bytes):
    (event,) = told(reader(), frame("contentBlockDelta", payload))
    assert isinstance(event, Delta)
    assert "x" in event.text


def test_unknown_events_pass():
    unknown = frame("fromTomorrow", {"a": 1})
    assert played(reader(), unknown) == (unknown, [Opaque()])


def test_damaged_frames_raise_after_what_came_before():
    stream = reader()
    damaged = bytearray(delta(text="x"))
    damaged[-1] ^= 1
    assert len(list(stream.feed(START + bytes(damaged)))) == 1
    with pytest.raises(FrameDamaged):
        stream.feed(b"")
    with pytest.raises(FrameDamaged):
        stream.end()


def test_a_cut_follows_whole_frames_alone():
    stream = reader()
    relayed = b"".join(piece.relay for piece in stream.feed(START + delta(text="x")[:20]))
    frames = EventStreamFraming().feed(relayed + stream.cut(Refused(Code.KILL_SWITCH, "No.")))
    assert [frame.says(":message-type") for frame in frames] == ["event", "exception"]
    assert msgspec.json.decode(frames[1].payload) == {"message": "No."}


CLAUDE_START = {
    "type": "message_start",
    "message": {"usage": {"input_tokens": 5, "cache_read_input_tokens": 7, "output_tokens": 1}},
}
CLAUDE_TEXT = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi"}}
CLAUDE_DELTA = {
    "type": "message_delta",
    "delta": {"stop_reason": "x"},
    "usage": {"output_tokens": 3},
}
HEARD = Usage(input=5, output=0, cached=7)


def test_claude_says_its_input_first_and_its_account_last():
    frames = [
        chunk(CLAUDE_START),
        chunk({"type": "content_block_start", "content_block": {"type": "text", "text": ""}}),
        chunk(CLAUDE_TEXT),
        chunk(
            {
                "type": "content_block_start",
                "content_block": {"type": "tool_use", "name": "f", "input": {}},
            }
        ),
        chunk(
            {
                "type": "content_block_delta",
                "delta": {"type": "input_json_delta", "partial_json": "{"},
            }
        ),
        chunk(CLAUDE_DELTA),
        chunk({"type": "message_stop", **METRICS}),
    ]
    relayed, _ = played(invoke_reader(CLAUDE), *frames)
    assert relayed == b"".join(frames)
    assert told(invoke_reader(CLAUDE), *frames) == [
        Prompted(HEARD),
        Delta("Hi"),
        Delta("f"),
        Delta("{"),
        Usage(input=5, output=3, cached=7),
        Finished(),
    ]


def test_a_tool_that_is_named_as_bedrocks_account_ends_nothing():
    called = {"type": "tool_use", "name": "amazon-bedrock-invocationMetrics", "input": {}}
    frames = [
        chunk(CLAUDE_START),
        chunk({"type": "content_block_start", "content_block": called}),
        chunk(CLAUDE_DELTA),
        chunk({"type": "message_stop", **METRICS}),
    ]
    assert told(invoke_reader(CLAUDE), *frames)[-2:] == [
        Usage(input=5, output=3, cached=7),
        Finished(),
    ]
    assert Finished() not in told(invoke_reader(CLAUDE), *frames[:2])


def test_claude_without_bedrocks_end_is_finished_by_its_own():
    frames = [chunk(CLAUDE_START), chunk(CLAUDE_DELTA), chunk({"type": "message_stop"})]
    assert told(invoke_reader(CLAUDE), *frames)[-2:] == [
        Usage(input=5, output=3, cached=7),
        Finished(),
    ]
    assert Finished() not in told(invoke_reader(CLAUDE), *frames[:-1])


def test_claude_thinks():
    thinking = {"type": "thinking", "thinking": ""}
    frames = [
        chunk({"type": "content_block_start", "content_block": thinking}),
        chunk(
            {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "hm"}}
        ),
    ]
    assert told(invoke_reader(CLAUDE), *frames) == [Thinking(), Delta("hm")]


def test_claudes_own_error_is_broken():
    failed = {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}
    assert told(invoke_reader(CLAUDE), chunk(failed)) == [Broken()]


def test_without_its_own_account_bedrocks_is_taken():
    frames = [chunk(CLAUDE_TEXT), chunk({"type": "message_stop", **METRICS})]
    assert told(invoke_reader(CLAUDE), *frames) == [
        Delta("Hi"),
        Usage(input=5, output=3),
        Finished(),
    ]


@pytest.mark.parametrize(
    ("model", "chunks"),
    [
        (
            NOVA,
            [
                {"contentBlockDelta": {"delta": {"text": "Hi"}}},
                {"metadata": {"usage": USAGE}, **METRICS},
            ],
        ),
        (LLAMA, [{"generation": "Hi", "prompt_token_count": 5}, {"generation": "", **METRICS}]),
        (MISTRAL, [{"outputs": [{"text": "Hi", "stop_reason": None}]}, {"outputs": [], **METRICS}]),
        (MISTRAL, [{"choices": [{"delta": {"content": "Hi"}}]}, {"choices": [], **METRICS}]),
        (
            COMMAND,
            [
                {"event_type": "text-generation", "text": "Hi"},
                {"event_type": "stream-end", "response": {"text": "Hi"}, **METRICS},
            ],
        ),
        (
            TITAN,
            [
                {"outputText": "Hi", "index": 0, "inputTextTokenCount": 5},
                {"outputText": "", **METRICS},
            ],
        ),
    ],
)
def test_each_vendors_stream_is_read(model: str, chunks: list[object]):
    events = told(invoke_reader(model), *map(chunk, chunks))
    assert events == [Delta("Hi"), Usage(input=5, output=3), Finished()]


@pytest.mark.parametrize(
    "metrics", [{"inputTokenCount": 5}, {"inputTokenCount": "5", "outputTokenCount": 3}, None, []]
)
def test_metrics_that_are_not_sound_end_the_stream_without_an_account(metrics: object):
    last = {"generation": "", "amazon-bedrock-invocationMetrics": metrics}
    assert told(invoke_reader(LLAMA), chunk(last)) == [Finished()]


@pytest.mark.parametrize("payload", [b"x", b"{}", b'{"bytes":5}', b'{"bytes":"%%%"}'])
def test_a_chunk_that_is_none_counts_as_produced(payload: bytes):
    (event,) = told(invoke_reader(LLAMA), frame("chunk", payload))
    assert isinstance(event, Delta)


@given(st.sampled_from(sorted(BODIES)), st.binary(max_size=80))
def test_arbitrary_chunks_never_raise(model: str, body: bytes):
    told(invoke_reader(model), chunk(body), chunk(b"{" + body), frame("chunk", body))
    told(reader(), frame("contentBlockDelta", body), frame("metadata", body))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_only_what_is_said(data: bytes):
    stream = reader()
    try:
        stream.feed(data)
        stream.end()
    except UpstreamLost as failure:
        assert type(failure).__name__ in {"FrameDamaged", "FrameTooLong"}  # noqa: PT017


def test_a_converse_request_is_streamed_as_converse():
    assert told(DIALECT.stream(converse(), hides_usage=True), END)[-1] == Finished()
