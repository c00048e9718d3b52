"""The price book: what is published, what the operator says of it, and what is filled in.

Made once at start and at each reload, so that a call looks a model up by its exact name and finds
every price there is. A model without a price is not in the book, and is refused (`docs/pricing.md`).
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date
from hashlib import blake2b
from typing import Final

import msgspec
from msgspec import structs

from gateway.core.ids import ModelName, Provider
from gateway.core.money import PER_DOLLAR
from gateway.core.price_tables import NOTHING, Facts, Table, lacking, model, overridden
from gateway.core.pricing import DEFAULT_TIER, Override, PriceBook, Vocabulary
from gateway.errors import ConfigurationInvalid
from gateway.store.price_lists import PriceList

SANDBOX_URL: Final = "sandbox:"
"""Where the built-in provider is, whatever name it was configured under."""


def compile_book(
    places: Mapping[Provider, str],
    overrides: Mapping[ModelName, Override],
    today: date,
    listed: PriceList | None = None,
) -> PriceBook:
    """Return the book of all models of the configured providers, on a UTC day.

    `places` are their base URLs, `listed` what vendors publish (None: as the package has it). An
    override of a provider that is not among them has no effect.

    Raises:
        ConfigurationInvalid: an override of a model that nothing is published of lacks its input or
            output price.
    """
    facts = {
        (provider, name): known
        for provider, place in places.items()
        for name, known in _known(provider, place, today, listed)
    }
    for name, override in overrides.items():
        seller, _, upstream_name = name.partition("/")
        key = Provider(seller), upstream_name
        if seller in places:
            facts[key] = _overridden(name, facts.get(key), override)
    models = (model(provider, name, known) for (provider, name), known in facts.items())
    return PriceBook(_version(places, overrides, listed), {one.name: one for one in models})


def packaged() -> PriceList:
    """Return what the package has; reading it takes half a second, once."""
    from gateway.store import published  # noqa: PLC0415  # a sandbox need not wait for it

    return published.PACKAGED


def _known(
    provider: Provider, place: str, today: date, listed: PriceList | None
) -> Iterator[tuple[str, Facts]]:
    """Yield what is known of each model that is sold at a place, by the id it has there."""
    if place == SANDBOX_URL:
        yield from _SANDBOX.items()
        return
    from gateway.store import published  # noqa: PLC0415  # as in `packaged`

    seller = published.vendor(listed or published.PACKAGED, place, provider)
    if seller is None:
        return
    for one in published.models(seller, place, today):
        for name in one.names:
            vocabulary, is_hidden = _family(name)
            yield (
                name,
                structs.replace(one.facts, vocabulary=vocabulary, hidden_reasoning=is_hidden),
            )


_SANDBOX_FACTS: Final = Facts(
    tiers={DEFAULT_TIER: (Table({"input": PER_DOLLAR, "output": 2 * PER_DOLLAR}),)},
    context_tokens=128_000,
    max_output_tokens=4096,
    vocabulary=Vocabulary.UNKNOWN,
    hidden_reasoning=False,
)
_SANDBOX: Final = {"echo": _SANDBOX_FACTS, "slow": _SANDBOX_FACTS}


def _family(name: str) -> tuple[Vocabulary, bool]:
    """Return a published model's vocabulary, and whether it may think unseen, by its vendor's name.

    Sources: `tiktoken/model.py` of tiktoken's main branch; for GPT-6
    github.com/simonw/ttok/releases/tag/1.0. OpenAI's models before o1 do not think, nor do those of
    other vendors from before they had any that did.
    """
    own_name = name.rpartition("/")[2]
    if _O200K_PLAIN.fullmatch(own_name):
        return Vocabulary.O200K, False
    if _CL100K_PLAIN.fullmatch(own_name):
        return Vocabulary.CL100K, False
    if _O200K_THINKING.fullmatch(own_name):
        return Vocabulary.O200K, True
    return Vocabulary.UNKNOWN, _UNTHINKING.fullmatch(own_name) is None


_O200K_PLAIN: Final = re.compile(r"(chatgpt-4o|gpt-4o|gpt-4\.1)(-.*)?")
_CL100K_PLAIN: Final = re.compile(r"(gpt-4|gpt-3\.5|gpt-35|text-embedding-(3|ada))(-.*)?")
_O200K_THINKING: Final = re.compile(r"(o[134]|gpt-[56](\.\d+)?|gpt-oss)(-.*)?")
_UNTHINKING: Final = re.compile(
    r"(?!.*(think|reason|nemotron|hermes|distill|-r1))([a-z-]+\.)*"
    r"((meta-)?llama-?[234]([-.].*)?|mixtral-.*|gemma-?[23](-.*)?"
    r"|claude-(v1|2|2\.[01]|instant|3-(haiku|opus|sonnet)|3-5-(haiku|sonnet))([-@].*)?"
    r"|gemini-(1\.[05]-(pro|flash)|2\.0-flash)(-.*)?)",
    re.IGNORECASE,
)
"""Llama 2 to 4, Mixtral, Gemma to 3, Claude to 3.5, Gemini to 2.0 as their makers gave them out."""


def _overridden(name: ModelName, known: Facts | None, override: Override) -> Facts:
    facts = overridden(known or NOTHING, override)
    missing = lacking(facts) if known is None else []
    if missing:
        raise ConfigurationInvalid(
            f"$.prices[{msgspec.json.encode(name).decode()}]: found no {' and no '.join(missing)}, "
            'allowed is a price for both ("0" for an output that is never billed), as none is published'
        )
    return facts


def _version(
    places: Mapping[Provider, str],
    overrides: Mapping[ModelName, Override],
    listed: PriceList | None,
) -> str:
    """Return the names of all sources, with a digest of what the operator says."""
    sources = []
    if any(place != SANDBOX_URL for place in places.values()):
        sources.append((listed or packaged()).version)
    if SANDBOX_URL in places.values():
        sources.append("sandbox")
    if overrides:
        said = msgspec.json.encode(overrides, order="deterministic")
        sources.append(f"overrides {blake2b(said, digest_size=4).hexdigest()}")
    return " + ".join(sources)
