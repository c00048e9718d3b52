"""A streamed answer of Bedrock's: every frame passed on as it came, and what it says told to the meter.

An exception, or an error, is a frame too, and ends the stream. After Converse's `messageStop` comes the
account, in `metadata`; after it, and after the last chunk of a vendor's own stream, comes nothing.
"""

from base64 import b64decode
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

import msgspec

from gateway.core.events import Broken, Delta, Event, Finished, Thinking
from gateway.core.refusal import Refused
from gateway.providers.adapter import Piece
from gateway.providers.dialects.bedrock import converse_answers, refusals
from gateway.providers.dialects.bedrock.converse_answers import OPAQUE
from gateway.providers.dialects.bedrock.families import Family
from gateway.providers.dialects.bedrock.invoke_answers import ChunkReader
from gateway.providers.eventstream import EventStreamFraming, Frame

_BROKEN: Final = (Broken(),)
_KIND: Final = ":message-type"
_EVENT: Final = ":event-type"


class EventReader(Protocol):
    """Reads a stream's events, one frame after the other."""

    @property
    def is_over(self) -> bool:
        """Whether the last frame was seen."""
        ...

    def read(self, kind: str, payload: bytes) -> tuple[Event, ...]:
        """Return what an event of a kind says."""
        ...

    def end(self) -> tuple[Event, ...]:
        """Return what the body's end says, where the last frame did not come."""
        ...


class BedrockStream:
    """Reads one streamed answer."""

    def __init__(self, events: EventReader) -> None:
        """Read each frame by `events`."""
        self._framing = EventStreamFraming()
        self._events = events
        self._is_broken = False

    def feed(self, data: bytes) -> list[Piece]:
        """Return the complete pieces so far, none after the end was seen.

        Raises:
            FrameTooLong, FrameDamaged: the bytes are no frames (any more).
        """
        if self._events.is_over:
            return []
        return list(self._pieces(self._framing.feed(data)))

    def end(self) -> list[Piece]:
        """Return what the end of the body says.

        Raises:
            FrameTooLong, FrameDamaged: as `feed`.
        """
        if self._events.is_over or self._is_broken:
            return []
        self._framing.end()
        said = self._events.end()
        return [Piece(b"", said)] if said else []

    def cut(self, refused: Refused) -> bytes:
        """Return the exception that ends the stream early."""
        return refusals.cut(refused)

    def _pieces(self, frames: Iterable[Frame]) -> Iterator[Piece]:
        for frame in frames:
            if self._events.is_over:
                break
            yield Piece(frame.raw, self._read(frame))

    def _read(self, frame: Frame) -> tuple[Event, ...]:
        if frame.says(_KIND) in {"exception", "error"}:
            self._is_broken = True
            return _BROKEN
        return self._events.read(frame.says(_EVENT), frame.payload)


class ConverseEvents:
    """Reads the events of a Converse stream."""

    def __init__(self, asked_tier: str | None) -> None:
        """Take the tier that was asked for, which holds where the answer does not say."""
        self.is_over = False
        self._asked_tier = asked_tier
        self._has_stopped = False
        self._has_thought = False

    def read(self, kind: str, payload: bytes) -> tuple[Event, ...]:
        """Return what an event says."""
        match kind:
            case "contentBlockDelta" | "contentBlockStart":
                return self._part(payload)
            case "messageStop":
                self._has_stopped = True
                return OPAQUE
            case "metadata":
                self.is_over = True
                return converse_answers.metadata(payload, self._asked_tier)
            case _:
                return OPAQUE

    def end(self) -> tuple[Event, ...]:
        """Return that the answer is whole, where it stopped and only its account is missing."""
        return (Finished(),) if self._has_stopped else ()

    def _part(self, payload: bytes) -> tuple[Event, ...]:
        """Return what a part says; that the model thinks is said once."""
        events = converse_answers.part(payload)
        if self._has_thought:
            return tuple(event for event in events if not isinstance(event, Thinking)) or OPAQUE
        self._has_thought = Thinking() in events
        return events


class ChunkEvents:
    """Reads the chunks of an Invoke stream, which hold a vendor's own JSON in base64."""

    def __init__(self, family: Family | None) -> None:
        """Read what a model of `family` says."""
        self._reader = ChunkReader(family)

    @property
    def is_over(self) -> bool:
        """Whether the last chunk was seen."""
        return self._reader.is_over

    def read(self, kind: str, payload: bytes) -> tuple[Event, ...]:
        """Return what a chunk says."""
        if kind != "chunk":
            return OPAQUE
        try:
            chunk = b64decode(_CHUNK.decode(payload).bytes, validate=True)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return (Delta(payload.decode("utf-8", "replace")),)
        events = self._reader.read(chunk)
        return (*events, Finished()) if self._reader.is_over else events

    def end(self) -> tuple[Event, ...]:
        """Return that the answer is whole, where the vendor ended it and only Bedrock did not."""
        if not self._reader.is_ended:
            return ()
        usage = self._reader.account()
        return (Finished(),) if usage is None else (usage, Finished())


class _Chunk(msgspec.Struct, frozen=True, gc=False):
    bytes: str


_CHUNK: Final = msgspec.json.Decoder(_Chunk)
