"""Real OpenAI SDKs through the gateway hear what they hear from the provider, and pay what it counts."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import openai
import pytest

from tests.process.battery import COUNTED, EMBEDDED, QUESTIONS, SDKS, Heard, Place, comparable
from tests.process.conversation import HELLO, MODEL, said
from tests.process.gateway_process import Gateway
from tests.process.observing import (
    EMBEDDING_PRICE,
    PRICE,
    cost,
    embedding_cost,
    month_at_rest,
    provider,
    run_at_rest,
    running,
    trace,
    traces,
)
from tests.process.standins import AIMOCK_TEXT, Standin

STANDINS = ["llmock", "aimock"]
EMBEDDER = "text-embedding-3-small"
SANDBOX_RATES = (1, 2)
"""Dollars per million tokens of the sandbox, in and out."""


@pytest.fixture(scope="module")
def standins(llmock_standin: Standin, aimock_standin: Standin) -> dict[str, Standin]:
    return {"llmock": llmock_standin, "aimock": aimock_standin}


@pytest.fixture(scope="module")
def gateway(standins: Mapping[str, Standin]) -> Iterator[Gateway]:
    sandbox = {"dialect": "openai", "base_url": "sandbox:"}
    providers = {name: provider(standin) for name, standin in standins.items()}
    prices = {f"{name}/{MODEL}": PRICE for name in standins}
    prices |= {f"{name}/{EMBEDDER}": EMBEDDING_PRICE for name in standins}
    with running({"providers": {**providers, "sandbox": sandbox}, "prices": prices}) as made:
        yield made


@pytest.fixture(scope="module", params=list(SDKS))
def sdk(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def heard(sdk: str, gateway: Gateway, standins: Mapping[str, Standin]) -> dict[str, Heard]:
    """What an SDK heard: `llmock` is through the gateway, `llmock directly` is not."""
    places: dict[str, Place] = {}
    for name, standin in standins.items():
        asked = {"run": run_of(sdk, name)}
        direct = {"model": MODEL, "embedder": EMBEDDER}
        through = {"model": f"{name}/{MODEL}", "embedder": f"{name}/{EMBEDDER}"}
        places[f"{name} directly"] = asked | direct | address(standin.base_url, standin.key)
        places[name] = asked | through | address(gateway.base_url, gateway.client_token)
    places["sandbox"] = {
        "run": run_of(sdk, "sandbox"),
        "model": "sandbox/echo",
        "embedder": "sandbox/echo",
        **address(gateway.base_url, gateway.client_token),
    }
    return SDKS[sdk](places)


def address(base_url: str, key: str) -> dict[str, str]:
    return {"base_url": base_url, "key": key}


def run_of(sdk: str, name: str) -> str:
    return f"{sdk}-{name}".replace(" ", "-")


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("standin", STANDINS)
def test_an_sdk_hears_what_it_hears_directly(
    heard: dict[str, Heard], standin: str, question: str
) -> None:
    direct = comparable(heard[f"{standin} directly"][question])
    assert direct
    assert comparable(heard[standin][question]) == direct


@pytest.mark.parametrize("place", [*STANDINS, "sandbox"])
def test_what_is_heard_is_what_was_asked_for(heard: dict[str, Heard], place: str) -> None:
    answers = heard[place]
    assert text_of(answers["whole"])
    assert text_of(answers["stream"]) == text_of(answers["whole"])
    assert isinstance(json.loads(text_of(answers["JSON"])), dict)
    assert [one["index"] for one in answers["embeddings"]["data"]] == list(range(len(EMBEDDED)))
    assert all(len(one["embedding"]) >= 3 for one in answers["embeddings"]["data"])


@pytest.mark.parametrize("standin", STANDINS)
def test_tools_are_called_streamed_or_not(heard: dict[str, Heard], standin: str) -> None:
    (call,) = heard[standin]["tool"]["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    arguments = json.loads(call["function"]["arguments"])
    assert streamed_call(heard[standin]["streamed tool"]) == ("get_weather", arguments)


def test_a_schema_is_followed_where_the_provider_can(heard: dict[str, Heard]) -> None:
    answer = json.loads(text_of(heard["llmock"]["schema"]))
    assert sorted(answer) == ["city", "degrees"]
    assert isinstance(answer["degrees"], int)


@pytest.mark.parametrize("place", [*STANDINS, "sandbox"])
def test_usage_is_in_a_stream_for_whoever_asked_for_it_alone(
    heard: dict[str, Heard], place: str
) -> None:
    unasked, asked = heard[place]["stream"], heard[place]["counted stream"]
    assert all(not chunk.get("usage") for chunk in unasked)
    assert all(chunk["choices"] for chunk in unasked), "an event without a choice is that of usage"
    assert asked[-1]["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize("place", [*STANDINS, "sandbox"])
def test_each_call_is_recorded_at_the_price_of_what_the_provider_counted(
    heard: dict[str, Heard], gateway: Gateway, sdk: str, place: str
) -> None:
    kept = traces(gateway, len(QUESTIONS), run=run_of(sdk, place))
    expected = [expected_cost(place, question, heard[place]) for question in QUESTIONS]
    assert [Decimal(one["cost_usd"]) for one in kept] == expected
    assert {(one["cost_basis"], one["outcome"], one["status"]) for one in kept} == {
        ("reported", "completed", 200)
    }
    run = run_at_rest(gateway, run_of(sdk, place))
    assert (run["calls"], Decimal(run["spent_usd"])) == (len(QUESTIONS), sum(expected))
    assert run["unsettled_usd"] == "0"


def expected_cost(place: str, question: str, answers: Heard) -> Decimal:
    """Return the hand-made price of an answer, by the usage that the SDK was shown."""
    if question == "embeddings" and place != "sandbox":
        return embedding_cost(answers["embeddings"]["usage"]["prompt_tokens"])
    # The unasked stream says the same as the one whose usage is shown.
    answer = answers["counted stream" if question == "stream" else question]
    usage = (answer[-1] if isinstance(answer, list) else answer)["usage"]
    prompt, completion = usage["prompt_tokens"], usage.get("completion_tokens", 0)
    if place == "sandbox":
        into, out = SANDBOX_RATES
        return Decimal(prompt * into + completion * out) / 1_000_000
    return cost(prompt, completion)


def text_of(answer: list[Any] | dict[str, Any]) -> str:
    if isinstance(answer, list):
        return "".join(c["delta"].get("content") or "" for part in answer for c in part["choices"])
    said: str | None = answer["choices"][0]["message"]["content"]
    return said or ""


def streamed_call(chunks: list[Any]) -> tuple[str, object]:
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    pieces = [call["function"] for delta in deltas for call in delta.get("tool_calls") or []]
    written = "".join(piece.get("arguments") or "" for piece in pieces)
    return pieces[0]["name"], json.loads(written)


@pytest.mark.parametrize("model", [f"llmock/{MODEL}", f"aimock/{MODEL}", "sandbox/echo"])
def test_an_answer_says_what_it_was_and_what_it_cost(gateway: Gateway, model: str) -> None:
    run = f"headers-{model.replace('/', '-')}"
    with gateway.sdk() as client:
        raw = client.chat.completions.with_raw_response.create(
            model=model, messages=HELLO, extra_headers={"x-gateway-run": run}
        )
    headers = raw.headers
    kept = trace(gateway, headers["x-gateway-trace"])
    assert headers["x-gateway-run"] == kept["run"] == run
    assert headers["x-gateway-model"] == kept["model"] == model
    assert headers["x-gateway-cost-usd"] == kept["cost_usd"]
    assert headers["x-gateway-estimate-usd"] == kept["bound_usd"]
    assert Decimal(kept["bound_usd"]) >= Decimal(kept["cost_usd"]) > 0
    assert Decimal(headers["x-gateway-run-remaining-usd"]) == 5 - Decimal(kept["cost_usd"])
    assert int(headers["x-gateway-output-tokens"]) == 4096
    assert 0 < float(headers["x-gateway-overhead-ms"]) < 5000
    assert not [name for name in headers if name == "server" or name.startswith("set-")]


def test_a_stream_says_all_but_its_cost_before_it_begins(gateway: Gateway) -> None:
    headers = {"x-gateway-run": "headers-of-a-stream", "x-gateway-max-output-tokens": "100"}
    with (
        gateway.sdk() as client,
        client.chat.completions.create(
            model=f"aimock/{MODEL}", messages=HELLO, stream=True, extra_headers=headers
        ) as stream,
    ):
        told = stream.response.headers
        assert said(list(stream)) == AIMOCK_TEXT
    assert told["content-type"].startswith("text/event-stream")
    assert told["x-gateway-run"] == "headers-of-a-stream"
    assert told["x-gateway-model"] == f"aimock/{MODEL}"
    assert told["x-gateway-output-tokens"] == "100"
    held = Decimal(told["x-gateway-estimate-usd"])
    assert held > 100 * Decimal(10) / 1_000_000, "the ceiling on the output is a part of it"
    assert Decimal(told["x-gateway-run-remaining-usd"]) == 5 - held
    assert "x-gateway-cost-usd" not in told
    assert trace(gateway, told["x-gateway-trace"])["bound_usd"] == told["x-gateway-estimate-usd"]


def test_a_limit_of_the_request_that_is_kept_is_not_reported_as_changed(gateway: Gateway) -> None:
    with gateway.sdk() as client:
        raw = client.chat.completions.with_raw_response.create(
            model="sandbox/echo", messages=HELLO, max_completion_tokens=50
        )
    assert "x-gateway-output-tokens" not in raw.headers


def test_models_are_listed_and_the_sandbox_says_what_it_is(gateway: Gateway) -> None:
    with gateway.sdk() as client:
        listed = {model.id: model.owned_by for model in client.models.list()}
    assert set(listed) >= {f"{one}/{name}" for one in STANDINS for name in (MODEL, EMBEDDER)}
    assert listed[f"llmock/{MODEL}"] == "llmock"
    assert "sandbox" in listed["sandbox/echo"]
    assert "not a model" in listed["sandbox/echo"]


def test_a_dry_run_answers_with_the_estimate_and_nothing_else_happens(gateway: Gateway) -> None:
    before = month_at_rest(gateway)
    with gateway.sdk() as client:
        raw = client.chat.completions.with_raw_response.create(
            model=f"llmock/{MODEL}",
            messages=HELLO,
            max_tokens=10,
            extra_headers={"x-gateway-dry-run": "true", "x-gateway-run": "never-opened"},
        )
        real = client.chat.completions.with_raw_response.create(
            model=f"llmock/{MODEL}", messages=HELLO, max_tokens=10
        )
    estimate = json.loads(raw.text)
    assert estimate["admitted"] is True
    assert estimate["model"] == f"llmock/{MODEL}"
    assert estimate["output_tokens_bound"] == 10
    assert estimate["bound_usd"] == real.headers["x-gateway-estimate-usd"]
    paid = Decimal(trace(gateway, real.headers["x-gateway-trace"])["cost_usd"])
    assert month_at_rest(gateway)["spent_usd"] == before["spent_usd"] + paid
    assert gateway.admin("GET", "/runs/never-opened").status_code == 404


async def test_fifty_streams_of_the_async_sdk_run_at_once(gateway: Gateway) -> None:
    async def one(client: openai.AsyncOpenAI) -> str:
        stream = await client.chat.completions.create(
            model=f"aimock/{MODEL}", messages=HELLO, stream=True, **COUNTED
        )
        return said([chunk async for chunk in stream])

    async with gateway.async_sdk() as client, asyncio.TaskGroup() as group:
        asked = [group.create_task(one(client)) for _ in range(50)]
    assert {task.result() for task in asked} == {AIMOCK_TEXT}


def test_the_command_lists_the_same_traces_as_json_lines(gateway: Gateway) -> None:
    kept = traces(gateway, 1, model=f"llmock/{MODEL}")
    listed = gateway.cli(
        "traces", "list", "--model", f"llmock/{MODEL}", "--limit", "1000", "--json"
    )
    assert listed.returncode == 0, listed.stderr
    assert [json.loads(line) for line in reversed(listed.stdout.splitlines())] == kept
    assert set(kept[0]) >= TRACE_MEMBERS


TRACE_MEMBERS = {
    *("id", "at", "token", "project", "run", "dialect", "endpoint", "model_asked", "model"),
    *("provider", "stream", "status", "outcome", "code", "input_tokens", "cached_tokens"),
    *("cache_write_tokens", "output_tokens", "reasoning_tokens", "cost_usd", "cost_basis"),
    *("bound_usd", "price_version", "latency_ms", "first_byte_ms", "overhead_ms", "attempts"),
    "labels",
}
"""Public: none of these goes."""
