"""Every refusal in every dialect, byte by byte."""

import json

import msgspec
import pytest

from gateway.core.refusal import Code, Refused
from gateway.providers.adapter import STATUS, Dialect
from gateway.providers.routes import (
    ANTHROPIC,
    AZURE,
    AZURE_RESPONSES,
    BEDROCK,
    GEMINI,
    OPENAI,
    OPENAI_RESPONSES,
)

MESSAGE = 'Budget: run "r7" has $0.42 of its $5.00 cap left. É!.'
TYPES: dict[int, tuple[str, str, str, str]] = {
    400: (
        "invalid_request_error",
        "invalid_request_error",
        "INVALID_ARGUMENT",
        "ValidationException",
    ),
    401: (
        "authentication_error",
        "authentication_error",
        "UNAUTHENTICATED",
        "UnrecognizedClientException",
    ),
    402: ("billing_error", "billing_error", "FAILED_PRECONDITION", "BudgetExceededException"),
    403: ("permission_error", "permission_error", "PERMISSION_DENIED", "AccessDeniedException"),
    404: ("invalid_request_error", "not_found_error", "NOT_FOUND", "ResourceNotFoundException"),
    405: (
        "invalid_request_error",
        "invalid_request_error",
        "INVALID_ARGUMENT",
        "ValidationException",
    ),
    413: ("invalid_request_error", "request_too_large", "INVALID_ARGUMENT", "ValidationException"),
    415: (
        "invalid_request_error",
        "invalid_request_error",
        "INVALID_ARGUMENT",
        "ValidationException",
    ),
    429: ("rate_limit_error", "rate_limit_error", "RESOURCE_EXHAUSTED", "ThrottlingException"),
    502: ("api_error", "api_error", "UNAVAILABLE", "ModelErrorException"),
    503: ("api_error", "api_error", "UNAVAILABLE", "ServiceUnavailableException"),
    504: ("api_error", "timeout_error", "DEADLINE_EXCEEDED", "ModelTimeoutException"),
}
"""By status, in the words of OpenAI, Anthropic, Google and Amazon."""
HOW_TO_SIGN_IN = (
    " Send a gateway token as the Bedrock API key (AWS_BEARER_TOKEN_BEDROCK); AWS signatures are not "
    "accepted here."
)
SPOKEN: dict[str, Dialect] = {
    "openai": OPENAI,
    "openai responses": OPENAI_RESPONSES,
    "azure": AZURE,
    "azure responses": AZURE_RESPONSES,
    "anthropic": ANTHROPIC,
    "gemini": GEMINI,
    "bedrock": BEDROCK,
}


def body(dialect: Dialect, code: Code) -> object:
    """Return what a refusal's body is to be, its members in their order."""
    status = STATUS[code]
    openai, anthropic, google, amazon = TYPES[status]
    match dialect.name:
        case "anthropic":
            error = {"type": anthropic, "message": MESSAGE, "details": {"error_code": code.value}}
            return {"type": "error", "error": error, "request_id": "gw_01"}
        case "gemini":
            info = {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": code.value.upper(),
                "domain": "gateway",
            }
            error = {"code": status, "message": MESSAGE, "status": google, "details": [info]}
            return {"error": error}
        case "bedrock":
            said = MESSAGE + (HOW_TO_SIGN_IN if code is Code.TOKEN_INVALID else "")
            return {"__type": amazon, "message": said}
        case _:
            error = {"message": MESSAGE, "type": openai, "param": "model", "code": code.value}
            return {"error": error}


def headers(dialect: Dialect, code: Code) -> dict[bytes, bytes]:
    status = STATUS[code]
    expected = {b"content-type": b"application/json"}
    if status not in {429, 502, 503}:
        expected[b"x-should-retry"] = b"false"
    if status in {429, 503}:
        expected[b"retry-after"] = b"1"
    if status == 401:
        expected[b"www-authenticate"] = b"Bearer"
    if status == 413:
        expected[b"connection"] = b"close"
    if dialect.name == "bedrock" and status != 402:
        expected[b"x-amzn-errortype"] = TYPES[status][3].encode()
    return expected


@pytest.mark.parametrize("code", Code)
@pytest.mark.parametrize("dialect", SPOKEN.values(), ids=SPOKEN)
def test_a_refusal_is_what_the_api_calls_it(dialect: Dialect, code: Code):
    answer = dialect.refusal(Refused(code, MESSAGE, param="model", call="gw_01"))
    assert answer.status == STATUS[code]
    assert answer.body == msgspec.json.encode(body(dialect, code))
    assert dict(answer.headers) == headers(dialect, code)
    assert len(answer.headers) == len(dict(answer.headers))


def test_every_code_has_a_status_and_every_status_its_names():
    assert set(STATUS) == set(Code)
    assert set(STATUS.values()) == set(TYPES)


@pytest.mark.parametrize("dialect", SPOKEN.values(), ids=SPOKEN)
@pytest.mark.parametrize("message", ["a\r\nb: c", 'quoted "', "\0", "é ✓", "</script>"])
def test_a_message_stays_within_its_text(dialect: Dialect, message: str):
    answer = dialect.refusal(Refused(Code.MODEL_NOT_FOUND, message))
    assert b"\n" not in answer.body
    assert message in texts(json.loads(answer.body))
    assert all(value.isascii() and value.decode().isprintable() for _, value in answer.headers)


def texts(value: object) -> list[object]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in texts(inner)]
    return [value]
