"""A streamed answer: what it says told to the meter, and every event passed on as it came.

Gemini's stream has no event of its own for its end: it is over when its body is, and complete when
every candidate has said why it finished, or the prompt was blocked. An array's last bracket is held
back until then, so that a stream which broke off can still be ended by an error element.

google-genai's reader (3.6, `_api_client.py`) is no full reader of server-sent events: it needs `data: `
with the space, and ends in an exception at a comment, an `id:`, a byte order mark or an event without data.
Such events are passed on cleaned, or not at all; any other byte for byte.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from gateway.core.calls import Asked
from gateway.core.events import Broken, Delta, Event, Finished, Opaque, Served, Thinking
from gateway.core.refusal import Refused
from gateway.providers.adapter import Piece
from gateway.providers.dialects.generate_content import answers, refusals
from gateway.providers.elements import Element, ElementFraming
from gateway.providers.framing import EventFraming, Frame

_OPAQUE: Final = (Opaque(),)
_PLAIN: Final = b"data: "
_ENDS: Final = (b"\n\n", b"\r\n\r\n")
_EXTRA: Final = frozenset(len(_PLAIN) + len(end) for end in _ENDS)
_UNFINISHED: Final = "FINISH_REASON_UNSPECIFIED"
_SPACE: Final = b" \t\r\n"
_DONE: Final = b"[DONE]"
"""No chunk, and nothing that Google sends: hosts that imitate its API may end a stream as OpenAI does."""


class Hearing:
    """What one stream has said so far, whatever framed it."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._ended: set[int] = set()
        self._is_blocked = False
        self._has_thought = False
        self._served: Served | None = None
        self.is_broken = False

    @property
    def is_complete(self) -> bool:
        """Whether all that was asked for was said."""
        has_ended = len(self._ended) >= self._asked.choices or self._is_blocked
        return has_ended and not self.is_broken

    def events(self, document: bytes) -> tuple[Event, ...]:
        """Return what one chunk says. What nobody can read counts as produced, whole."""
        answer = answers.read(document)
        if answer is None:
            return (Delta(document.decode("utf-8", "replace")),)
        for candidate in answer.candidates or ():
            if candidate.finish_reason and candidate.finish_reason != _UNFINISHED:
                self._ended.add(candidate.index)
        self._is_blocked = self._is_blocked or answers.is_blocked(answer)
        self.is_broken = self.is_broken or bool(answer.error)
        return tuple(self._told(answer, document)) or _OPAQUE

    def _told(self, answer: answers.Answer, document: bytes) -> Iterator[Event]:
        by = answers.served(answer)
        if by is not None and by != self._served:
            self._served = by
            yield by
        if text := answers.produced(answer):
            yield Delta(text)
        if not self._has_thought and answers.thinks_unseen(answer):
            self._has_thought = True
            yield Thinking()
        if answer.error:
            yield Broken()
        reported = answers.usage(answer, document, self._asked)
        if reported is not None:
            yield reported


class EventStream:
    """Reads one answer that is streamed as server-sent events."""

    def __init__(self, asked: Asked) -> None:
        self._framing = EventFraming()
        self._hearing = Hearing(asked)

    def feed(self, data: bytes) -> list[Piece]:
        """Return the complete pieces so far.

        Raises:
            FrameTooLong: one event is larger than the framing's limit.
        """
        return list(map(self._piece, self._framing.feed(data)))

    def end(self) -> list[Piece]:
        """Return what was left when the body ended, and whether that was its end.

        Half an event is read, but not passed on where an error is to follow it.

        Raises:
            FrameTooLong: as `feed`.
        """
        pieces = list(map(self._piece, self._framing.end()))
        if self._hearing.is_complete:
            return [*pieces, Piece(b"", (Finished(),))]
        if self._hearing.is_broken:
            return pieces
        return [Piece(b"", piece.events) for piece in pieces]

    def cut(self, refused: Refused) -> bytes:
        """Return the error event that ends the stream early."""
        return _PLAIN + refusals.body(refused) + b"\n\n"

    def _piece(self, frame: Frame) -> Piece:
        document = frame.data if frame.data is not None else _bare(frame.raw)
        said = document.strip(_SPACE)
        if not said or said == _DONE:
            return Piece(b"", _OPAQUE)
        relay = frame.raw if _is_plain(frame) else _cleaned(document)
        return Piece(relay, self._hearing.events(document))


