"""A streamed answer: every event passed on as it came, and what it says told to the meter.

Two things are changed, and only where the gateway itself asked for the usage: the usage event is
taken out, and so is `usage` from the others, by an edit of those bytes alone. What follows the end
is not passed on. What the body's end cut short is read, but passed on only if it ends the answer:
clients ignore an event without its blank line, and an error event may have to follow it.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from gateway.core.events import Broken, Delta, Event, Finished, Opaque, Served
from gateway.core.refusal import Refused
from gateway.providers import openai_refusals
from gateway.providers.adapter import Piece
from gateway.providers.dialects.chat_completions import answers
from gateway.providers.dialects.chat_completions.answers import Answer, Choice
from gateway.providers.framing import EventFraming, Frame
from gateway.providers.lenient_json import label

_DONE: Final = b"[DONE]"
_USAGE: Final = b'"usage"'
_NO_USAGE: Final = b',"usage":null'
_OPAQUE: Final = (Opaque(),)
_FINISHED: Final = (Finished(),)


class ChatStream:
    """Reads one streamed answer of `choices` choices.

    `echoed` is, for each choice, what it repeats of the request first: that is no output.
    """

    def __init__(self, *, choices: int, hides_usage: bool, echoed: Sequence[str] = ()) -> None:
        self._framing = EventFraming()
        self._choices = choices
        self._echoed = dict(enumerate(echoed))
        self._hides_usage = hides_usage
        self._ended_choices: set[int] = set()
        self._is_over = False
        self._is_broken = False
        self._model: str | None = None
        self._tier: str | None = None

    def feed(self, data: bytes) -> list[Piece]:
        """Return the complete pieces so far, none after the end was seen.

        Raises:
            FrameTooLong: one event is larger than the framing's limit.
        """
        if self._is_over:
            return []
        return self._pieces(self._framing.feed(data))

    def end(self) -> list[Piece]:
        """Return what was left when the body ended.

        A body that ends without `[DONE]` is finished all the same when every choice was.

        Raises:
            FrameTooLong: as `feed`.
        """
        if self._is_over:
            return []
        pieces = self._pieces(self._framing.end())
        if self._is_finished():
            return pieces
        if self._is_broken or len(self._ended_choices) < self._choices:
            return [Piece(b"", piece.events) for piece in pieces]
        self._is_over = True
        return [*pieces, Piece(b"", _FINISHED)]

    def cut(self, refused: Refused) -> bytes:
        """Return the error event that ends the stream early."""
        return openai_refusals.cut(refused)

    def _is_finished(self) -> bool:
        return self._is_over

    def _pieces(self, frames: list[Frame]) -> list[Piece]:
        pieces = []
        for frame in frames:
            pieces.append(self._piece(frame))
            if self._is_over:
                break
        return pieces

    def _piece(self, frame: Frame) -> Piece:
        data = frame.data
        if not data:
            return Piece(frame.raw, _OPAQUE)
        if data.startswith(_DONE):
            self._is_over = True
            return Piece(frame.raw, _FINISHED)
        answer = answers.read(data)
        if answer is None:
            # Nobody can say what it holds, so all of it counts as produced.
            return Piece(frame.raw, (Delta(data.decode("utf-8", "replace")),))
        events = self._events(answer, frame, data)
        return Piece(self._relay(answer, frame, data), events)

    def _events(self, answer: Answer, frame: Frame, data: bytes) -> tuple[Event, ...]:
        produced = self._unechoed(answer) if self._echoed else answers.text(answer)
        for choice in answer.choices or ():
            if choice.finish_reason:
                self._ended_choices.add(choice.index)
        is_new = (answer.model and answer.model != self._model) or (
            answer.service_tier and answer.service_tier != self._tier
        )
        is_rare = is_new or answer.usage is not None or not produced
        if not is_rare and answer.error is None and answer.x_groq is None and frame.event is None:
            return (Delta(produced),)
        return self._rare_events(answer, frame, data, produced)

    def _unechoed(self, answer: Answer) -> str:
        """Return what an answer holds beyond the prompts that it repeats."""
        return "".join(map(self._unechoed_of, answer.choices or ()))

    def _unechoed_of(self, choice: Choice) -> str:
        said = answers.text_of(choice)
        expected = self._echoed.pop(choice.index, "")
        if not expected:
            return said
        if expected.startswith(said):
            self._echoed[choice.index] = expected[len(said) :]
            return ""
        return said.removeprefix(expected)

    def _rare_events(
        self, answer: Answer, frame: Frame, data: bytes, produced: str
    ) -> tuple[Event, ...]:
        events: list[Event] = []
        served = self._served(answer)
        if served is not None:
            events.append(served)
        if produced:
            events.append(Delta(produced))
        if answers.is_broken(answer) or frame.event == b"error":
            self._is_broken = True
            events.append(Broken())
        usage = answers.usage(answer, data, makes_output=True)
        if usage is not None:
            events.append(usage)
        return tuple(events) or _OPAQUE

    def _served(self, answer: Answer) -> Served | None:
        """Return who serves the call, once, and again when it changes."""
        before = self._model, self._tier
        self._model = answer.model or self._model
        self._tier = answer.service_tier or self._tier
        if before == (self._model, self._tier):
            return None
        return Served(label(self._model), label(self._tier))

    def _relay(self, answer: Answer, frame: Frame, data: bytes) -> bytes:
        if not self._hides_usage:
            return frame.raw
        if answer.usage is not None and not answer.choices and not answer.error:
            return b""
        return _without_usage(frame, data)


def _without_usage(frame: Frame, data: bytes) -> bytes:
    """Return an event's bytes without its `usage`, and otherwise as they were where that is possible.

    In a string the name's quotes would be escaped, so where the name stands once it is the member.
    """
    raw = frame.raw
    at = raw.rfind(_NO_USAGE)
    if at >= 0 and raw.find(_USAGE) == at + 1:
        return raw[:at] + raw[at + len(_NO_USAGE) :]
    return _encoded_without_usage(frame, data) if _USAGE in raw else raw


def _encoded_without_usage(frame: Frame, data: bytes) -> bytes:
    try:
        members = _MEMBERS.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return frame.raw
    if members.pop("usage", None) is None:
        return frame.raw
    written = _WRITER.encode(members)
    if data in frame.raw:
        return frame.raw.replace(data, written, 1)
    return b"data: " + written + b"\n\n"


_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_WRITER: Final = msgspec.json.Encoder()
