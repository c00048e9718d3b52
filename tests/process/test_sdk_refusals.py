"""What the gateway refuses raises the SDK's own exceptions, and is tried again only where that helps."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import openai
import pytest

from tests.process import standins
from tests.process.conversation import HELLO
from tests.process.gateway_process import Gateway
from tests.process.observing import PRICE, month_at_rest, provider, running, sample, traces
from tests.process.programs import run_node, run_sdk2
from tests.process.standins import Scripted

MODEL = "mock/model"
NOWHERE = "http://127.0.0.1:1/v1"
"""Nothing listens there."""


@dataclass(frozen=True, slots=True)
class Case:
    """A call that is refused, and how an SDK has to say so."""

    name: str
    status: int
    code: str
    error: str
    """The exception's class in Python; the same in TypeScript but for `APIStatusError`."""
    says: str
    """A part of the message: what was exceeded, or what to do."""
    request: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    param: str | None = None
    key: str | None = None
    """The name of another token than the first client's."""


CASES = [
    Case("a bad key", 401, "token_invalid", "AuthenticationError", "gateway key", key="bad"),
    Case(
        "a run's cap", 402, "run_cap_exceeded", "APIStatusError", "run",
        headers={"x-gateway-run": "poor", "x-gateway-run-cap-usd": "0.000001"},
    ),
    Case(
        "the request cap", 402, "request_cap_exceeded", "APIStatusError", "request",
        request={"model": "mock/dear"},
    ),
    Case(
        "a token's budget", 402, "token_budget_exceeded", "APIStatusError", "token", key="poor",
    ),
    Case(
        "a model that was killed", 403, "kill_switch", "PermissionDeniedError", "kill",
        request={"model": "mock/killed"},
    ),
    Case(
        "a token for another model", 403, "model_not_allowed", "PermissionDeniedError", "model",
        key="narrow", param="model",
    ),
    Case("a token that may not call", 403, "scope_missing", "PermissionDeniedError", "scope", key="reader"),
    Case(
        "keeping the text", 403, "content_not_allowed", "PermissionDeniedError", "keeps no text",
        headers={"x-gateway-store-content": "true"}, param="x-gateway-store-content",
    ),
    Case(
        "an unknown model", 404, "model_not_found", "NotFoundError", "model",
        request={"model": "unheard-of"}, param="model",
    ),
    Case(
        "a model without a price", 400, "price_unknown", "BadRequestError", "price",
        request={"model": "mock/unheard-of"}, param="model",
    ),
    Case(
        "a wrong value", 400, "invalid_request", "BadRequestError", "whole number",
        request={"max_tokens": 0}, param="max_tokens",
    ),
    Case(
        "what has no bound", 400, "bound_unknown", "BadRequestError", "prediction",
        request={"prediction": {"type": "content", "content": "x"}}, param="prediction",
    ),
    Case(
        "a closed run", 402, "run_cap_exceeded", "APIStatusError", "Open another run",
        headers={"x-gateway-run": "closed"},
    ),
]  # fmt: skip
BY_NAME = {case.name: case for case in CASES}


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Scripted]:
    with standins.scripted(key="sk-of-the-provider") as made:
        yield made


@pytest.fixture(scope="module")
def gateway(stand_in: Scripted) -> Iterator[Gateway]:
    providers = {
        "mock": provider(stand_in),
        "unpaid": {**provider(stand_in), "key": "sk-that-was-revoked"},
        "nowhere": {"dialect": "openai", "base_url": NOWHERE},
    }
    names = ("mock/model", "mock/killed", "unpaid/model", "nowhere/model")
    dear = {**PRICE, "input": "100000", "output": "100000"}
    prices = {**dict.fromkeys(names, PRICE), "mock/dear": dear}
    with running({"providers": providers, "prices": prices}) as made:
        killed = made.admin(
            "POST", "/kill", json={"scope": "model", "id": "mock/killed", "reason": "t"}
        )
        assert killed.is_success, killed.text
        made.admin("POST", "/runs", json={"name": "closed"}).raise_for_status()
        made.admin("POST", "/runs/closed/close").raise_for_status()
        yield made


@pytest.fixture(scope="module")
def keys(gateway: Gateway) -> dict[str | None, str]:
    def token(name: str, **wanted: object) -> str:
        answer = gateway.admin("POST", "/tokens", json={"name": name, **wanted})
        secret: str = answer.raise_for_status().json()["token"]
        return secret

    return {
        None: gateway.client_token,
        "bad": "gwk_live_" + "0" * 49,
        "poor": token("poor", budget_usd="0.000001"),
        "narrow": token("narrow", models=["mock/other"]),
        "reader": token("reader", scopes=["usage:read"]),
    }


@pytest.fixture(params=list(BY_NAME))
def case(request: pytest.FixtureRequest) -> Case:
    return BY_NAME[request.param]


def asked(case: Case) -> dict[str, Any]:
    return {"model": MODEL, "messages": HELLO, **case.request}


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_raises_the_sdks_own_error_at_once(
    gateway: Gateway, keys: dict[str | None, str], stand_in: Scripted, case: Case, stream: bool
) -> None:
    stand_in.reset()
    before = sample(gateway, "gateway_refusals_total")
    with (
        gateway.sdk(token=keys[case.key], retries=2) as client,
        pytest.raises(openai.APIStatusError) as caught,
    ):
        client.chat.completions.create(**asked(case), stream=stream, extra_headers=case.headers)
    error = caught.value
    told = (type(error).__name__, error.status_code, error.code, error.param)
    assert told == (case.error, case.status, case.code, case.param)
    assert case.says in error.message
    assert error.response.headers["x-should-retry"] == "false"
    assert error.request_id == error.response.headers["x-gateway-trace"]
    assert sample(gateway, "gateway_refusals_total", code=case.code) >= 1
    assert sample(gateway, "gateway_refusals_total") == before + 1, "it was not tried again"
    assert stand_in.seen() == []


