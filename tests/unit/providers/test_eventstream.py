"""Event stream frames: any split gives the same frames, and nothing strange gives anything else."""

import struct
import time
from itertools import pairwise
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer, EventStreamMessage
from hypothesis import example, given, settings, strategies as st

from gateway.errors import UpstreamLost
from gateway.providers.eventstream import (
    EventStreamFraming,
    Frame,
    FrameDamaged,
    encode,
)
from gateway.providers.framing import MOST_FRAME_BYTES, FrameTooLong

NAMES = st.text(min_size=1, max_size=20)
HEADERS = st.dictionaries(NAMES, st.text(max_size=60), max_size=5)
Messages = list[tuple[dict[str, str], bytes]]
MESSAGES = st.lists(st.tuples(HEADERS, st.binary(max_size=300)), max_size=5)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    marks = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(marks)]


def fed(parts: list[bytes]) -> list[Frame]:
    framing = EventStreamFraming()
    return [frame for part in parts for frame in framing.feed(part)] + framing.end()


def prelude(size: int, headers: int) -> bytes:
    sizes = struct.pack(">II", size, headers)
    return sizes + struct.pack(">I", crc32(sizes))


def with_headers(fields: bytes, payload: bytes = b"") -> bytes:
    """A frame around headers that our own encoder would not write."""
    frame = prelude(16 + len(fields) + len(payload), len(fields)) + fields + payload
    return frame + struct.pack(">I", crc32(frame))


@given(MESSAGES, st.lists(st.integers(0, 5000), max_size=20))
def test_any_split_gives_the_frames_that_were_encoded(messages: Messages, cuts: list[int]):
    stream = b"".join(encode(headers, payload) for headers, payload in messages)
    frames = fed(pieces(stream, cuts))
    assert [(frame.headers, frame.payload) for frame in frames] == messages
    assert b"".join(frame.raw for frame in frames) == stream


def test_a_byte_at_a_time_gives_the_same_frames():
    stream = encode({":event-type": "a"}, b"one") + encode({}, b"")
    assert [frame.payload for frame in fed([bytes([byte]) for byte in stream])] == [b"one", b""]


@given(MESSAGES)
def test_botocore_reads_what_is_encoded_here(messages: Messages):
    buffer = EventStreamBuffer()
    buffer.add_data(b"".join(encode(headers, payload) for headers, payload in messages))
    read: list[EventStreamMessage] = list(buffer)
    assert [(message.headers, message.payload) for message in read] == messages


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=8))
@example(prelude(16, 0) + b"\0\0\0\0", [])
@example(prelude(15, 0) + b"\0\0\0", [])
def test_arbitrary_bytes_raise_only_the_typed_failure(data: bytes, cuts: list[int]):
    framing = EventStreamFraming()
    try:
        for part in pieces(data, cuts):
            framing.feed(part)
        framing.end()
    except UpstreamLost as failure:
        kinds = type(failure)
    else:
        kinds = FrameDamaged
    assert kinds in {FrameDamaged, FrameTooLong}


@given(st.binary(max_size=60))
@settings(max_examples=500)
def test_arbitrary_headers_are_read_as_botocore_reads_them_or_refused(fields: bytes):
    frame = with_headers(fields)
    buffer = EventStreamBuffer()
    buffer.add_data(frame)
    try:
        theirs: object = next(buffer).headers
    except Exception as error:  # noqa: BLE001  # botocore raises whatever it runs into
        theirs = type(error)
    try:
        (read,) = EventStreamFraming().feed(frame)
    except FrameDamaged:
        return
    assert read.headers == theirs


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"\x01a\x00", True),
        (b"\x01a\x01", False),
        (b"\x01a\x02\xff", -1),
        (b"\x01a\x03\x01\x00", 256),
        (b"\x01a\x04\x00\x01\x00\x00", 65536),
        (b"\x01a\x05" + (7).to_bytes(8), 7),
        (b"\x01a\x06\x00\x02\xff\xfe", b"\xff\xfe"),
        (b"\x01a\x07\x00\x02hi", "hi"),
        (b"\x01a\x08" + (1234).to_bytes(8), 1234),
        (b"\x01a\x09" + bytes(range(16)), bytes(range(16))),
    ],
)
def test_every_type_of_header_is_read(field: bytes, value: object):
    (frame,) = EventStreamFraming().feed(with_headers(field, b"x"))
    assert frame.headers == {"a": value}
    assert frame.payload == b"x"


