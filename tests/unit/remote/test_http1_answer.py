"""The answer's reader as a score: given these bytes, in any pieces, this answer and this verdict."""

import gc
import itertools
import weakref
from dataclasses import dataclass

import pytest
from hypothesis import given, strategies as st

from gateway.errors import UpstreamLost
from gateway.remote.answer import PIECE_BYTES, Answer

H = b"HTTP/1.1 200 OK\r\n"
CHUNKED = H + b"Transfer-Encoding: chunked\r\n\r\n"
SSE = b'5;a="b"\r\ndata:\r\n3\r\n {}\r\n2\r\n\n\n\r\n000;x\r\nX-Sum: 1\r\n\r\n'


@dataclass
class Read:
    """All that can be told from outside after the last byte."""

    status: int
    fields: list[tuple[bytes, bytes]]
    body: bytes
    has_ended: bool
    is_reusable: bool
    lost: bool


def read(*pieces: bytes, is_to_head: bool = False, eof: bool = False) -> Read:
    answer = Answer("host:1", is_to_head=is_to_head)
    lost = False
    try:
        for piece in pieces:
            answer.feed(piece)
        if eof:
            answer.feed_eof()
    except UpstreamLost as error:
        lost = str(error).startswith("host:1 ")
    fields = answer.fields if answer.has_head else []
    status = answer.status if answer.has_head else 0
    is_reusable = answer.is_reusable and answer.has_ended and not lost
    return Read(status, fields, bytes(answer.body), answer.has_ended, is_reusable, lost)


def ended(
    body: bytes, *, again: bool = True, status: int = 200
) -> tuple[int, bytes, bool, bool, bool]:
    return (status, body, True, again, False)


LOST_BEFORE = (0, b"", False, False, True)

