"""Server-sent events as bytes: cut a body into whole events, and keep every byte of each.

The rules are those of the WHATWG HTML standard, §9.2 "Server-sent events" (2026): a line ends with
LF, CR or CRLF, a blank line ends an event, and nothing else is a line end (U+2028 is text). Two
things differ on purpose. What is passed on is the event's own bytes, so nothing is re-serialised;
and an event that the body's end cut short is still handed out by `end`, since its usage may be in
it, though clients ignore it.
"""

import re
from itertools import takewhile
from typing import Final

import msgspec

from gateway.errors import UpstreamLost

MOST_FRAME_BYTES: Final = 8 << 20

_BOM: Final = b"\xef\xbb\xbf"
_PLAIN: Final = b"data: "
_NAMED: Final = b"event: "
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
# A CR counts only once the byte after it is known: with its LF still to come it is half a line end.
_END: Final = rb"(?:\r\n|\n|\r(?=[^\n]))"
_BLANK_LINE: Final = re.compile(_END + _END)
_BLANK_LINE_BYTES: Final = 4


class FrameTooLong(UpstreamLost):
    """One event of a stream is larger than memory may hold for it."""

    def __init__(self) -> None:
        """Say what the limit is."""
        super().__init__(
            f"The provider sent one event of more than {MOST_FRAME_BYTES >> 20} MiB; "
            "the stream was cut."
        )


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One event. `raw` is all of its bytes with its blank line.

    `data` are its data lines joined by LF, None where it has none (a comment, a blank line);
    `event` is its name, None where it has none.
    """

    raw: bytes
    data: bytes | None
    event: bytes | None = None


class EventFraming:
    """Cuts one body into events. The same bytes, however split, give the same frames."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._scanned = 0
        self._has_cr = False
        self._is_first = True
        self._is_over = False

    def feed(self, data: bytes) -> list[Frame]:
        """Return the events that are complete now.

        Raises:
            FrameTooLong: an event is larger than `MOST_FRAME_BYTES`. Where events before it came in
                the same bytes, they are returned first, and the next call raises.
        """
        if self._is_over:
            raise FrameTooLong
        if self._held:
            if not self._completes(data):
                return []
            data = bytes(self._held)
            self._held.clear()
        frames: list[Frame] = []
        self._has_cr = b"\r" in data
        start = self._split_any(data, frames) if self._has_cr else self._split_lf(data, frames)
        if start < len(data):
            self._held += data[start:]
            self._scanned = 0
        return self._within_limit(frames) if len(data) > MOST_FRAME_BYTES else frames

    def end(self) -> list[Frame]:
        """Return what was left when the body ended: nothing, or one event without its blank line.

        Raises:
            FrameTooLong: as `feed`.
        """
        if self._is_over:
            raise FrameTooLong
        rest = bytes(self._held)
        self._held.clear()
        return [self._frame(rest)] if rest else []

    def _completes(self, data: bytes) -> bool:
        """Hold more bytes, and return whether an event has become complete."""
        self._held += data
        self._has_cr = self._has_cr or b"\r" in data
        start = max(0, self._scanned - _BLANK_LINE_BYTES)
        self._scanned = len(self._held)
        if self._has_cr:
            is_complete = _BLANK_LINE.search(self._held, start) is not None
        else:
            is_complete = self._held.find(b"\n\n", start) >= 0
        if not is_complete and len(self._held) > MOST_FRAME_BYTES:
            self._is_over = True
            raise FrameTooLong
        return is_complete

    def _split_lf(self, data: bytes, frames: list[Frame]) -> int:
        """Append the events of bytes without any CR, and return where the rest begins.

        The fast path: an event of one data line, as providers send it, perhaps after its name, is found
        and sliced by a few searches that run in C.
        """
        start = 0
        while (end := data.find(b"\n\n", start)) >= 0:
            line = data.find(b"\n", start)
            if line == end and data.startswith(_PLAIN, start):
                frames.append(Frame(data[start : end + 2], data[start + len(_PLAIN) : end]))
                self._is_first = False
            elif (
                data.startswith(_NAMED, start)
                and data.startswith(_PLAIN, line + 1)
                and data.find(b"\n", line + 1) == end
            ):
                said, name = data[line + 1 + len(_PLAIN) : end], data[start + len(_NAMED) : line]
                frames.append(Frame(data[start : end + 2], said, name))
                self._is_first = False
            else:
                frames.append(self._frame(data[start : end + 2]))
            start = end + 2
        return start

    def _split_any(self, data: bytes, frames: list[Frame]) -> int:
        """Append the events of bytes with any line ends, and return where the rest begins."""
        start = 0
        while True:
            end = data.find(b"\r", start)
            if data.startswith(_PLAIN, start) and _ends_crlf(data, start, end):
                frames.append(Frame(data[start : end + 4], data[start + len(_PLAIN) : end]))
                self._is_first = False
                start = end + 4
                continue
            blank = _BLANK_LINE.search(data, start)
            if blank is None:
                return start
            frames.append(self._frame(data[start : blank.end()]))
            start = blank.end()

    def _within_limit(self, frames: list[Frame]) -> list[Frame]:
        """Return the events before the first one that is too long; raise where there are none."""
        whole = list(takewhile(lambda frame: len(frame.raw) <= MOST_FRAME_BYTES, frames))
        self._is_over = len(whole) < len(frames) or len(self._held) > MOST_FRAME_BYTES
        if self._is_over and not whole:
            raise FrameTooLong
        return whole

    def _frame(self, raw: bytes) -> Frame:
        text = raw.removeprefix(_BOM) if self._is_first else raw
        self._is_first = False
        data: list[bytes] = []
        event = None
        for line in _LINE_END.split(text):
            field, _, value = line.partition(b":")
            if field == b"data":
                data.append(value.removeprefix(b" "))
            elif field == b"event":
                event = value.removeprefix(b" ")
        return Frame(raw, b"\n".join(data) if data else None, event)


def _ends_crlf(data: bytes, start: int, end: int) -> bool:
    """Return whether the first line from `start` ends at `end` with CRLF, and a blank line follows.

    The fast path of Google's streams: such a line is found by searches that run in C.
    """
    return data.startswith(b"\r\n\r\n", end) and data.find(b"\n", start) == end + 1
