"""What the gateway itself says to a Gemini client: refusals, and the models.

Google's errors are `google.rpc.Status` (AIP-193), with the reason in a detail of the type `ErrorInfo`.
google-genai chooses its exception by the HTTP status alone, and takes a chunk of a stream for an error
only where `error` is its first member (3.6, `_api_client.py`).
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from gateway.core.pricing import Model
from gateway.core.refusal import Refused
from gateway.providers import refusal_headers
from gateway.providers.adapter import STATUS, Answer, Endpoint

_STATUSES: Final[Mapping[int, str]] = {
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""Of `google.rpc.Code`, by HTTP status; any other is an `INVALID_ARGUMENT`."""
_ERROR_INFO: Final = "type.googleapis.com/google.rpc.ErrorInfo"
_DOMAIN: Final = "gateway"
_GENERATES: Final = (
    Endpoint.GENERATE_CONTENT,
    Endpoint.STREAM_GENERATE_CONTENT,
    Endpoint.COUNT_TOKENS,
)
_EMBEDS: Final = (Endpoint.EMBED_CONTENT, Endpoint.BATCH_EMBED_CONTENTS, Endpoint.COUNT_TOKENS)
_EMBEDDER: Final = "embed"
_ALIAS: Final = "A name set by this gateway's operator."


class _Info(msgspec.Struct, frozen=True):
    type: str = msgspec.field(name="@type")
    reason: str
    domain: str


class _Error(msgspec.Struct, frozen=True):
    code: int
    message: str
    status: str
    details: list[_Info]


class _Failed(msgspec.Struct, frozen=True):
    error: _Error


class _Listed(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    name: str
    display_name: str
    description: str = ""
    input_token_limit: int | None = None
    output_token_limit: int | None = None
    supported_generation_methods: tuple[str, ...] = ()


class _Listing(msgspec.Struct, frozen=True):
    models: list[_Listed]


def refusal(refused: Refused) -> Answer:
    """Return a refusal as a whole HTTP answer, without the headers that name the call."""
    return Answer(STATUS[refused.code], refusal_headers.headers(refused), body(refused))


def body(refused: Refused) -> bytes:
    """Return a refusal's body, which is also what ends a stream early."""
    status = STATUS[refused.code]
    info = _Info(_ERROR_INFO, refused.code.value.upper(), _DOMAIN)
    named = _STATUSES.get(status, "INVALID_ARGUMENT")
    return _WRITER.encode(_Failed(_Error(status, refused.message, named, [info])))


def models(priced: Iterable[Model], aliases: Iterable[str]) -> bytes:
    """Return the listing of some models, operators' names first, all on one page."""
    return _WRITER.encode(_Listing([*map(_alias, aliases), *map(_model, priced)]))


def model(one: Model | str) -> bytes:
    """Return the listing's entry of one model, or of one of the operators' names."""
    return _WRITER.encode(_alias(one) if isinstance(one, str) else _model(one))


def _alias(name: str) -> _Listed:
    return _Listed(f"models/{name}", name, _ALIAS, supported_generation_methods=_GENERATES)


def _model(model: Model) -> _Listed:
    embeds = _EMBEDDER in model.upstream_name
    return _Listed(
        name=f"models/{model.name}",
        display_name=model.upstream_name,
        input_token_limit=model.context_tokens,
        output_token_limit=model.max_output_tokens,
        supported_generation_methods=_EMBEDS if embeds else _GENERATES,
    )


_WRITER: Final = msgspec.json.Encoder()