SCORES = {
    "length": (H + b"Content-Length: 2\r\n\r\nok", ended(b"ok")),
    "length with space": (H + b"Content-Length:  2 \r\n\r\nok", ended(b"ok")),
    "no content": (H + b"Content-Length: 0\r\n\r\n", ended(b"")),
    "close": (H + b"Connection: close\r\nContent-Length: 2\r\n\r\nok", ended(b"ok", again=False)),
    "chunks": (CHUNKED + b"2\r\nok\r\n0\r\n\r\n", ended(b"ok")),
    "extensions and trailers": (CHUNKED + SSE, ended(b"data: {}\n\n")),
    "empty trailer": (CHUNKED + b"0\r\nx:\r\n\r\n", ended(b"")),
    "chunked in capitals": (H + b"transfer-encoding: Chunked\r\n\r\n0\r\n\r\n", ended(b"")),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", ended(b"")),
    "1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", ended(b"ok", again=False)),
    "1.0 kept": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        ended(b"ok"),
    ),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", ended(b"", status=204)),
    "304 with a length": (
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        ended(b"", status=304),
    ),
    "interim": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        + H + b"Content-Length: 2\r\n\r\nok",
        ended(b"ok"),
    ),
    "redirect": (
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
        ended(b"", status=302),
    ),
    "stray byte after length": (H + b"Content-Length: 2\r\n\r\nok!", ended(b"ok", again=False)),
    "stray line end after length": (H + b"Content-Length: 2\r\n\r\nok\r\n", ended(b"ok", again=False)),
    "stray byte after none": (b"HTTP/1.1 204 N\r\n\r\nx", ended(b"", status=204, again=False)),
    "stray line end after chunks": (CHUNKED + b"0\r\n\r\n\r\n", ended(b"", again=False)),
    "stray LF after chunks": (CHUNKED + b"0\r\n\r\n\n", ended(b"", again=False)),
    "stray CR after chunks": (CHUNKED + b"0\r\n\r\n\r", ended(b"", again=False)),
    "stray garbage after chunks": (CHUNKED + b"2\r\nok\r\n0\r\n\r\n\0", ended(b"ok", again=False)),
    "second answer after length": (
        (H + b"Content-Length: 2\r\n\r\nok") * 2,
        ended(b"ok", again=False),
    ),
    "second answer after chunks": (
        (CHUNKED + b"2\r\nok\r\n0\r\n\r\n") * 2,
        ended(b"ok", again=False),
    ),
    "second answer after close": (
        H + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + H + b"\r\nno",
        ended(b"", again=False),
    ),
    "bad chunk size": (CHUNKED + b"2\r\nok\r\n0x2\r\nno", (200, b"ok", False, False, True)),
    "signed chunk size": (CHUNKED + b"-1\r\n", (200, b"", False, False, True)),
    "empty chunk size": (CHUNKED + b"\r\n", (200, b"", False, False, True)),
    "space after chunk size": (CHUNKED + b"2 \r\nok\r\n", (200, b"", False, False, True)),
    "huge chunk size": (CHUNKED + b"F" * 17 + b"\r\n", (200, b"", False, False, True)),
    "chunk too long": (CHUNKED + b"2\r\nokX\r\n", (200, b"ok", False, False, True)),
    "chunk lines by LF": (CHUNKED + b"2\nok\n0\n\n", (200, b"", False, False, True)),
    "length in a trailer": (
        CHUNKED + b"0\r\nContent-Length: 3\r\n\r\n",
        (200, b"", False, False, True),
    ),
    "bad trailer": (CHUNKED + b"0\r\nX Y: 1\r\n\r\n", (200, b"", False, False, True)),
    "both lengths": (H + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n", LOST_BEFORE),
    "both lengths turned": (
        H + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n",
        LOST_BEFORE,
    ),
    "two lengths": (H + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok!", LOST_BEFORE),
    "list of lengths": (H + b"Content-Length: 2, 2\r\n\r\nok", LOST_BEFORE),
    "signed length": (H + b"Content-Length: +2\r\n\r\nok", LOST_BEFORE),
    "empty length": (H + b"Content-Length: \r\n\r\n", LOST_BEFORE),
    "length past 64 bits": (H + b"Content-Length: 99999999999999999999\r\n\r\n", LOST_BEFORE),
    "two codings": (H + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", LOST_BEFORE),
    "chunked twice": (
        H + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        LOST_BEFORE,
    ),
    "unknown coding": (H + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", LOST_BEFORE),
    "space before colon": (H + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", LOST_BEFORE),
    "folded": (H + b"A: b\r\n c\r\n\r\n", LOST_BEFORE),
    "NUL in a value": (H + b"A: b\0\r\n\r\n", LOST_BEFORE),
    "LF ends lines": (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", LOST_BEFORE),
    "switching": (
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        LOST_BEFORE,
    ),
    "switching quietly": (b"HTTP/1.1 101 Switching\r\n\r\n", LOST_BEFORE),
    "status 999": (b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n", LOST_BEFORE),
    "status 99": (b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n", LOST_BEFORE),
    "status 20": (b"HTTP/1.1 20 X\r\n\r\n", LOST_BEFORE),
    "status words": (b"HTTP/1.1 OK\r\n\r\n", LOST_BEFORE),
    "HTTP/2": (b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", LOST_BEFORE),
    "HTTP/0.9": (b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n", LOST_BEFORE),
    "RTSP": (b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", LOST_BEFORE),
    "ICY": (b"ICY 200 OK\r\n\r\n", LOST_BEFORE),
    "HTML": (b"<html>\r\n\r\n", LOST_BEFORE),
    "line ends first": (b"\r\n" + H + b"Content-Length: 0\r\n\r\n", LOST_BEFORE),
    "line ends after interim": (
        b"HTTP/1.1 100 C\r\n\r\n\r\n" + H + b"Content-Length: 0\r\n\r\n",
        LOST_BEFORE,
    ),
}  # fmt: skip


def verdict(r: Read) -> tuple[int, bytes, bool, bool, bool]:
    return (r.status, r.body, r.has_ended, r.is_reusable, r.lost)


@pytest.mark.parametrize("name", SCORES)
def test_an_answer_is_what_its_bytes_say(name: str):
    stream, expected = SCORES[name]
    assert verdict(read(stream)) == expected


@pytest.mark.parametrize("name", SCORES)
def test_a_cut_at_any_byte_changes_nothing(name: str):
    stream, _ = SCORES[name]
    expected = read(stream)
    for cut in range(1, len(stream)):
        assert read(stream[:cut], stream[cut:]) == expected, cut
    assert read(*(stream[i : i + 1] for i in range(len(stream)))) == expected


@given(st.sampled_from(sorted(SCORES)), st.lists(st.integers(1, 200), max_size=12))
def test_cuts_anywhere_change_nothing(name: str, cuts: list[int]):
    stream, _ = SCORES[name]
    edges = [0, *sorted({cut % len(stream) for cut in cuts}), len(stream)]
    pieces = [stream[a:b] for a, b in itertools.pairwise(edges)]
    assert read(*pieces) == read(stream)


STRAY = st.one_of(
    st.binary(min_size=1, max_size=8),
    st.text("\r\n", min_size=1, max_size=6).map(str.encode),
    st.sampled_from(sorted(SCORES)).map(lambda name: SCORES[name][0]),
)


@given(
    st.sampled_from(["length", "no content", "chunks", "extensions and trailers", "204"]),
    STRAY,
    st.sampled_from([b"", b"\r\n\r\n", b"0\r\n\r\n"]),
)
def test_no_stray_byte_goes_unseen(name: str, stray: bytes, end: bytes):
    stream, expected = SCORES[name]
    assert verdict(read(stream + stray + end)) == (*expected[:3], False, False)
    assert verdict(read(stream, stray + end)) == (*expected[:3], False, False)


def test_no_single_stray_byte_goes_unseen():
    for byte in range(256):
        for end in (b"", b"\r\n\r\n", b"x\r\n\r\n"):
            assert not read(SCORES["chunks"][0] + bytes([byte]) + end).is_reusable, byte


@given(
    st.binary(max_size=300), st.sampled_from([b"", H, CHUNKED, H + b"Content-Length: 5\r\n\r\n"])
)
def test_garbage_is_a_failure_of_ours_and_never_another(garbage: bytes, start: bytes):
    read(start + garbage, eof=True)


@pytest.mark.parametrize("start", [H + b"\r\n", b"HTTP/1.0 200 OK\r\n\r\n"])
def test_a_body_without_length_ends_with_its_connection(start: bytes):
    assert verdict(read(start, b"all ", b"of it")) == (200, b"all of it", False, False, False)
    assert verdict(read(start, b"all ", b"of it", eof=True)) == ended(b"all of it", again=False)


@pytest.mark.parametrize("name", ["length", "chunks", "interim", "1.0"])
def test_an_end_before_the_end_is_lost(name: str):
    stream, _ = SCORES[name]
    for cut in range(len(stream)):
        result = read(stream[:cut], eof=True)
        assert result.lost
        assert not result.is_reusable


def test_an_end_after_the_end_is_none_of_our_business():
    assert verdict(read(SCORES["length"][0], eof=True)) == ended(b"ok")


@pytest.mark.parametrize(
    ("stream", "again"),
    [
        (H + b"Content-Length: 2\r\n\r\n", True),
        (H + b"Content-Length: 2\r\n\r\nok", False),
        (CHUNKED, True),
        (CHUNKED + b"0\r\n\r\n", False),
    ],
)
def test_an_answer_to_head_has_no_body(stream: bytes, *, again: bool):
    assert verdict(read(stream, is_to_head=True)) == ended(b"", again=again)


def test_names_are_lowered_and_all_fields_kept_in_order():
    fields = b"Set-Cookie: a\r\nX-B: \r\nSET-COOKIE: b\r\nContent-Encoding: GZip\r\n"
    assert read(H + fields + b"Content-Length: 0\r\n\r\n").fields == [
        (b"set-cookie", b"a"), (b"x-b", b""), (b"set-cookie", b"b"), (b"content-encoding", b"GZip"),
        (b"content-length", b"0"),
    ]  # fmt: skip


def test_a_head_of_200_fields_is_read_and_one_of_201_is_lost():
    def head(count: int) -> bytes:
        return (
            H + b"".join(b"a%d: b\r\n" % i for i in range(count - 1)) + b"Content-Length: 0\r\n\r\n"
        )

    assert len(read(head(200)).fields) == 200
    assert read(head(201)).lost


def test_a_head_of_64_kib_is_read_and_one_byte_more_is_lost():
    def head(size: int) -> bytes:
        start = H + b"Content-Length: 0\r\nA: "
        return start + b"x" * (size - len(start) - 4) + b"\r\n\r\n"

    assert not read(head(65_536)).lost
    assert read(head(65_537)).lost


@pytest.mark.parametrize(
    "piece", [b"x" * 1000, b"HTTP/1.1 102 Processing\r\nA: b\r\n\r\n" * 4], ids=["value", "interim"]
)
def test_an_endless_head_is_lost_at_64_kib(piece: bytes):
    answer = Answer("host:1", is_to_head=False)
    if not piece.startswith(b"HTTP"):
        answer.feed(H + b"A: ")
    with pytest.raises(UpstreamLost, match="65536"):
        feed_for_ever(answer, piece)


@pytest.mark.parametrize("start", [b"2;", b"0\r\nA: "], ids=["extension", "trailer"])
def test_endless_chunk_headers_are_lost(start: bytes):
    answer = Answer("host:1", is_to_head=False)
    answer.feed(CHUNKED + start)
    with pytest.raises(UpstreamLost, match="trailers"):
        feed_for_ever(answer, b"x" * 1000)


def feed_for_ever(answer: Answer, piece: bytes) -> None:
    for fed in range(0, 100_000, len(piece)):
        assert fed <= 66_000
        answer.feed(piece)


def test_a_big_body_is_taken_in_pieces_of_64_kib():
    body = bytes(range(256)) * 600
    answer = Answer("host:1", is_to_head=False)
    answer.feed(H + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    pieces = [answer.take() for _ in range(4)]
    assert [len(piece) for piece in pieces] == [
        PIECE_BYTES,
        PIECE_BYTES,
        153_600 - 2 * PIECE_BYTES,
        0,
    ]
    assert b"".join(pieces) == body


def test_an_ended_answer_is_freed_without_the_collector():
    class Watched(Answer):
        __slots__ = ("__weakref__",)

    watched = Watched("host:1", is_to_head=False)
    watched.feed(CHUNKED + b"0\r\n\r\n")
    alive = weakref.ref(watched)
    gc.disable()
    try:
        del watched
        assert alive() is None
    finally:
        gc.enable()