@pytest.mark.parametrize(
    "fields",
    [
        b"\x01a",  # no type
        b"\x05ab",  # a name that is cut short
        b"\x01a\x0a",  # an unknown type
        b"\x01a\x07\x00\x05hi",  # a text that is cut short
        b"\x01\xff\x00",  # a name that is no UTF-8
        b"\x01a\x07\x00\x01\xff",  # a text that is none
        b"\x01a\x00\x01a\x00",  # the same twice
        b"\x01a\x04\x00",  # a number that is cut short
    ],
)
def test_headers_that_cannot_be_read_damage_their_frame(fields: bytes):
    with pytest.raises(FrameDamaged):
        EventStreamFraming().feed(with_headers(fields))


@pytest.mark.parametrize("at", range(0, 40, 3))
def test_no_flipped_bit_passes(at: int):
    frame = bytearray(encode({":event-type": "chunk"}, b"payload of some length"))
    frame[at] ^= 0x10
    framing = EventStreamFraming()
    with pytest.raises((FrameDamaged, FrameTooLong)):
        framing.feed(bytes(frame))


def test_a_frame_that_claims_four_gigabytes_is_refused_at_once():
    with pytest.raises(FrameTooLong):
        EventStreamFraming().feed(prelude(0xFFFFFFFF, 0))


def test_a_frame_just_above_the_limit_is_refused_and_one_at_it_is_not():
    with pytest.raises(FrameTooLong):
        EventStreamFraming().feed(prelude(MOST_FRAME_BYTES + 1, 0))
    largest = encode({}, bytes(MOST_FRAME_BYTES - 16))
    assert len(largest) == MOST_FRAME_BYTES
    (frame,) = EventStreamFraming().feed(largest)
    assert frame.raw == largest


def test_headers_beyond_their_limit_are_refused():
    with pytest.raises(FrameDamaged):
        EventStreamFraming().feed(prelude(200_000, 150_000))


def test_an_input_without_end_keeps_no_more_than_one_frame():
    framing = EventStreamFraming()
    frame = encode({}, bytes(1000))
    for _ in range(2000):
        framing.feed(frame)
    assert len(framing._held) == 0
    framing.feed(prelude(MOST_FRAME_BYTES, 0))
    block = bytes(1 << 20)
    for _ in range(MOST_FRAME_BYTES // len(block) - 1):
        framing.feed(block)
    assert len(framing._held) < MOST_FRAME_BYTES
    with pytest.raises(FrameDamaged):
        framing.feed(block)
    assert len(framing._held) == 0


def test_frames_before_a_damaged_one_are_returned_first_and_then_it_is_told():
    good = encode({}, b"good")
    framing = EventStreamFraming()
    assert [frame.payload for frame in framing.feed(good + b"x" * 40)] == [b"good"]
    with pytest.raises(FrameDamaged):
        framing.feed(good)
    with pytest.raises(FrameDamaged):
        framing.end()


def test_what_the_end_cut_short_is_no_frame():
    framing = EventStreamFraming()
    assert framing.feed(encode({}, b"a") + encode({}, b"b")[:-1])[0].payload == b"a"
    with pytest.raises(FrameDamaged):
        framing.end()


def test_a_large_frame_in_small_pieces_takes_linear_time():
    frame = encode({}, bytes(4 << 20))
    framing = EventStreamFraming()
    begun = time.process_time()
    found = [one for at in range(0, len(frame), 512) for one in framing.feed(frame[at : at + 512])]
    assert len(found) == 1
    assert time.process_time() - begun < 1.0  # some 20 ms; a second means that it was copied anew


@pytest.mark.parametrize("headers", [{"": "x"}, {"n" * 256: "x"}, {"n": "x" * 0x8000}])
def test_headers_that_do_not_fit_are_not_written(headers: dict[str, str]):
    with pytest.raises(ValueError, match="header"):
        encode(headers, b"")


def test_a_payload_that_does_not_fit_is_not_written():
    with pytest.raises(ValueError, match="too large"):
        encode({}, bytes(MOST_FRAME_BYTES))
