"""The providers that the environment offers, for a start without a configuration of any.

The variables are those that the providers' own SDKs read, so that whoever has used one has set them.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from gateway.config.wording import Tree


class Offer(NamedTuple):
    """A provider, by its name, and the variables that must all be set for it to be there."""

    name: str
    variables: tuple[str, ...]
    settings: Mapping[str, Tree]


OFFERS: Final = (
    Offer(
        "openai",
        ("OPENAI_API_KEY",),
        {
            "dialect": "openai",
            "base_url": "https://api.openai.com/v1",
            "key": "${OPENAI_API_KEY}",
        },
    ),
    Offer(
        "anthropic",
        ("ANTHROPIC_API_KEY",),
        {
            "dialect": "anthropic",
            "base_url": "https://api.anthropic.com",
            "key": "${ANTHROPIC_API_KEY}",
        },
    ),
    Offer(
        "gemini",
        ("GEMINI_API_KEY",),
        {
            "dialect": "gemini",
            "base_url": "https://generativelanguage.googleapis.com",
            "key": "${GEMINI_API_KEY}",
        },
    ),
    Offer(
        "azure",
        ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY"),
        {
            "dialect": "azure",
            "base_url": "${AZURE_OPENAI_ENDPOINT}",
            "key": "${AZURE_OPENAI_API_KEY}",
        },
    ),
    Offer(
        "bedrock",
        ("AWS_BEARER_TOKEN_BEDROCK", "AWS_REGION"),
        {
            "dialect": "bedrock",
            "base_url": "https://bedrock-runtime.${AWS_REGION}.amazonaws.com",
            "key": "${AWS_BEARER_TOKEN_BEDROCK}",
        },
    ),
)


def offered(environ: Mapping[str, str]) -> dict[str, Tree]:
    """Return the section `providers` that an environment offers; empty where it offers none."""
    return {
        offer.name: dict(offer.settings)
        for offer in OFFERS
        if all(environ.get(variable) for variable in offer.variables)
    }
