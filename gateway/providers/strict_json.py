"""A request's body as JSON, read so strictly that nobody can read it differently.

Money is decided on what we read and spent on what the provider reads, so whatever two parsers may
understand differently is refused: bytes that are not UTF-8 (a BOM and lone surrogates too), the
same member twice in any object, NaN and Infinity, numbers that no double holds, and nesting that
would break a parser. What passes is sent on as it was parsed, one member a name.

msgspec reads and validates; it knows neither duplicates nor depth. A body that encodes to the very
bytes it was read from has no duplicates, which is what OpenAI's own SDK sends; any other is read
again by the standard library, whose pairs hook sees every member.
"""

from itertools import accumulate
from json import JSONDecoder
from typing import Any, Final

import msgspec

from gateway.core.tokens import countable_bytes

MOST_NESTED: Final = 64
MOST_CONTAINERS: Final = 100_000
"""Arrays and objects in one body. Each takes up to 250 bytes of memory, from 2 bytes sent."""

_STEP: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NOT_STRUCTURE: Final = bytes(set(range(256)) - {*_STEP, ord('"')})


class Malformed(msgspec.Struct, frozen=True):
    """Why a body is not JSON that everyone reads alike. Quotes nothing of it."""

    reason: str


class Body(msgspec.Struct, frozen=True):
    """A body that is one JSON object: its values, its members as raw bytes in order, and its size.

    `text_bytes` is the UTF-8 size without whitespace between values and without needless escapes, as
    large as a tokenizer's normalization may make it.
    """

    values: dict[str, Any]
    members: dict[str, msgspec.Raw]
    text_bytes: int


def countable(written: bytes) -> int:
    """Return the bytes that JSON can have for a tokenizer that normalizes text, or does not."""
    return len(written) if written.isascii() else countable_bytes(written.decode())


def read(body: bytes) -> Body | Malformed:
    """Return a body's object. Never raises, in time and memory linear in the body's size."""
    if body.count(b"[") + body.count(b"{") > MOST_NESTED:
        malformed = _misshapen(body)
        if malformed is not None:
            return malformed
    try:
        values = _READER.decode(body)
        members = _MEMBERS.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _explained(body)
    written = _WRITER.encode(values)
    if written != body and has_duplicates(body):
        return Malformed("an object in it has the same member twice; name each member once")
    return Body(values, members, countable(written))


def has_duplicates(document: bytes) -> bool:
    """Return whether an object in a JSON document has a member twice, at any depth.

    A document that the standard library can't read counts as having one.
    """
    try:
        _PAIRS.decode(document.decode())
    except (ValueError, RecursionError):
        return True
    return False


def _misshapen(body: bytes) -> Malformed | None:
    """Return what is wrong with the nesting of a body, which need not be JSON at all.

    Everything but brackets and quotes is taken out, then the strings. Between two quotes that have
    become neighbours no bracket is left, so that they cancel out, as a string or between strings.
    """
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    skeleton = body.translate(None, _NOT_STRUCTURE).replace(b'""', b"")
    brackets = b"".join(skeleton.split(b'"')[::2])
    if len(brackets) <= 2 * MOST_NESTED:
        return None
    if len(brackets) > 2 * MOST_CONTAINERS:
        return Malformed(f"it has more than {MOST_CONTAINERS:,} arrays and objects")
    if max(accumulate(map(_STEP.__getitem__, brackets))) > MOST_NESTED:
        return Malformed(f"it is nested deeper than {MOST_NESTED} levels")
    return None


def _explained(body: bytes) -> Malformed:
    """Return why a body was refused, in words that need no knowledge of a parser."""
    if not body.strip():
        return Malformed("it is empty; send one JSON object")
    try:
        body.decode()
    except UnicodeDecodeError:
        return Malformed("it is not UTF-8")
    try:
        _SHAPE.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return Malformed("it is not valid JSON (NaN, Infinity and a BOM are not)")
    if not body.lstrip().startswith(b"{"):
        return Malformed("it is not a JSON object")
    return Malformed("a string or number in it is outside what JSON readers agree on")


def _unique(pairs: list[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError


_READER: Final = msgspec.json.Decoder(dict[str, Any])
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_SHAPE: Final = msgspec.json.Decoder(msgspec.Raw)
_WRITER: Final = msgspec.json.Encoder()
_PAIRS: Final = JSONDecoder(object_pairs_hook=_unique)
