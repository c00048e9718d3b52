"""Refusals in Anthropic's shape."""

import json

import pytest

from gateway.core.refusal import Code, Refused
from gateway.providers.adapter import STATUS, Endpoint
from gateway.providers.dialects.messages import Messages
from tests.unit.providers.asking import wanted

DIALECT = Messages()
TYPES = {
    Code.INVALID_REQUEST: "invalid_request_error",
    Code.TOKEN_INVALID: "authentication_error",
    Code.RUN_CAP_EXCEEDED: "billing_error",
    Code.KILL_SWITCH: "permission_error",
    Code.MODEL_NOT_FOUND: "not_found_error",
    Code.METHOD_NOT_ALLOWED: "invalid_request_error",
    Code.BODY_TOO_LARGE: "request_too_large",
    Code.UNSUPPORTED_MEDIA_TYPE: "invalid_request_error",
    Code.RATE_LIMITED: "rate_limit_error",
    Code.UPSTREAM_ERROR: "api_error",
    Code.LEDGER_UNAVAILABLE: "api_error",
    Code.UPSTREAM_TIMEOUT: "timeout_error",
}


@pytest.mark.parametrize(("code", "kind"), TYPES.items())
def test_a_refusal_says_its_type_and_code(code: Code, kind: str):
    answer = DIALECT.refusal(Refused(code, "No.", param="x"))
    assert answer.status == STATUS[code]
    assert json.loads(answer.body) == {
        "type": "error",
        "error": {"type": kind, "message": "No.", "details": {"error_code": code.value}},
    }


def test_every_status_that_is_refused_with_has_a_type():
    assert {STATUS[code] for code in Code} == {STATUS[code] for code in TYPES}


@pytest.mark.parametrize(
    ("asked", "told"), [(None, b"1"), (7, b"7"), (2_592_000, b"60"), (0, b"1")]
)
def test_nobody_is_told_to_wait_for_long(asked: int | None, told: bytes):
    answer = DIALECT.refusal(Refused(Code.RATE_LIMITED, "No.", retry_after_s=asked))
    assert dict(answer.headers)[b"retry-after"] == told
    assert b"x-should-retry" not in dict(answer.headers)


@pytest.mark.parametrize("code", [c for c in Code if STATUS[c] < 429 or STATUS[c] == 504])
def test_a_retry_that_can_not_help_is_forbidden(code: Code):
    headers = dict(DIALECT.refusal(Refused(code, "No.")).headers)
    assert headers[b"x-should-retry"] == b"false"
    assert b"retry-after" not in headers


def test_a_cut_stream_ends_with_an_error_event():
    refused = Refused(Code.KILL_SWITCH, "Stopped:\nnow.")
    read = DIALECT.stream(wanted(Endpoint.MESSAGES), hides_usage=False)
    event, data, *rest = read.cut(refused).split(b"\n")
    assert (event, rest) == (b"event: error", [b"", b""])
    assert data.removeprefix(b"data: ") == DIALECT.refusal(refused).body
