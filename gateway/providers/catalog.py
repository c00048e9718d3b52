"""Which host a configured provider is, and which dialects it understands."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from gateway.core.ids import Provider
from gateway.errors import ConfigurationInvalid
from gateway.providers.adapter import Adapter
from gateway.providers.hosts.anthropic import AnthropicHost
from gateway.providers.hosts.bedrock import Account, BedrockHost
from gateway.providers.hosts.compatible import CompatibleHost, Quirks
from gateway.providers.hosts.sandbox import BASE_URL, SandboxHost

PATHS: Final[Mapping[str, str]] = {
    "openai": "/v1",
    "azure": "/azure",
    "anthropic": "/anthropic",
    "gemini": "/gemini",
    "bedrock": "/bedrock",
}
"""Every dialect, and the path that its API is under here."""
_UNDERSTOOD: Final[Mapping[str, frozenset[str]]] = {
    "openai": frozenset({"openai", "azure"}),
    "anthropic": frozenset({"anthropic"}),
    "bedrock": frozenset({"bedrock"}),
}
"""Which clients' dialects a provider's covers. Azure's clients send the same bodies as OpenAI's."""

_OPENAI_HOST: Final = Quirks(has_tiers=True, ceiling_field="max_completion_tokens")
_NEWER: Final = Quirks(ceiling_field="max_completion_tokens")
_QUIRKS: Final[Mapping[str, Quirks]] = {
    "api.openai.com": _OPENAI_HOST,
    "openai.azure.com": _NEWER,
    "api.groq.com": _NEWER,
    "api.x.ai": _NEWER,
    # Ignores stream_options and always reports usage: openrouter.ai/docs, November 2026.
    "openrouter.ai": Quirks(reports_usage=False, ceiling_field="max_completion_tokens"),
    # Answered stream_options with 422: mistralai 3.7.0 still has no such field.
    "api.mistral.ai": Quirks(reports_usage=False),
}
"""What hosts are known for, by the end of their name. Any other takes `max_tokens`, as vLLM,
Ollama, Together and DeepSeek do, and reports usage when asked."""
_BY_NAME: Final[Mapping[str, Quirks]] = {"openai": _OPENAI_HOST}
"""What a provider is known for by the name it was configured under, wherever its base URL points."""


def adapter(
    provider: Provider,
    dialect: str,
    base_url: str,
    *,
    reports_usage: bool | None = None,
    aws: Account | None = None,
) -> Adapter:
    """Return the adapter of a configured provider; `reports_usage` None is as the host is known.

    Requests to Bedrock are signed for `aws`, if it is given.

    Raises:
        ConfigurationInvalid: no such dialect, or a base URL that can't be used.
    """
    speaks = _UNDERSTOOD.get(dialect)
    if speaks is None:
        known = ", ".join(_UNDERSTOOD)
        raise ConfigurationInvalid(
            f"Provider {provider} has a dialect that is not supported; use one of: {known}."
        )
    if dialect == "anthropic":
        return Adapter(AnthropicHost(provider, base_url), speaks)
    if dialect == "bedrock":
        return Adapter(BedrockHost(provider, base_url, aws), speaks)
    if base_url == BASE_URL:
        return Adapter(SandboxHost(provider), speaks)
    quirks = _quirks(provider, base_url)
    if reports_usage is not None:
        quirks = msgspec.structs.replace(quirks, reports_usage=reports_usage)
    return Adapter(CompatibleHost(provider, base_url, quirks), speaks)


def _quirks(provider: Provider, base_url: str) -> Quirks:
    if provider in _BY_NAME:
        return _BY_NAME[provider]
    host = _host(base_url)
    known = (quirks for name, quirks in _QUIRKS.items() if f".{host}".endswith(f".{name}"))
    return next(known, Quirks())


def _host(base_url: str) -> str:
    try:
        return urlsplit(base_url).hostname or ""
    except ValueError:
        return ""  # the host itself says what is wrong with it
