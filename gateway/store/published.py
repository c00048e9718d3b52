"""What vendors publish of their prices, as `genai-prices` has it, in whole numbers.

It comes with the package, or from a file of the same data that an operator gave (`price_files`).
The package answers "which price fits this name best", and guesses where it does not know. A price
that guards a cap may not be guessed, so this takes from it only what holds for certain: models under
the ids that it spells out, prices of units that are metered here, and of several prices that may
apply the dearest. Whatever it can't take so is left out, and then has no price (`docs/pricing.md`).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final
from urllib.parse import urlsplit

import genai_prices
import msgspec
from genai_prices.data import providers as _PROVIDERS  # noqa: N812
from genai_prices.types import (
    ClauseEquals,
    ClauseOr,
    MatchLogic,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider as Vendor,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from gateway.core.money import PER_DOLLAR
from gateway.core.price_tables import Facts, Partial, Table, scaled
from gateway.core.pricing import DEFAULT_TIER
from gateway.store import bedrock_ids as bedrock
from gateway.store.price_lists import PriceList


class Published(msgspec.Struct, frozen=True):
    """One model, and every id it is sold under."""

    names: tuple[str, ...]
    facts: Facts


PACKAGED: Final = PriceList(
    f"genai-prices {genai_prices.__version__}", date(2026, 11, 10), _PROVIDERS
)
"""The package's own list. Its day is that of the release, by `uv.lock` (a test compares them)."""


def vendor(listed: PriceList, place: str, name: str) -> Vendor | None:
    """Return whose prices hold at a base URL: by its address, else by the provider's own name.

    A name says nothing where the address is another of that vendor's: a regional one costs more.
    """
    for one in listed.vendors:
        if re.match(one.api_pattern, place):
            return one if _is_listed_place(one.id, place) else None
    host = urlsplit(place).hostname or ""
    named = next((one for one in listed.vendors if one.id == name), None)
    if named is None or re.search(named.api_pattern.removeprefix("https://"), host):
        return None
    return named


_LISTED_HOSTS: Final = {
    "google": re.compile(r"generativelanguage\.googleapis\.com|aiplatform\.googleapis\.com")
}
"""Where a vendor has more hosts than its prices are for: Vertex's regional ones may cost more."""


def _is_listed_place(vendor_id: str, place: str) -> bool:
    hosts = _LISTED_HOSTS.get(vendor_id)
    return hosts is None or hosts.fullmatch(urlsplit(place).hostname or "") is not None


def models(seller: Vendor, place: str, today: date) -> Iterator[Published]:
    """Yield every model whose price is certain at a place on a UTC day."""
    surcharges = _SURCHARGES.get(seller.id, {})
    for model in seller.models:
        tiers = _tiers(model, today)
        names = _names_at(seller, model, place)
        if tiers is not None and names:
            priced = {**tiers, **_surcharged(tiers, surcharges)}
            facts = Facts(tiers=priced, context_tokens=_window(model.context_window))
            yield Published(names, facts)


_BILLS_UNSEEN: Final = re.compile(r"-search(-|$)|deep-research")
"""Ids of models that search the web by themselves, and bill each search: no token price bounds them."""
_TAKES_NO_OUTPUT: Final = re.compile("embed|^voyage-|^bge-")
_BILLED_TOO: Final = {"audio": "input_audio_mtok", "sonar": "requests_kcount"}
"""What models with such a word in their id bill, even where no price of it is listed."""
_SNAPSHOTS: Final = {
    "anthropic": (
        "claude-3-5-haiku-20241022",
        "claude-3-7-sonnet-20250219",
        "claude-3-haiku-20240307",
        "claude-haiku-4-5-20251001",
        "claude-opus-4-1-20250805",
        "claude-opus-4-5-20251101",
        "claude-sonnet-4-20250514",
        "claude-sonnet-4-5-20250929",
    ),
    "openai": ("gpt-5-nano-2025-08-07",),
}
"""Ids that the package knows by how they begin alone. Sources: `ChatModel` of the openai package,
`Model` of the anthropic package (2.x and 0.70)."""


