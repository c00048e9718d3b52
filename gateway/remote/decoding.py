"""Answers that come compressed although `identity` was asked for: read plainly, and bounded.

What is passed on is never compressed, so that what is metered is what the client gets. A coding that
the standard library can't read is the provider's fault, and so is one that grows without end.
"""

import zlib
from typing import Final, Protocol

from gateway.errors import UpstreamLost

Headers = tuple[tuple[bytes, bytes], ...]

_MOST_RATIO: Final = 200
_FREE_BYTES: Final = 1024 * 1024
"""A small body may be as dense as it likes."""
_PIECE_BYTES: Final = 65_536
_WINDOW: Final = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}


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
    window = _WINDOW.get(coding)
    if window is None:
        raise UpstreamLost("the answer is compressed in a way that was not asked for")
    return Inflated(body, window)


class Inflated:
    """A gzip or deflate body, inflated piece by piece."""

    def __init__(self, body: Body, window: int) -> None:
        """Read `body`; `window` is zlib's, 31 for gzip and 15 for deflate (RFC 1950 to 1952)."""
        self._body = body
        self._inflate = zlib.decompressobj(window)
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
            data = self._inflate.unconsumed_tail or await self._body.read()
            if not data:
                if not self._inflate.eof:
                    raise UpstreamLost("the compressed answer ended early")
                return b""
            piece = self._decompress(data)
            if piece:
                return piece

    async def aclose(self) -> None:
        """Close the answer."""
        await self._body.aclose()

    def _decompress(self, data: bytes) -> bytes:
        if self._inflate.eof:
            raise UpstreamLost("the compressed answer goes on after its end")
        try:
            piece = self._inflate.decompress(data, _PIECE_BYTES)
        except zlib.error as error:
            raise UpstreamLost("the answer is not compressed as it says") from error
        if self._inflate.unused_data:
            raise UpstreamLost("the compressed answer goes on after its end")
        self._taken += len(data) - len(self._inflate.unconsumed_tail)
        self._given += len(piece)
        if self._given > _FREE_BYTES + _MOST_RATIO * self._taken:
            raise UpstreamLost("the compressed answer grows out of proportion")
        return piece
