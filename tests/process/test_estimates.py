"""Estimates for every API: what the command says is what the dry run and the call itself are told."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.process.gateway_process import Gateway
from tests.process.observing import running

NOWHERE = "http://127.0.0.1:1"
"""Nothing listens there, and no estimate needs it."""
PRICE = {"input": "1", "output": "10", "context_tokens": 128_000, "max_output_tokens": 4096}
HELLO = "Hello there"
MESSAGES = [{"role": "user", "content": HELLO}]
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": HELLO}]}]}
TURNS = {"messages": [{"role": "user", "content": [{"text": HELLO}]}]}
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"model": "openai/m", "messages": MESSAGES, "max_tokens": 50}),
    ("/v1/completions", {"model": "openai/m", "prompt": HELLO, "max_tokens": 50}),
    ("/v1/responses", {"model": "openai/m", "input": HELLO, "max_output_tokens": 50}),
    ("/v1/embeddings", {"model": "openai/m", "input": HELLO}),
    ("/anthropic/v1/messages", {"model": "anthropic/m", "messages": MESSAGES, "max_tokens": 50}),
    ("/anthropic/v1/messages/count_tokens", {"model": "anthropic/m", "messages": MESSAGES}),
    ("/gemini/v1beta/models/gemini%2Fm:generateContent", CONTENTS),
    ("/gemini/v1beta/models/gemini%2Fm:streamGenerateContent?alt=sse", CONTENTS),
    ("/gemini/v1beta/models/gemini%2Fm:countTokens", CONTENTS),
    (
        "/azure/openai/deployments/azure%2Fm/chat/completions?api-version=2024-10-21",
        {"messages": MESSAGES, "max_tokens": 50},
    ),
    ("/bedrock/model/bedrock%2Fm/converse", {**TURNS, "inferenceConfig": {"maxTokens": 50}}),
    ("/bedrock/model/bedrock%2Fm/converse-stream", TURNS),
]


def provider(dialect: str) -> dict[str, str]:
    path = "/v1" if dialect == "openai" else ""
    return {"dialect": dialect, "base_url": f"{NOWHERE}{path}", "key": "k-0123456789"}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    dialects = ("openai", "anthropic", "gemini", "azure", "bedrock")
    config = {
        "providers": {name: provider(name) for name in dialects},
        "prices": {f"{name}/m": PRICE for name in dialects},
    }
    with running(config) as made:
        yield made


def dry_run(gateway: Gateway, path: str, body: dict[str, Any]) -> httpx.Response:
    headers = {
        "authorization": f"Bearer {gateway.client_token}",
        "x-gateway-dry-run": "true",
        "anthropic-version": "2023-06-01",
    }
    return httpx.post(f"{gateway.url}{path}", json=body, headers=headers, timeout=30)


@pytest.mark.parametrize(("path", "body"), CALLS, ids=[path for path, _ in CALLS])
def test_every_call_is_estimated_alike_by_its_dry_run_and_by_the_api(
    gateway: Gateway, path: str, body: dict[str, Any]
):
    dry = dry_run(gateway, path, body)
    asked = gateway.admin("POST", "/estimate", json={"path": path, "body": body})
    assert (dry.status_code, asked.status_code) == (200, 200), (dry.text, asked.text)
    found = asked.json()
    assert dry.json() == found
    assert found["model"].endswith("/m")
    is_free = "count" in path
    assert (found["input_tokens_bound"] == 0) == is_free
    assert (found["bound_usd"] == "0") == is_free
    assert found["admitted"]


def test_the_command_estimates_any_path(gateway: Gateway):
    path, body = CALLS[4]
    done = gateway.cli("estimate", "--path", path, "--json", given=json.dumps(body))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == dry_run(gateway, path, body).json()
    wrong = gateway.cli("estimate", "--path", "/anthropic/v1/complete", given="{}")
    assert wrong.returncode == 1
    assert "/anthropic/v1/messages" in wrong.stderr


def test_a_body_that_its_api_would_not_take_is_refused_as_a_request(gateway: Gateway):
    order = {"path": "/anthropic/v1/messages", "body": {"model": "anthropic/m", "messages": 5}}
    answer = gateway.admin("POST", "/estimate", json=order)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("path", ["/v1/models", "/v1/images/generations", "/status", "v1/x"])
def test_what_is_no_call_has_no_estimate(gateway: Gateway, path: str):
    answer = gateway.admin("POST", "/estimate", json={"path": path, "body": {}})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "path")


LISTINGS = [
    "/v1/models",
    "/anthropic/v1/models",
    "/gemini/v1beta/models",
    "/azure/openai/v1/models",
]


@pytest.mark.parametrize("path", LISTINGS)
def test_a_token_sees_and_calls_the_models_that_it_is_for_in_every_api(gateway: Gateway, path: str):
    api = path.split("/")[1].replace("v1", "openai")
    other = "gemini/m" if api != "gemini" else "openai/m"
    for allowed, is_shown in ((f"{api}/m", True), (other, False)):
        order = {"name": "narrow", "models": [allowed]}
        token = gateway.admin("POST", "/tokens", json=order).json()["token"]
        headers = {"authorization": f"Bearer {token}"}
        listed = httpx.get(f"{gateway.url}{path}", headers=headers, timeout=30)
        assert listed.status_code == 200
        assert (f"{api}/m" in listed.text) == is_shown
        assert sum(f"{name}/m" in listed.text for name in ("openai", "gemini", "anthropic")) <= 1
        call_path, body = next(each for each in CALLS if each[0].startswith(path.rsplit("/", 2)[0]))
        headers["x-gateway-dry-run"] = "true"
        called = httpx.post(f"{gateway.url}{call_path}", json=body, headers=headers, timeout=30)
        assert called.status_code == (200 if is_shown else 403), called.text