def _names_at(seller: Vendor, model: ModelInfo, place: str) -> tuple[str, ...]:
    """Return every id of a model that its price is certain for at a place."""
    if seller.id == bedrock.VENDOR:
        return bedrock.names(seller, model, place, _names(model, ()))
    return _names(model, _SNAPSHOTS.get(seller.id, ()))


def _names(model: ModelInfo, snapshots: Sequence[str]) -> tuple[str, ...]:
    """Return every id that is spelt out for a model, without those that bill what nobody sees."""
    spelt = [model.id, *_spelt(model.match)]
    spelt += [name for name in snapshots if model.is_match(name)]
    return tuple(dict.fromkeys(name for name in spelt if not _BILLS_UNSEEN.search(name)))


def _spelt(match: MatchLogic) -> Iterator[str]:
    match match:
        case ClauseEquals():
            yield match.equals
        case ClauseOr():
            for clause in match.or_:
                yield from _spelt(clause)
        case _:
            return


def _window(published: int | None) -> int | None:
    """Return the most tokens that a published window may stand for: "128k" may be 128 * 1024."""
    if published is None or published % 1000:
        return published
    return -(-published * 105 // 100)


_SURCHARGES: Final[Mapping[str, Mapping[str, int]]] = {"anthropic": {"us": 1_100_000}}
"""What a vendor asks for beside any tier, in parts per million of its price; not in the list.

Source: platform.claude.com/docs/en/manage-claude/data-residency (`inference_geo`), November 2026.
"""


def _surcharged(
    tiers: Mapping[str, tuple[Table, ...]], surcharges: Mapping[str, int]
) -> dict[str, tuple[Table, ...]]:
    """Return the tiers that a surcharge makes of others, under the names that dialects give them."""
    return {
        name if tier == DEFAULT_TIER else f"{tier}+{name}": tuple(scaled(t, ppm) for t in tables)
        for name, ppm in surcharges.items()
        for tier, tables in tiers.items()
    }


def _tiers(model: ModelInfo, today: date) -> dict[str, tuple[Table, ...]] | None:
    """Return all tables that may apply in each tier; None where they are not all that is billed."""
    variants = [v for v in model.price_variants or () if _has_begun(v.constraint, today)]
    standards = _standards(model, today)
    if not all(_is_sold(model.id, prices) for prices in standards):
        return None
    tiers = {}
    for tier in [DEFAULT_TIER, *filter(None, map(_tier, variants))]:
        applicable = [p for standard in standards for p in _in_tier(standard, tier, variants)]
        if not all(map(_is_metered, applicable)):
            return None
        tiers[tier] = tuple(_table(model.id, prices) for prices in applicable)
    return tiers


_BATCH: Final = {"processing": "batch"}
"""Batches have an interface of their own, which is not served here."""
_TIER_KEYS: Final = ("service_tier", "speed")

Prices = Mapping[str, Decimal | TieredPrices]


def _tier(variant: PriceVariant) -> str | None:
    """Return the tier that a variant is for; None where it depends on something else."""
    if len(variant.when) == 1:
        return next((variant.when[key] for key in _TIER_KEYS if key in variant.when), None)
    return None


def _has_begun(constraint: object, today: date) -> bool:
    return not isinstance(constraint, StartDateConstraint) or today >= constraint.start_date


def _standards(model: ModelInfo, today: date) -> Sequence[Prices]:
    """Return the prices of the day: one, or several where they change with the hour."""
    if isinstance(model.prices, ModelPrice):
        return [_prices(model.prices)]
    found = []
    for conditional in reversed(model.prices):
        if _has_begun(conditional.constraint, today):
            found.append(_prices(conditional.prices))
            if not isinstance(conditional.constraint, TimeOfDateConstraint):
                return found
    return found + [_prices(conditional.prices) for conditional in model.prices[:1]]


def _prices(prices: ModelPrice) -> dict[str, Decimal | TieredPrices]:
    known: dict[str, Any] = vars(prices)
    return {key: price for key, price in known.items() if price is not None}


def _in_tier(standard: Prices, tier: str, variants: Sequence[PriceVariant]) -> Iterator[Prices]:
    """Yield the prices of a tier, once for itself and once for each other condition that may hold."""
    prices = _over(standard, [v for v in variants if _tier(v) == tier])
    yield prices
    for variant in variants:
        if _tier(variant) is None and variant.when != _BATCH:
            yield _over(prices, [variant])


def _over(standard: Prices, variants: Sequence[PriceVariant]) -> Prices:
    """Return prices with those of variants in their place; of two variants the first holds."""
    prices = dict(standard)
    for variant in reversed(variants):
        prices.update(_prices(variant.prices))
    return prices


_FIELDS: Final = {
    "input_mtok": "input",
    "input_image_mtok": "input",
    "input_video_mtok": "input",
    "cache_read_mtok": "cached_input",
    "cache_audio_read_mtok": "cached_audio_input",
    "cache_image_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "cache_write_5m_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "audio_input",
    "output_mtok": "output",
    "output_video_mtok": "output",
    "output_reasoning_mtok": "output",
    "output_audio_mtok": "audio_output",
    "output_image_mtok": "image_output",
    "requests_kcount": "per_request",
}
"""Which line of a bill each published price is for. Kinds of tokens that usage does not tell apart
share a line, at the dearest of them."""
_PER_USE: Final = {"web_searches_kcount", "storage_searches_kcount"}
"""Priced by the use of a tool that a request must name, and requests that name one are refused."""


def _is_metered(prices: Prices) -> bool:
    return prices.keys() <= _FIELDS.keys() | _PER_USE


def _is_sold(name: str, prices: Prices) -> bool:
    """Return whether all that a model is sure to bill has a price: none is not a price of zero."""
    needed = {"input_mtok"} | {key for word, key in _BILLED_TOO.items() if word in name}
    if not _TAKES_NO_OUTPUT.search(name):
        needed.add("output_mtok")
    return needed <= prices.keys()


def _table(name: str, prices: Prices) -> Table:
    cliffs = {
        tier.start
        for price in prices.values()
        if isinstance(price, TieredPrices)
        for tier in price.tiers
    }
    level = _claude_level if _CLAUDE in name else _level
    above = tuple((tokens, level(prices, tokens)) for tokens in sorted(cliffs))
    return Table(level(prices, -1), above)


_CLAUDE: Final = "claude"


def _claude_level(prices: Prices, cliff: int) -> Partial:
    """Return a level of a Claude's prices, whoever sells it: writing for an hour costs twice the input.

    Resellers' lists leave that out. Source: platform.claude.com/docs/en/about-claude/pricing.
    """
    level = _level(prices, cliff)
    return {"cache_write_1h": 2 * level["input"], **level}


def _level(prices: Prices, cliff: int) -> Partial:
    """Return the prices just above a cliff; -1 for those below all."""
    level: dict[str, int] = {}
    for key, price in prices.items():
        field = _FIELDS.get(key)
        if field is not None:
            level[field] = max(level.get(field, 0), _nano(_at(price, cliff), key))
    return level


def _at(price: Decimal | TieredPrices, cliff: int) -> Decimal:
    if isinstance(price, Decimal):
        return price
    passed = [tier.price for tier in price.tiers if tier.start <= cliff]
    return passed[-1] if passed else price.base


def _nano(usd: Decimal, key: str) -> int:
    """Return nano-dollars per million tokens, or for one request, rounded up where not whole."""
    per = 1000 if key == "requests_kcount" else 1
    return int((usd * PER_DOLLAR / per).to_integral_value(ROUND_CEILING))
