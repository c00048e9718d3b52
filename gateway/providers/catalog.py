"""Which host speaks which dialect, and which path of which API means what.

A path is taken literally, as it came, before anything decodes or joins it: whoever needs to normalise
a path before it matches meant to get past a rule. What an API could bill and nobody here can meter
is refused, not passed on.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

import msgspec

from gateway.core.ids import Provider
from gateway.core.refusal import Code, Refused
from gateway.errors import ConfigurationInvalid
from gateway.providers.adapter import Adapter, Dialect, Endpoint
from gateway.providers.dialects.chat_completions import ChatCompletions
from gateway.providers.hosts.compatible import CompatibleHost, Quirks
from gateway.providers.hosts.sandbox import BASE_URL, SandboxHost


class Metered(msgspec.Struct, frozen=True):
    """A call to be admitted, priced and passed on, in a dialect."""

    endpoint: Endpoint
    dialect: Dialect


class Listing(msgspec.Struct, frozen=True):
    """A listing of models, or of the `one` named, which the gateway answers itself, in a dialect."""

    dialect: Dialect
    one: str | None = None


class Unserved(msgspec.Struct, frozen=True):
    """A path of a provider's API that is refused, in its dialect. `allow`: the `Allow` header."""

    refused: Refused
    dialect: Dialect
    allow: bytes | None = None


class Elsewhere(msgspec.Struct, frozen=True):
    """Not a path of any provider's API."""


Routed = Metered | Listing | Unserved | Elsewhere

OPENAI: Final = ChatCompletions()
"""Keeps nothing between calls, so one is enough."""

_DIALECTS: Final[Mapping[str, Dialect]] = {OPENAI.name: OPENAI}
_ELSEWHERE: Final = Elsewhere()

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

_PREFIX: Final = b"/v1"
_CALLS: Final[Mapping[bytes, Endpoint]] = {
    b"/v1/chat/completions": Endpoint.CHAT_COMPLETIONS,
    b"/v1/embeddings": Endpoint.EMBEDDINGS,
}
_MODELS: Final = b"/v1/models"


def adapter(
    provider: Provider, dialect: str, base_url: str, *, reports_usage: bool | None = None
) -> Adapter:
    """Return the adapter of a configured provider; `reports_usage` None is as the host is known.

    Raises:
        ConfigurationInvalid: no such dialect, or a base URL that can't be used.
    """
    speaks = _DIALECTS.get(dialect)
    if speaks is None:
        known = ", ".join(_DIALECTS)
        raise ConfigurationInvalid(
            f"Provider {provider} has a dialect that is not supported; use one of: {known}."
        )
    if base_url == BASE_URL:
        return Adapter(SandboxHost(provider), speaks)
    quirks = _quirks(provider, base_url)
    if reports_usage is not None:
        quirks = msgspec.structs.replace(quirks, reports_usage=reports_usage)
    return Adapter(CompatibleHost(provider, base_url, quirks), speaks)


def route(method: str, raw_path: bytes) -> Routed:
    """Return what a request line means. `raw_path` is as it came, without the query."""
    endpoint = _CALLS.get(raw_path)
    if endpoint is not None:
        return Metered(endpoint, OPENAI) if method == "POST" else _wrong_method(b"POST")
    if raw_path == _MODELS:
        return Listing(OPENAI) if method == "GET" else _wrong_method(b"GET")
    if raw_path.startswith(_MODELS + b"/") and method == "GET":
        return _one_model(raw_path[len(_MODELS) + 1 :])
    return _unmetered() if _is_ours(raw_path) else _ELSEWHERE


def _one_model(raw_name: bytes) -> Routed:
    """Return the listing of one model, its name decoded once: a name is looked up, never joined."""
    try:
        name = unquote_to_bytes(raw_name).decode()
    except UnicodeDecodeError:
        return _unmetered()
    return Listing(OPENAI, name) if name else _unmetered()


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


def _is_ours(raw_path: bytes) -> bool:
    """Return whether any server could take a path for one of the API's: decoded, joined, resolved."""
    kept: list[bytes] = []
    for segment in unquote_to_bytes(raw_path).replace(b"\\", b"/").split(b"/"):
        name = segment.partition(b";")[0].strip()
        if name == b"..":
            del kept[-1:]
        elif name not in {b"", b"."}:
            kept.append(name)
    return raw_path.startswith(_PREFIX + b"/") or (kept[:1] == [_PREFIX[1:]])


def _unmetered() -> Unserved:
    paths = ", ".join(path.decode() for path in (*_CALLS, _MODELS))
    message = f"This path is not metered here, so it is refused. Use exactly one of: {paths}."
    return Unserved(Refused(Code.ENDPOINT_NOT_METERED, message), OPENAI)


def _wrong_method(allowed: bytes) -> Unserved:
    message = f"Use {allowed.decode()} for this path."
    return Unserved(Refused(Code.METHOD_NOT_ALLOWED, message), OPENAI, allowed)
