"""Every API as its clients use it: a request as bytes, and the same asked by the vendor's own SDK.

What an SDK heard is plain data, so that what it heard of the gateway can be compared with what it
heard of the provider itself. A failure is heard too: by its type, its status and its message.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pydantic
from google import genai
from google.genai import types

Json = dict[str, Any]
LIMIT = 64
"""The most output tokens that each request asks for."""
SAID = "hello there"
_FAILURES = (
    openai.OpenAIError,
    anthropic.AnthropicError,
    genai.errors.APIError,
    genai.errors.UnknownApiResponseError,
    httpx.HTTPError,
    httpx2.HTTPError,
    pydantic.ValidationError,
    ValueError,
    AttributeError,
    TypeError,
    RecursionError,
)
"""What SDKs raise, also where they did not foresee what they read."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where clients are pointed: the gateway, or a provider itself."""

    openai_url: str
    """Ends in `/v1`; `anthropic_url` and `gemini_url` do not."""
    anthropic_url: str
    gemini_url: str
    key: str
    prefix: str
    """Of the names of models: `PROVIDER/`, or nothing."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Connections, as the SDKs want them: Anthropic's uses another package than the rest."""

    httpx: httpx.Client
    httpx2: httpx2.Client
    timeout: float


@dataclass(frozen=True, slots=True)
class Failed:
    """An SDK raised."""

    kind: str
    status: int | None
    message: str


@dataclass(frozen=True, slots=True)
class Asking:
    """One question; `more` are members of the request's body."""

    model: str
    is_stream: bool
    more: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Api:
    """One endpoint. `provider_dialect` is what a provider that serves it is configured as."""

    name: str
    provider_dialect: str
    url: Callable[[Place, Asking], str]
    body: Callable[[Asking, str], Json]
    """Of a question and the name of the model."""
    sdk: Callable[[Place, Asking, Lines], Any] | None
    """None where no SDK asks for it."""
    key_header: str = "authorization"

    def __str__(self) -> str:
        return self.name

    def request(self, place: Place, asking: Asking) -> tuple[str, Json, dict[str, str]]:
        """Return URL, body and headers."""
        key = f"Bearer {place.key}" if self.key_header == "authorization" else place.key
        body = self.body(asking, place.prefix + asking.model) | asking.more
        return self.url(place, asking), body, {self.key_header: key, **self._version()}

    def heard(self, place: Place, asking: Asking, lines: Lines) -> object:
        """Return what the SDK makes of the answer, sent over `lines`."""
        assert self.sdk is not None
        try:
            return self.sdk(place, asking, lines)
        except _FAILURES as error:
            return _failed(error)

    def _version(self) -> dict[str, str]:
        return {"anthropic-version": "2023-06-01"} if self.name == "messages" else {}


def _failed(error: BaseException) -> Failed:
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    is_number = isinstance(status, int)
    return Failed(type(error).__name__, status if is_number else None, str(error))


def _chat_body(asking: Asking, model: str) -> Json:
    said = [{"role": "user", "content": SAID}]
    asked = {"model": model, "messages": said, "max_tokens": LIMIT}
    return asked | ({"stream": True} if asking.is_stream else {})


def _completions_body(asking: Asking, model: str) -> Json:
    asked = {"model": model, "prompt": SAID, "max_tokens": LIMIT}
    return asked | ({"stream": True} if asking.is_stream else {})


def _responses_body(asking: Asking, model: str) -> Json:
    asked = {"model": model, "input": SAID, "max_output_tokens": LIMIT}
    return asked | ({"stream": True} if asking.is_stream else {})


def _gemini_body(asking: Asking, model: str) -> Json:
    del asking, model
    said = [{"role": "user", "parts": [{"text": SAID}]}]
    return {"contents": said, "generationConfig": {"maxOutputTokens": LIMIT}}


def _gemini_url(place: Place, asking: Asking, query: str) -> str:
    method = f"streamGenerateContent{query}" if asking.is_stream else "generateContent"
    return f"{place.gemini_url}/v1beta/models/{place.prefix}{asking.model}:{method}"


