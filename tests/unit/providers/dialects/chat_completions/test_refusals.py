"""Refusals in the shape of OpenAI: status, type, and whether its SDKs may try again."""

import json

import pytest

from gateway.core.ids import ModelName, Provider
from gateway.core.pricing import Model, Vocabulary
from gateway.core.refusal import Code, Refused
from gateway.providers.adapter import STATUS
from gateway.providers.dialects.chat_completions import ChatCompletions
from tests.unit.providers.asking import wanted

DIALECT = ChatCompletions("openai")


@pytest.mark.parametrize("code", Code)
def test_every_code_has_its_shape(code: Code):
    answer = DIALECT.refusal(Refused(code, "Said so. Do so.", param="n"))
    body = json.loads(answer.body)
    assert answer.status == STATUS[code]
    assert list(body) == ["error"]
    assert body["error"] == {
        "message": "Said so. Do so.",
        "type": body["error"]["type"],
        "param": "n",
        "code": code.value,
    }
    assert dict(answer.headers)[b"content-type"] == b"application/json"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (Code.INVALID_REQUEST, "invalid_request_error"),
        (Code.TOKEN_INVALID, "authentication_error"),
        (Code.RUN_CAP_EXCEEDED, "billing_error"),
        (Code.KILL_SWITCH, "permission_error"),
        (Code.MODEL_NOT_FOUND, "invalid_request_error"),
        (Code.BODY_TOO_LARGE, "invalid_request_error"),
        (Code.RATE_LIMITED, "rate_limit_error"),
        (Code.UPSTREAM_ERROR, "api_error"),
        (Code.LEDGER_UNAVAILABLE, "api_error"),
        (Code.UPSTREAM_TIMEOUT, "api_error"),
    ],
)
def test_a_status_has_its_type(code: Code, kind: str):
    assert json.loads(DIALECT.refusal(Refused(code, "x")).body)["error"]["type"] == kind


@pytest.mark.parametrize("code", Code)
def test_only_where_another_try_may_help_is_one_invited(code: Code):
    headers = dict(DIALECT.refusal(Refused(code, "x")).headers)
    may_help = STATUS[code] in {429, 502, 503}
    assert (headers.get(b"x-should-retry") != b"false") == may_help
    assert (b"retry-after" in headers) == (STATUS[code] in {429, 503})


@pytest.mark.parametrize(("asked", "sent"), [(None, b"1"), (0, b"1"), (7, b"7"), (86_400, b"60")])
def test_no_wait_is_longer_than_a_client_would_wait(asked: int | None, sent: bytes):
    refused = Refused(Code.RATE_LIMITED, "x", retry_after_s=asked)
    assert dict(DIALECT.refusal(refused).headers)[b"retry-after"] == sent


def test_what_would_be_refused_again_invites_no_other_try():
    headers = dict(DIALECT.refusal(Refused(Code.RATE_LIMITED, "x", is_final=True)).headers)
    assert headers[b"x-should-retry"] == b"false"
    assert b"retry-after" not in headers


def test_a_bad_key_is_challenged_and_a_large_body_ends_the_connection():
    headers = dict(DIALECT.refusal(Refused(Code.TOKEN_INVALID, "x")).headers)
    assert headers[b"www-authenticate"] == b"Bearer"
    headers = dict(DIALECT.refusal(Refused(Code.BODY_TOO_LARGE, "x")).headers)
    assert headers[b"connection"] == b"close"


def test_a_cut_is_one_error_event_and_no_end():
    refused = Refused(Code.KILL_SWITCH, 'Stopped:\nthe "switch" is on.')
    cut = DIALECT.stream(wanted(stream=True), hides_usage=False).cut(refused)
    assert cut.startswith(b"data: {")
    assert cut.endswith(b"}\n\n")
    assert cut.count(b"\n") == 2
    assert json.loads(cut[6:]) == json.loads(DIALECT.refusal(refused).body)


def model(name: str, provider: str) -> Model:
    return Model(
        name=ModelName(name),
        provider=Provider(provider),
        upstream_name=name,
        tiers={},
        max_output_tokens=None,
        context_tokens=None,
        vocabulary=Vocabulary.UNKNOWN,
        hidden_reasoning=False,
    )


def test_models_are_listed_and_the_sandbox_named_as_such():
    models = [model("openai/gpt-5", "openai"), model("sandbox/echo", "sandbox")]
    listing = json.loads(DIALECT.models(models, ["fast"]))
    assert listing["object"] == "list"
    assert [(one["id"], one["owned_by"]) for one in listing["data"]] == [
        ("fast", "gateway (a name set by its operator)"),
        ("openai/gpt-5", "openai"),
        ("sandbox/echo", "sandbox (built in, not a model)"),
    ]
    assert {one["object"] for one in listing["data"]} == {"model"}
    assert all(isinstance(one["created"], int) for one in listing["data"])
