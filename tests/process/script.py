"""What the scripted provider is told to do with a request, and what it says.

A `Script` is plain data, so that it can travel as JSON: in the request itself (`metadata.script`,
Anthropic's `metadata.user_id`, Gemini's `labels.script`), in an `x-script` header, ahead of time
for a model (`POST /_script`) or for the requests to come in their turn (`POST /_next`). Everything
has a default, and the defaults are a well-behaved provider.

Words are chosen so that counting is beyond dispute: each is one token in every vocabulary that
OpenAI has published, with and without its leading space.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Usage = Literal[
    "asked", "never", "always", "each", "twice", "first", "in_last", "differing", "groq"
]
Terminator = Literal["once", "never", "twice", "followed"]
Ending = Literal["complete", "reset", "close", "truncate", "hang", "error_event"]

WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "is", "one", "dog", "run", "by")


@dataclass(frozen=True, slots=True)
class Script:
    """How one request is answered. Times are seconds; counts are of tokens unless said otherwise."""

    tokens: int = 16
    """Output tokens wanted for each choice, before the request's own limit."""
    text: str | None = None
    """Say this instead of words, charged a token for each 4 characters begun."""
    echo: bool = False
    """Say the prompt's text instead of words, also in the arguments of a tool call."""
    tool_arguments: dict[str, Any] = field(default_factory=dict)
    """Arguments of the call that is made when the request offers tools."""
    tokens_per_chunk: int = 1
    ignore_max_tokens: bool = False

    prompt_tokens: int | None = None
    """What to charge for the prompt; otherwise a token for each 4 bytes of text, and 3 a message."""
    cached_tokens: int = 0
    """Of the prompt's tokens, read from a cache."""
    cache_write_tokens: int = 0
    """Of the prompt's tokens, written to one."""
    reasoning_tokens: int = 0
    """Thought before the first chunk: produced and charged, and unseen unless `thinks_aloud`."""
    thinks_aloud: bool = False
    extra_billed_tokens: int = 0
    """Charged as completion beyond what was produced: a provider that bills past its bound."""
    usage: Usage = "asked"
    """asked: as the API does; never; always, also unasked; each: in every chunk; twice: at the end.

    What an API gives unasked it gives for asked too. first: in the first chunk alone. Chunks of chat
    and legacy completions alone: in_last: in the one with the reason to end; differing: two, the
    first too low; groq: as `x_groq.usage` in the last one.
    """
    usage_fields: dict[str, Any] = field(default_factory=dict)
    """Members of each usage object, added or in the place of the account's."""
    usage_text: str | None = None
    """Written in the place of each usage object, whether that is JSON or not."""
    usage_after: float = 0.0
    """Wait before a stream's event that reports usage and carries no output."""

    answer_after: float = 0.0
    """Wait before the first byte of the answer."""
    chunk_after: float = 0.0
    """Wait before each chunk of a stream."""
    pad_bytes: int = 0
    """Bytes of padding in each chunk with output (OpenAI's `obfuscation` field)."""
    write_bytes: int = 0
    """Write a stream in pieces of this size, cutting events anywhere; 0 writes whole events."""
    comments: bool = False
    """Send an SSE comment before each chunk, as OpenRouter does."""

    ending: Ending = "complete"
    """reset: RST; close: FIN inside the body; truncate: a clean end without [DONE]; hang: silence."""
    ending_after: int = 3
    """Chunks with output that are sent before an ending other than complete; -1: not even a status.

    Before an error event, -1 is no other event: in the place of an answer, so nothing is produced.
    More than there are: all but [DONE]. An answer that is no stream is cut in the middle.
    """

    status: int = 200
    """400 and more: an error answer, nothing produced, nothing charged."""
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    """Answer exactly this JSON with `status` (also with 200) and produce nothing."""
    raw: str | None = None
    """The same for what need not be JSON: each character is a byte (latin-1)."""

    answer_id: str = ""
    """The same for each answer, so that two can be compared byte by byte."""
    framing: str = ""
    """How a stream's events are written: a name of `framings.FRAMINGS`."""
    terminator: Terminator = "once"
    """How often the last event of a stream is sent; followed: the first comes again behind it."""
    inserted: str = ""
    """A whole event (`data: …`), or element of an array, of bytes as in `raw`."""
    inserted_at: int = 1
    """After so many events."""
    coding: str = ""
    """A name of `codings.CODINGS`: nobody asks for it."""
    transfer: str = ""
    """How an answer is put on the connection: a name of `transfers.TRANSFERS`."""
    piece_after: float = 0.0
    """Wait after each piece of an answer that is framed, coded or transferred in an odd way."""
    form: Literal["asked", "whole", "stream"] = "asked"
    """What is given, whether a stream was asked for or not."""

    @property
    def is_dressed(self) -> bool:
        """Whether a stream is to be written otherwise than as it is produced: then all at the end."""
        return bool(
            self.framing
            or self.coding
            or self.transfer
            or self.inserted
            or self.terminator != "once"
        )

    @property
    def is_error_event_alone(self) -> bool:
        """Whether a stream is to have an error event and nothing else."""
        return self.ending == "error_event" and self.ending_after < 0


def scripted(default: Script, said: Mapping[str, Any]) -> Script:
    """Return `default` with what was said; a name that is no part of a script is a TypeError."""
    return replace(default, **said)


@dataclass(frozen=True, slots=True)
class Piece:
    """What one chunk carries, and the tokens it is charged for."""

    text: str
    tokens: int


def speech(script: Script, wanted: str | None, limit: int | None) -> tuple[list[Piece], str]:
    """Return the pieces of one choice and its finish reason.

    `wanted` is a text to be said whole; without it words are. `limit` cuts both, by tokens.
    """
    tokens = list(_tokens(script, wanted))
    reason = "stop"
    if limit is not None and limit < len(tokens) and not script.ignore_max_tokens:
        tokens, reason = tokens[:limit], "length"
    size = script.tokens_per_chunk
    chunks = (tokens[start : start + size] for start in range(0, len(tokens), size))
    return [Piece("".join(chunk), len(chunk)) for chunk in chunks], reason


def thought(script: Script, tokens: int) -> list[Piece]:
    """Return the pieces of so much thinking."""
    pieces, _ = speech(replace(script, tokens=tokens), None, None)
    return pieces


def _tokens(script: Script, wanted: str | None) -> Iterator[str]:
    if wanted is None:
        return (f" {WORDS[index % len(WORDS)]}" for index in range(script.tokens))
    return (wanted[start : start + 4] for start in range(0, len(wanted), 4))


def tokens_of(text: str) -> int:
    """Return a token for each 4 bytes begun: less than any bound by bytes, and easy to check."""
    return -(-len(text.encode()) // 4)


def json_text(value: object) -> str:
    return json.dumps(value)


def json_answer(script: Script, schema: Mapping[str, Any] | None) -> str | None:
    """Return a JSON text that fits a schema ({}: any object), or None for prose where there is none."""
    if schema is None:
        return None
    return json.dumps(_example(schema) if schema else {"answer": " ".join(WORDS[: script.tokens])})


_SCALARS = {"integer": 1, "number": 1, "boolean": True, "null": None}


def _example(schema: Mapping[str, Any]) -> object:
    if "enum" in schema:
        return schema["enum"][0]
    match str(schema.get("type")).lower():
        case "object":
            properties = schema.get("properties", {})
            return {name: _example(inner) for name, inner in properties.items()}
        case "array":
            return [_example(schema.get("items", {}))]
        case kind:
            return _SCALARS.get(kind, "cat")
