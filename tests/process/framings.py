"""Ways to write the same events that a reader must take as the same, or survive.

Each way is given the events as a well-behaved provider writes them, and returns what is written to
the body, piece by piece. Names in brackets are those of WHATWG HTML §9.2, "Server-sent events".
"""

import json
import re
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Final

Pieces = list[bytes]

_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_DATA: Final = re.compile(rb"^data: (\{.*\})$", re.MULTILINE)


def framed(name: str, events: Pieces) -> Pieces:
    """Write events in the way of this name; "" is the plain one."""
    return FRAMINGS[name](events) if name else events


def _line_ends(*ends: bytes) -> Callable[[Pieces], Pieces]:
    """Return a way to write each event with the next of these line ends in turn."""

    def write(events: Pieces) -> Pieces:
        turns = cycle(ends)
        return [next(turns).join(_LINE_END.split(event)) for event in events]

    return write


def _split_crlf(events: Pieces) -> Pieces:
    """Let each CR be the last byte of a piece and its LF the first of the next."""
    whole = b"".join(_line_ends(b"\r\n")(events))
    return [piece for piece in re.split(rb"(?<=\r)", whole) if piece]


def _byte_by_byte(events: Pieces) -> Pieces:
    return [bytes([byte]) for byte in b"".join(events)]


def _split_characters(events: Pieces) -> Pieces:
    """Cut before each byte that continues a character of several."""
    whole = b"".join(events)
    cuts = [at for at, byte in enumerate(whole) if byte & 0xC0 == 0x80]
    return [whole[i:j] for i, j in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


def _without_space(events: Pieces) -> Pieces:
    return [event.replace(b"data: ", b"data:").replace(b"event: ", b"event:") for event in events]


def _several_data_lines(events: Pieces) -> Pieces:
    return [_DATA.sub(_spread, event) for event in events]


def _spread(found: re.Match[bytes]) -> bytes:
    lines = json.dumps(json.loads(found[1]), indent=1).splitlines()
    return b"\n".join(b"data: " + line.encode() for line in lines)


def _commented(events: Pieces) -> Pieces:
    return [b": processing\n\n:\n\n: within\n" + event for event in events]


def _numbered(events: Pieces) -> Pieces:
    return [b"id: %d\nretry: 1000\n" % number + event for number, event in enumerate(events)]


def _with_bom(events: Pieces) -> Pieces:
    return [b"\xef\xbb\xbf" + events[0], *events[1:]]


def _in_one_write(events: Pieces) -> Pieces:
    return [b"".join(events)]


def _without_last_blank_line(events: Pieces) -> Pieces:
    return [*events[:-1], events[-1].rstrip(b"\r\n") + b"\n"]


def _with_blank_lines(events: Pieces) -> Pieces:
    return [b"\n\n" + event for event in events]


def _with_unknown_events(events: Pieces) -> Pieces:
    unknown = b'event: vendor.news\ndata: {"type": "vendor.news", "object": "vendor.news"}\n\n'
    return [*events[:1], unknown, *events[1:]]


def _indented(elements: Pieces) -> Pieces:
    """Write the elements of an array as Google does: over several lines."""
    return [_element(piece) for piece in elements]


def _element(piece: bytes) -> bytes:
    found = re.search(rb"\{.*\}", piece, re.DOTALL)
    if found is None:
        return b"\n" + piece
    pretty = json.dumps(json.loads(found[0]), indent=2, ensure_ascii=False).encode()
    return piece[: found.start()] + pretty + piece[found.end() :]


FRAMINGS: Final[dict[str, Callable[[Pieces], Pieces]]] = {
    "crlf": _line_ends(b"\r\n"),
    "cr": _line_ends(b"\r"),
    "mixed": _line_ends(b"\r\n", b"\n", b"\r"),
    "split-crlf": _split_crlf,
    "bytewise": _byte_by_byte,
    "split-characters": _split_characters,
    "no-space": _without_space,
    "multiline": _several_data_lines,
    "comments": _commented,
    "ids": _numbered,
    "bom": _with_bom,
    "coalesced": _in_one_write,
    "no-last-blank": _without_last_blank_line,
    "blank-lines": _with_blank_lines,
    "unknown-events": _with_unknown_events,
    "indented": _indented,
}


def ended(kind: str, events: Pieces) -> Iterator[bytes]:
    """Yield events of which the last is the terminator: never, once, twice, or with more behind it."""
    yield from events[:-1]
    if kind != "never":
        yield events[-1]
    if kind == "twice":
        yield events[-1]
    if kind == "followed":
        # What came first comes again.
        yield events[0]