def _openai(place: Place, lines: Lines) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=place.openai_url, api_key=place.key, max_retries=0, http_client=lines.httpx
    )


def _dumped(made: Any, *, is_stream: bool) -> object:  # noqa: ANN401  # what an SDK returns
    # What does not fit the SDK's types is given all the same, and would be warned of here.
    if is_stream:
        with made as stream:
            return [one.model_dump(warnings=False) for one in stream]
    return made.model_dump(warnings=False)


def _ask_chat(place: Place, asking: Asking, lines: Lines) -> object:
    body = _chat_body(asking, place.prefix + asking.model) | asking.more
    made = _openai(place, lines).chat.completions.create(**body)
    return _dumped(made, is_stream=asking.is_stream)


def _ask_completions(place: Place, asking: Asking, lines: Lines) -> object:
    body = _completions_body(asking, place.prefix + asking.model) | asking.more
    made = _openai(place, lines).completions.create(**body)
    return _dumped(made, is_stream=asking.is_stream)


def _ask_responses(place: Place, asking: Asking, lines: Lines) -> object:
    body = _responses_body(asking, place.prefix + asking.model) | asking.more
    made = _openai(place, lines).responses.create(**body)
    return _dumped(made, is_stream=asking.is_stream)


def _ask_messages(place: Place, asking: Asking, lines: Lines) -> object:
    body = _chat_body(asking, place.prefix + asking.model) | asking.more
    claude = anthropic.Anthropic(
        base_url=place.anthropic_url, api_key=place.key, max_retries=0, http_client=lines.httpx2
    )
    return _dumped(claude.messages.create(**body), is_stream=asking.is_stream)


def _ask_gemini(place: Place, asking: Asking, lines: Lines) -> object:
    asked: Json = {
        "model": place.prefix + asking.model,
        "contents": SAID,
        "config": {"max_output_tokens": LIMIT, **_gemini_config(asking.more)},
    }
    models = _gemini(place, lines).models
    if asking.is_stream:
        return [_gemini_dumped(one) for one in models.generate_content_stream(**asked)]
    return _gemini_dumped(models.generate_content(**asked))


@lru_cache
def _gemini(place: Place, lines: Lines) -> genai.Client:
    """Return the client of a place. Making one takes 0.1 s: it reads all certificates, for sockets."""
    # The version is the one that raw requests name; the SDK's own default is tested elsewhere. It
    # waits for ever, whatever its connections would do, unless it is told here.
    where = types.HttpOptions(
        base_url=place.gemini_url,
        api_version="v1beta",
        httpx_client=lines.httpx,
        timeout=int(lines.timeout * 1000),
    )
    return genai.Client(api_key=place.key, http_options=where)


def _gemini_config(more: Mapping[str, Any]) -> Json:
    return {name: value for name, value in more.items() if name == "tools"}


def _gemini_dumped(answer: types.GenerateContentResponse) -> Json:
    return answer.model_dump(exclude={"sdk_http_response"}, warnings=False)


CHAT = Api("chat", "openai", lambda p, _: f"{p.openai_url}/chat/completions", _chat_body, _ask_chat)
COMPLETIONS = Api(
    "completions",
    "openai",
    lambda p, _: f"{p.openai_url}/completions",
    _completions_body,
    _ask_completions,
)
RESPONSES = Api(
    "responses",
    "openai",
    lambda p, _: f"{p.openai_url}/responses",
    _responses_body,
    _ask_responses,
)
MESSAGES = Api(
    "messages",
    "anthropic",
    lambda p, _: f"{p.anthropic_url}/v1/messages",
    _chat_body,
    _ask_messages,
    key_header="x-api-key",
)
GEMINI = Api(
    "gemini",
    "gemini",
    lambda p, a: _gemini_url(p, a, "?alt=sse"),
    _gemini_body,
    _ask_gemini,
    key_header="x-goog-api-key",
)
GEMINI_ARRAY = Api(
    "gemini-array",
    "gemini",
    lambda p, a: _gemini_url(p, a, ""),
    _gemini_body,
    None,
    key_header="x-goog-api-key",
)
