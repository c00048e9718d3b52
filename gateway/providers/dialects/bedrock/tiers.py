"""Under which name a service tier is priced: Bedrock has two settings, and a price book has one.

`serviceTier` is default, priority, flex or reserved; `performanceConfig.latency` is standard or
optimized, which costs more by itself (aws.amazon.com/bedrock/pricing, November 2026). `optimized` is
a tier of its own here, and with another tier than the default one a part of its name.
"""

from typing import Final

from gateway.core.pricing import DEFAULT_TIER

_OPTIMIZED: Final = "optimized"


def named(service: str | None, latency: str | None) -> str | None:
    """Return the tier that two settings come to; None where nothing was set."""
    if latency in {None, "standard"}:
        return service
    return latency if service in {None, DEFAULT_TIER} else f"{service}-{latency}"


def served(asked: str | None, service: str | None, latency: str | None) -> str | None:
    """Return the tier that answered; what the answer does not say is as it was asked for.

    None where it says nothing at all.
    """
    if service is None and latency is None:
        return None
    asked_service, asked_latency = _parts(asked)
    return named(service or asked_service, latency or asked_latency) or DEFAULT_TIER


def _parts(tier: str | None) -> tuple[str | None, str | None]:
    if tier is None or not tier.endswith(_OPTIMIZED):
        return tier, None
    return tier.removesuffix(_OPTIMIZED).removesuffix("-") or None, _OPTIMIZED
