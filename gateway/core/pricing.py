"""Price book to money: the upper bound of a request, and the cost of what was used.

Sources of the formulas: `docs/pricing.md`. Every price is nano-dollars per million tokens; a
request's lines are summed, then rounded up once. Where a price is missing it was filled in with its
dearest relative when the book was made, so that no line is ever free by accident.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from gateway.core.ids import ModelName, Provider


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of token costs, in nano-dollars per million; `per_request` in nano-dollars."""

    input: int
    output: int
    cached_input: int
    cache_write: int
    cache_write_1h: int
    audio_input: int
    audio_output: int
    image_output: int
    per_request: int = 0


class Schedule(msgspec.Struct, frozen=True):
    """Rates that change with the size of the input.

    `above` holds (tokens, rates), ascending: a request whose whole input, cached or not, has more
    than `tokens` is priced whole by these rates.
    """

    base: Rates
    above: tuple[tuple[int, Rates], ...] = ()


class Vocabulary(StrEnum):
    """Which tokenizer gives a model's own count; UNKNOWN where only bytes bound it."""

    CL100K = "cl100k_base"
    O200K = "o200k_base"
    UNKNOWN = "unknown"


DEFAULT_TIER = "default"


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a model a provider sells. `tiers` always has `DEFAULT_TIER`.

    `hidden_reasoning`: it may think, and bill, tokens that a stream never shows.
    """

    name: ModelName
    provider: Provider
    upstream_name: str
    tiers: Mapping[str, Schedule]
    max_output_tokens: int | None
    context_tokens: int | None
    vocabulary: Vocabulary
    hidden_reasoning: bool


class PriceBook(msgspec.Struct, frozen=True):
    """Every priced model by its full name; `version` names the sources and is kept in each trace."""

    version: str
    models: Mapping[ModelName, Model]
