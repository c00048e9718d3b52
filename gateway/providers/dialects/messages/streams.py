"""A streamed message: what each event says, and what of it is passed on, which is all of it.

An account opens the stream, with the input that is final and an output that is not; the last one
before the end has both. What follows the end is not passed on. What the body's end cut short is read,
but passed on only if it ends the message: an error event may have to follow it.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from gateway.core.events import (
    Broken,
    Delta,
    Event,
    Finished,
    Opaque,
    Prompted,
    Thinking,
    Usage,
)
from gateway.core.refusal import Refused
from gateway.providers.adapter import Piece
from gateway.providers.dialects.messages import accounts, answers, refusals
from gateway.providers.dialects.messages.accounts import Counts
from gateway.providers.dialects.messages.answers import Message, Told
from gateway.providers.framing import EventFraming, Frame

_ERROR: Final = b"error"
_OPAQUE: Final = (Opaque(),)
_FINISHED: Final = (Finished(),)


class MessagesStream:
    """Reads one streamed message, whose request had these `fields`."""

    def __init__(self, fields: Mapping[str, msgspec.Raw]) -> None:
        self._fields = fields
        self._framing = EventFraming()
        self._counts = Counts()
        self._thinks: bool | None = None
        """Whether it was told to think; None before the first block, which would announce it."""
        self._is_over = False
        self._is_broken = False
        self._has_stopped = False

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

        A body that ends without `message_stop` is finished all the same when its message said why it
        stopped.

        Raises:
            FrameTooLong: as `feed`.
        """
        if self._is_over:
            return []
        pieces = self._pieces(self._framing.end())
        if self._is_finished():
            return pieces
        if self._is_broken or not self._has_stopped:
            return [Piece(b"", piece.events) for piece in pieces]
        self._is_over = True
        return [*pieces, Piece(b"", _FINISHED)]

    def cut(self, refused: Refused) -> bytes:
        """Return the error event that ends the stream early."""
        return refusals.cut(refused)

    def _is_finished(self) -> bool:
        return self._is_over

    def _pieces(self, frames: list[Frame]) -> list[Piece]:
        pieces = []
        for frame in frames:
            pieces.append(Piece(frame.raw, self._heard(frame)))
            if self._is_over:
                break
        return pieces

    def _heard(self, frame: Frame) -> tuple[Event, ...]:
        told = answers.event(frame.data) if frame.data else None
        is_error = frame.event == _ERROR
        if told is None:
            return self._unread(frame.data, is_error=is_error)
        is_new = not self._thinks and answers.thinks(told.delta)
        if told.type == "content_block_delta" and not is_error and not is_new:
            produced = answers.text(told.delta)
            return (Delta(produced),) if produced else _OPAQUE
        return tuple(self._events(told, frame, frame.data or b"")) or _OPAQUE

    def _unread(self, data: bytes | None, *, is_error: bool) -> tuple[Event, ...]:
        """Return what an event is that is no JSON: nobody can say what it holds, so all is output."""
        self._is_broken = self._is_broken or is_error
        broken = (Broken(),) if is_error else ()
        if data:
            return (Delta(data.decode("utf-8", "replace")), *broken)
        return broken or _OPAQUE

    def _events(self, told: Told, frame: Frame, document: bytes) -> Iterator[Event]:
        if told.message is not None:
            yield from self._opened(told.message, document)
        yield from self._produced(told)
        if told.delta is not None and told.delta.stop_reason:
            self._has_stopped = True
        if _is_error(told, frame):
            self._is_broken = True
            yield Broken()
        reported = self._reported(told, document)
        if reported is not None:
            yield reported
        if told.type == "message_stop" or frame.event == b"message_stop":
            self._is_over = True
            yield Finished()

    def _produced(self, told: Told) -> Iterator[Event]:
        yield from self._thought(told)
        for part in (told.content_block, told.delta):
            produced = answers.text(part)
            if produced:
                yield Delta(produced)

    def _thought(self, told: Told) -> Iterator[Event]:
        """Tell once that the model thinks, and of a first block that is no thought, that it did not."""
        if answers.thinks(told.content_block) or answers.thinks(told.delta):
            if not self._thinks:
                self._thinks = True
                yield Thinking()
        elif told.content_block is not None and self._thinks is None:
            self._thinks = False
            yield Thinking(begins=False)

    def _opened(self, message: Message, document: bytes) -> Iterator[Event]:
        served = answers.served(message, self._fields)
        if served is not None:
            yield served
        counts = answers.counts(message.usage, document)
        heard = None if counts is None else accounts.prompted(counts)
        if counts is not None and heard is not None:
            self._counts = accounts.merged(self._counts, counts)
            # No prompt is nothing: hosts that count at the end alone begin with an account of zeros.
            if heard.heard:
                yield Prompted(heard)
        produced = "".join(map(answers.text, message.content or ()))
        if produced:
            yield Delta(produced)

    def _reported(self, told: Told, document: bytes) -> Usage | None:
        """Return the account of all so far, where an event tells the output."""
        counts = answers.counts(told.usage, document)
        if counts is None or counts.output is None:
            return None
        self._counts = accounts.merged(self._counts, counts)
        return accounts.usage(self._counts)


def _is_error(told: Told, frame: Frame) -> bool:
    return bool(told.error) or told.type == "error" or frame.event == _ERROR
