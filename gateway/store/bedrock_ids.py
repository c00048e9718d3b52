"""Which ids of Amazon Bedrock a published price is certain for.

The published list is for the region us-east-1, and writes `regional.` where a caller writes a
geography (`eu.anthropic.claude-…`) or nothing (`anthropic.claude-…`). Where a region's own price
is another one, nobody publishes it here: so elsewhere only ids that cost the same in every region
are taken, which are those that route across regions.

Sources: docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html;
genai-prices, `prices/providers/aws.yml`, whose comments name AWS's own price list.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from genai_prices.types import ModelInfo, Provider as Vendor

VENDOR: Final = "aws"
_LISTED_REGION: Final = "us-east-1"
_REGION: Final = re.compile(r"\.([a-z]{2}(?:-[a-z]+)+-\d+)\.(?:amazonaws\.com|api\.aws)")
"""As all of Bedrock's hosts have it, those of its OpenAI-compatible API too."""
_GEOGRAPHIES: Final = ("us", "eu", "apac", "au", "jp", "ca", "in")
"""Profiles that keep calls within a part of the world. `us-gov` has prices of its own."""
_REGIONAL: Final = "regional."
_ROUTED: Final = re.compile(rf"(global|{'|'.join(_GEOGRAPHIES)}|us-gov)\..+")


def names(seller: Vendor, model: ModelInfo, place: str, spelt: Sequence[str]) -> tuple[str, ...]:
    """Return the ids of a model that its price is certain for at a place; `spelt` are the list's own."""
    found = dict.fromkeys(
        name for name in (*spelt, *_profiles(seller, model)) if not name.startswith(_REGIONAL)
    )
    region = _REGION.search(place)
    if region is None or region[1] == _LISTED_REGION:
        return tuple(found)
    if not model.id.startswith((_REGIONAL, "global.")):
        return ()
    return tuple(name for name in found if _ROUTED.fullmatch(name))


def _profiles(seller: Vendor, model: ModelInfo) -> Iterator[str]:
    """Yield the ids that the list means by one of its own, where no other of its models fits too.

    A call to us-east-1 can route within the United States alone, if the price is that region's.
    """
    own = model.id.removeprefix(_REGIONAL)
    if own.startswith("global."):
        prefixes: tuple[str, ...] = ("global.",)
    elif own == model.id:
        prefixes = ("us.",)
    else:
        prefixes = ("", *(f"{geography}." for geography in _GEOGRAPHIES))
    maker = own.removeprefix("global.").partition(".")[0]
    others = [one for one in seller.models if one is not model and maker in one.id]
    for name in (f"{prefix}{spelt}" for prefix in prefixes for spelt in _spellings(own)):
        if model.is_match(name) and not any(one.is_match(name) for one in others):
            yield name


def _spellings(own: str) -> Iterator[str]:
    """Yield how AWS may write an id: some Claudes have a date that the list leaves out, or no version."""
    own = own.removeprefix("global.")
    yield own
    if own.startswith("anthropic.") and not _DATED.search(own):
        plain = own.removesuffix("-v1:0")
        yield plain
        yield f"{plain}-v1"
        yield f"{plain}-v1:0"
        yield from (name for name in _WITH_DATE if name.startswith(plain))


_DATED: Final = re.compile(r"-20\d{6}")
_WITH_DATE: Final = ("anthropic.claude-opus-4-5-20251101-v1:0",)
