"""Two settings of Bedrock's are one tier of a price book."""

import pytest

from gateway.providers.dialects.bedrock.tiers import named, served


@pytest.mark.parametrize(
    ("service", "latency", "tier"),
    [
        (None, None, None),
        (None, "standard", None),
        ("default", None, "default"),
        ("priority", None, "priority"),
        (None, "optimized", "optimized"),
        ("default", "optimized", "optimized"),
        ("flex", "optimized", "flex-optimized"),
        ("flex", "standard", "flex"),
    ],
)
def test_two_settings_have_one_name(service: str | None, latency: str | None, tier: str | None):
    assert named(service, latency) == tier


@pytest.mark.parametrize(
    ("asked", "service", "latency", "tier"),
    [
        ("priority", None, None, None),
        ("priority", "default", None, "default"),
        (None, "priority", None, "priority"),
        ("optimized", "default", None, "optimized"),
        ("optimized", None, "standard", "default"),
        ("priority-optimized", None, "standard", "priority"),
        ("priority-optimized", "default", None, "optimized"),
        ("priority", None, "standard", "priority"),
    ],
)
def test_what_an_answer_does_not_say_is_as_it_was_asked_for(
    asked: str | None, service: str | None, latency: str | None, tier: str | None
):
    assert served(asked, service, latency) == tier