def test_refusals_hold_and_spend_nothing(gateway: Gateway, stand_in: Scripted) -> None:
    assert month_at_rest(gateway)["unsettled_usd"] == 0
    kept = [one for one in traces(gateway, 0) if one["outcome"] == "refused"]
    assert {one["cost_usd"] for one in kept} <= {"0"}


def test_the_release_before_and_typescript_raise_theirs(
    gateway: Gateway, keys: dict[str | None, str]
) -> None:
    given = {
        "base_url": gateway.base_url,
        "cases": [
            {"name": one.name, "key": keys[one.key], "request": asked(one), "headers": one.headers}
            for one in CASES
        ],
    }
    python, typescript = run_sdk2(SDK2, given), run_node(NODE, given)
    expected = {one.name: [one.error, one.status, one.code, one.param] for one in CASES}
    assert python == expected
    renamed = {"APIStatusError": "APIError"}
    assert typescript == {n: [renamed.get(e, e), *rest] for n, (e, *rest) in expected.items()}


SDK2 = """
import openai
told = {}
for case in given["cases"]:
    client = openai.OpenAI(base_url=given["base_url"], api_key=case["key"], max_retries=2)
    try:
        client.chat.completions.create(**case["request"], extra_headers=case["headers"])
    except openai.APIStatusError as error:
        told[case["name"]] = [type(error).__name__, error.status_code, error.code, error.param]
answer(told)
"""
NODE = """
import OpenAI from "openai";
const told = {};
for (const asked of given.cases) {
  const client = new OpenAI({ baseURL: given.base_url, apiKey: asked.key, maxRetries: 2 });
  try {
    await client.chat.completions.create(asked.request, { headers: asked.headers });
  } catch (error) {
    told[asked.name] = [error.constructor.name, error.status, error.code, error.param];
  }
}
answer(told);
"""


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("stored responses", lambda c: c.responses.retrieve("resp_1")),
        ("compaction", lambda c: c.responses.compact(model=MODEL, input="hi")),
        ("images", lambda c: c.images.generate(model="gpt-image-1", prompt="a cat")),
        ("speech", lambda c: c.audio.speech.create(model="tts-1", voice="alloy", input="hi")),
        ("files", lambda c: c.files.list()),
        ("batches", lambda c: c.batches.list()),
        ("moderations", lambda c: c.moderations.create(input="hi")),
    ],
)
def test_what_is_not_metered_is_not_found(gateway: Gateway, name: str, ask: Any) -> None:  # noqa: ANN401
    with gateway.sdk(retries=2) as client, pytest.raises(openai.NotFoundError) as caught:
        ask(client)
    assert caught.value.code == "endpoint_not_metered"
    assert "/v1/chat/completions" in caught.value.message


@pytest.mark.parametrize("model", ["unpaid/model", "nowhere/model"])
def test_a_provider_out_of_reach_is_a_server_error_and_free(
    gateway: Gateway, stand_in: Scripted, model: str
) -> None:
    run = f"out-of-reach-{model.partition('/')[0]}"
    with gateway.sdk(retries=1) as client, pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(
            model=model, messages=HELLO, extra_headers={"x-gateway-run": run}
        )
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_error")
    kept = traces(gateway, 2, run=run)
    assert len(kept) == 2, "a retry may help here, and was made once"
    assert {one["cost_usd"] for one in kept} == {"0"}


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (404, openai.NotFoundError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ],
)
def test_a_providers_own_error_passes_through(
    gateway: Gateway, stand_in: Scripted, status: int, error: type[openai.APIStatusError]
) -> None:
    stand_in.reset()
    stand_in.script("model", status=status, headers={"x-ratelimit-remaining-tokens": "7"})
    with gateway.sdk() as client, pytest.raises(error) as caught:
        client.chat.completions.create(model=MODEL, messages=HELLO)
    assert caught.value.code == f"scripted_{status}"
    assert "as the script says" in caught.value.message
    assert caught.value.response.headers["x-ratelimit-remaining-tokens"] == "7"
    assert caught.value.response.headers["x-gateway-cost-usd"] == "0"


@pytest.mark.parametrize(
    ("ending", "outcome"),
    [("reset", "provider_lost"), ("truncate", "provider_lost"), ("error_event", "provider_error")],
)
def test_a_stream_that_its_provider_breaks_off_raises(
    gateway: Gateway, stand_in: Scripted, ending: str, outcome: str
) -> None:
    stand_in.reset()
    stand_in.script("model", ending=ending)
    run = f"broken-{ending}"
    heard = []
    with (
        gateway.sdk() as client,
        pytest.raises(openai.APIError) as caught,
        client.chat.completions.create(
            model=MODEL, messages=HELLO, stream=True, extra_headers={"x-gateway-run": run}
        ) as stream,
    ):
        heard.extend(stream)
    assert not isinstance(caught.value, openai.APIConnectionError)
    assert len([chunk for chunk in heard if chunk.choices[0].delta.content]) == 3
    (kept,) = traces(gateway, 1, run=run)
    assert kept["outcome"] == outcome
