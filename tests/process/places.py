"""Where the scripted provider serves what: paths of every API, told apart as its clients do."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from tests.process.dialects import chat, completions, embeddings, gemini, messages, responses
from tests.process.produced import Dialect, Json

OPENAI: dict[str, Dialect] = {
    "/chat/completions": chat.CHAT,
    "/completions": completions.COMPLETIONS,
    "/embeddings": embeddings.EMBEDDINGS,
    "/responses": responses.RESPONSES,
    "/responses/input_tokens": responses.INPUT_TOKENS,
}
ANTHROPIC: dict[str, Dialect] = {
    "/messages": messages.MESSAGES,
    "/messages/count_tokens": messages.COUNT_TOKENS,
}
GEMINI: dict[str, Dialect] = {
    ":generateContent": gemini.GENERATE,
    ":streamGenerateContent": gemini.GENERATE,
    ":countTokens": gemini.COUNT_TOKENS,
    ":embedContent": gemini.EMBED,
    ":batchEmbedContents": gemini.EMBED,
}
_DEPLOYMENT = re.compile(r"/openai/deployments/([^/]+)(/.+)")
_METHOD = re.compile(r"(?:/v1|/v1beta)/models/([^:]+)(:\w+)")


@dataclass(frozen=True, slots=True)
class Place:
    """What a path asks for."""

    path: str
    """The API's own words in it."""
    dialect: Dialect
    model: str = ""
    """Where the path names it."""
    is_stream: bool = False
    """Where the path, and not the body, says so."""
    is_array: bool = False


def place_of(target: str) -> Place | None:
    """Return what a request's target asks for, or None where nothing is served."""
    path, _, query = target.partition("?")
    if found := _METHOD.fullmatch(path):
        return _of_gemini(unquote(found[1]), found[2], query)
    model = ""
    if found := _DEPLOYMENT.fullmatch(path):
        model, path = unquote(found[1]), found[2]
    path = path.removeprefix("/openai").removeprefix("/v1")
    dialect = (OPENAI | ANTHROPIC).get(path)
    return None if dialect is None else Place(path, dialect, model)


def _of_gemini(model: str, method: str, query: str) -> Place | None:
    dialect = GEMINI.get(method)
    if dialect is None:
        return None
    is_stream = method == ":streamGenerateContent"
    is_array = is_stream and "alt=sse" not in query.split("&")
    return Place(method, dialect, model, is_stream, is_array)


def is_listing(path: str) -> bool:
    return path in {"/models", "/v1/models", "/v1beta/models", "/openai/v1/models"}


def listing(path: str, headers: Mapping[str, str], names: list[str]) -> Json:
    """Return the list of models as the client's API has it; one path is that of three."""
    if "anthropic-version" in headers:
        return messages.models(names)
    if "x-goog-api-key" in headers or path.startswith("/v1beta"):
        return gemini.models(names)
    return dict(chat.models(names))


def keys_in(headers: Mapping[str, str]) -> list[str]:
    """Return the keys that a request bears, in whatever header."""
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    named = (headers.get(name) for name in ("x-api-key", "api-key", "x-goog-api-key"))
    found = [key for key in named if key is not None]
    return [bearer, *found] if scheme.lower() == "bearer" else found
