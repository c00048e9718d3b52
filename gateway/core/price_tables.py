"""From prices that are partly known to a model whose every price is known.

A table is what somebody publishes: some prices, perhaps others above some input size. An operator's
override goes in first; then what is still missing takes the price of its dearest relative; then, of
several tables that may apply, the dearer price is taken line by line (`docs/pricing.md`).
"""

from collections.abc import Mapping, Sequence
from typing import Final, cast

import msgspec
from msgspec import structs

from gateway.core.ids import ModelName, Provider
from gateway.core.money import PER_MILLION
from gateway.core.pricing import (
    DEFAULT_TIER,
    CliffOverride,
    Model,
    Override,
    RateOverride,
    Rates,
    Schedule,
    Vocabulary,
    rates_at,
)

Partial = Mapping[str, int]
"""Prices by the name of their field in `Rates`, in its units; the others are not known."""


class Table(msgspec.Struct, frozen=True):
    """Prices, and those above some numbers of input tokens, ascending."""

    base: Partial
    above: tuple[tuple[int, Partial], ...] = ()


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model. In each tier any of its tables may apply; there is a default tier."""

    tiers: Mapping[str, tuple[Table, ...]]
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    vocabulary: Vocabulary = Vocabulary.UNKNOWN
    hidden_reasoning: bool = True


NOTHING: Final = Facts(tiers={DEFAULT_TIER: (Table({}),)})
"""Of a model nobody publishes anything of: it may have any tokenizer, and may think unseen."""


def overridden(facts: Facts, override: Override) -> Facts:
    """Return facts with what an operator says in their place.

    A rate takes the place of the default tier's. A published cliff or other tier never gets cheaper
    by it, only dearer: who knows better gives `above` or that tier's factor too.
    """
    own = _given(override)
    tiers = {name: tuple(_raised(t, own) for t in tables) for name, tables in facts.tiers.items()}
    default = tuple(_replaced(t, own, override.above) for t in facts.tiers[DEFAULT_TIER])
    tiers[DEFAULT_TIER] = default
    for name, ppm in override.tiers_ppm.items():
        tiers[name] = tuple(scaled(table, ppm) for table in default)
    return Facts(
        tiers=tiers,
        context_tokens=override.context_tokens or facts.context_tokens,
        max_output_tokens=override.max_output_tokens or facts.max_output_tokens,
        vocabulary=facts.vocabulary,
        hidden_reasoning=facts.hidden_reasoning
        if override.hidden_reasoning is None
        else override.hidden_reasoning,
    )


def lacking(facts: Facts) -> list[str]:
    """Return which prices nothing can stand in for, and are not known: of `input` and `output`."""
    bases = [table.base for table in facts.tiers[DEFAULT_TIER]]
    return [field for field in ("input", "output") if any(field not in base for base in bases)]


def model(provider: Provider, upstream_name: str, facts: Facts) -> Model:
    """Return a model with every price filled in. Its `input` must be known."""
    return Model(
        name=ModelName(f"{provider}/{upstream_name}"),
        provider=provider,
        upstream_name=upstream_name,
        tiers={name: _dearest([*map(_filled, tables)]) for name, tables in facts.tiers.items()},
        max_output_tokens=facts.max_output_tokens,
        context_tokens=facts.context_tokens,
        vocabulary=facts.vocabulary,
        hidden_reasoning=facts.hidden_reasoning,
    )


def scaled(table: Table, ppm: int) -> Table:
    """Return a table with every price as parts per million of what it was, rounded up."""

    def at(level: Partial) -> Partial:
        return {field: -(-rate * ppm // PER_MILLION) for field, rate in level.items()}

    return Table(at(table.base), tuple((tokens, at(level)) for tokens, level in table.above))


def _given(override: RateOverride) -> Partial:
    rates = {field: getattr(override, field) for field in RateOverride.__struct_fields__}
    return {field: rate for field, rate in rates.items() if rate is not None}


def _replaced(table: Table, own: Partial, above: CliffOverride | None) -> Table:
    if above is None:
        return Table({**table.base, **own}, _raised(table, own).above)
    return Table({**table.base, **own}, ((above.tokens, _given(above)),))


def _raised(table: Table, own: Partial) -> Table:
    return Table(
        _dearer(table.base, own),
        tuple((tokens, _dearer(level, own)) for tokens, level in table.above),
    )


def _dearer(known: Partial, own: Partial) -> Partial:
    return {**known, **{field: max(known.get(field, 0), rate) for field, rate in own.items()}}


def _filled(table: Table) -> Schedule:
    base = _rates(table.base)
    return Schedule(base, tuple((tokens, _above(base, level)) for tokens, level in table.above))


def _above(base: Rates, level: Partial) -> Rates:
    """Return a cliff's rates: what it does not say is as below it, or dearer as its relative is."""
    rates = _rates({"input": base.input, "output": base.output, **level})
    unsaid = [field for field in Rates.__struct_fields__ if field not in level]
    return structs.replace(rates, **_dearest_fields([base, rates], unsaid))


def _rates(known: Partial) -> Rates:
    """Return all rates: the missing ones as their dearest relative, or free where they have none."""
    text = known["input"]
    output = known.get("output", text)
    write = known.get("cache_write", text)
    relatives = {
        "output": output,
        "cached_input": text,
        "cache_write": write,
        "cache_write_1h": write,
        "audio_input": text,
        "cached_audio_input": known.get("audio_input", known.get("cached_input", text)),
        "audio_output": output,
        "image_output": output,
    }
    return msgspec.convert({**relatives, **known}, Rates)


def _dearest(schedules: Sequence[Schedule]) -> Schedule:
    """Return a schedule that is nowhere cheaper than any of some."""
    if len(schedules) == 1:
        return schedules[0]
    cliffs = sorted({tokens for schedule in schedules for tokens, _ in schedule.above})
    return Schedule(
        _dearest_rates([schedule.base for schedule in schedules]),
        tuple(
            (tokens, _dearest_rates([rates_at(schedule, tokens + 1) for schedule in schedules]))
            for tokens in cliffs
        ),
    )


def _dearest_rates(many: Sequence[Rates]) -> Rates:
    return msgspec.convert(_dearest_fields(many, Rates.__struct_fields__), Rates)


def _dearest_fields(many: Sequence[Rates], fields: Sequence[str]) -> dict[str, int]:
    return {field: max(cast(int, getattr(rates, field)) for rates in many) for field in fields}
