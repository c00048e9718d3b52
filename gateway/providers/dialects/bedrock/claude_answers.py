"""What Claude's own bodies say: a whole message, or the events of a stream.

They are Anthropic's, but for the end: the last event has Bedrock's own account too.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import structs

from gateway.core.events import Broken, Delta, Event, Prompted, Thinking, Usage
from gateway.providers.dialects.bedrock import accounts
from gateway.providers.dialects.bedrock.converse_answers import raw_text
from gateway.providers.lenient_json import ABSENT, is_there


class Content(msgspec.Struct, frozen=True, gc=False):
    """A block of content, or a change of one."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    name: str | None = None
    input: msgspec.Raw = ABSENT
    partial_json: str | None = None


class Started(msgspec.Struct, frozen=True, gc=False):
    """`message_start`'s message."""

    usage: msgspec.Raw = ABSENT


class Claude(msgspec.Struct, frozen=True, gc=False):
    """One event of a stream, or a whole message. `message` is an error's where it is a text."""

    type: str = ""
    message: Started | str | None = None
    content_block: Content | None = None
    delta: Content | None = None
    content: list[Content] | None = None
    usage: msgspec.Raw = ABSENT
    error: Any = None


class ClaudeReader:
    """Reads the events of one stream, or one message."""

    def __init__(self) -> None:
        self.is_ended = False
        """Whether the message's own end was seen."""
        self.usage: Usage | None = None
        """The account, once both of its halves were seen."""
        self._heard: Usage | None = None

    def read(self, document: bytes) -> tuple[Event, ...]:
        """Return what one event says, but for the account. Raises what msgspec raises."""
        one = _DECODER.decode(document)
        self.is_ended = self.is_ended or one.type == "message_stop"
        events = list(_said(one))
        if isinstance(one.message, Started):
            self._heard = _heard(one.message.usage, document)
            if self._heard is not None and self._heard.heard:
                events.append(Prompted(self._heard))
        elif is_there(one.usage):
            self.usage = self._account(one, document) or self.usage
        return tuple(events)

    def _account(self, one: Claude, document: bytes) -> Usage | None:
        """Return the account with its output; of a stream the input was told when it began."""
        values = accounts.sound(one.usage, document)
        spoken = None if values is None else accounts.count(values, "output_tokens")
        heard = self._heard if one.content is None else _heard(one.usage, document)
        if spoken is None or heard is None:
            return None
        return structs.replace(heard, output=spoken)


def _heard(raw: msgspec.Raw, document: bytes) -> Usage | None:
    values = accounts.sound(raw, document)
    return None if values is None else accounts.anthropic_input(values)


def _said(one: Claude) -> Iterator[Event]:
    for content in (one.content_block, one.delta, *(one.content or ())):
        if content is None:
            continue
        if content.type in _THOUGHTS:
            yield Thinking()
        produced = "".join(filter(None, (content.text, content.thinking, content.name)))
        produced += content.partial_json or ""
        # An empty object stands for arguments that are still to come.
        produced += raw_text(content.input) if one.content is not None else ""
        if produced:
            yield Delta(produced)
    if one.error is not None or one.type == "error" or isinstance(one.message, str):
        yield Broken()


_THOUGHTS: Final = frozenset({"thinking", "redacted_thinking"})
_DECODER: Final = msgspec.json.Decoder(Claude)
