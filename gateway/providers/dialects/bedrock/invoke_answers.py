"""What the vendors' own bodies say: a whole one, or the chunks of a stream.

Sources: as `invoke_request`. A stream's last chunk has `amazon-bedrock-invocationMetrics`, and a whole
answer counts in its headers; where a vendor's body has an account of its own, with what was cached,
that one is taken.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from gateway.core.events import Broken, Delta, Event, Usage
from gateway.providers.adapter import Headers
from gateway.providers.dialects.bedrock import accounts
from gateway.providers.dialects.bedrock.claude_answers import ClaudeReader
from gateway.providers.dialects.bedrock.converse_answers import (
    OPAQUE,
    Output,
    Part,
    raw_text,
    said,
    unreadable,
)
from gateway.providers.dialects.bedrock.families import Family
from gateway.providers.lenient_json import ABSENT

_METRICS: Final = "amazon-bedrock-invocationMetrics"
_MALFORMED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Text(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One of the texts of an answer: Mistral's `outputs`, Cohere's `generations`, Titan's `results`."""

    text: str | None = None
    output_text: str | None = None
    token_count: Any = None


class Spoken(msgspec.Struct, frozen=True, gc=False):
    """A message in OpenAI's form, which Mistral's newer models answer in."""

    content: str | None = None
    tool_calls: msgspec.Raw = ABSENT


class Choice(msgspec.Struct, frozen=True, gc=False):
    """One choice."""

    message: Spoken | None = None
    delta: Spoken | None = None


class Told(msgspec.Struct, frozen=True, gc=False):
    """A chunk or whole answer of any family but Claude's; each has its own members."""

    generation: str | None = None
    outputs: list[Text] | None = None
    generations: list[Text] | None = None
    results: list[Text] | None = None
    choices: list[Choice] | None = None
    text: str | None = None
    output_text: str | None = msgspec.field(default=None, name="outputText")
    output: Output | None = None
    start: Part | None = msgspec.field(default=None, name="contentBlockStart")
    delta: Part | None = msgspec.field(default=None, name="contentBlockDelta")
    metadata: "Metadata | None" = None
    usage: msgspec.Raw = ABSENT
    prompt_token_count: Any = None
    generation_token_count: Any = None
    input_text_token_count: Any = msgspec.field(default=None, name="inputTextTokenCount")
    message: Any = None
    error: Any = None


class Metadata(msgspec.Struct, frozen=True, gc=False):
    """Nova's own `metadata`."""

    usage: msgspec.Raw = ABSENT


class Measured(msgspec.Struct, frozen=True, gc=False):
    """Bedrock's own account of a stream."""

    metrics: msgspec.Raw = msgspec.field(default=ABSENT, name=_METRICS)


class ChunkReader:
    """Reads the chunks of one stream of a family's body."""

    def __init__(self, family: Family | None) -> None:
        """Read what a model of `family` says; of None nothing can be read, and all of it counts."""
        self._claude = ClaudeReader() if family is Family.CLAUDE else None
        self._family = family
        self._usage: Usage | None = None
        self.is_over = False
        """Whether the last chunk was seen."""

    @property
    def is_ended(self) -> bool:
        """Whether the vendor's own end was seen, though Bedrock's may still be to come."""
        return self._claude is not None and self._claude.is_ended

    def read(self, chunk: bytes) -> tuple[Event, ...]:
        """Return what a chunk says; with the last one the account, if any can be trusted."""
        try:
            events = self._read(chunk)
        except _MALFORMED:
            events = unreadable(chunk)
        if not _is_last(chunk):
            return events or OPAQUE
        self.is_over = True
        usage = self.account() or _measured(chunk)
        return events if usage is None else (*events, usage)

    def account(self) -> Usage | None:
        """Return the vendor's own account so far."""
        return self._usage if self._claude is None else self._claude.usage

    def _read(self, chunk: bytes) -> tuple[Event, ...]:
        if self._claude is not None:
            return self._claude.read(chunk)
        if self._family is None:
            return unreadable(chunk)
        told = _TOLD.decode(chunk)
        usage = _nova(told, chunk) if self._family is Family.NOVA else None
        self._usage = usage or self._usage
        return tuple(_events(told))


