"""What the gateway itself says to an OpenAI client: refusals, the end of a cut stream, the models.

OpenAI's SDKs choose the exception by status and show only `error.message` (openai 2.54 and 3.57,
`_base_client.py`).
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from gateway.core.pricing import Model
from gateway.core.refusal import Refused
from gateway.providers.adapter import STATUS, Answer
from gateway.providers.refusal_headers import headers

SANDBOX: Final = "sandbox"
SANDBOX_OWNER: Final = "sandbox (built in, not a model)"
ALIAS_OWNER: Final = "gateway (a name set by its operator)"

_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    429: "rate_limit_error",
}
_CREATED: Final = 0
"""Nothing here knows when a model was made, and clients require the field."""


class _Error(msgspec.Struct, frozen=True):
    message: str
    type: str
    param: str | None
    code: str


class _Failed(msgspec.Struct, frozen=True):
    error: _Error


class _ErrorEvent(msgspec.Struct, frozen=True, tag_field="type", tag="error"):
    sequence_number: int
    code: str
    message: str
    param: str | None
    error: _Error


class _Listed(msgspec.Struct, frozen=True):
    id: str
    object: str
    created: int
    owned_by: str


class _Listing(msgspec.Struct, frozen=True):
    object: str
    data: list[_Listed]


def refusal(refused: Refused) -> Answer:
    """Return a refusal as a whole HTTP answer, without the headers that name the call."""
    return Answer(STATUS[refused.code], headers(refused), _body(refused))


def cut(refused: Refused) -> bytes:
    """Return the event that makes OpenAI's SDKs raise `APIError` in the middle of a stream."""
    return b"data: " + _body(refused) + b"\n\n"


def cut_response(refused: Refused, number: int) -> bytes:
    """Return the event that makes them raise it in a streamed response, as event `number` of it.

    They raise for an `error` within the data; without it they yield the event as any other.
    """
    error = _error(refused)
    event = _ErrorEvent(number, error.code, error.message, error.param, error)
    return b"event: error\ndata: " + _WRITER.encode(event) + b"\n\n"


def models(priced: Iterable[Model], aliases: Iterable[str]) -> bytes:
    """Return the listing of some models, operators' names first."""
    named = [_listed(alias, ALIAS_OWNER) for alias in aliases]
    return _WRITER.encode(_Listing("list", [*named, *map(_model, priced)]))


def model(one: Model | str) -> bytes:
    """Return the listing's entry of one model, or of one of the operators' names."""
    return _WRITER.encode(_listed(one, ALIAS_OWNER) if isinstance(one, str) else _model(one))


def _model(model: Model) -> _Listed:
    return _listed(model.name, SANDBOX_OWNER if model.provider == SANDBOX else model.provider)


def _listed(name: str, owner: str) -> _Listed:
    return _Listed(name, "model", _CREATED, owner)


def _body(refused: Refused) -> bytes:
    return _WRITER.encode(_Failed(_error(refused)))


def _error(refused: Refused) -> _Error:
    kind = _type(STATUS[refused.code])
    return _Error(refused.message, kind, refused.param, refused.code.value)


def _type(status: int) -> str:
    return _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


_WRITER: Final = msgspec.json.Encoder()
