"""Events out of bytes: however a body is split, the same frames, with every byte of them kept."""

from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from gateway.errors import UpstreamLost
from gateway.providers import framing
from gateway.providers.framing import EventFraming, Frame, FrameTooLong

LINE_ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
LINES = st.sampled_from(
    [b'data: {"a":1}', b"data:x", b"data", b"data: ", b": ping", b"id: 7", b"retry: 5", b"event: e"]
)
STREAMS = st.builds(
    lambda start, lines: start + b"".join(line + end for line, end in lines),
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.lists(st.tuples(st.one_of(LINES, st.just(b"")), LINE_ENDS), max_size=30),
)
SOUP = st.lists(
    st.sampled_from([b"\r", b"\n", b"data: ", b"data:", b":", b"x", b"\xef\xbb\xbf", b"\xff"]),
    max_size=40,
).map(b"".join)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    marks = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(marks)]


def frames(chunks: list[bytes]) -> list[Frame]:
    read = EventFraming()
    found = [frame for chunk in chunks for frame in read.feed(chunk)]
    return found + read.end()


def payloads(data: bytes) -> list[bytes | None]:
    return [frame.data for frame in frames([data])]


@given(st.one_of(STREAMS, SOUP, st.binary(max_size=200)), st.lists(st.integers(0, 10**6)))
def test_a_split_changes_no_frame_and_no_byte(data: bytes, cuts: list[int]):
    whole = frames([data])
    assert b"".join(frame.raw for frame in whole) == data
    assert frames(split(data, cuts)) == whole
    assert frames([data[at : at + 1] for at in range(len(data))]) == whole


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_line_end_ends_a_line(end: bytes):
    assert payloads(b"data: a" + end * 2 + b"data: b" + end * 2) == [b"a", b"b"]


def test_line_ends_may_be_mixed():
    assert payloads(b"data: a\n\r\ndata: b\r\n\ndata: c\r\rdata: d\n\n") == [b"a", b"b", b"c", b"d"]


def test_cr_and_lf_in_different_reads_are_one_line_end():
    read = EventFraming()
    assert read.feed(b"data: a\r") == []
    assert read.feed(b"\ndata: b\r") == []
    assert read.feed(b"\n\r") == []
    assert read.feed(b"\n") == [Frame(b"data: a\r\ndata: b\r\n\r\n", b"a\nb")]


def test_a_character_split_across_reads_stays_whole():
    data = 'data: {"a":"é"}\n\n'.encode()
    read = EventFraming()
    assert read.feed(data[:12]) == []
    assert read.feed(data[12:]) == [Frame(data, '{"a":"é"}'.encode())]


def test_a_space_after_the_colon_is_taken_off_once():
    assert payloads(b"data:a\n\ndata: b\n\ndata:  c\n\ndata\n\n") == [b"a", b"b", b" c", b""]
    assert payloads(b"data:  c\r\n\r\n: x\ndata:  d\n\n") == [b" c", b" d"]


def test_data_lines_are_joined_by_a_line_feed():
    assert payloads(b'data: {"a":\ndata: 1}\n\n') == [b'{"a":\n1}']


def test_comments_and_blank_lines_are_frames_without_data():
    assert payloads(b": ping\n\n\n\ndata: a\n\n") == [None, None, b"a"]


def test_ids_and_retries_are_kept_in_the_bytes_and_the_event_is_named():
    raw = b"id: 1\nretry: 10\nevent: error\ndata: a\n\n"
    assert frames([raw]) == [Frame(raw, b"a", b"error")]


NAMED = st.lists(
    st.sampled_from(
        [b"event: e", b"event:f", b"event: ", b"data: a", b"data:  b", b"data", b": c", b"id: 1"]
    ),
    min_size=1,
    max_size=3,
)


@given(st.lists(NAMED, max_size=4))
def test_events_mean_the_same_whatever_their_line_ends_are(events: list[list[bytes]]):
    """LF alone has ways of its own, for the events that are usual."""

    def said(end: bytes) -> list[tuple[bytes | None, bytes | None]]:
        whole = b"".join(end.join(lines) + end * 2 for lines in events)
        return [(frame.data, frame.event) for frame in frames([whole])]

    assert said(b"\n") == said(b"\r\n")


def test_a_byte_order_mark_is_taken_off_the_first_line_only():
    mark = b"\xef\xbb\xbf"
    assert payloads(mark + b"data: a\n\n" + mark + b"data: b\n\n") == [b"a", None]


def test_unicode_line_separators_are_text():
    text = '{"a":"\u2028\u0085\u000b"}'.encode()
    assert payloads(b"data: " + text + b"\n\n") == [text]


def test_a_last_event_without_its_blank_line_comes_at_the_end():
    read = EventFraming()
    assert read.feed(b"data: a\n\ndata: b\n") == [Frame(b"data: a\n\n", b"a")]
    assert read.end() == [Frame(b"data: b\n", b"b")]
    assert read.end() == []


def test_many_events_in_one_read_stay_apart():
    assert payloads(b"data: a\n\n" * 500) == [b"a"] * 500


def test_an_event_of_two_megabytes_is_read():
    long = b"x" * (2 << 20)
    assert payloads(b"data: " + long + b"\n\n") == [long]


@pytest.mark.parametrize("size", [1 << 16, 1 << 24])
def test_an_event_beyond_the_limit_is_a_failure_however_it_comes(size: int):
    data = b"data: a\n\ndata: " + b"x" * framing.MOST_FRAME_BYTES + b"\n\ndata: b\n\n"
    found: list[Frame] = []

    def run() -> None:
        read = EventFraming()
        for at in range(0, len(data), size):
            found.extend(read.feed(data[at : at + size]))
        read.end()

    with pytest.raises(FrameTooLong) as caught:
        run()
    assert [frame.data for frame in found] == [b"a"]
    assert isinstance(caught.value, UpstreamLost)
    assert "8 MiB" in str(caught.value)


def test_nothing_comes_after_a_failure():
    read = EventFraming()
    with pytest.raises(FrameTooLong):
        read.feed(b"x" * (framing.MOST_FRAME_BYTES + 1) + b"\n\n")
    with pytest.raises(FrameTooLong):
        read.feed(b"data: a\n\n")
    with pytest.raises(FrameTooLong):
        read.end()
