"""One streamed JSON array as bytes: cut a body into its elements, and keep every byte of each.

Gemini streams so where it is not asked for server-sent events: `[{…}`, then a comma, a line end and
`{…}`, again and again, then `]`. An element is complete with its own last bracket, not with the comma that follows, so
that nobody waits for the next one to see it. Brackets in strings are text. What is no JSON is cut by
the same rules: brackets are counted, not matched, so no bytes make this raise, only their number.
"""

import re
from enum import Enum
from itertools import takewhile
from typing import Final

import msgspec

from gateway.providers.framing import MOST_FRAME_BYTES, FrameTooLong

_SPACE: Final = b" \t\r\n"
_BETWEEN: Final = b" \t\r\n,"
_SPACES: Final = re.compile(rb"[ \t\r\n]*")
# Possessive, so that no byte of a long string is read twice.
_REST_OF_STRING: Final = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}"]', re.DOTALL)
_QUOTE: Final = ord('"')
_OPENING: Final = b"[{"
_ARRAY_END: Final = ord("]")


class Element(msgspec.Struct, frozen=True, gc=False):
    """One element. `raw` are all bytes since the one before it; `document` is its own JSON.

    Whatever but white space and commas precedes an element is in its document too, so that nobody
    overlooks it. The array's end is an element without a document.
    """

    raw: bytes
    document: bytes


class _Place(Enum):
    """Where in the body the next byte is. From `BEFORE` a body goes one of the two other ways."""

    BEFORE = "before anything but white space"
    OTHER = "in a body that is no array"
    INSIDE = "in the array"
    AFTER = "after its end"


class ElementFraming:
    """Cuts one body into elements. The same bytes, however split, give the same elements."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._scanned = 0
        self._place = _Place.BEFORE
        self._depth = 0
        self._is_in_string = False
        self._is_first = True
        self._is_done = False
        self._is_over = False

    @property
    def is_array(self) -> bool:
        """Whether the body began as an array."""
        return self._place in {_Place.INSIDE, _Place.AFTER}

    @property
    def is_closed(self) -> bool:
        """Whether the array's end was seen."""
        return self._place is _Place.AFTER

    def feed(self, data: bytes) -> list[Element]:
        """Return the elements that are complete now; none of a body that is no array.

        Raises:
            FrameTooLong: an element is larger than `MOST_FRAME_BYTES`. Where elements before it came
                in the same bytes, they are returned first, and the next call raises.
        """
        if self._is_over:
            raise FrameTooLong
        if self._place is _Place.AFTER:
            self._keep_space(data)
            return self._within_limit([])
        self._held += data
        if self._place is _Place.BEFORE:
            self._begin()
        ends = self._scan() if self._place is _Place.INSIDE else []
        return self._within_limit(self._cut(ends))

    def end(self) -> list[Element]:
        """Return what was left when the body ended: the array's end, half an element, no array at all.

        Of what follows the array's end only white space is kept.

        Raises:
            FrameTooLong: as `feed`.
        """
        if self._is_over:
            raise FrameTooLong
        raw = bytes(self._held)
        self._held.clear()
        if not raw:
            return []
        document = self._document(raw)
        if self.is_closed:
            document = document.rstrip(_SPACE).removesuffix(b"]").rstrip(_BETWEEN)
        return [Element(raw, document)]

    def _begin(self) -> None:
        """Find out what kind of body it is, once it has said so."""
        at = self._scanned = _end_of(_SPACES, self._held, self._scanned)
        if at < len(self._held):
            is_array = self._held.startswith(b"[", at)
            self._place = _Place.INSIDE if is_array else _Place.OTHER
            self._scanned += 1

    def _scan(self) -> list[int]:
        """Return where elements end in what is held, having looked at each of its bytes once."""
        ends: list[int] = []
        if not self._has_left_string():
            return ends
        for token in _TOKEN.finditer(self._held, self._scanned):
            start, end = token.span()
            if self._held[start] != _QUOTE:
                if self._ends_element(self._held[start]):
                    ends.append(end)
                if self.is_closed:
                    self._scanned = end
                    return ends
            elif end == start + 1:
                self._is_in_string = True
                self._scanned = _end_of(_REST_OF_STRING, self._held, end)
                return ends
        self._scanned = len(self._held)
        return ends

    def _ends_element(self, bracket: int) -> bool:
        """Count one bracket, and return whether it is an element's last."""
        if bracket in _OPENING:
            self._depth += 1
        elif self._depth:
            self._depth -= 1
            return not self._depth
        elif bracket == _ARRAY_END:
            self._place = _Place.AFTER
        return False

    def _has_left_string(self) -> bool:
        """Go to the end of the string that the bytes before broke off in; False if it goes on."""
        if not self._is_in_string:
            return True
        at = self._scanned = _end_of(_REST_OF_STRING, self._held, self._scanned)
        if not self._held.startswith(b'"', at):
            return False
        self._is_in_string = False
        self._scanned += 1
        return True

    def _cut(self, ends: list[int]) -> list[Element]:
        """Take the elements that end there out of what is held."""
        elements = []
        start = 0
        for end in ends:
            raw = bytes(self._held[start:end])
            elements.append(Element(raw, self._document(raw)))
            start = end
        if self._place is _Place.AFTER:
            following = bytes(self._held[self._scanned :])
            del self._held[self._scanned :]
            self._keep_space(following)
        del self._held[:start]
        self._scanned -= start
        return elements

    def _document(self, raw: bytes) -> bytes:
        document = raw.lstrip(_BETWEEN)
        if self._is_first and self.is_array:
            self._is_first = False
            return document.removeprefix(b"[").lstrip(_BETWEEN)
        return document

    def _keep_space(self, following: bytes) -> None:
        """Keep the white space after the array's end, up to anything else."""
        if not self._is_done:
            end = _end_of(_SPACES, following, 0)
            self._held += following[:end]
            self._is_done = end < len(following)

    def _within_limit(self, elements: list[Element]) -> list[Element]:
        """Return the elements before the first that is too long; raise where there are none."""
        whole = list(takewhile(lambda one: len(one.raw) <= MOST_FRAME_BYTES, elements))
        self._is_over = len(whole) < len(elements) or len(self._held) > MOST_FRAME_BYTES
        if self._is_over and not whole:
            raise FrameTooLong
        return whole


def _end_of(pattern: re.Pattern[bytes], text: bytes | bytearray, start: int) -> int:
    """Return where a pattern ends that may match nothing, and so always matches."""
    found = pattern.match(text, start)
    return start if found is None else found.end()
