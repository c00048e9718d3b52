"""What makes a call dearer at Anthropic besides its tokens, as the name of one tier.

Three fields do: `speed`, `service_tier` and `inference_geo`. A value that costs the listed price is no
tier; several that don't are one tier, joined by `+`. Priority capacity is bought ahead, by commitment:
what a call used of it is on no bill, so it counts at the listed price (platform.claude.com,
"Service tiers", November 2026).
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gateway.core.pricing import DEFAULT_TIER
from gateway.core.refusal import Refused
from gateway.providers.fields import MOST_TIER, Values, check_tier

_LISTED: Final[Mapping[str, frozenset[str]]] = {
    "speed": frozenset({"standard"}),
    "service_tier": frozenset({"auto", "standard_only", "standard", "priority"}),
    "inference_geo": frozenset({"global", "not_available"}),
}
"""The fields, and which of their values cost the listed price."""


def check(values: Values) -> Refused | None:
    """Refuse a field that is given and is no name."""
    return next(filter(None, (check_tier(values, name) for name in _LISTED)), None)


def asked(values: Values) -> str | None:
    """Return the tier that a checked request asks for, None for the listed price."""
    return _joined(values)


def served(fields: Mapping[str, msgspec.Raw], usage: Mapping[str, Any]) -> str | None:
    """Return the tier that an account names, None where it names none.

    What it does not tell is taken to be as the request's `fields` asked.
    """
    told = {name: value for name in _LISTED if _is_name(value := usage.get(name))}
    if not told:
        return None
    wanted = {name: _text(fields[name]) for name in _LISTED if name in fields}
    return _joined({**wanted, **told}) or DEFAULT_TIER


def _joined(values: Mapping[str, Any]) -> str | None:
    given = ((values.get(name), listed) for name, listed in _LISTED.items())
    return "+".join(value for value, listed in given if value and value not in listed) or None


def _text(raw: msgspec.Raw) -> object:
    return msgspec.json.decode(raw)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MOST_TIER and value.isprintable()
