"""Price book to money: the upper bound of a request, and the cost of what was used.

Sources of the formulas: `docs/pricing.md`. Every price is nano-dollars per million tokens; a
request's lines are summed, then rounded up once. Where a price is missing it was filled in with its
dearest relative when the book was made, so that no line is ever free by accident.

The two halves agree: for every usage within the tokens that a bound was made for, and every tier
that a request can land on, `cost` is at most `upper_bound`.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from gateway.core.calls import Asked
from gateway.core.events import Usage
from gateway.core.ids import ModelName, Provider
from gateway.core.money import PER_MILLION, ZERO, NanoDollars, NanoDollarsPerMillion, charge
from gateway.core.tokens import Vocabulary as Vocabulary, text_bound  # noqa: PLC0414  # part of a model


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of token costs, in nano-dollars per million; `per_request` in nano-dollars."""

    input: NanoDollarsPerMillion
    output: NanoDollarsPerMillion
    cached_input: NanoDollarsPerMillion
    cache_write: NanoDollarsPerMillion
    cache_write_1h: NanoDollarsPerMillion
    audio_input: NanoDollarsPerMillion
    audio_output: NanoDollarsPerMillion
    image_output: NanoDollarsPerMillion
    cached_audio_input: NanoDollarsPerMillion = NanoDollarsPerMillion(0)
    per_request: NanoDollars = ZERO


class Schedule(msgspec.Struct, frozen=True):
    """Rates that change with the size of the input.

    `above` holds (tokens, rates), ascending: a request whose whole input, cached or not, has more
    than `tokens` is priced whole by these rates.
    """

    base: Rates
    above: tuple[tuple[int, Rates], ...] = ()


DEFAULT_TIER: Final = "default"
AUTO_TIER: Final = "auto"
"""The provider's choice: its project's default, which may be any tier."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a model a provider sells. `tiers` always has `DEFAULT_TIER`.

    `context_tokens` bounds what one prompt can be, so it may be above what the vendor publishes.
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


class RateOverride(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's own rates; None leaves what is published, or fills in the dearest relative."""

    input: NanoDollarsPerMillion | None = None
    output: NanoDollarsPerMillion | None = None
    cached_input: NanoDollarsPerMillion | None = None
    cache_write: NanoDollarsPerMillion | None = None
    cache_write_1h: NanoDollarsPerMillion | None = None
    audio_input: NanoDollarsPerMillion | None = None
    audio_output: NanoDollarsPerMillion | None = None
    image_output: NanoDollarsPerMillion | None = None
    per_request: NanoDollars | None = None


class CliffOverride(RateOverride, frozen=True, kw_only=True):
    """An operator's rates for input of more than `tokens`."""

    tokens: int


class Override(RateOverride, frozen=True, kw_only=True):
    """What an operator says of a model: it adds to, and wins over, what is published.

    `above` takes the place of every published cliff. `tiers_ppm` gives a tier's price as parts per
    million of the default tier's.
    """

    above: CliffOverride | None = None
    tiers_ppm: Mapping[str, int] = msgspec.field(default_factory=dict)
    max_output_tokens: int | None = None
    context_tokens: int | None = None
    hidden_reasoning: bool | None = None


_TOKENS_PER_MESSAGE: Final = 8
_TOKENS_PER_TOOL: Final = 16
_TOKENS_PER_PROMPT: Final = 2
"""What a text by itself may have more than between the quotes and commas of a list, which can be parts
of its tokens: a thousand times `, ` are 2,000 tokens apart, and 1,000 as JSON."""
_OWN_PROMPT: Final = 400
_OWN_PROMPT_WITH_TOOLS: Final = 2_500
"""Tokens a vendor adds of its own, at most (providers' tool prompts have up to ~2,000)."""
_MOST_TOKENS: Final = 10**9
"""No answer is longer; usage above it is not believed either."""


def input_bound(asked: Asked, model: Model, counted: int | None = None) -> int | None:
    """Return the most input tokens that a request can be billed for; None where nothing bounds it.

    `counted` is an exact count of its text in the model's vocabulary, where the caller made one.
    `asked.prompts` must count every text of an embeddings call, for each may fill the window.
    """
    window = None if model.context_tokens is None else model.context_tokens * asked.prompts
    if asked.hides_input:
        return window
    tokens = _text_tokens(asked, model.vocabulary, counted) + _framing(asked)
    return tokens if window is None else min(window, tokens)


