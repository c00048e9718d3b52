"""What another list of prices would change of a book, and what a book leaves open. Plain comparisons."""

from collections.abc import Collection, Iterator, Mapping
from datetime import date
from enum import StrEnum
from typing import cast

import msgspec

from gateway.core.ids import ModelName, Provider
from gateway.core.pricing import Model, PriceBook, Rates, Schedule, rates_at


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """Models by what happens to them. `dearer`: any of its prices rises; `cheaper`: some fall, none rises.

    `changed` keeps its prices, but not its tiers or its window.
    """

    new: tuple[ModelName, ...]
    dearer: tuple[ModelName, ...]
    cheaper: tuple[ModelName, ...]
    changed: tuple[ModelName, ...]
    gone: tuple[ModelName, ...]


class Gap(StrEnum):
    """Kinds of what a price book leaves open."""

    NO_PRICE = "no_price"
    NO_WINDOW = "no_context_window"
    NO_MAXIMUM = "no_max_output"
    NO_EFFECT = "no_effect"
    OLD = "old"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that an operator may want to mend: of which model, name, provider or list."""

    kind: Gap
    subject: str
    message: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a configuration asks of a book.

    `wanted` are the models that it names, each with where; `overrides` those under `prices:`; `plain`
    is the book without these. `ceiling` is the workspace's own limit of output tokens.
    """

    providers: Collection[Provider]
    wanted: Mapping[ModelName, str]
    overrides: Collection[ModelName]
    plain: PriceBook
    ceiling: int | None


def changes(old: PriceBook, new: PriceBook) -> Changes:
    """Return what becomes of each model when a book takes the place of another."""
    kept = [name for name in old.models if name in new.models]
    moved = {name: _moved(old.models[name], new.models[name]) for name in kept}
    return Changes(
        new=tuple(sorted(new.models.keys() - old.models.keys())),
        dearer=tuple(name for name in sorted(kept) if moved[name][1]),
        cheaper=tuple(name for name in sorted(kept) if moved[name] == (True, False)),
        changed=tuple(
            name
            for name in sorted(kept)
            if moved[name] == (False, False) and old.models[name] != new.models[name]
        ),
        gone=tuple(sorted(old.models.keys() - new.models.keys())),
    )


def findings(
    book: PriceBook, plan: Plan, published_on: date | None, today: date, days: int
) -> list[Finding]:
    """Return everything that a book leaves open; `published_on` is None where nobody publishes prices.

    Prices are old from the day on that lies `days` after theirs.
    """
    found = [*_unpriced(book, plan), *_unbounded(book, plan), *_idle(book, plan)]
    if published_on is not None and (today - published_on).days > days:
        message = f"The published prices are of {published_on}, more than {days} days ago."
        found.append(Finding(kind=Gap.OLD, subject=book.version, message=message))
    return found


def _moved(old: Model, new: Model) -> tuple[bool, bool]:
    """Return whether any price of a model falls, and whether any rises."""
    falls = rises = False
    for tier in old.tiers.keys() & new.tiers.keys():
        for before, after in _pairs(old.tiers[tier], new.tiers[tier]):
            for field in Rates.__struct_fields__:
                step = cast(int, getattr(after, field)) - cast(int, getattr(before, field))
                falls, rises = falls or step < 0, rises or step > 0
    return falls, rises


def _pairs(old: Schedule, new: Schedule) -> Iterator[tuple[Rates, Rates]]:
    yield old.base, new.base
    for tokens in {tokens for tokens, _ in (*old.above, *new.above)}:
        yield rates_at(old, tokens + 1), rates_at(new, tokens + 1)


def _unpriced(book: PriceBook, plan: Plan) -> Iterator[Finding]:
    for name, where in plan.wanted.items():
        if name not in book.models:
            message = f"{where} asks for it, and it has no price: such calls are refused."
            yield Finding(kind=Gap.NO_PRICE, subject=name, message=message)
    sellers = {model.provider for model in book.models.values()}
    for provider in sorted(set(plan.providers) - sellers):
        message = "No price of this provider is known: put its models under prices:."
        yield Finding(kind=Gap.NO_PRICE, subject=provider, message=message)


def _unbounded(book: PriceBook, plan: Plan) -> Iterator[Finding]:
    for name in dict.fromkeys((*plan.wanted, *plan.overrides)):
        model = book.models.get(name)
        if model is None:
            continue
        if model.context_tokens is None:
            message = (
                "No context window is known: calls with images, files or stored input are refused."
            )
            yield Finding(kind=Gap.NO_WINDOW, subject=name, message=message)
        if (model.max_output_tokens or plan.ceiling or model.context_tokens) is None:
            message = "Nothing bounds its output: calls without a limit of their own are refused."
            yield Finding(kind=Gap.NO_MAXIMUM, subject=name, message=message)


def _idle(book: PriceBook, plan: Plan) -> Iterator[Finding]:
    for name in plan.overrides:
        model = book.models.get(name)
        if model is None:
            message = "Under prices:, but no such provider is configured."
            yield Finding(kind=Gap.NO_EFFECT, subject=name, message=message)
        elif plan.plain.models.get(name) == model:
            message = "Under prices:, but it says only what is published anyway."
            yield Finding(kind=Gap.NO_EFFECT, subject=name, message=message)
