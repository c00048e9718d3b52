"""A cap holds: what a provider served never passes it, and little of it is left unused."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import anyio
import openai
import pytest

from tests.process.conftest import GatewayFactory
from tests.process.conversation import HELLO
from tests.process.gateway_process import Gateway
from tests.process.standins import Scripted

TOKENS = 500
OUTPUT_USD = Decimal(10)
"""A million output tokens; input costs next to nothing, so that a call's bound is nearly its cost."""
CALL_USD = TOKENS * OUTPUT_USD / 10**6


def config(scripted: Scripted, **limits: str) -> dict[str, Any]:
    return {
        "providers": {
            "stub": {"dialect": "openai", "base_url": scripted.base_url, "key": scripted.key}
        },
        "prices": {
            "stub/m": {
                "input": "0.001",
                "output": str(OUTPUT_USD),
                "context_tokens": 128000,
                "hidden_reasoning": False,
            }
        },
        "limits": {"short_budget": "refuse", **limits},
    }


@pytest.fixture(scope="module")
def capped(module_gateway_factory: GatewayFactory, scripted_session: Scripted) -> Gateway:
    return module_gateway_factory(config(scripted_session))


@pytest.fixture
def client(capped: Gateway) -> Iterator[openai.OpenAI]:
    with capped.sdk() as made:
        yield made


def told(gateway: Gateway, *command: str) -> dict[str, Any]:
    """Run a command of the gateway's own and return what it says, as JSON."""
    done = gateway.cli(*command, "--json")
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


async def call(client: openai.AsyncOpenAI, run: str, cap: str, *, streams: bool) -> str:
    """Return `served`, or the code that a call was refused with."""
    headers = {"x-gateway-run": run, "x-gateway-run-cap-usd": cap}
    try:
        if streams:
            events = await client.chat.completions.create(
                model="stub/m",
                messages=HELLO,
                max_tokens=TOKENS,
                stream=True,
                extra_headers=headers,
            )
            async for _ in events:
                pass
        else:
            await client.chat.completions.create(
                model="stub/m", messages=HELLO, max_tokens=TOKENS, extra_headers=headers
            )
    except openai.APIStatusError as error:
        return str(error.code)
    return "served"


@pytest.mark.parametrize("streams", [False, True])
async def test_fifty_calls_at_once_on_a_cap_for_seven_spend_at_most_the_cap(
    capped: Gateway, scripted: Scripted, streams: bool
):
    """Ten runs at once, fifty calls each; the provider's own account is the truth."""
    scripted.script(tokens=TOKENS, tokens_per_chunk=50)
    cap = 7 * CALL_USD + CALL_USD / 2
    runs = [f"run-{'s' if streams else 'w'}-{number}" for number in range(10)]
    answers: dict[str, list[str]] = {run: [] for run in runs}

    async def one(run: str) -> None:
        answers[run].append(await call(client, run, str(cap), streams=streams))

    async with capped.async_sdk(timeout=60) as client, anyio.create_task_group() as group:
        for _ in range(50):
            for run in runs:
                group.start_soon(one, run)
    served = scripted.settled(70)
    produced = sum(request["completion_tokens"] for request in served)
    assert produced * OUTPUT_USD / 10**6 <= 10 * cap
    for run in runs:
        assert answers[run].count("served") == 7
        assert answers[run].count("run_cap_exceeded") == 43
        shown = capped.admin("GET", f"/runs/{run}").json()
        assert Decimal(shown["spent_usd"]) <= cap
        assert cap - Decimal(shown["spent_usd"]) < CALL_USD
    assert len(served) == 70


async def test_a_run_spends_its_cap_to_the_last_call_that_fits_when_calls_come_one_by_one(
    capped: Gateway, scripted: Scripted
):
    scripted.script(tokens=100)
    cap = CALL_USD * 2
    outcomes = []
    async with capped.async_sdk() as client:
        for _ in range(20):
            outcomes.append(await call(client, "slow-run", str(cap), streams=False))
            if outcomes[-1] != "served":
                break
    assert outcomes[-1] == "run_cap_exceeded"
    assert len(outcomes) >= 6, "what a call did not use is there for the next"
    served = scripted.settled(len(outcomes) - 1)
    assert sum(one["completion_tokens"] for one in served) * OUTPUT_USD / 10**6 <= cap


def test_a_months_budget_and_a_tokens_budget_hold_too(capped: Gateway, scripted: Scripted):
    scripted.script(tokens=TOKENS)
    budget = CALL_USD * 2 + CALL_USD / 2
    made = told(capped, "tokens", "create", "poor", "--budget-usd", str(budget))
    with capped.sdk(token=made["token"]) as client:
        for _ in range(2):
            client.chat.completions.create(model="stub/m", messages=HELLO, max_tokens=TOKENS)
        with pytest.raises(openai.APIStatusError) as refused:
            client.chat.completions.create(model="stub/m", messages=HELLO, max_tokens=TOKENS)
    assert refused.value.code == "token_budget_exceeded"
    assert len(scripted.settled(2)) == 2


def test_a_month_that_is_spent_refuses_and_a_raised_one_admits_again(
    capped: Gateway, client: openai.OpenAI, scripted: Scripted
):
    scripted.script(tokens=5)
    told(capped, "budgets", "put", "workspace", "--cap-usd", "0")
    try:
        with pytest.raises(openai.APIStatusError) as refused:
            client.chat.completions.create(model="stub/m", messages=HELLO, max_tokens=TOKENS)
        assert (refused.value.status_code, refused.value.code) == (402, "month_budget_exceeded")
    finally:
        told(capped, "budgets", "put", "workspace", "--cap-usd", "100")
    client.chat.completions.create(model="stub/m", messages=HELLO, max_tokens=TOKENS)


def test_the_rest_of_a_cap_buys_fewer_tokens_where_that_is_allowed(
    gateway_factory: GatewayFactory, scripted: Scripted
):
    scripted.script(tokens=TOKENS)
    gateway = gateway_factory(config(scripted, short_budget="clamp"))
    headers = {"x-gateway-run": "r", "x-gateway-run-cap-usd": str(CALL_USD / 2)}
    with gateway.sdk() as client:
        answer = client.chat.completions.with_raw_response.create(
            model="stub/m", messages=HELLO, max_tokens=TOKENS, extra_headers=headers
        )
    allowed = int(answer.headers["x-gateway-output-tokens"])
    assert TOKENS * 0.4 < allowed < TOKENS / 2
    usage = answer.parse().usage
    assert usage is not None
    assert usage.completion_tokens == allowed


def test_a_ceiling_lowers_what_a_request_asks_for(client: openai.OpenAI, scripted: Scripted):
    scripted.script(tokens=10_000)
    headers = {"x-gateway-max-output-tokens": "20"}
    answer = client.chat.completions.create(
        model="stub/m", messages=HELLO, max_tokens=9000, extra_headers=headers
    )
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 20
    assert answer.choices[0].finish_reason == "length"