class ElementStream:
    """Reads one answer that is streamed as one JSON array.

    Its pieces are made one by one, as they are asked for, so that `cut` knows which were passed on.
    """

    def __init__(self, asked: Asked) -> None:
        self._framing = ElementFraming()
        self._hearing = Hearing(asked)
        self._is_open = False
        self._is_closed = False

    def feed(self, data: bytes) -> Iterable[Piece]:
        """Return the complete pieces so far.

        Raises:
            FrameTooLong: one element is larger than the framing's limit.
        """
        for element in self._framing.feed(data):
            yield from self._passed(Piece(element.raw, self._hearing.events(element.document)))

    def end(self) -> Iterable[Piece]:
        """Return what was left when the body ended: most often the array's end, passed on if it is one.

        Raises:
            FrameTooLong: as `feed`.
        """
        for element in self._framing.end():
            if self._framing.is_array:
                yield from self._last(element)
            else:
                yield from self._other(element)
        if self._hearing.is_complete and self._framing.is_closed:
            yield Piece(b"", (Finished(),))
        elif self._hearing.is_broken and self._is_open and not self._is_closed:
            yield from self._passed(Piece(b"]", _OPAQUE), closes=True)

    def cut(self, refused: Refused) -> bytes:
        """Return the error element that ends the stream early, after whatever was passed on."""
        if self._is_closed:
            return b""
        self._is_closed = True
        return (b"," if self._is_open else b"[") + refusals.body(refused) + b"]"

    def _last(self, element: Element) -> Iterator[Piece]:
        """Yield what follows the last element: not passed on where an error is to follow."""
        events = self._hearing.events(element.document) if element.document else _OPAQUE
        is_end = self._framing.is_closed and (self._hearing.is_complete or self._hearing.is_broken)
        yield from self._passed(Piece(element.raw if is_end else b"", events), closes=is_end)

    def _other(self, element: Element) -> Iterator[Piece]:
        """Yield an error that came instead of an array as one; nothing else is an answer here."""
        document = element.document.strip(_SPACE)
        events = self._hearing.events(document) if document else _OPAQUE
        if self._hearing.is_broken:
            yield from self._passed(Piece(b"[" + document + b"]", events), closes=True)
        else:
            yield Piece(b"", events)

    def _passed(self, piece: Piece, *, closes: bool = False) -> Iterator[Piece]:
        """Yield a piece, and note that it was passed on once the next one is asked for."""
        if self._is_closed:
            yield Piece(b"", piece.events)
            return
        yield piece
        self._is_open = self._is_open or bool(piece.relay)
        if closes:
            self._is_closed = True


def _is_plain(frame: Frame) -> bool:
    """Return whether an event is nothing but lines of `data: `, each ended by LF or CRLF."""
    raw, data = frame.raw, frame.data
    if data is None:
        return False
    if raw.startswith(_PLAIN) and len(raw) - len(data) in _EXTRA and raw.endswith(_ENDS):
        return True
    lines = raw.replace(b"\r\n", b"\n").split(b"\n")
    return all(not line or (line.startswith(_PLAIN) and b"\r" not in line) for line in lines)


def _bare(raw: bytes) -> bytes:
    """Return the JSON that stands in a body without any field's name, as Gemini's late errors do."""
    text = raw.strip(_SPACE).removeprefix(b"\xef\xbb\xbf")
    return text if text.startswith(b"{") else b""


def _cleaned(document: bytes) -> bytes:
    """Return a document as one event. JSON has line ends between its values alone."""
    lines = (line.strip(_SPACE) for line in document.replace(b"\r", b"\n").split(b"\n"))
    return _PLAIN + b"".join(lines) + b"\n\n"
