"""Which path of which provider API means what, and in whose dialect it is answered.

Each API has a first segment of its own, below which its paths are as its provider has them.
"""

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import structs

from gateway.core.refusal import Code
from gateway.providers.adapter import Dialect, Endpoint, Path
from gateway.providers.dialects.bedrock import Bedrock
from gateway.providers.dialects.bedrock.routes import BedrockApi
from gateway.providers.dialects.chat_completions import ChatCompletions
from gateway.providers.dialects.generate_content import GenerateContent
from gateway.providers.dialects.generate_content.routes import GeminiApi
from gateway.providers.dialects.messages import Messages
from gateway.providers.dialects.messages.routes import AnthropicApi
from gateway.providers.dialects.responses import Responses
from gateway.providers.paths import (
    Listing,
    Metered,
    Routed,
    Unserved,
    misplaced,
    parameter,
    segment,
    unmetered,
    wrong_method,
)


class Elsewhere(msgspec.Struct, frozen=True):
    """Not a path of any provider's API."""


OPENAI: Final = ChatCompletions("openai")
OPENAI_RESPONSES: Final = Responses("openai")
AZURE: Final = ChatCompletions("azure")
AZURE_RESPONSES: Final = Responses("azure")
ANTHROPIC: Final = Messages()
GEMINI: Final = GenerateContent()
BEDROCK: Final = Bedrock()
"""They keep nothing between calls, so one of each is enough."""

_ELSEWHERE: Final = Elsewhere()


def route(method: str, raw_path: bytes, query: bytes) -> Routed | Elsewhere:
    """Return what a request line means. `raw_path` is as it came, `query` what follows its `?`."""
    first, _, rest = raw_path[1:].partition(b"/")
    api = _APIS.get(first)
    if api is not None and raw_path.startswith(b"/"):
        return api(method, rest, query)
    return _REFUSED.get(_resolved(raw_path), _ELSEWHERE)


class _OpenAiApi:
    """An API with OpenAI's paths: `calls` by what follows its version."""

    def __init__(self, shown: str, models: Dialect, calls: Mapping[bytes, Metered]) -> None:
        """Answer listings by `models`; `shown` is the prefix that clients know the paths by."""
        self._models = models
        self._calls = calls
        self.served = [f"{shown}/{path.decode()}" for path in (*calls, b"models")]
        self.refusal = unmetered(models, self.served)

    def __call__(self, method: str, rest: bytes, query: bytes) -> Routed:
        """Return what a request line means; `rest` follows the version."""
        del query
        call = self._calls.get(rest)
        if call is not None:
            return self._called(method, call)
        if rest == b"models":
            return Listing(self._models) if method == "GET" else wrong_method(self._models, "GET")
        if rest.startswith(b"models/") and method == "GET":
            one = segment(rest.removeprefix(b"models/"))
            return self.refusal if one is None else Listing(self._models, one)
        return self.refusal

    def _called(self, method: str, call: Metered) -> Routed:
        """Return a call, if its method is its own. To GET responses is to open a web socket."""
        if method == "POST":
            return call
        if method == "GET" and call.path.endpoint is Endpoint.RESPONSES:
            return self.refusal
        return wrong_method(self._models, "POST")


_ANTHROPIC_API: Final = AnthropicApi("/anthropic", ANTHROPIC)
_GEMINI_API: Final = GeminiApi(GEMINI)
_BEDROCK_API: Final = BedrockApi(BEDROCK)
_BODIES: Final = {
    b"chat/completions": Path(endpoint=Endpoint.CHAT_COMPLETIONS),
    b"completions": Path(endpoint=Endpoint.COMPLETIONS),
    b"embeddings": Path(endpoint=Endpoint.EMBEDDINGS),
}
_RESPONSES: Final = {
    b"responses": Path(endpoint=Endpoint.RESPONSES),
    b"responses/input_tokens": Path(endpoint=Endpoint.RESPONSES_INPUT_TOKENS),
}


