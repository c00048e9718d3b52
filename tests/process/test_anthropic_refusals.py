"""Anthropic's own SDK, refused and cut short: its own errors, at once, and what they cost."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import anthropic
import pytest

from tests.process import standins
from tests.process.claude import CLAUDE, KEY, SAID, address, cost, gateway_to, in_run
from tests.process.gateway_process import Gateway
from tests.process.observing import month_at_rest, traces
from tests.process.standins import Scripted


@pytest.fixture(scope="module")
def provider() -> Iterator[Scripted]:
    with standins.scripted(key=KEY) as made:
        yield made


@pytest.fixture(scope="module")
def gateway(provider: Scripted) -> Iterator[Gateway]:
    with gateway_to({"mock": provider}) as made:
        yield made


@pytest.fixture
def scripted(provider: Scripted) -> Scripted:
    provider.reset()
    return provider


@pytest.fixture
def claude(gateway: Gateway) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(**address(gateway), max_retries=0, timeout=30) as client:
        yield client


CASES: dict[str, tuple[type[anthropic.APIStatusError], str, str, dict[str, Any]]] = {
    "a bad key": (anthropic.AuthenticationError, "authentication_error", "token_invalid",
                  {"key": "gwk_live_" + "0" * 49}),
    "a run's cap": (anthropic.PaymentRequiredError, "billing_error", "run_cap_exceeded",
                    {"headers": {"x-gateway-run": "poor", "x-gateway-run-cap-usd": "0.000001"}}),
    "the request cap": (anthropic.PaymentRequiredError, "billing_error", "request_cap_exceeded",
                        {"model": "mock/dear"}),
    "a killed model": (anthropic.PermissionDeniedError, "permission_error", "kill_switch",
                       {"model": "mock/killed"}),
    "an unknown model": (anthropic.NotFoundError, "not_found_error", "model_not_found",
                         {"model": "unheard-of"}),
    "no price": (anthropic.BadRequestError, "invalid_request_error", "price_unknown",
                 {"model": "mock/unheard-of"}),
    "a tier without a price": (anthropic.BadRequestError, "invalid_request_error",
                               "price_unknown", {"inference_geo": "us"}),
    "a wrong limit": (anthropic.BadRequestError, "invalid_request_error", "invalid_request",
                      {"max_tokens": -1}),
    "a tool of the provider's": (anthropic.BadRequestError, "invalid_request_error",
                                 "bound_unknown",
                                 {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    "a budget for thinking above the ceiling": (
        anthropic.BadRequestError, "invalid_request_error", "invalid_request",
        {"max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024},
         "headers": {"x-gateway-max-output-tokens": "1024"}}),
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", list(CASES))
def test_a_refusal_raises_the_sdks_own_error_at_once(
    gateway: Gateway, scripted: Scripted, name: str, stream: bool
) -> None:
    error, kind, code, asked = CASES[name]
    wanted = {"model": f"mock/{CLAUDE}", "max_tokens": 50, "messages": SAID, **asked}
    headers, key = wanted.pop("headers", {}), wanted.pop("key", gateway.client_token)
    with (
        anthropic.Anthropic(**address(gateway) | {"api_key": key}, max_retries=2) as client,
        pytest.raises(anthropic.APIStatusError) as caught,
    ):
        client.messages.create(**wanted, stream=stream, extra_headers=headers)
    found = caught.value
    assert (type(found), found.type, found.error_code) == (error, kind, code)
    assert found.api_message
    assert found.request_id == found.response.headers["x-gateway-trace"]
    assert found.response.headers["x-should-retry"] == "false"
    assert scripted.seen() == []


@pytest.mark.parametrize(
    "path", ["messages/batches", "files", "complete", "agents", "models/../messages/batches"]
)
def test_what_is_not_metered_is_not_found(gateway: Gateway, path: str) -> None:
    with (
        anthropic.Anthropic(**address(gateway)) as client,
        pytest.raises(anthropic.NotFoundError) as caught,
    ):
        client.post(f"/v1/{path}", cast_to=object, body={"requests": []})
    assert (caught.value.type, caught.value.error_code) == ("not_found_error", "endpoint_not_metered")  # fmt: skip


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, anthropic.BadRequestError, "invalid_request_error"),
        (404, anthropic.NotFoundError, "not_found_error"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (529, anthropic.APIStatusError, "overloaded_error"),
    ],
)
def test_a_providers_own_error_passes_through_and_is_free(
    gateway: Gateway,
    scripted: Scripted,
    claude: anthropic.Anthropic,
    status: int,
    error: type[anthropic.APIStatusError],
    kind: str,
) -> None:
    limits = {"anthropic-ratelimit-tokens-remaining": "7", "request-id": "req_1"}
    scripted.script(CLAUDE, status=status, headers=limits)
    with pytest.raises(error) as caught:
        claude.messages.create(model=f"mock/{CLAUDE}", max_tokens=5, messages=SAID)
    assert (caught.value.status_code, caught.value.type) == (status, kind)
    headers = caught.value.response.headers
    assert (headers["anthropic-ratelimit-tokens-remaining"], headers["request-id"]) == ("7", "req_1")  # fmt: skip
    assert headers["x-gateway-cost-usd"] == "0"


def test_the_gateways_own_bad_key_is_not_the_clients(
    gateway: Gateway, claude: anthropic.Anthropic
) -> None:
    with pytest.raises(anthropic.InternalServerError) as caught:
        claude.messages.create(model=f"unpaid/{CLAUDE}", max_tokens=5, messages=SAID)
    assert (caught.value.status_code, caught.value.error_code) == (502, "upstream_error")


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_at_status_200_is_an_error(
    scripted: Scripted, claude: anthropic.Anthropic, stream: bool
) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    scripted.script(CLAUDE, body=error)
    with pytest.raises(anthropic.InternalServerError) as caught:
        claude.messages.create(model=f"mock/{CLAUDE}", max_tokens=5, messages=SAID, stream=stream)
    assert caught.value.response.headers["x-gateway-cost-usd"] == "0"


def streamed(claude: anthropic.Anthropic, run: str, until: int, **asked: Any) -> Any:  # noqa: ANN401
    """Return a stream whose first `until` texts have been read."""
    stream = claude.messages.create(
        model=f"mock/{CLAUDE}", max_tokens=2000, messages=SAID, stream=True,
        extra_headers=in_run(run), **asked,
    )  # fmt: skip
    read = 0
    while read < until:
        read += next(stream).type == "content_block_delta"
    return stream


def test_a_killed_stream_raises_and_owes_the_input_and_what_was_shown(
    gateway: Gateway, scripted: Scripted, claude: anthropic.Anthropic
) -> None:
    scripted.script(CLAUDE, tokens=1000, chunk_after=0.02, prompt_tokens=900, cached_tokens=500, cache_write_tokens=100)  # fmt: skip
    stream = streamed(claude, "killed", 5)
    kill = {"scope": "run", "id": "killed", "reason": "a test"}
    gateway.admin("POST", "/kill", json=kill).raise_for_status()
    with pytest.raises(anthropic.APIStatusError) as caught:
        list(stream)
    assert (caught.value.type, caught.value.error_code) == ("permission_error", "kill_switch")
    assert "a test" in (caught.value.api_message or "")
    (served,) = scripted.settled(1)
    (kept,) = traces(gateway, 1, run="killed")
    assert (kept["outcome"], kept["cost_basis"]) == ("killed", "metered")
    assert (kept["input_tokens"], kept["cached_tokens"], kept["cache_write_tokens"]) == (900, 500, 100)  # fmt: skip
    assert 5 <= kept["output_tokens"] <= 3 * served["completion_tokens"]
    usage = {"input_tokens": 300, "cache_read_input_tokens": 500, "output_tokens": kept["output_tokens"],
             "cache_creation_input_tokens": 100, "cache_creation": {"ephemeral_5m_input_tokens": 100}}  # fmt: skip
    assert Decimal(kept["cost_usd"]) == cost(usage)


def test_a_stream_cut_while_it_thinks_owes_its_bound(
    gateway: Gateway, scripted: Scripted, claude: anthropic.Anthropic
) -> None:
    scripted.script(CLAUDE, reasoning_tokens=500, thinks_aloud=True, chunk_after=0.02)
    streamed(claude, "thinking", 2).close()
    (kept,) = traces(gateway, 1, run="thinking")
    assert (kept["outcome"], kept["cost_basis"]) == ("client_gone", "bound")
    assert kept["cost_usd"] == kept["bound_usd"]


@pytest.mark.parametrize(
    ("ending", "outcome", "kind"),
    [
        ("reset", "provider_lost", "api_error"),
        ("truncate", "provider_lost", "api_error"),
        ("error_event", "provider_error", "api_error"),
    ],
)
def test_a_stream_that_its_provider_breaks_off_raises(
    gateway: Gateway,
    scripted: Scripted,
    claude: anthropic.Anthropic,
    ending: str,
    outcome: str,
    kind: str,
) -> None:
    scripted.script(CLAUDE, ending=ending)
    with pytest.raises(anthropic.APIStatusError) as caught:
        list(streamed(claude, f"broken-{ending}", 3))
    assert caught.value.type == kind
    (kept,) = traces(gateway, 1, run=f"broken-{ending}")
    assert (kept["outcome"], kept["cost_basis"]) == (outcome, "metered")


def test_no_money_is_left_held(gateway: Gateway) -> None:
    assert month_at_rest(gateway)["unsettled_usd"] == 0
