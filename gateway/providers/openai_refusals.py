"""What the gateway itself says to an OpenAI client: refusals, the end of a cut stream, the models.

OpenAI's SDKs choose the exception by status, show only `error.message`, and retry 408, 409, 429 and
5xx by themselves unless `x-should-retry` forbids it (openai 2.54 and 3.57, `_base_client.py`). A
`retry-after` above 120 s would stop them from retrying at all, so none here is above 60 s.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from gateway.core.pricing import Model
from gateway.core.refusal import Code, Refused
from gateway.providers.adapter import STATUS, Answer

MOST_RETRY_AFTER_S: Final = 60
SANDBOX: Final = "sandbox"
SANDBOX_OWNER: Final = "sandbox (built in, not a model)"
ALIAS_OWNER: Final = "gateway (a name set by its operator)"

_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    429: "rate_limit_error",
}
_RETRIED: Final = frozenset({429, 502, 503})
"""Where another try may help. After a 504 tokens may have been billed, so trying again is the client's choice."""
_JSON: Final = (b"content-type", b"application/json")
_CREATED: Final = 0
"""Nothing here knows when a model was made, and clients require the field."""


class _Error(msgspec.Struct, frozen=True):
    message: str
    type: str
    param: str | None
    code: str


class _Failed(msgspec.Struct, frozen=True):
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
    status = STATUS[refused.code]
    return Answer(status, _headers(status, refused), _body(refused))


def cut(refused: Refused) -> bytes:
    """Return the event that makes OpenAI's SDKs raise `APIError` in the middle of a stream."""
    return b"data: " + _body(refused) + b"\n\n"


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
    kind = _type(STATUS[refused.code])
    return _WRITER.encode(_Failed(_Error(refused.message, kind, refused.param, refused.code.value)))


def _type(status: int) -> str:
    return _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


def _headers(status: int, refused: Refused) -> list[tuple[bytes, bytes]]:
    headers = [_JSON]
    if status not in _RETRIED:
        headers.append((b"x-should-retry", b"false"))
    elif status != STATUS[Code.UPSTREAM_ERROR]:
        wait = min(max(refused.retry_after_s or 1, 1), MOST_RETRY_AFTER_S)
        headers.append((b"retry-after", b"%d" % wait))
    if status == STATUS[Code.TOKEN_INVALID]:
        headers.append((b"www-authenticate", b"Bearer"))
    if status == STATUS[Code.BODY_TOO_LARGE]:
        headers.append((b"connection", b"close"))
    return headers


_WRITER: Final = msgspec.json.Encoder()
