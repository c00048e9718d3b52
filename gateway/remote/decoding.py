"""Answers that come compressed although `identity` was asked for: read plainly, and bounded.

What is passed on is never compressed, so that what is metered is what the client gets. A coding that
can't be read is the provider's fault, and so is one that grows without end. A gzip body is one or more
members (RFC 1952 §2.2), a zstd body one or more frames of a window of at most 8 MB (RFC 8878 §3.1,
RFC 9659).
"""

import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Protocol

import zstandard

from gateway.errors import UpstreamLost

Headers = tuple[tuple[bytes, bytes], ...]

_MOST_RATIO: Final = 200
_FREE_BYTES: Final = 1024 * 1024
"""A small body may be as dense as it likes."""
_PIECE_BYTES: Final = 65_536
_MOST_WINDOW: Final = 8 * 1024 * 1024
_ZSTD_SLICE: Final = 64
"""So many bytes of zstd are at most 16 blocks, which are 2 MB of text."""


class Body(Protocol):
    """An answer as a client reads it."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Headers: ...
    async def read(self) -> bytes: ...
    async def aclose(self) -> None: ...


def plain(body: Body) -> Body:
    """Return an answer whose body reads uncompressed.

    Raises:
        UpstreamLost: it is coded in a way that can't be read here.
    """
    coding = next((v.strip().lower() for n, v in body.headers if n == b"content-encoding"), b"")
    if coding in {b"", b"identity"}:
        return body
    unit = _UNITS.get(coding)
    if unit is None:
        raise UpstreamLost("the answer is compressed in a way that was not asked for")
    return Decoded(body, unit)


class Unit(Protocol):
    """A decoder of one member or frame."""

    @property
    def eof(self) -> bool:
        """Whether it has been read to its end."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What was given beyond its end."""
        ...

    @property
    def unconsumed_tail(self) -> bytes:
        """What was given and is still to be decoded, since the piece was large enough."""
        ...

    def decompress(self, data: bytes, most: int, /) -> bytes:
        """Return about `most` bytes at most; raises zlib.error or zstandard.ZstdError."""
        ...


class _ZstdFrame:
    """One frame of zstd, decoded in pieces, which the library does not do for what it is given."""

    def __init__(self) -> None:
        limited = zstandard.ZstdDecompressor(max_window_size=_MOST_WINDOW)
        self._frame = limited.decompressobj()
        self.unconsumed_tail = b""

    @property
    def eof(self) -> bool:
        return self._frame.eof

    @property
    def unused_data(self) -> bytes:
        return self._frame.unused_data

    def decompress(self, data: bytes, most: int, /) -> bytes:
        parts: list[bytes] = []
        size = start = 0
        while start < len(data) and size < most and not self._frame.eof:
            part = self._frame.decompress(data[start : start + _ZSTD_SLICE])
            start += _ZSTD_SLICE
            size += len(part)
            parts.append(part)
        self.unconsumed_tail = data[start:]
        return b"".join(parts)


class Decoded:
    """A compressed body, decoded piece by piece."""

    def __init__(self, body: Body, unit: Callable[[], Unit]) -> None:
        """Read `body`; `unit` makes the decoder of its first member or frame, and of each that follows."""
        self._body = body
        self._make = unit
        self._unit = unit()
        self._left = b""
        self._taken = self._given = 0
        self.status = body.status
        dropped = {b"content-encoding", b"content-length"}
        self.headers = tuple((n, v) for n, v in body.headers if n not in dropped)

    async def read(self) -> bytes:
        """Return a piece of the plain body; empty at its end.

        Raises:
            UpstreamLost: it is not what its label says, ends early, or grows out of proportion.
        """
        while True:
            if not self._left:
                self._left = await self._body.read()
                self._taken += len(self._left)
            if not self._left:
                if not self._unit.eof:
                    raise UpstreamLost("the compressed answer ended early")
                return b""
            piece = self._decoded()
            if piece:
                return piece

    async def aclose(self) -> None:
        """Close the answer."""
        await self._body.aclose()

    def _decoded(self) -> bytes:
        if self._unit.eof:
            self._unit = self._make()
        try:
            piece = self._unit.decompress(self._left, _PIECE_BYTES)
        except (zlib.error, zstandard.ZstdError) as error:
            raise UpstreamLost("the answer is not compressed as it says") from error
        self._left = self._unit.unused_data + self._unit.unconsumed_tail
        self._given += len(piece)
        if self._given > _FREE_BYTES + _MOST_RATIO * (self._taken - len(self._left)):
            raise UpstreamLost("the compressed answer grows out of proportion")
        return piece


_GZIP: Final = 31
_ZLIB: Final = 15
"""zlib's names for the formats of RFC 1952 and RFC 1950."""
_UNITS: Final[Mapping[bytes, Callable[[], Unit]]] = {
    b"gzip": partial(zlib.decompressobj, _GZIP),
    b"x-gzip": partial(zlib.decompressobj, _GZIP),
    b"deflate": partial(zlib.decompressobj, _ZLIB),
    b"zstd": _ZstdFrame,
}
