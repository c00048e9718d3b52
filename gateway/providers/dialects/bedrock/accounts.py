"""The provider's own account of a call, in each of the shapes that it has, and only where it is sound.

Every figure is a whole number from 0 to 10^9, and no member is there twice; else the account is not
trusted, and the call costs what its bytes allow. Cached and written tokens are outside the input in
all of them (docs.aws.amazon.com/bedrock: "TokenUsage", and Anthropic's "Prompt caching").
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gateway.core.events import Usage
from gateway.providers.adapter import Headers
from gateway.providers.lenient_json import is_there, names_own_twice, names_twice

MOST_COUNT: Final = 10**9
"""No call has so many tokens; a number that large is a fault, not a count."""
MOST_CHECKED: Final = 64 << 10
"""Bytes of an answer that is read again as a whole, to see whether a member is in it twice."""
_INPUT: Final = b"x-amzn-bedrock-input-token-count"
_OUTPUT: Final = b"x-amzn-bedrock-output-token-count"

Values = Mapping[str, Any]


def sound(raw: msgspec.Raw, document: bytes) -> dict[str, Any] | None:
    """Return an account's members, None where it is no object, or can be read in two ways.

    It stands somewhere in `document`, which is read again whole where that is small; else only its
    own members are looked at.
    """
    if not is_there(raw) or is_ambiguous(document) or names_twice(bytes(raw)):
        return None
    try:
        return _OBJECT.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def is_ambiguous(document: bytes) -> bool:
    """Return whether a figure in a document may be there twice."""
    return names_twice(document) if len(document) <= MOST_CHECKED else names_own_twice(document)


def converse(values: Values) -> Usage | None:
    """Return Converse's `usage`; Nova's own bodies have it with other names for what is cached."""
    counts = _counts(values, ("inputTokens", "outputTokens", "totalTokens"), required=2)
    cached = _first(values, "cacheReadInputTokens", "cacheReadInputTokenCount")
    written = _first(values, "cacheWriteInputTokens", "cacheWriteInputTokenCount")
    if counts is None or cached is None or written is None:
        return None
    heard, spoken, total = counts
    short = _written_for_5m(values.get("cacheDetails"), written)
    return Usage(
        input=heard,
        output=max(spoken, total - heard - cached - written),
        cached=cached,
        cache_write=written - short,
        cache_write_5m=short,
    )


def anthropic_input(values: Values) -> Usage | None:
    """Return the input side of Anthropic's `usage`."""
    heard = count(values, "input_tokens")
    cached = _first(values, "cache_read_input_tokens")
    written = _first(values, "cache_creation_input_tokens")
    if heard is None or cached is None or written is None:
        return None
    split = values.get("cache_creation") or {}
    short = count(split, "ephemeral_5m_input_tokens") or 0
    long = count(split, "ephemeral_1h_input_tokens") or 0
    if short + long != written:
        written, short = max(written, short + long), 0
    return Usage(
        input=heard, output=0, cached=cached, cache_write=written - short, cache_write_5m=short
    )


def metrics(values: Values) -> Usage | None:
    """Return the `amazon-bedrock-invocationMetrics` of a stream's last chunk."""
    counts = _counts(values, ("inputTokenCount", "outputTokenCount"), required=2)
    cached = _first(values, "cacheReadInputTokenCount")
    written = _first(values, "cacheWriteInputTokenCount")
    if counts is None or cached is None or written is None:
        return None
    heard, spoken = counts
    return Usage(input=heard, output=spoken, cached=cached, cache_write=written)


def headers(given: Headers, *, makes_output: bool) -> Usage | None:
    """Return what the headers of a whole answer count."""
    heard, spoken = _header(given, _INPUT), _header(given, _OUTPUT)
    if heard is None or (spoken is None and makes_output):
        return None
    return Usage(input=heard, output=spoken or 0)


def plain(heard: int | None, spoken: int | None) -> Usage | None:
    """Return an account of two figures; None where one is missing."""
    return None if heard is None or spoken is None else Usage(input=heard, output=spoken)


def count(values: object, name: str) -> int | None:
    """Return a count; None where it is missing, null, or none."""
    value = values.get(name) if isinstance(values, dict) else None
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < MOST_COUNT else None


def _first(values: Values, *names: str) -> int | None:
    """Return the first of some counts that is there, 0 where none is, None where it is none."""
    name = next((name for name in names if values.get(name) is not None), None)
    return 0 if name is None else count(values, name)


def _counts(values: Values, names: tuple[str, ...], *, required: int) -> list[int] | None:
    """Return counts, the first `required` of which must be there; None where one is none."""
    found = [_first(values, name) for name in names]
    if any(values.get(name) is None for name in names[:required]):
        return None
    return None if None in found else [one or 0 for one in found]


def _written_for_5m(details: object, written: int) -> int:
    """Return how much of what was written is said to be for five minutes, where that adds up."""
    if not isinstance(details, list):
        return 0
    amounts = [(one.get("ttl"), count(one, "inputTokens")) for one in details if type(one) is dict]
    known = [(ttl, amount) for ttl, amount in amounts if amount is not None]
    if len(known) < len(details) or sum(amount for _, amount in known) != written:
        return 0
    return sum(amount for ttl, amount in known if ttl == "5m")


def _header(given: Headers, wanted: bytes) -> int | None:
    found = [value for name, value in given if name == wanted]
    if len(found) != 1 or not found[0].isdigit() or len(found[0]) > len(str(MOST_COUNT)):
        return None
    value = int(found[0])
    return value if value < MOST_COUNT else None


_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])
