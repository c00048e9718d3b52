"""What Converse's answers say: a whole one, or the payload of each of a stream's frames.

What is produced but is no text (an image, what the model thinks and does not show) can't be counted: it
is told as thinking, so that a stream that is cut owes its bound. Padding (`p`) is not looked at.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from gateway.core.events import Broken, Delta, Event, Finished, Opaque, Served, Thinking, Usage
from gateway.providers import lenient_json
from gateway.providers.dialects.bedrock import accounts, tiers
from gateway.providers.lenient_json import ABSENT, is_there

OPAQUE: Final = (Opaque(),)
_MALFORMED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Called(msgspec.Struct, frozen=True, gc=False):
    """A call of a tool, or a part of one: of a stream its `input` is text, else any JSON."""

    name: str | None = None
    input: msgspec.Raw = ABSENT


class Thought(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What the model thought, as far as it is shown."""

    text: str | None = None
    reasoning_text: "Thought | None" = None


class Block(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A block of content, or a part of one."""

    text: str | None = None
    tool_use: Called | None = None
    reasoning_content: Thought | None = None
    citations_content: msgspec.Raw = ABSENT
    image: msgspec.Raw = ABSENT
    audio: msgspec.Raw = ABSENT


class Part(msgspec.Struct, frozen=True, gc=False):
    """The payload of `contentBlockStart` and `contentBlockDelta`."""

    start: Block | None = None
    delta: Block | None = None


class Latency(msgspec.Struct, frozen=True, gc=False):
    """`performanceConfig`."""

    latency: str | None = None


class ServiceTier(msgspec.Struct, frozen=True, gc=False):
    """`serviceTier`."""

    type: str | None = None


class Account(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The payload of `metadata`, and the same members of a whole answer."""

    usage: msgspec.Raw = ABSENT
    service_tier: ServiceTier | None = None
    performance_config: Latency | None = None


class Message(msgspec.Struct, frozen=True, gc=False):
    """What the model said."""

    content: list[Block] = []


class Output(msgspec.Struct, frozen=True, gc=False):
    """`output`."""

    message: Message | None = None


class Whole(Account, frozen=True, gc=False, rename="camel"):
    """A whole answer. `message` is an error's."""

    output: Output | None = None
    message: Any = None


def part(payload: bytes) -> tuple[Event, ...]:
    """Return what a part of a block says."""
    try:
        found = _PART.decode(payload)
    except _MALFORMED:
        return unreadable(payload)
    block = found.delta or found.start
    if block is None:
        return OPAQUE
    if block.text is not None and block.reasoning_content is None:
        return (Delta(block.text),)
    return tuple(said(block)) or OPAQUE


def said(block: Block) -> Iterator[Event]:
    """Yield what a block says."""
    if block.reasoning_content is not None or is_there(block.image) or is_there(block.audio):
        yield Thinking()
    produced = text(block)
    if produced:
        yield Delta(produced)


def metadata(payload: bytes, asked_tier: str | None) -> tuple[Event, ...]:
    """Return what a stream's last frame says: who served it, its account, and that this is the end."""
    try:
        account = _ACCOUNT.decode(payload)
    except _MALFORMED:
        return (Finished(),)
    return (*_accounted(account, payload, asked_tier), Finished())


def whole(document: bytes, asked_tier: str | None) -> Sequence[Event]:
    """Return what a whole answer says, its usage last; nothing where it is no answer at all."""
    try:
        answer = _WHOLE.decode(document)
    except _MALFORMED:
        return unreadable(document) if document.lstrip().startswith(b"{") else ()
    if answer.output is None:
        return () if answer.message is None else (Broken(),)
    message = answer.output.message or Message()
    events = [event for block in message.content for event in said(block)]
    return tuple(events + _accounted(answer, document, asked_tier)) or OPAQUE


def text(block: Block) -> str:
    """Return all text of a block that the model produced."""
    produced = block.text or ""
    thought = block.reasoning_content
    if thought is not None:
        produced += thought.text or (thought.reasoning_text and thought.reasoning_text.text) or ""
    if block.tool_use is not None:
        produced += block.tool_use.name or ""
        produced += raw_text(block.tool_use.input)
    return produced + raw_text(block.citations_content)


def raw_text(raw: msgspec.Raw) -> str:
    """Return JSON as text: what a string holds, or else how it is written."""
    if not is_there(raw):
        return ""
    try:
        return _STRING.decode(raw)
    except _MALFORMED:
        return bytes(raw).decode("utf-8", "replace")


def unreadable(payload: bytes) -> tuple[Event, ...]:
    """Return what can be said of bytes that are strange: every text in them may have been produced."""
    values = lenient_json.read(payload)
    if values is None:
        return (Delta(payload.decode("utf-8", "replace")),)
    return (Delta("".join(lenient_json.strings(values))),)


def usage(raw: msgspec.Raw, document: bytes) -> Usage | None:
    """Return a `usage` that can be trusted."""
    values = accounts.sound(raw, document)
    return None if values is None else accounts.converse(values)


def _accounted(account: Account, document: bytes, asked_tier: str | None) -> list[Event]:
    service = account.service_tier or ServiceTier()
    performance = account.performance_config or Latency()
    tier = tiers.served(asked_tier, service.type, performance.latency)
    reported = usage(account.usage, document)
    served: list[Event] = [] if tier is None else [Served(None, tier)]
    return served if reported is None else [*served, reported]


_PART: Final = msgspec.json.Decoder(Part)
_ACCOUNT: Final = msgspec.json.Decoder(Account)
_WHOLE: Final = msgspec.json.Decoder(Whole)
_STRING: Final = msgspec.json.Decoder(str)