def whole(document: bytes, given: Headers, family: Family | None) -> Sequence[Event]:
    """Return what a whole answer says, its usage last; nothing where it is no answer at all."""
    if not document.lstrip().startswith(b"{"):
        return ()
    makes_output = family not in {Family.TITAN_EMBED, Family.COHERE_EMBED}
    try:
        events, usage = _whole(document, family)
    except _MALFORMED:
        events, usage = unreadable(document), None
    usage = usage or accounts.headers(given, makes_output=makes_output)
    return (*events, usage) if usage is not None else events or OPAQUE


def _whole(document: bytes, family: Family | None) -> tuple[tuple[Event, ...], Usage | None]:
    if family is Family.CLAUDE:
        reader = ClaudeReader()
        return reader.read(document), reader.usage
    told = _TOLD.decode(document)
    events = tuple(_events(told))
    read = None if family is None else _ACCOUNTS.get(family)
    if read is None:
        return events, None
    return events, read(told, document)


def _events(told: Told) -> list[Event]:
    blocks = [part.delta or part.start for part in (told.start, told.delta) if part is not None]
    if told.output is not None and told.output.message is not None:
        blocks += told.output.message.content
    events = [event for block in blocks if block is not None for event in said(block)]
    produced = _text(told)
    if produced:
        events.append(Delta(produced))
    elif not events and (told.error is not None or isinstance(told.message, str)):
        events.append(Broken())
    return events


def _text(told: Told) -> str:
    texts = [*(told.outputs or ()), *(told.generations or ()), *(told.results or ())]
    produced = [told.generation, told.text, told.output_text]
    produced += [part.text or part.output_text for part in texts]
    for choice in told.choices or ():
        spoken = choice.delta or choice.message or Spoken()
        produced.append(spoken.content)
        produced.append(raw_text(spoken.tool_calls))
    return "".join(filter(None, produced))


def _is_last(chunk: bytes) -> bool:
    """Return whether a chunk has Bedrock's own account, which a tool may be named as too."""
    if f'"{_METRICS}"'.encode() not in chunk:
        return False
    try:
        return memoryview(_MEASURED.decode(chunk).metrics).nbytes > 0
    except _MALFORMED:
        return True


def _measured(chunk: bytes) -> Usage | None:
    try:
        raw = _MEASURED.decode(chunk).metrics
    except _MALFORMED:
        return None
    values = accounts.sound(raw, chunk)
    return None if values is None else accounts.metrics(values)


def _nova(told: Told, document: bytes) -> Usage | None:
    raw = told.usage if told.metadata is None else told.metadata.usage
    values = accounts.sound(raw, document)
    return None if values is None else accounts.converse(values)


def _llama(told: Told, document: bytes) -> Usage | None:
    if accounts.is_ambiguous(document):
        return None
    counts = {"in": told.prompt_token_count, "out": told.generation_token_count}
    return accounts.plain(accounts.count(counts, "in"), accounts.count(counts, "out"))


def _titan(told: Told, document: bytes) -> Usage | None:
    if accounts.is_ambiguous(document):
        return None
    counts = [accounts.count({"n": one.token_count}, "n") for one in told.results or ()]
    spoken = None if None in counts else sum(one or 0 for one in counts)
    heard = accounts.count({"n": told.input_text_token_count}, "n")
    return accounts.plain(heard, spoken)


def _mistral(told: Told, document: bytes) -> Usage | None:
    values = accounts.sound(told.usage, document) or {}
    heard = accounts.count(values, "prompt_tokens")
    return accounts.plain(heard, accounts.count(values, "completion_tokens"))


_ACCOUNTS: Final[Mapping[Family, Callable[[Told, bytes], Usage | None]]] = {
    Family.NOVA: _nova,
    Family.LLAMA: _llama,
    Family.MISTRAL: _mistral,
    Family.TITAN: _titan,
    Family.TITAN_EMBED: _titan,
}
"""Who counts in the body itself; the others' counts are in the headers."""
_TOLD: Final = msgspec.json.Decoder(Told)
_MEASURED: Final = msgspec.json.Decoder(Measured)
