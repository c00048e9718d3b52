"""Gemini's names for tiers of service, as the price book has them.

A request says `serviceTier` (standard, flex, priority; any case), an answer the same in
`usageMetadata`, or `trafficType` on Google's cloud (google-genai 3.6, `types.py`).
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway.core.pricing import DEFAULT_TIER
from gateway.providers.lenient_json import label

_PREFIX: Final = "service_tier_"
_STANDARD: Final = frozenset({"standard", "unspecified"})
_TRAFFIC: Final[Mapping[str, str]] = {
    "ON_DEMAND": DEFAULT_TIER,
    "ON_DEMAND_FLEX": "flex",
    "ON_DEMAND_PRIORITY": "priority",
}


def tier_asked(name: str | None) -> str | None:
    """Return the tier that a request asks for; None for the default one."""
    tier = _named(name) if name is not None else DEFAULT_TIER
    return None if tier == DEFAULT_TIER else tier


def tier_served(usage: Mapping[str, Any]) -> str | None:
    """Return the tier that an answer says it was served in; None where it does not say."""
    name = usage.get("serviceTier")
    if isinstance(name, str) and label(name) is not None:
        return _named(name)
    traffic = usage.get("trafficType")
    return _TRAFFIC.get(traffic) if isinstance(traffic, str) else None


def _named(name: str) -> str:
    tier = name.lower().removeprefix(_PREFIX)
    return DEFAULT_TIER if tier in _STANDARD else tier
