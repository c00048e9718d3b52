"""Tokens held to requests and tokens a minute: as an SDK meets it, and several gateways together."""

import contextlib
import json
import secrets
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from tests.process.conftest import GatewayFactory
from tests.process.conversation import HELLO
from tests.process.databases import external
from tests.process.gateway_process import Gateway
from tests.process.observing import running
from tests.process.standins import Scripted, wait_until
from tests.process.test_caps import config, told

NOWHERE = "http://127.0.0.1:1"
"""Nothing listens there."""


@pytest.fixture(scope="module")
def gateway(module_gateway_factory: GatewayFactory, scripted_session: Scripted) -> Gateway:
    made = config(scripted_session)
    for dialect in ("anthropic", "gemini"):
        made["providers"][dialect] = {
            "dialect": dialect,
            "base_url": NOWHERE,
            "key": "k-0123456789",
        }
        made["prices"][f"{dialect}/m"] = {"input": "1", "output": "1", "context_tokens": 1000}
    return module_gateway_factory(made)


@pytest.fixture(scope="module")
def two(scripted_session: Scripted) -> Iterator[list[Gateway]]:
    with external() as database, contextlib.ExitStack() as stack:
        shared = {"GATEWAY_TOKEN_PEPPER": secrets.token_hex(32)}
        whole = {**config(scripted_session), "database": database.fresh()}
        made: list[Gateway] = []
        for _ in range(2):
            one = Gateway(whole, environment=shared)
            stack.callback(one.remove)
            if made:  # the first to start has shown the first token
                one.client_token = made[0].client_token
            one.start()
            made.append(one)
        yield made


def token(gateway: Gateway, **limits: int) -> dict[str, Any]:
    """Make a token with these rate limits, by command."""
    options = [f"--{name.replace('_', '-')}={limit}" for name, limit in limits.items()]
    return told(gateway, "tokens", "create", "paced", *options)


def call(client: openai.OpenAI, max_tokens: int = 5) -> openai.RateLimitError | None:
    """Make a call; return how it was refused, None where it was served."""
    try:
        client.chat.completions.create(model="stub/m", messages=HELLO, max_tokens=max_tokens)
    except openai.RateLimitError as error:
        return error
    return None


def served(client: openai.OpenAI, calls: int) -> int:
    return sum(call(client) is None for _ in range(calls))


def came_in(limit: int, since: float) -> int:
    """Return the most calls that the time since then allows beyond the limit itself."""
    return 1 + int(limit * (time.monotonic() - since) / 60)


def test_an_sdk_raises_its_rate_limit_error_waits_as_it_is_told_and_is_served(
    gateway: Gateway, scripted: Scripted
):
    scripted.script(tokens=5)
    key = token(gateway, requests_per_minute=20)["token"]
    began = time.monotonic()
    with gateway.sdk(token=key) as client:
        count = served(client, 20)
        assert count == 20
        refused = next(error for _ in range(30) if (error := call(client)) is not None)
        assert time.monotonic() - began < 60
        wait_until(lambda: call(client) is None, "time brings the next request", every=0.2)
    body: Any = refused.body
    assert (refused.status_code, refused.code, body["type"]) == (
        429,
        "rate_limited",
        "rate_limit_error",
    )
    wait_s = int(refused.response.headers["retry-after"])
    assert 1 <= wait_s <= 3
    assert body["message"] == f"Too many requests for this key; try again in {wait_s} s."
    with gateway.sdk(token=key, retries=2) as patient:
        for _ in range(2):
            assert call(patient) is None, "the SDK heeds retry-after by itself"


def test_tokens_are_counted_by_what_the_provider_reports(gateway: Gateway, scripted: Scripted):
    """What was asked for at most counts while a call runs, and what was used from then on."""
    scripted.script(tokens=100, prompt_tokens=100)
    key = token(gateway, tokens_per_minute=600)["token"]
    with gateway.sdk(token=key) as client:
        for _ in range(3):
            assert call(client, max_tokens=150) is None
        refused = call(client, max_tokens=150)
        assert refused is not None
        assert "Too many tokens for this key" in refused.message
        assert 1 <= int(refused.response.headers["retry-after"]) <= 60
        scripted.script(tokens=5, prompt_tokens=5)
        wait_until(lambda: call(client, max_tokens=5) is None, "time brings tokens", every=0.2)


