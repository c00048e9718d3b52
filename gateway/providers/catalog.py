"""Which host a configured provider is, and which dialects it understands."""

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from gateway.core.ids import Provider
from gateway.errors import ConfigurationInvalid
from gateway.providers.adapter import Adapter, Host
from gateway.providers.hosts.anthropic import AnthropicHost
from gateway.providers.hosts.azure import AzureHost
from gateway.providers.hosts.bedrock import Account, BedrockHost
from gateway.providers.hosts.compatible import CompatibleHost, Quirks
from gateway.providers.hosts.gemini import GeminiHost
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
    "azure": frozenset({"openai", "azure"}),
    "anthropic": frozenset({"anthropic"}),
    "gemini": frozenset({"gemini"}),
    "bedrock": frozenset({"bedrock"}),
}
"""Which clients' dialects a provider's covers. Azure's clients send the same bodies as OpenAI's."""

_OPENAI_HOST: Final = Quirks(has_tiers=True, ceiling_field="max_completion_tokens")
_NEWER: Final = Quirks(ceiling_field="max_completion_tokens")
# Ignores stream_options, always reports usage, and says what it bills: openrouter.ai/docs/use-cases/
# usage-accounting, November 2026.
_OPENROUTER: Final = Quirks(
    reports_usage=False, ceiling_field="max_completion_tokens", states_cost=True
)
# Answered stream_options with 422: mistralai 3.7.0 still has no such field.
_MISTRAL: Final = Quirks(reports_usage=False)
_QUIRKS: Final[Mapping[str, Quirks]] = {
    "api.openai.com": _OPENAI_HOST,
    "openai.azure.com": _NEWER,
    "api.groq.com": _NEWER,
    "api.x.ai": _NEWER,
    "openrouter.ai": _OPENROUTER,
    "api.mistral.ai": _MISTRAL,
}
"""What hosts are known for, by the end of their name. Any other takes `max_tokens`, as vLLM,
Ollama, Together and DeepSeek do, and reports usage when asked."""
_BY_NAME: Final[Mapping[str, Quirks]] = {
    "openai": _OPENAI_HOST,
    "groq": _NEWER,
    "xai": _NEWER,
    "openrouter": _OPENROUTER,
    "mistral": _MISTRAL,
}
"""What a provider at an address that is not known is known for, by the name it was configured under."""


_PLAIN: Final[Mapping[str, Callable[[Provider, str], Host]]] = {
    "anthropic": AnthropicHost,
    "gemini": GeminiHost,
}
"""The hosts of dialects that are spoken in one way everywhere."""


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
    plain = _PLAIN.get(dialect)
    if plain is not None:
        return Adapter(plain(provider, base_url), speaks)
    if dialect == "bedrock":
        return Adapter(BedrockHost(provider, base_url, aws), speaks)
    if base_url == BASE_URL:
        return Adapter(SandboxHost(provider), speaks)
    if dialect == "azure":
        return Adapter(
            AzureHost(provider, base_url, reports_usage=reports_usage is not False), speaks
        )
    quirks = _quirks(provider, base_url)
    if reports_usage is not None:
        quirks = msgspec.structs.replace(quirks, reports_usage=reports_usage)
    return Adapter(CompatibleHost(provider, base_url, quirks), speaks, quirks.states_cost)


def _quirks(provider: Provider, base_url: str) -> Quirks:
    """Return what a provider is known for: by its host, or else by its name."""
    host = _host(base_url)
    known = (quirks for name, quirks in _QUIRKS.items() if f".{host}".endswith(f".{name}"))
    return next(known, _BY_NAME.get(provider, Quirks()))


def _host(base_url: str) -> str:
    try:
        return urlsplit(base_url).hostname or ""
    except ValueError:
        return ""  # the host itself says what is wrong with it
