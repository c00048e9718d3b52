"""Compressed answers: the same bytes come out however they come in, and no bomb does."""

import gzip
import zlib
from collections.abc import Sequence
from itertools import pairwise

import pytest
import zstandard
from hypothesis import given, strategies as st

from gateway.errors import UpstreamLost
from gateway.remote.decoding import Headers, plain

CODERS = {
    b"gzip": gzip.compress,
    b"x-gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"zstd": zstandard.compress,
}
CODINGS = pytest.mark.parametrize("coding", CODERS)


class Pieces:
    """A body that comes in pieces."""

    status = 200

    def __init__(self, coding: bytes, pieces: Sequence[bytes]) -> None:
        self.headers: Headers = ((b"content-encoding", coding), (b"content-length", b"1"))
        self._pieces = [piece for piece in pieces if piece]

    async def read(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    async def aclose(self) -> None:
        self._pieces.clear()


async def decoded(coding: bytes, *pieces: bytes) -> bytes:
    body = plain(Pieces(coding, pieces))
    assert body.headers == ()
    found = bytearray()
    while piece := await body.read():
        found += piece
    return bytes(found)


@given(
    st.sampled_from(sorted(CODERS)),
    st.binary(max_size=300),
    st.integers(1, 400),
    st.lists(st.integers(0, 500), max_size=4),
)
async def test_any_split_gives_the_same_bytes(
    coding: bytes, data: bytes, times: int, cuts: list[int]
):
    packed = CODERS[coding](data * times)
    at = [0, *sorted(cuts), len(packed)]
    pieces = [packed[start:end] for start, end in pairwise(at)]
    assert await decoded(coding, *pieces) == data * times


@pytest.mark.parametrize("coding", [b"gzip", b"zstd"])
async def test_several_members_or_frames_are_one_body(coding: bytes):
    packed = b"".join(map(CODERS[coding], (b"data: 1\n\n", b"", b"data: 2\n\n")))
    assert await decoded(coding, packed) == b"data: 1\n\ndata: 2\n\n"
    assert await decoded(coding, *(packed[at : at + 1] for at in range(len(packed)))) == (
        b"data: 1\n\ndata: 2\n\n"
    )


async def test_an_event_is_there_as_soon_as_it_was_flushed():
    packer = zstandard.ZstdCompressor().compressobj()
    first = packer.compress(b"data: 1\n\n") + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    body = plain(Pieces(b"zstd", [first]))
    assert await body.read() == b"data: 1\n\n"


@CODINGS
async def test_what_ends_early_is_lost(coding: bytes):
    packed = CODERS[coding](b"data: 1\n\n" * 100)
    with pytest.raises(UpstreamLost, match="ended early"):
        await decoded(coding, packed[:-1])
    with pytest.raises(UpstreamLost, match="ended early"):
        await decoded(coding)


@CODINGS
async def test_what_is_not_so_compressed_or_goes_on_otherwise_is_lost(coding: bytes):
    with pytest.raises(UpstreamLost, match="not compressed as it says"):
        await decoded(coding, b"data: 1\n\n")
    with pytest.raises(UpstreamLost, match="not compressed as it says"):
        await decoded(coding, CODERS[coding](b"data: 1\n\n"), b"more of something else")


@CODINGS
async def test_a_bomb_is_cut_before_it_is_large(coding: bytes):
    body = plain(Pieces(coding, [CODERS[coding](bytes(1 << 25))]))
    sizes: list[int] = []

    async def measure() -> None:
        while piece := await body.read():
            sizes.append(len(piece))

    with pytest.raises(UpstreamLost, match="out of proportion"):
        await measure()
    assert sum(sizes) < 16 << 20
    assert max(sizes, default=0) <= 4 << 20


async def test_a_frame_that_needs_a_large_window_is_refused():
    wide = zstandard.ZstdCompressionParameters(window_log=27)
    packer = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    packed = packer.compress(b"x") + packer.flush()
    with pytest.raises(UpstreamLost, match="not compressed as it says"):
        await decoded(b"zstd", packed)


@pytest.mark.parametrize("coding", [b"br", b"gzip, gzip", b"rot13"])
def test_another_coding_is_not_read(coding: bytes):
    with pytest.raises(UpstreamLost, match="not asked for"):
        plain(Pieces(coding, []))
