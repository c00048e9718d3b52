"""What the gateway itself says to a Bedrock client: refusals, the end of a cut stream, the models.

boto3 takes the exception's name from `x-amzn-errortype`, or else from `__type`, and shows `message`. A
name that Bedrock's model of its API has becomes a typed exception; there is none for a budget, so 402
has no header (botocore 1.44, `parsers.py`).
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from gateway.core.pricing import Model
from gateway.core.refusal import Code, Refused
from gateway.providers import eventstream, refusal_headers
from gateway.providers.adapter import STATUS, Answer

_INVALID: Final = "ValidationException"
_BUDGET: Final = "BudgetExceededException"
_TYPES: Final[Mapping[int, str]] = {
    401: "UnrecognizedClientException",
    402: _BUDGET,
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    429: "ThrottlingException",
    502: "ModelErrorException",
    503: "ServiceUnavailableException",
    504: "ModelTimeoutException",
}
_HOW_TO_SIGN_IN: Final = (
    " Send a gateway token as the Bedrock API key (AWS_BEARER_TOKEN_BEDROCK); AWS signatures are not "
    "accepted here."
)
_CUT: Final = {
    ":message-type": "exception",
    ":exception-type": "validationException",
    ":content-type": "application/json",
}


class _Error(msgspec.Struct, frozen=True):
    type: str = msgspec.field(name="__type")
    message: str


class _Cut(msgspec.Struct, frozen=True):
    message: str


class _Summary(msgspec.Struct, frozen=True, rename="camel"):
    model_id: str
    model_name: str
    provider_name: str


class _Listing(msgspec.Struct, frozen=True, rename="camel"):
    model_summaries: list[_Summary]


class _One(msgspec.Struct, frozen=True, rename="camel"):
    model_details: _Summary


def refusal(refused: Refused) -> Answer:
    """Return a refusal as a whole HTTP answer, without the headers that name the call."""
    status = STATUS[refused.code]
    kind = _TYPES.get(status, _INVALID)
    message = refused.message
    if refused.code is Code.TOKEN_INVALID:
        message += _HOW_TO_SIGN_IN
    headers = refusal_headers.headers(refused)
    if kind != _BUDGET:
        headers.append((b"x-amzn-errortype", kind.encode()))
    return Answer(status, headers, _WRITER.encode(_Error(kind, message)))


def cut(refused: Refused) -> bytes:
    """Return the frame that makes boto3 raise `EventStreamError` in the middle of a stream."""
    return eventstream.encode(_CUT, _WRITER.encode(_Cut(refused.message)))


def models(priced: Iterable[Model], aliases: Iterable[str]) -> bytes:
    """Return the listing of some models, operators' names first (`ListFoundationModels`)."""
    return _WRITER.encode(_Listing([*map(_summary, aliases), *map(_summary, priced)]))


def model(one: Model | str) -> bytes:
    """Return one model, or one of the operators' names (`GetFoundationModel`)."""
    return _WRITER.encode(_One(_summary(one)))


def _summary(one: Model | str) -> _Summary:
    if isinstance(one, str):
        return _Summary(one, one, "gateway")
    return _Summary(one.name, one.upstream_name, one.provider)


_WRITER: Final = msgspec.json.Encoder()
