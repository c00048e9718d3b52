"""AWS's event streams as bytes: cut a body into whole frames, keep every byte of each, and write one.

The format is that of `application/vnd.amazon.eventstream` (Amazon Transcribe's developer guide, "Event
stream encoding", and `botocore/eventstream.py` of botocore 1.44): the sizes of the frame and of its
headers, a CRC32 of both, the headers, the payload, and a CRC32 of all before it. Numbers are
big-endian. Whoever reads it believes a size only after its CRC, and never one beyond the limit.

What the body's end cut short is no frame: nothing in it can be believed. It is not passed on, so that
whatever follows begins where a frame would, and the stream was not complete.
"""

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Final
from zlib import crc32

import msgspec

from gateway.errors import UpstreamLost
from gateway.providers.framing import MOST_FRAME_BYTES, FrameTooLong

MEDIA_TYPE: Final = b"application/vnd.amazon.eventstream"
MOST_HEADER_BYTES: Final = 128 << 10
"""As AWS limits them."""

Value = bool | int | bytes | str


class FrameDamaged(UpstreamLost):
    """A stream's bytes are no frames: a checksum or a size is wrong, or its headers can't be read."""

    def __init__(self) -> None:
        """Say what is wrong in one line."""
        super().__init__("The provider's event stream is damaged; it was cut.")


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One frame. `raw` is all of its bytes. `headers` may be another frame's too: read, never changed."""

    raw: bytes
    headers: dict[str, Value]
    payload: bytes

    def says(self, name: str) -> str:
        """Return a header that is a text; empty where there is none."""
        value = self.headers.get(name)
        return value if isinstance(value, str) else ""


class EventStreamFraming:
    """Cuts one body into frames. The same bytes, however split, give the same frames."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._known: dict[bytes, dict[str, Value]] = {}
        self._failure: UpstreamLost | None = None

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that are complete now.

        Raises:
            FrameTooLong: a frame says that it is larger than `MOST_FRAME_BYTES`.
            FrameDamaged: a frame can't be believed. Where frames before it came in the same bytes,
                they are returned first, and the next call raises.
        """
        if self._failure is not None:
            raise self._failure
        self._held += data
        frames: list[Frame] = []
        try:
            self._cut(frames)
        except (FrameTooLong, FrameDamaged) as failure:
            self._failure = failure
            self._held.clear()
            if not frames:
                raise
        return frames

    def end(self) -> list[Frame]:
        """Return nothing: there is no frame without its end.

        Raises:
            FrameTooLong, FrameDamaged: as `feed`, where that has still to tell; or a part of a frame
                was left.
        """
        if self._failure is not None:
            raise self._failure
        if self._held:
            raise FrameDamaged
        return []

    def _cut(self, frames: list[Frame]) -> None:
        """Append all whole frames, and hold the rest."""
        held, at = self._held, 0
        while len(held) - at >= _LEAST:
            size = _size(held, at)
            if len(held) - at < size:
                break
            frames.append(self._frame(bytes(held[at : at + size])))
            at += size
        del held[:at]

    def _frame(self, raw: bytes) -> Frame:
        end = len(raw) - _CRC.size
        (checksum,) = _CRC.unpack_from(raw, end)
        if crc32(memoryview(raw)[:end]) != checksum:
            raise FrameDamaged
        _, size = _SIZES.unpack_from(raw)
        payload = _LEAST + size
        return Frame(raw, self._headers(raw[_LEAST:payload]), raw[payload:end])

    def _headers(self, fields: bytes) -> dict[str, Value]:
        """Return what headers say. Nearly all frames of a stream have the same: those are known."""
        found = self._known.get(fields)
        if found is None:
            found = _read(fields)
            if len(self._known) < _MOST_KNOWN and len(fields) < _MOST_KNOWN_BYTES:
                self._known[fields] = found
        return found


def encode(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Return a frame with headers that are all texts.

    Raises:
        ValueError: a header or the whole is larger than the format has room for.
    """
    fields = b"".join(_field(name, value) for name, value in headers.items())
    size = _LEAST + len(fields) + len(payload) + _CRC.size
    if len(fields) > MOST_HEADER_BYTES or size > MOST_FRAME_BYTES:
        raise ValueError("a frame is too large")
    sizes = _SIZES.pack(size, len(fields))
    frame = sizes + _CRC.pack(crc32(sizes)) + fields + payload
    return frame + _CRC.pack(crc32(frame))


def _field(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    if not 0 < len(key) < 256 or len(text) > 0x7FFF:
        raise ValueError("a frame's header is too large")
    return bytes([len(key)]) + key + bytes([_TEXT]) + _SHORT.pack(len(text)) + text


def _size(held: bytearray, at: int) -> int:
    """Return the size that a frame's first bytes give it, once it can be believed."""
    size, headers = _SIZES.unpack_from(held, at)
    (checksum,) = _CRC.unpack_from(held, at + _SIZES.size)
    if crc32(held[at : at + _SIZES.size]) != checksum:
        raise FrameDamaged
    if size > MOST_FRAME_BYTES:
        raise FrameTooLong
    if headers > MOST_HEADER_BYTES or size < _LEAST + headers + _CRC.size:
        raise FrameDamaged
    whole: int = size
    return whole


def _read(fields: bytes) -> dict[str, Value]:
    found: dict[str, Value] = {}
    at = 0
    while at < len(fields):
        name, at = _name(fields, at)
        read = _READERS.get(fields[at]) if at < len(fields) else None
        if read is None or name in found:
            raise FrameDamaged
        try:
            found[name], at = read(fields, at + 1)
        except (IndexError, UnicodeDecodeError, ValueError):
            raise FrameDamaged from None
    return found


def _name(fields: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + fields[at]
    try:
        name = _part(fields, at + 1, end).decode()
    except (IndexError, UnicodeDecodeError):
        raise FrameDamaged from None
    return name, end


def _part(fields: bytes, start: int, end: int) -> bytes:
    """Return some bytes that must all be there; raises IndexError."""
    if end > len(fields):
        raise IndexError
    return fields[start:end]


def _number(size: int) -> Callable[[bytes, int], tuple[Value, int]]:
    def read(fields: bytes, at: int) -> tuple[Value, int]:
        return int.from_bytes(_part(fields, at, at + size), signed=True), at + size

    return read


def _bytes(fields: bytes, at: int) -> tuple[bytes, int]:
    start = at + _SHORT.size
    end = start + int.from_bytes(_part(fields, at, start))
    return _part(fields, start, end), end


def _text(fields: bytes, at: int) -> tuple[str, int]:
    value, end = _bytes(fields, at)
    return value.decode(), end


def _uuid(fields: bytes, at: int) -> tuple[bytes, int]:
    return _part(fields, at, at + _UUID_BYTES), at + _UUID_BYTES


_SIZES: Final = Struct(">II")
_CRC: Final = Struct(">I")
_SHORT: Final = Struct(">H")
_LEAST: Final = _SIZES.size + _CRC.size
"""Bytes before a frame's headers: two sizes and their checksum."""
_TEXT: Final = 7
_MOST_KNOWN: Final = 16
_MOST_KNOWN_BYTES: Final = 256
_UUID_BYTES: Final = 16
_READERS: Final[Mapping[int, Callable[[bytes, int], tuple[Value, int]]]] = {
    0: lambda _, at: (True, at),
    1: lambda _, at: (False, at),
    2: _number(1),
    3: _number(2),
    4: _number(4),
    5: _number(8),
    6: _bytes,
    _TEXT: _text,
    8: _number(8),
    9: _uuid,
}
"""How a header's value is read, by the number of its type. A timestamp is milliseconds."""
