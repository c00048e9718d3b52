"""Files of prices as the project genai-prices publishes them, read strictly.

A file replaces the whole list that came with the package, so it is believed entirely or not at all:
a member that is not known here may change what something costs, and refuses the file. Only units of
prices may be new, since a model that is priced in one is left out (`published`).

Source of the format: github.com/pydantic/genai-prices, prices/new_data/v2/data.schema.json.
"""

import re
from collections.abc import Sequence
from datetime import date, time
from decimal import Decimal
from json import JSONDecoder
from typing import Any, Final

import msgspec
from genai_prices.types import (
    ClauseAnd,
    ClauseContains,
    ClauseEndsWith,
    ClauseEquals,
    ClauseOr,
    ClauseRegex,
    ClauseStartsWith,
    ConditionalPrice,
    MatchLogic,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider as Vendor,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from gateway.store.price_lists import NotPrices, PriceList, digest

_MOST_USD: Final = Decimal(10**6)
"""No unit costs a million dollars: a larger number is another unit, or a slip."""
_MOST_PATTERN: Final = 500
_DIGEST_SHOWN: Final = 8


def read(content: bytes, published_on: date, package: str) -> PriceList:
    """Return the list in a file, whose version begins with that of the package that reads it.

    Raises:
        NotPrices: it is not exactly such a list, or has nothing in it.
    """
    try:
        _DECODER.decode(content.decode())
        vendors = msgspec.json.decode(content, type=list[_Vendor])
        found = [_vendor(one) for one in vendors]
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise NotPrices(_reason(error)) from None
    if len({one.id for one in found}) < len(found):
        raise NotPrices("a provider is in it twice")
    if not any(one.models for one in found):
        raise NotPrices("it holds no model")
    shown = digest(content)[:_DIGEST_SHOWN]
    return PriceList(f"{package} + file {published_on} {shown}", published_on, found)


def _once(pairs: list[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("an object has a member twice")


_DECODER: Final = JSONDecoder(object_pairs_hook=_once)


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the file; what is not named here refuses it. Texts for people are not looked at."""


class _Tier(_Strict, frozen=True):
    start: int
    price: Decimal


class _Tiered(_Strict, frozen=True):
    base: Decimal
    tiers: list[_Tier]


_Prices = dict[str, Decimal | _Tiered | None]


class _Constraint(_Strict, frozen=True):
    start_date: date | None = None
    start_time: time | None = None
    end_time: time | None = None


class _Conditional(_Strict, frozen=True):
    prices: _Prices
    constraint: _Constraint | None = None


class _Variant(_Strict, frozen=True):
    when: dict[str, str]
    prices: _Prices
    constraint: _Constraint | None = None


class _Match(_Strict, frozen=True, rename={"or_": "or", "and_": "and"}):
    equals: str | None = None
    starts_with: str | None = None
    ends_with: str | None = None
    contains: str | None = None
    regex: str | None = None
    or_: "list[_Match] | None" = None
    and_: "list[_Match] | None" = None


class _Model(_Strict, frozen=True):
    id: str
    match: _Match
    prices: _Prices | list[_Conditional]
    name: Any = None
    description: Any = None
    context_window: int | None = None
    price_comments: Any = None
    deprecated: Any = None
    price_variants: list[_Variant] | None = None


class _Vendor(_Strict, frozen=True):
    id: str
    name: str
    api_pattern: str
    models: list[_Model]
    pricing_urls: Any = None
    description: Any = None
    price_comments: Any = None
    model_match: Any = None
    provider_match: Any = None
    extractors: Any = None
    fallback_model_providers: Any = None


def _vendor(one: _Vendor) -> Vendor:
    return Vendor(
        id=one.id,
        name=one.name,
        api_pattern=_pattern(one.api_pattern),
        models=[_model(model) for model in one.models],
    )


def _model(one: _Model) -> ModelInfo:
    if one.context_window is not None and one.context_window < 1:
        raise ValueError(f"the window of {one.id!r} is not above zero")
    return ModelInfo(
        id=one.id,
        match=_match(one.match),
        context_window=one.context_window,
        prices=_standards(one.prices),
        price_variants=[_variant(variant) for variant in one.price_variants or ()],
    )


def _standards(prices: _Prices | list[_Conditional]) -> ModelPrice | list[ConditionalPrice]:
    if isinstance(prices, dict):
        return _prices(prices)
    if not prices:
        raise ValueError("a list of prices is empty")
    return [ConditionalPrice(_constraint(p.constraint), prices=_prices(p.prices)) for p in prices]


def _variant(one: _Variant) -> PriceVariant:
    return PriceVariant(one.when, _prices(one.prices), _constraint(one.constraint))


def _constraint(one: _Constraint | None) -> StartDateConstraint | TimeOfDateConstraint | None:
    match one:
        case None:
            return None
        case _Constraint(start_date=date() as start, start_time=None, end_time=None):
            return StartDateConstraint(start)
        case _Constraint(start_date=None, start_time=time() as start, end_time=time() as end):
            return TimeOfDateConstraint(start, end)
        case _:
            raise ValueError("a constraint is neither a day nor a time of day")


def _prices(prices: _Prices) -> ModelPrice:
    return ModelPrice(
        **{unit: _price(price) for unit, price in prices.items() if price is not None}
    )


def _price(price: Decimal | _Tiered) -> Decimal | TieredPrices:
    if isinstance(price, Decimal):
        return _amount(price)
    starts = [tier.start for tier in price.tiers]
    if starts != sorted(set(starts)) or any(start < 0 for start in starts):
        raise ValueError("the tiers of a price do not ascend")
    tiers = [Tier(tier.start, _amount(tier.price)) for tier in price.tiers]
    return TieredPrices(_amount(price.base), tiers)


def _amount(price: Decimal) -> Decimal:
    if not price.is_finite() or not 0 <= price <= _MOST_USD:
        raise ValueError(f"a price is {price}, which nothing costs")
    return price


def _match(one: _Match) -> MatchLogic:  # noqa: PLR0911  # one arm a clause
    said = [field for field in one.__struct_fields__ if getattr(one, field) is not None]
    if len(said) != 1:
        raise ValueError("a match does not say exactly one thing")
    match one:
        case _Match(equals=str(text)):
            return ClauseEquals(text)
        case _Match(starts_with=str(text)):
            return ClauseStartsWith(text)
        case _Match(ends_with=str(text)):
            return ClauseEndsWith(text)
        case _Match(contains=str(text)):
            return ClauseContains(text)
        case _Match(regex=str(text)):
            return ClauseRegex(_pattern(text))
        case _Match(or_=list(parts)):
            return ClauseOr(_matches(parts))
        case _:
            return ClauseAnd(_matches(one.and_ or ()))


def _matches(parts: Sequence[_Match]) -> list[MatchLogic]:
    return [_match(part) for part in parts]


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error:
        raise ValueError("a pattern is no regular expression") from None
    if len(text) > _MOST_PATTERN:
        raise ValueError("a pattern is longer than any that is published")
    return text


def _reason(error: Exception) -> str:
    """Return why a file was refused; a decoder's words name places and types, never what is there."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error)
