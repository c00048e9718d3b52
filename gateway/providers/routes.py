"""Which path of which provider API means what, and in whose dialect it is answered.

Each API has a first segment of its own, below which its paths are as its provider has them.
"""

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from gateway.providers.adapter import Dialect, Endpoint, Path
from gateway.providers.dialects.chat_completions import ChatCompletions
from gateway.providers.dialects.messages import Messages
from gateway.providers.dialects.messages.routes import AnthropicApi
from gateway.providers.paths import (
    Listing,
    Metered,
    Routed,
    Unserved,
    parameter,
    segment,
    unmetered,
    wrong_method,
)


class Elsewhere(msgspec.Struct, frozen=True):
    """Not a path of any provider's API."""


OPENAI: Final = ChatCompletions("openai")
AZURE: Final = ChatCompletions("azure")
ANTHROPIC: Final = Messages()
"""They keep nothing between calls, so one of each is enough."""

_ELSEWHERE: Final = Elsewhere()


def route(method: str, raw_path: bytes, query: bytes) -> Routed | Elsewhere:
    """Return what a request line means. `raw_path` is as it came, `query` what follows its `?`."""
    first, _, rest = raw_path[1:].partition(b"/")
    api = _APIS.get(first)
    if api is not None and raw_path.startswith(b"/"):
        return api(method, rest, query)
    name = _resolved(raw_path)
    return _ELSEWHERE if name not in _APIS else _REFUSED[name]


class _OpenAiApi:
    """An API with OpenAI's paths: `calls` by what follows its version."""

    def __init__(self, shown: str, models: Dialect, calls: Mapping[bytes, Path]) -> None:
        """Answer listings by `models`; `shown` is the prefix that clients know the paths by."""
        self._models = models
        self._calls = {path: Metered(call, models) for path, call in calls.items()}
        self.served = [f"{shown}/{path.decode()}" for path in (*calls, b"models")]
        self.refusal = unmetered(models, self.served)

    def __call__(self, method: str, rest: bytes, query: bytes) -> Routed:
        """Return what a request line means; `rest` follows the version."""
        del query
        call = self._calls.get(rest)
        if call is not None:
            return call if method == "POST" else wrong_method(self._models, "POST")
        if rest == b"models":
            return Listing(self._models) if method == "GET" else wrong_method(self._models, "GET")
        if rest.startswith(b"models/") and method == "GET":
            one = segment(rest.removeprefix(b"models/"))
            return self.refusal if one is None else Listing(self._models, one)
        return self.refusal


_ANTHROPIC_API: Final = AnthropicApi("/anthropic", ANTHROPIC)
_BODIES: Final = {
    b"chat/completions": Path(endpoint=Endpoint.CHAT_COMPLETIONS),
    b"completions": Path(endpoint=Endpoint.COMPLETIONS),
    b"embeddings": Path(endpoint=Endpoint.EMBEDDINGS),
}
_OPENAI_API: Final = _OpenAiApi("/v1", OPENAI, _BODIES)
_AZURE_V1: Final = _OpenAiApi("/azure/openai/v1", AZURE, _BODIES)
_DEPLOYMENTS: Final = "/azure/openai/deployments/{deployment}"
_AZURE_REFUSAL: Final = unmetered(
    AZURE, [*_AZURE_V1.served, *(f"{_DEPLOYMENTS}/{path.decode()}" for path in _BODIES)]
)


def _azure(method: str, rest: bytes, query: bytes) -> Routed:
    """Return what a path of Azure's API means: of its v1, or of a deployment, which is the model."""
    if rest.startswith(b"openai/v1/"):
        found = _AZURE_V1(method, rest.removeprefix(b"openai/v1/"), query)
        return _AZURE_REFUSAL if found == _AZURE_V1.refusal else found
    raw_name, _, operation = rest.removeprefix(b"openai/deployments/").partition(b"/")
    name, call = segment(raw_name), _BODIES.get(operation)
    if not rest.startswith(b"openai/deployments/") or name is None or call is None:
        return _AZURE_REFUSAL
    if method != "POST":
        return wrong_method(AZURE, "POST")
    version = parameter(query, "api-version")
    return Metered(msgspec.structs.replace(call, model=name, version=version), AZURE)


def _resolved(raw_path: bytes) -> bytes:
    """Return the first segment that any server could take a path's for: decoded, joined, resolved."""
    kept: list[bytes] = []
    for part in unquote_to_bytes(raw_path).replace(b"\\", b"/").split(b"/"):
        name = part.partition(b";")[0].strip()
        if name == b"..":
            del kept[-1:]
        elif name not in {b"", b"."}:
            kept.append(name)
    return kept[0] if kept else b""


_APIS: Final[Mapping[bytes, Callable[[str, bytes, bytes], Routed]]] = {
    b"v1": _OPENAI_API,
    b"azure": _azure,
    b"anthropic": _ANTHROPIC_API,
}
_REFUSED: Final[Mapping[bytes, Unserved]] = {
    b"v1": _OPENAI_API.refusal,
    b"azure": _AZURE_REFUSAL,
    b"anthropic": _ANTHROPIC_API.refusal,
}