def test_every_sdk_raises_its_own_error(gateway: Gateway):
    """The first call is admitted, though its provider can't be reached; the second is not."""
    key = token(gateway, requests_per_minute=1)["token"]
    url = f"{gateway.url}/anthropic"
    with anthropic.Anthropic(base_url=url, api_key=key, max_retries=0) as claude:
        ask = partial(claude.messages.create, model="anthropic/m", messages=HELLO, max_tokens=5)
        with pytest.raises(anthropic.InternalServerError):
            ask()
        with pytest.raises(anthropic.RateLimitError) as limited:
            ask()
    assert 1 <= int(limited.value.response.headers["retry-after"]) <= 60
    assert "Too many requests for this key" in limited.value.message
    options = types.HttpOptions(base_url=f"{gateway.url}/gemini")
    with (
        genai.Client(api_key=key, http_options=options) as gemini,
        pytest.raises(genai.errors.ClientError) as exhausted,
    ):
        gemini.models.generate_content(model="gemini/m", contents="hello")
    assert (exhausted.value.code, exhausted.value.status) == (429, "RESOURCE_EXHAUSTED")


def test_input_that_can_never_fit_is_not_tried_again(gateway: Gateway, scripted: Scripted):
    key = token(gateway, tokens_per_minute=100)["token"]
    with gateway.sdk(token=key, retries=2) as client, pytest.raises(openai.RateLimitError) as told_:
        client.chat.completions.create(
            model="stub/m", messages=[{"role": "user", "content": "word " * 400}]
        )
    assert "100 tokens a minute" in told_.value.message
    assert told_.value.response.headers["x-should-retry"] == "false"
    trace = gateway.admin("GET", "/traces", params={"limit": "5"}).json()["data"]
    assert sum(each["code"] == "rate_limited" and each["bound_usd"] == "0" for each in trace) >= 1


def test_limits_are_listed_and_changed_while_the_token_is_used(
    gateway: Gateway, scripted: Scripted
):
    scripted.script(tokens=5)
    made = token(gateway, requests_per_minute=1, tokens_per_minute=10_000)
    assert made["rate_limits"] == {"requests_per_minute": 1, "tokens_per_minute": 10_000}
    listed = json.loads(gateway.cli("tokens", "list", "--json").stdout)
    assert (
        next(each for each in listed if each["id"] == made["id"])["rate_limits"]
        == (made["rate_limits"])
    )
    with gateway.sdk(token=made["token"]) as client:
        assert served(client, 3) == 1
        changed = told(gateway, "tokens", "change", made["id"], "--requests-per-minute", "none")
        assert changed["rate_limits"] == {"requests_per_minute": None, "tokens_per_minute": 10_000}
        wait_until(lambda: call(client) is None, "the limit is gone")
        assert served(client, 5) == 5
        told(gateway, "tokens", "change", made["id"], "--requests-per-minute", "1")
        wait_until(lambda: call(client) is not None, "there is a limit again")


def test_two_gateways_share_a_limit(two: list[Gateway], scripted: Scripted):
    """Each has half of it: together they never pass it, and one alone gets no more than its half."""
    scripted.script(tokens=5)
    first, second = two
    wait_until(lambda: share(first) == 1, "the first knows of the second", every=0.1)
    limit = 30
    key = token(first, requests_per_minute=limit)["token"]
    began = time.monotonic()
    with first.sdk(token=key) as one, second.sdk(token=key) as other:
        alone = served(one, 20)
        assert limit / 2 <= alone <= limit / 2 + came_in(limit, began)
        together = alone + served(other, 20) + served(one, 5)
        assert limit <= together <= limit + came_in(limit, began)


def test_a_changed_limit_is_in_force_at_the_other_gateway(two: list[Gateway], scripted: Scripted):
    scripted.script(tokens=5)
    first, second = two
    made = token(first, requests_per_minute=2)
    with second.sdk(token=made["token"]) as client:
        assert call(client) is None
        assert call(client) is not None
        told(first, "tokens", "change", made["id"], "--requests-per-minute", "100000")
        wait_until(lambda: served(client, 5) == 5, "the other gateway heard of it")


def test_who_is_left_has_the_whole_limit(two: list[Gateway]):
    first, second = two
    assert second.stop() == 0
    wait_until(lambda: share(first) == 2, "the second's share is the first's", every=0.1)
    second.start()
    wait_until(lambda: share(first) == 1, "it is shared again", every=0.1)


def test_workers_of_one_gateway_share_a_limit(scripted: Scripted):
    """New connections are spread over them by the kernel, as it happens: so each may get too few."""
    scripted.script(tokens=5)
    with running(config(scripted), workers=2) as gateway:
        limit = 30
        key = token(gateway, requests_per_minute=limit)["token"]
        began = time.monotonic()
        count = 0
        for _ in range(60):
            with gateway.sdk(token=key) as client:
                count += served(client, 1)
        assert limit / 2 <= count <= limit + came_in(limit, began)


def share(gateway: Gateway) -> int:
    """Return how many of two requests a minute a gateway admits of a token made for it."""
    with gateway.sdk(token=token(gateway, requests_per_minute=2)["token"]) as client:
        return served(client, 2)
