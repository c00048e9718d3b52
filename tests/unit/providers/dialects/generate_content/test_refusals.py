"""Refusals and listings as Google's SDKs expect them."""

import json

import pytest

from gateway.core.ids import ModelName, Provider
from gateway.core.money import ZERO
from gateway.core.pricing import Model, Rates, Schedule, Vocabulary
from gateway.core.refusal import Code, Refused
from gateway.providers.dialects.generate_content import GenerateContent

DIALECT = GenerateContent()


def test_a_refusal_is_a_status_with_the_reason_in_its_details():
    found = DIALECT.refusal(Refused(Code.RUN_CAP_EXCEEDED, "Budget: run r7 has too little left."))
    assert found.status == 402
    assert json.loads(found.body) == {
        "error": {
            "code": 402,
            "message": "Budget: run r7 has too little left.",
            "status": "FAILED_PRECONDITION",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "RUN_CAP_EXCEEDED",
                    "domain": "gateway",
                }
            ],
        }
    }
    assert found.body.startswith(b'{"error":'), "google-genai looks for exactly that"
    assert (b"x-should-retry", b"false") in found.headers


@pytest.mark.parametrize(
    ("code", "status", "named"),
    [
        (Code.INVALID_REQUEST, 400, "INVALID_ARGUMENT"),
        (Code.TOKEN_INVALID, 401, "UNAUTHENTICATED"),
        (Code.KILL_SWITCH, 403, "PERMISSION_DENIED"),
        (Code.MODEL_NOT_FOUND, 404, "NOT_FOUND"),
        (Code.BODY_TOO_LARGE, 413, "INVALID_ARGUMENT"),
        (Code.RATE_LIMITED, 429, "RESOURCE_EXHAUSTED"),
        (Code.UPSTREAM_ERROR, 502, "UNAVAILABLE"),
        (Code.LEDGER_UNAVAILABLE, 503, "UNAVAILABLE"),
        (Code.UPSTREAM_TIMEOUT, 504, "DEADLINE_EXCEEDED"),
    ],
)
def test_each_status_has_googles_name(code: Code, status: int, named: str):
    found = DIALECT.refusal(Refused(code, "x"))
    error = json.loads(found.body)["error"]
    assert (found.status, error["code"], error["status"]) == (status, status, named)


@pytest.mark.parametrize("code", list(Code))
def test_every_code_has_an_answer(code: Code):
    assert json.loads(DIALECT.refusal(Refused(code, "x")).body)["error"]["message"] == "x"


def model(name: str) -> Model:
    rates = Rates(**dict.fromkeys(Rates.__struct_fields__, ZERO))  # type: ignore[arg-type]
    return Model(
        name=ModelName(f"google/{name}"),
        provider=Provider("google"),
        upstream_name=name,
        tiers={"default": Schedule(rates)},
        max_output_tokens=None,
        context_tokens=1_048_576,
        vocabulary=Vocabulary.UNKNOWN,
        hidden_reasoning=True,
    )


def test_models_are_listed_under_names_that_can_be_asked_for():
    listed = json.loads(
        DIALECT.models([model("gemini-2.5-pro"), model("gemini-embedding-001")], ["fast"])
    )
    names = [one["name"] for one in listed["models"]]
    assert names == [
        "models/fast",
        "models/google/gemini-2.5-pro",
        "models/google/gemini-embedding-001",
    ]
    _, pro, embedder = listed["models"]
    assert pro["inputTokenLimit"] == 1_048_576
    assert "outputTokenLimit" not in pro
    assert "generateContent" in pro["supportedGenerationMethods"]
    assert "embedContent" in embedder["supportedGenerationMethods"]
    assert "nextPageToken" not in listed


def test_one_model_is_its_entry():
    assert json.loads(DIALECT.model("fast"))["name"] == "models/fast"
    assert json.loads(DIALECT.model(model("m")))["name"] == "models/google/m"
