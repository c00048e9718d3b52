"""The provider's own account of a message, and how far it is trusted.

Anthropic's counts are apart from each other: `input_tokens` has neither what was read from a cache nor
what was written to one. In a stream they are cumulative, field by field, and what a later account
does not tell stays as it was (anthropic 2.13, `types/beta/beta_usage.py`). Compaction, an advisor and a
fallback are billed beyond the totals, as `iterations`.
"""

from collections.abc import Mapping
from functools import reduce
from typing import Any, Final

import msgspec

from gateway.core.events import Usage

MOST_COUNT: Final = 10**9
"""No call has so many tokens; a number that large is a fault, not a count."""

SEARCH_NUSD: Final = 10_000_000
"""Of one web search of Anthropic's own: $10 for a thousand (claude.com/pricing, November 2026)."""

_OF_THIS_MODEL: Final = ["compaction"]


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of one account, None where it is silent. `beyond` are those of its iterations.

    `certain` is false where something is billed at another model's price.
    """

    input: int | None = None
    output: int | None = None
    cached: int | None = None
    written: int | None = None
    written_5m: int | None = None
    written_1h: int | None = None
    thought: int | None = None
    searches: int | None = None
    beyond: tuple["Counts", ...] = ()
    certain: bool = True


def read(values: Mapping[str, Any]) -> Counts | None:
    """Return a usage object's counts; None where one of them is not to be trusted.

    Each must be missing, null, or a whole number from 0 to 10^9.
    """
    counts = _counts(values)
    beyond = [_counts(one) for one in _billed_beyond(values)]
    if counts is None or None in beyond:
        return None
    known = tuple(one for one in beyond if one is not None)
    is_certain = all(_kind(one) in _OF_THIS_MODEL for one in _billed_beyond(values))
    return msgspec.structs.replace(counts, beyond=known, certain=is_certain)


def merged(old: Counts, new: Counts) -> Counts:
    """Return the later account over the earlier one, no count lower than before."""
    fields = {name: _larger(getattr(old, name), getattr(new, name)) for name in _NUMBERS}
    beyond = new.beyond if len(new.beyond) >= len(old.beyond) else old.beyond
    return Counts(**fields, beyond=beyond, certain=old.certain and new.certain)


def prompted(counts: Counts) -> Usage | None:
    """Return the account of the input alone; None where it is not known."""
    return usage(msgspec.structs.replace(counts, output=0, thought=None))


def usage(counts: Counts) -> Usage | None:
    """Return the whole account, iterations included; None where input or output is not known."""
    parts = [_own(counts), *map(_own, counts.beyond)]
    known = [part for part in parts if part is not None]
    return reduce(_sum, known) if len(known) == len(parts) else None


def _counts(values: object) -> Counts | None:
    """Return the counts of a usage object or of one iteration, without what is billed beyond."""
    if not isinstance(values, dict):
        return None
    split = values.get("cache_creation") or {}
    found = Counts(
        input=_count(values, "input_tokens"),
        output=_count(values, "output_tokens"),
        cached=_count(values, "cache_read_input_tokens"),
        written=_count(values, "cache_creation_input_tokens"),
        written_5m=_count(split, "ephemeral_5m_input_tokens"),
        written_1h=_count(split, "ephemeral_1h_input_tokens"),
        searches=_count(values.get("server_tool_use") or {}, "web_search_requests"),
    )
    if any(getattr(found, name) == _UNSOUND for name in _NUMBERS):
        return None
    thought = _count(values.get("output_tokens_details") or {}, "thinking_tokens")
    return msgspec.structs.replace(found, thought=None if thought == _UNSOUND else thought)


def _billed_beyond(values: Mapping[str, Any]) -> list[Any]:
    """Return the iterations that the totals are without: all but the message's own."""
    found = values.get("iterations") or []
    if not isinstance(found, list):
        return [found]
    return [one for one in found if _kind(one) != "message"]


def _kind(iteration: object) -> object:
    return iteration.get("type") if isinstance(iteration, dict) else None


def _own(counts: Counts) -> Usage | None:
    if counts.input is None or counts.output is None:
        return None
    short, long = counts.written_5m or 0, counts.written_1h or 0
    written = short + long if counts.written is None else counts.written
    return Usage(
        input=counts.input,
        output=counts.output,
        cached=counts.cached or 0,
        cache_write=max(written, short + long) - short,
        cache_write_5m=short,
        reasoning=min(counts.thought or 0, counts.output),
        certain=counts.certain and short + long <= written,
        fees_nusd=(counts.searches or 0) * SEARCH_NUSD,
    )


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        input=one.input + other.input,
        output=one.output + other.output,
        cached=one.cached + other.cached,
        cache_write=one.cache_write + other.cache_write,
        cache_write_5m=one.cache_write_5m + other.cache_write_5m,
        reasoning=one.reasoning + other.reasoning,
        certain=one.certain and other.certain,
        fees_nusd=one.fees_nusd + other.fees_nusd,
    )


def _larger(one: int | None, other: int | None) -> int | None:
    return max((count for count in (one, other) if count is not None), default=None)


def _count(values: object, name: str) -> int | None:
    """Return a count, None where it is missing or null, `_UNSOUND` where it is not one."""
    if not isinstance(values, dict):
        return _UNSOUND
    value = values.get(name)
    if type(value) is float and value.is_integer():
        value = int(value)
    if value is None or (type(value) is int and 0 <= value < MOST_COUNT):
        return value
    return _UNSOUND


_UNSOUND: Final = -1
_NUMBERS: Final = (
    "input",
    "output",
    "cached",
    "written",
    "written_5m",
    "written_1h",
    "thought",
    "searches",
)