def _text_tokens(asked: Asked, vocabulary: Vocabulary, counted: int | None) -> int:
    text = text_bound(asked.text_bytes, vocabulary)
    if counted is not None and vocabulary is not Vocabulary.UNKNOWN:
        text = min(text, -(-counted * 102 // 100) + _TOKENS_PER_PROMPT * asked.prompts)
    schema = text_bound(asked.schema_bytes, vocabulary) if asked.schema_bytes else 0
    return text + schema + asked.token_ids


def _framing(asked: Asked) -> int:
    own = _OWN_PROMPT_WITH_TOOLS if asked.tools else _OWN_PROMPT
    return own + _TOKENS_PER_MESSAGE * asked.messages + _TOKENS_PER_TOOL * asked.tools


def output_bound(asked: Asked, model: Model, ceiling: int | None) -> int | None:
    """Return the most output tokens of one choice; None where nothing bounds it.

    `ceiling` is the lowest that applies to one choice, None where there is none.
    """
    if not asked.makes_output:
        return 0
    bounds = (asked.output_tokens, ceiling, model.max_output_tokens, model.context_tokens)
    return min((bound for bound in bounds if bound is not None), default=None)


def upper_bound(model: Model, asked: Asked, input_tokens: int, output_tokens: int) -> NanoDollars:
    """Return the most that a request can cost; `output_tokens` are those of one choice."""
    output = asked.choices * output_tokens
    return max(
        charge(
            (
                (input_tokens, _dearest_input(rates, with_audio=asked.hides_input)),
                (output, _dearest_output(rates, with_audio=asked.audio_output)),
            ),
            flat=rates.per_request,
        )
        for rates in _reachable(model, asked.tier, input_tokens)
    )


def affordable_output(model: Model, asked: Asked, input_tokens: int, left: NanoDollars) -> int:
    """Return the most output tokens of one choice whose `upper_bound` is within `left`; else 0.

    Never above 10^9, where output is free.
    """
    return max(
        0,
        min(
            _affordable(r, asked, input_tokens, left)
            for r in _reachable(model, asked.tier, input_tokens)
        ),
    )


def _affordable(rates: Rates, asked: Asked, input_tokens: int, left: NanoDollars) -> int:
    """Solve `input + output <= left` for the output: exact, as both sides are whole numbers."""
    room = (left - rates.per_request) * PER_MILLION
    room -= input_tokens * _dearest_input(rates, with_audio=asked.hides_input)
    each = asked.choices * _dearest_output(rates, with_audio=asked.audio_output)
    if room < 0 or each == 0:
        return -1 if room < 0 else _MOST_TOKENS
    return min(_MOST_TOKENS, room // each)


def is_tier_priced(model: Model, tier: str | None) -> bool:
    """Return whether a tier's own price is known; the bound of any other is that of the dearest."""
    return tier is None or tier == AUTO_TIER or tier in model.tiers


def cost(model: Model, usage: Usage, tier: str | None) -> NanoDollars:
    """Return what a usage costs in the tier that served it (None: the default one).

    A cliff is chosen by the whole input that was reported. A tier that the book does not know, and
    `auto`, cost as the dearest. Numbers that contradict each other cost as their dearest kind.
    """
    tokens = usage.heard
    schedules = (
        model.tiers.values() if _is_any_tier(model, tier) else (model.tiers[tier or DEFAULT_TIER],)
    )
    return max(_charged(rates_at(schedule, tokens), usage, tokens) for schedule in schedules)


def rates_at(schedule: Schedule, input_tokens: int) -> Rates:
    """Return the rates of a request with so many input tokens in all."""
    passed = [rates for tokens, rates in schedule.above if input_tokens > tokens]
    return passed[-1] if passed else schedule.base


def _charged(rates: Rates, usage: Usage, input_tokens: int) -> NanoDollars:
    if not usage.certain:
        return charge(
            (
                (input_tokens, _dearest_input(rates, with_audio=_has_audio(usage))),
                (usage.spoken, _dearest_output(rates, with_audio=usage.audio_output > 0)),
            ),
            flat=rates.per_request + usage.fees_nusd,
        )
    return charge(
        (
            (usage.input, rates.input),
            (usage.cached, rates.cached_input),
            (usage.cached_audio, max(rates.cached_input, rates.cached_audio_input)),
            (usage.cache_write, _dearest_write(rates)),
            (usage.cache_write_5m, rates.cache_write),
            (usage.audio_input, rates.audio_input),
            (usage.output, _text_output(rates, usage)),
            (usage.audio_output, rates.audio_output),
            (usage.image_output or 0, rates.image_output),
        ),
        flat=rates.per_request + usage.fees_nusd,
    )


def _has_audio(usage: Usage) -> bool:
    return usage.audio_input + usage.cached_audio > 0


def _text_output(rates: Rates, usage: Usage) -> NanoDollarsPerMillion:
    """Return the price of output that is text, or may be images where nothing tells them apart."""
    return rates.output if usage.image_output is not None else max(rates.output, rates.image_output)


def _dearest_write(rates: Rates) -> NanoDollarsPerMillion:
    """Return the price of a cache write whose time to live is long, or not told."""
    return max(rates.cache_write, rates.cache_write_1h)


def _dearest_input(rates: Rates, *, with_audio: bool) -> NanoDollarsPerMillion:
    text = max(rates.input, rates.cached_input, _dearest_write(rates))
    return max(text, rates.audio_input, rates.cached_audio_input) if with_audio else text


def _dearest_output(rates: Rates, *, with_audio: bool) -> NanoDollarsPerMillion:
    """Return the price of output before it is known: text or image, and audio if asked."""
    text = max(rates.output, rates.image_output)
    return max(text, rates.audio_output) if with_audio else text


def _is_any_tier(model: Model, tier: str | None) -> bool:
    return tier is not None and tier not in model.tiers


def _reachable(model: Model, tier: str | None, input_tokens: int) -> Iterator[Rates]:
    """Yield all rates that a request may be billed at, of which it may use less than it could.

    A host may serve a request in its default tier when the one asked for is full.
    """
    names = model.tiers if _is_any_tier(model, tier) else {tier or DEFAULT_TIER, DEFAULT_TIER}
    for name in names:
        schedule = model.tiers[name]
        yield schedule.base
        yield from (rates for tokens, rates in schedule.above if tokens < input_tokens)
