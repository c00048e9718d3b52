"""Which of Anthropic's tiers served a call, so far as its account tells."""

import msgspec
import pytest

from gateway.core.pricing import DEFAULT_TIER
from gateway.providers.dialects.messages import tiers


@pytest.mark.parametrize(
    ("asked", "told", "tier"),
    [
        ({}, {}, None),
        ({}, {"service_tier": None, "speed": None}, None),
        ({"speed": "fast"}, {}, None),
        ({}, {"service_tier": "standard"}, DEFAULT_TIER),
        ({}, {"service_tier": "priority", "inference_geo": "not_available"}, DEFAULT_TIER),
        ({}, {"service_tier": "standard", "speed": "fast"}, "fast"),
        ({"speed": "fast"}, {"service_tier": "standard"}, "fast"),
        ({"speed": "fast"}, {"speed": "standard"}, DEFAULT_TIER),
        ({"speed": "fast"}, {"speed": "fast", "inference_geo": "us"}, "fast+us"),
        ({}, {"inference_geo": "us"}, "us"),
        ({}, {"service_tier": "new"}, "new"),
        ({}, {"service_tier": 5, "speed": ["fast"], "inference_geo": "x" * 65}, None),
        ({"speed": None}, {"service_tier": "standard"}, DEFAULT_TIER),
    ],
)
def test_the_tier_is_what_the_account_says_and_else_what_was_asked(
    asked: dict[str, object], told: dict[str, object], tier: str | None
):
    fields = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in asked.items()}
    assert tiers.served(fields, told) == tier