def _metered(calls: Mapping[bytes, Path], dialect: Dialect) -> dict[bytes, Metered]:
    return {path: Metered(call, dialect) for path, call in calls.items()}


_OPENAI_API: Final = _OpenAiApi(
    "/v1", OPENAI, _metered(_BODIES, OPENAI) | _metered(_RESPONSES, OPENAI_RESPONSES)
)
_ANTHROPIC_AT_HOME: Final = misplaced(ANTHROPIC, "/anthropic")
_GEMINI_AT_HOME: Final = misplaced(GEMINI, "/gemini")
_AZURE_V1: Final = _OpenAiApi(
    "/azure/openai/v1", AZURE, _metered(_BODIES, AZURE) | _metered(_RESPONSES, AZURE_RESPONSES)
)
_AZURE_DATED: Final = _OpenAiApi("/azure/openai", AZURE, _metered(_RESPONSES, AZURE_RESPONSES))
"""What Azure's SDK calls beside the deployments, with a version in the query."""
_DEPLOYMENTS: Final = "/azure/openai/deployments/{deployment}"
_AZURE_REFUSAL: Final = unmetered(
    AZURE,
    [
        *(*_AZURE_V1.served, *_AZURE_DATED.served),
        *(f"{_DEPLOYMENTS}/{path.decode()}" for path in _BODIES),
    ],
)


def _openai(method: str, rest: bytes, query: bytes) -> Routed:
    """Return what a path under `/v1` means. Other vendors have that version, too."""
    if rest in {b"messages", b"messages/count_tokens"}:
        return _ANTHROPIC_AT_HOME
    if rest.startswith(b"models/") and method == "POST" and b":" in rest:
        return _GEMINI_AT_HOME
    return _OPENAI_API(method, rest, query)


def _azure(method: str, rest: bytes, query: bytes) -> Routed:
    """Return what a path of Azure's API means, with the version that its query names."""
    found = _azure_path(method, rest, query)
    if isinstance(found, Unserved):
        is_known = found.refused.code is not Code.ENDPOINT_NOT_METERED
        return found if is_known else _AZURE_REFUSAL
    version = parameter(query, "api-version") if isinstance(found, Metered) else None
    if version is None or isinstance(found, Listing):
        return found
    return Metered(structs.replace(found.path, version=version), found.dialect)


def _azure_path(method: str, rest: bytes, query: bytes) -> Routed:
    """Return what a path means: of a deployment, which is the model, of Azure's v1, or of no version."""
    if rest.startswith(b"openai/deployments/"):
        return _deployed(method, rest.removeprefix(b"openai/deployments/"))
    if rest.startswith(b"openai/v1/"):
        return _AZURE_V1(method, rest.removeprefix(b"openai/v1/"), query)
    if rest.startswith(b"openai/"):
        return _AZURE_DATED(method, rest.removeprefix(b"openai/"), query)
    return _AZURE_REFUSAL


def _deployed(method: str, rest: bytes) -> Routed:
    raw_name, _, operation = rest.partition(b"/")
    name, call = segment(raw_name), _BODIES.get(operation)
    if name is None or call is None:
        return _AZURE_REFUSAL
    if method != "POST":
        return wrong_method(AZURE, "POST")
    return Metered(structs.replace(call, model=name), AZURE)


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
    b"v1": _openai,
    b"azure": _azure,
    b"anthropic": _ANTHROPIC_API,
    b"gemini": _GEMINI_API,
    b"bedrock": _BEDROCK_API,
}
_REFUSED: Final[Mapping[bytes, Unserved]] = {
    b"v1": _OPENAI_API.refusal,
    b"azure": _AZURE_REFUSAL,
    b"anthropic": _ANTHROPIC_API.refusal,
    b"gemini": _GEMINI_API.refusal,
    b"bedrock": _BEDROCK_API.refusal,
    b"v1beta": _GEMINI_AT_HOME,
    b"openai": misplaced(AZURE, "/azure"),
    b"model": misplaced(BEDROCK, "/bedrock"),
}
"""By first segment; the last three are what providers have at their root, and SDKs ask for."""
