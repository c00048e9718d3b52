"""A streamed response: every event passed on as it came, and what it says told to the meter.

Nothing is changed: usage is in the last event of every stream, asked for or not. Text comes in
deltas, and then again whole in the events that end a part, an item and the response; it counts once,
as a delta, or as what is repeated where a host sent no delta of it. A summary of reasoning is no
account of it, so that who sends one thinks unseen.
"""

from collections.abc import Iterator
from typing import Final

from gateway.core.events import Broken, Delta, Event, Finished, Opaque, Served, Thinking
from gateway.core.refusal import Refused
from gateway.providers import openai_refusals
from gateway.providers.adapter import Piece
from gateway.providers.dialects.responses import answers
from gateway.providers.dialects.responses.answers import Said
from gateway.providers.framing import EventFraming, Frame
from gateway.providers.lenient_json import is_there

_OPAQUE: Final = (Opaque(),)
_DONE: Final = b"[DONE]"
_MOST_NUMBER: Final = 2**53
_SUMMARY: Final = "response.reasoning_summary"
_DELTA: Final = ".delta"
_END: Final = ".done"


class ResponseStream:
    """Reads one streamed response."""

    def __init__(self) -> None:
        self._framing = EventFraming()
        self._is_over = False
        self._last_number = -1
        self._told: set[tuple[object, ...]] = set()
        """The parts whose text was told, and the items that they belong to."""
        self._thinks = False
        self._served: Served | None = None

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Return the complete pieces so far, none after the end was seen.

        They are read as they are taken: a piece counts as passed on when the one after it is asked
        for, so that a cut has the number that is next.

        Raises:
            FrameTooLong: one event is larger than the framing's limit.
        """
        return iter(()) if self._is_over else self._pieces(self._framing.feed(data))

    def end(self) -> list[Piece]:
        """Return what was left when the body ended; passed on only if it ends the answer.

        Clients ignore an event without its blank line, and an error event may have to follow it.

        Raises:
            FrameTooLong: as `feed`.
        """
        if self._is_over:
            return []
        pieces = list(self._pieces(self._framing.end()))
        return pieces if self._is_ended() else [Piece(b"", piece.events) for piece in pieces]

    def cut(self, refused: Refused) -> bytes:
        """Return the error event that ends the stream early, with the number that is next."""
        return openai_refusals.cut_response(refused, self._last_number + 1)

    def _is_ended(self) -> bool:
        return self._is_over

    def _pieces(self, frames: list[Frame]) -> Iterator[Piece]:
        for frame in frames:
            said = answers.read_event(frame.data or b"") if _has_event(frame) else None
            yield Piece(frame.raw, self._events(frame, said))
            if said is not None:
                self._count(said)
            if self._is_over:
                break

    def _events(self, frame: Frame, said: Said | None) -> tuple[Event, ...]:
        data = frame.data or b""
        if said is None:
            # Where nobody can say what an event holds, all of it counts as produced.
            return (Delta(data.decode("utf-8", "replace")),) if _has_event(frame) else _OPAQUE
        kind = said.type or (frame.event or b"").decode("utf-8", "replace")
        if kind in _ENDS and is_there(said.response):
            return self._ended(kind, said, data)
        if kind == "error" or frame.event == b"error" or (said.error and not said.type):
            return (*self._text_of(kind, said), Broken())
        return (*self._thought(kind), *self._text_of(kind, said)) or self._begun(said)

    def _count(self, said: Said) -> None:
        number = said.sequence_number
        if number is not None and self._last_number < number < _MOST_NUMBER:
            self._last_number = number

    def _thought(self, kind: str) -> tuple[Event, ...]:
        """Return that the model thinks unseen, once, where an event summarises what it thought."""
        if self._thinks or not kind.startswith(_SUMMARY):
            return ()
        self._thinks = True
        return (Thinking(),)

    def _text_of(self, kind: str, said: Said) -> list[Event]:
        """Return the text that an event brings, if it was not told yet."""
        if kind.endswith(_END):
            produced = self._repeated(kind, said)
        elif said.item is not None:
            produced = answers.item_text(said.item)
            if said.item.arguments or said.item.input or said.item.content:
                self._told.add((said.output_index,))
        else:
            produced = said.delta or ""
            if produced:
                self._tell(_key(kind.removesuffix(_DELTA), said), said)
        return [Delta(produced)] if produced else []

    def _repeated(self, kind: str, said: Said) -> str:
        """Return what an event repeats, where nothing of it was told."""
        is_item = said.item is not None
        key = (said.output_index,) if is_item else _key(kind.removesuffix(_END), said)
        if key in self._told:
            return ""
        produced = answers.item_text(said.item) if said.item is not None else said.repeated
        if produced:
            self._tell(key, said)
        return produced

    def _tell(self, key: tuple[object, ...], said: Said) -> None:
        """Note that the text of a part was told, and so some of its item's."""
        if key not in self._told:
            self._told |= {key, (said.output_index,)}

    def _begun(self, said: Said) -> tuple[Event, ...]:
        """Return who serves the call, once, where an event says so before the end."""
        if not is_there(said.response) or self._served is not None:
            return _OPAQUE
        response = answers.read(bytes(said.response))
        if response is not None:
            self._served = answers.served(response, is_final=False)
        return (self._served,) if self._served is not None else _OPAQUE

    def _ended(self, kind: str, said: Said, data: bytes) -> tuple[Event, ...]:
        """Return what the last event says of the whole response."""
        self._is_over = True
        document = bytes(said.response)
        response = answers.read(document)
        if response is None:
            return (Broken(), Finished()) if kind in _FAILURES else (Finished(),)
        events: list[Event] = []
        served = answers.served(response, is_final=True)
        if served is not None and served != self._served:
            events.append(served)
        if not self._told and (produced := answers.text(response)):
            events.append(Delta(produced))
        if kind in _FAILURES or response.error:
            events.append(Broken())
        usage = answers.event_usage(response, document, data)
        if usage is not None:
            events.append(usage)
        return (*events, Finished())


def _has_event(frame: Frame) -> bool:
    """Return whether a frame has an event of this API, and not a comment or another API's end."""
    return bool(frame.data) and not (frame.data or b"").startswith(_DONE)


def _key(stem: str, said: Said) -> tuple[object, ...]:
    return stem, said.output_index, said.content_index, said.summary_index


_FAILURES: Final = frozenset({"response.failed", "response.cancelled"})
_ENDS: Final = _FAILURES | {"response.completed", "response.incomplete"}
