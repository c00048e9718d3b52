"""Content codings that nobody asked for: honest ones, and ones that are not what their label says."""

import gzip
import zlib
from collections.abc import Callable
from typing import Final

BOMB_BYTES: Final = 32 * 1024 * 1024
_BLOCK_BYTES: Final = 128 * 1024


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


def _zstd(body: bytes) -> bytes:
    """Return a Zstandard frame of raw blocks (RFC 8878, 3.1.1): packed in form, and not in size."""
    blocks = [body[at : at + _BLOCK_BYTES] for at in range(0, len(body), _BLOCK_BYTES)]
    packed = b"".join(
        (len(block) << 3 | (index == len(blocks) - 1)).to_bytes(3, "little") + block
        for index, block in enumerate(blocks)
    )
    # No content size, no checksum, no dictionary; a window of 128 KiB.
    return b"\x28\xb5\x2f\xfd\x00\x38" + packed


CODINGS: Final[dict[str, tuple[str, Callable[[bytes], bytes]]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "raw-deflate": ("deflate", _raw_deflated),
    "zstd": ("zstd", _zstd),
    "br": ("br", lambda body: b"\x0b\x02\x80" + body + b"\x03"),
    "identity": ("identity", lambda body: body),
    "two-members": ("gzip", _in_two_members),
    "gzip-twice": ("gzip, gzip", lambda body: gzip.compress(gzip.compress(body))),
    "truncated": ("gzip", lambda body: gzip.compress(body)[:-9]),
    "false-label": ("gzip", lambda body: body),
    "unknown": ("rot13", lambda body: body),
    "bomb": ("gzip", lambda body: gzip.compress(body + b" " * BOMB_BYTES, 1)),
}
