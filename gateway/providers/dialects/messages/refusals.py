"""What the gateway itself says to an Anthropic client: refusals, and the end of a cut stream.

Anthropic's SDKs choose the exception by status; of a stream's `error` event they make an `APIStatusError`
with the stream's own status (anthropic 2.13, `_streaming.py`). `error.details.error_code` is what
they show as the error's code.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.core.refusal import Refused
from gateway.providers.adapter import STATUS, Answer
from gateway.providers.refusal_headers import headers

_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
}


class _Details(msgspec.Struct, frozen=True):
    error_code: str


class _Error(msgspec.Struct, frozen=True):
    type: str
    message: str
    details: _Details


class _Failed(msgspec.Struct, frozen=True, omit_defaults=True):
    type: str
    error: _Error
    request_id: str | None = None


def refusal(refused: Refused) -> Answer:
    """Return a refusal as a whole HTTP answer, without the headers that name the call."""
    return Answer(STATUS[refused.code], headers(refused), _body(refused))


def cut(refused: Refused) -> bytes:
    """Return the event that makes Anthropic's SDKs raise in the middle of a stream."""
    return b"event: error\ndata: " + _body(refused) + b"\n\n"


def _body(refused: Refused) -> bytes:
    kind = _type(STATUS[refused.code])
    error = _Error(kind, refused.message, _Details(refused.code.value))
    return _WRITER.encode(_Failed("error", error, refused.call))


def _type(status: int) -> str:
    return _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


_WRITER: Final = msgspec.json.Encoder()
