"""Content codings that nobody asked for: honest ones, and ones that are not what their label says."""

import gzip
import zlib
from collections.abc import Callable
from typing import Final

import zstandard

BOMB_BYTES: Final = 32 * 1024 * 1024


def coded(name: str, body: bytes) -> tuple[str, bytes]:
    """Return the label and the bytes of a body in the coding of this name."""
    label, code = CODINGS[name]
    return label, code(body)


def _raw_deflated(body: bytes) -> bytes:
    """Leave out the wrapper of RFC 1950, as some servers do."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


def _in_two_members(body: bytes) -> bytes:
    """Return two gzip members, one after the other: still one gzip file (RFC 1952, 2.2)."""
    half = len(body) // 2
    return gzip.compress(body[:half]) + gzip.compress(body[half:])


CODINGS: Final[dict[str, tuple[str, Callable[[bytes], bytes]]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "raw-deflate": ("deflate", _raw_deflated),
    "zstd": ("zstd", zstandard.compress),
    "br": ("br", lambda body: b"\x0b\x02\x80" + body + b"\x03"),
    "identity": ("identity", lambda body: body),
    "two-members": ("gzip", _in_two_members),
    "gzip-twice": ("gzip, gzip", lambda body: gzip.compress(gzip.compress(body))),
    "truncated": ("gzip", lambda body: gzip.compress(body)[:-9]),
    "false-label": ("gzip", lambda body: body),
    "unknown": ("rot13", lambda body: body),
    "bomb": ("gzip", lambda body: gzip.compress(body + b" " * BOMB_BYTES, 1)),
}
