"""A first call to try, in the API of whatever provider there is: one line of curl."""

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

import msgspec

from gateway.config import Config
from gateway.core.ids import Provider
from gateway.core.routing import Directory

_CHEAP: Final = (
    "openai/gpt-5-nano",
    "openai/gpt-4o-mini",
    "azure/o4-mini",
    "anthropic/claude-haiku-4-5",
    "gemini/gemini-2.5-flash-lite",
    "bedrock/amazon.nova-micro-v1:0",
    "bedrock/global.amazon.nova-2-lite-v1:0",
)
"""Of the providers that the environment offers: no model that only hears, or costs much."""
_UNKNOWN: Final = "MODEL"
_TOKENS: Final = 100
_HELLO: Final = [{"role": "user", "content": "Hello"}]


def lines(site: str, token: str, config: Config, spoken: Mapping[str, Directory]) -> list[str]:
    """Return how to make a first call: in OpenAI's API if any model can be asked in it."""
    dialect, model = to_try(config, spoken)
    path, body = _CALLS[dialect](model)
    return [
        _heading(config, model),
        f"  curl {site}{path} -H 'Authorization: Bearer {token}' "
        f"-H 'Content-Type: application/json' -d '{msgspec.json.encode(body).decode()}'",
    ]


def _heading(config: Config, model: str) -> str:
    """Return the line above the call: what its model stands for, where that can't be known here."""
    if model == _UNKNOWN:
        return "Try it, with a model that has a price under prices: in the place of MODEL:"
    seller, _, own = model.partition("/")
    provider = config.providers.get(Provider(seller))
    if provider is None or provider.dialect != "azure" or model in config.prices:
        return "Try it:"
    return f"Try it, with a deployment of yours, priced under prices:, in the place of {own}:"


def to_try(config: Config, spoken: Mapping[str, Directory]) -> tuple[str, str]:
    """Return the dialect and model of a first call; the model `MODEL` where none has a price."""
    tries = ((dialect, _model(config, spoken[dialect])) for dialect in _CALLS)
    return next((each for each in tries if each[1] != _UNKNOWN), ("openai", _UNKNOWN))


def _model(config: Config, models: Directory) -> str:
    """Return a model to try: the sandbox's, the operator's, a cheap one."""
    sandboxes = [f"{name}/echo" for name, one in config.providers.items() if one.is_sandbox]
    chosen = [*sandboxes, *models.aliases, *config.prices, *_CHEAP, *models.book.models]
    return next((name for name in chosen if models.is_priced(name)), _UNKNOWN)


def _chat(model: str) -> tuple[str, object]:
    return "/v1/chat/completions", {"model": model, "messages": _HELLO}


def _messages(model: str) -> tuple[str, object]:
    body = {"model": model, "max_tokens": _TOKENS, "messages": _HELLO}
    return "/anthropic/v1/messages", body


def _generate_content(model: str) -> tuple[str, object]:
    path = f"/gemini/v1beta/models/{quote(model, safe='')}:generateContent"
    return path, {"contents": [{"parts": [{"text": "Hello"}]}]}


def _converse(model: str) -> tuple[str, object]:
    messages = [{"role": "user", "content": [{"text": "Hello"}]}]
    return f"/bedrock/model/{quote(model, safe='')}/converse", {"messages": messages}


_CALLS: Final[Mapping[str, Callable[[str], tuple[str, object]]]] = {
    "openai": _chat,
    "anthropic": _messages,
    "gemini": _generate_content,
    "bedrock": _converse,
}
"""By dialect. Azure's models are asked for in OpenAI's."""
