"""Hosts that speak OpenAI's API in their own ways, each told by its name: what they get, what is owed."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest

from tests.process.conversation import HELLO, said
from tests.process.gateway_process import Gateway
from tests.process.observing import PRICE, cost, provider, running, traces
from tests.process.standins import Scripted

HOSTS = ("mistral", "groq", "deepseek", "xai", "openrouter", "together", "vllm", "ollama")
VENDORED = "vendor/model:free"
FREE = {"input": 0, "output": 0, "context_tokens": 8192, "hidden_reasoning": False}


@pytest.fixture(scope="module")
def gateway(scripted_session: Scripted) -> Iterator[Gateway]:
    prices: dict[str, Any] = {f"{host}/m": PRICE for host in HOSTS} | {"ollama/m": FREE}
    prices |= {f"{host}/{VENDORED}": PRICE for host in ("openrouter", "together")}
    providers = {host: provider(scripted_session) for host in HOSTS}
    with running({"providers": providers, "prices": prices}) as made:
        yield made


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with gateway.sdk() as made:
        yield made


def owed(gateway: Gateway, run: str) -> Decimal:
    (found,) = traces(gateway, 1, run=run)
    assert (found["outcome"], found["cost_basis"]) == ("completed", "reported")
    return Decimal(found["cost_usd"])


def heard(client: openai.OpenAI, host: str, run: str, *, is_stream: bool, model: str = "m") -> str:
    """Return what a host said; no usage is seen that was not asked for, where it was asked for us."""
    made: Any = client.chat.completions.create(
        model=f"{host}/{model}",
        messages=HELLO,
        stream=is_stream,
        extra_headers={"x-gateway-run": run},
    )
    return said(list(made)) if is_stream else made.choices[0].message.content


STREAMED = pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
BILLS = [
    (Decimal("0.00014"), {}),
    (Decimal("0.000000000123"), {}),
    (Decimal("0.1234567891"), {}),
    (Decimal(0), {}),
    (Decimal("3.5"), {"is_byok": False, "cost_details": {"upstream_inference_cost": 9}}),
    (Decimal("2.25"), {"is_byok": True, "cost_details": {"upstream_inference_cost": 2}}),
]


@STREAMED
@pytest.mark.parametrize(("bill", "more"), BILLS)
def test_openrouters_bill_is_the_cost(
    gateway: Gateway,
    client: openai.OpenAI,
    scripted: Scripted,
    bill: Decimal,
    more: dict[str, Any],
    *,
    is_stream: bool,
):
    own_key = 2 if more.get("is_byok") else 0
    usage = json.dumps({"prompt_tokens": 9, "completion_tokens": 16, "total_tokens": 25} | more)
    scripted.script("m", usage="always", usage_text=usage[:-1] + f', "cost": {bill - own_key:f}}}')
    run = f"openrouter-{bill:f}-{is_stream}"
    assert len(heard(client, "openrouter", run, is_stream=is_stream).split()) == 16
    (served,) = scripted.settled(1)
    assert "stream_options" not in served["body"], "it reports usage unasked"
    nano = Decimal("0.000000001")
    assert owed(gateway, run) == bill.quantize(nano, rounding="ROUND_CEILING")


@STREAMED
def test_openrouter_without_a_bill_costs_as_the_prices_have_it(
    gateway: Gateway, client: openai.OpenAI, scripted: Scripted, *, is_stream: bool
):
    usage = {"cost": -1.0}
    scripted.script(VENDORED, usage="always", prompt_tokens=30, usage_fields=usage)
    run = f"unbilled-{is_stream}"
    heard(client, "openrouter", run, is_stream=is_stream, model=VENDORED)
    assert owed(gateway, run) == cost(30, 16)
    (served,) = scripted.settled(1)
    assert served["model"] == VENDORED


@STREAMED
@pytest.mark.parametrize(("ticks", "dollars"), [(0, None), (10**10, 1), (37_756_001, None)])
def test_xais_bill_is_the_least_that_is_owed(
    gateway: Gateway,
    client: openai.OpenAI,
    scripted: Scripted,
    ticks: int,
    dollars: int | None,
    *,
    is_stream: bool,
):
    usage = {
        "prompt_tokens": 30,
        "completion_tokens": 16,
        "total_tokens": 30 + 16 + 400,
        "completion_tokens_details": {"reasoning_tokens": 400},
        "cost_in_usd_ticks": ticks,
    }
    scripted.script("m", usage_fields=usage)
    run = f"xai-{ticks}-{is_stream}"
    heard(client, "xai", run, is_stream=is_stream)
    ours = cost(30, 416)
    assert owed(gateway, run) == max(Decimal(dollars or 0), ours)
    (found,) = traces(gateway, 1, run=run)
    assert (found["output_tokens"], found["reasoning_tokens"]) == (416, 400)


def test_groq_says_its_usage_in_a_place_of_its_own(
    gateway: Gateway, client: openai.OpenAI, scripted: Scripted
):
    scripted.script("m", usage="groq", prompt_tokens=30)
    heard(client, "groq", "groq", is_stream=True)
    assert owed(gateway, "groq") == cost(30, 16)
    (served,) = scripted.settled(1)
    assert served["body"]["max_completion_tokens"] == 4096


def test_mistral_is_not_asked_for_usage_and_says_it_in_the_last_chunk(
    gateway: Gateway, client: openai.OpenAI, scripted: Scripted
):
    scripted.script("m", usage="in_last", prompt_tokens=30)
    heard(client, "mistral", "mistral", is_stream=True)
    assert owed(gateway, "mistral") == cost(30, 16)
    (served,) = scripted.settled(1)
    assert "stream_options" not in served["body"]
    assert served["body"]["max_tokens"] == 4096


@pytest.mark.parametrize(
    "body",
    [
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "x"], "msg": "Extra inputs"}]},
        {
            "object": "error",
            "message": {"detail": [{"msg": "no"}]},
            "type": "invalid_request_error",
        },
    ],
)
def test_mistrals_refusal_passes_as_it_is(gateway: Gateway, scripted: Scripted, body: Any):  # noqa: ANN401
    scripted.script("m", status=422, body=body)
    answer = httpx.post(
        f"{gateway.base_url}/chat/completions",
        json={"model": "mistral/m", "messages": HELLO},
        headers={"authorization": f"Bearer {gateway.client_token}"},
    )
    assert (answer.status_code, answer.json()) == (422, body)
    with gateway.sdk() as client, pytest.raises(openai.UnprocessableEntityError):
        client.chat.completions.create(model="mistral/m", messages=HELLO)


@STREAMED
def test_deepseek_waits_in_comments_and_counts_hits_and_misses(
    gateway: Gateway, client: openai.OpenAI, scripted: Scripted, *, is_stream: bool
):
    usage = {"prompt_cache_hit_tokens": 20, "prompt_cache_miss_tokens": 10}
    scripted.script("m", comments=True, prompt_tokens=30, usage_fields=usage)
    run = f"deepseek-{is_stream}"
    heard(client, "deepseek", run, is_stream=is_stream)
    assert owed(gateway, run) == cost(30, 16, 20)


def test_deepseeks_blank_lines_before_a_late_answer_are_passed_on(
    gateway: Gateway, client: openai.OpenAI, scripted: Scripted
):
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    late = "\n\n\n" + json.dumps({"choices": [choice | {"finish_reason": "stop"}], "usage": usage})
    scripted.script("m", raw=late)
    assert heard(client, "deepseek", "late", is_stream=False) == "Hi"
    assert owed(gateway, "late") == cost(5, 2)


@pytest.mark.parametrize("host", ["deepseek", "openrouter"])
def test_an_empty_account_of_ours_is_not_the_users_budget(
    gateway: Gateway, scripted: Scripted, host: str
):
    scripted.script("m", status=402, body={"error": {"message": "Insufficient Balance"}})
    with gateway.sdk() as client, pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=f"{host}/m", messages=HELLO)
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_error")


def test_openrouters_error_after_the_start_is_one(
    gateway: Gateway, client: openai.OpenAI, scripted: Scripted
):
    error = {"code": 502, "message": "Provider disconnected"}
    choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
    event = f"data: {json.dumps({'error': error, 'choices': [choice]})}\n\n"
    scripted.script("m", inserted=event, inserted_at=4, ending="truncate", ending_after=5)
    with pytest.raises(openai.APIError, match="Provider disconnected"):
        heard(client, "openrouter", "broken", is_stream=True)
    (found,) = traces(gateway, 1, run="broken")
    assert (found["outcome"], found["cost_basis"]) == ("provider_error", "metered")


@pytest.mark.parametrize("field", ["models", "route", "provider", "plugins", "preset"])
def test_what_would_change_the_price_is_refused(
    client: openai.OpenAI, scripted: Scripted, field: str
):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model="openrouter/m", messages=HELLO, extra_body={field: "fallback"}
        )
    assert caught.value.param == field
    assert scripted.seen() == []


def test_vllms_usage_in_each_chunk_is_counted_once_and_hidden(
    gateway: Gateway, client: openai.OpenAI, scripted: Scripted
):
    scripted.script("m", usage="each", prompt_tokens=30)
    with client.chat.completions.create(
        model="vllm/m", messages=HELLO, stream=True, extra_headers={"x-gateway-run": "vllm"}
    ) as stream:
        chunks = list(stream)
    assert all(chunk.usage is None for chunk in chunks)
    assert owed(gateway, "vllm") == cost(30, 16)
    (served,) = scripted.settled(1)
    assert served["body"]["max_tokens"] == 4096
    assert served["body"]["stream_options"] == {"include_usage": True}


def test_togethers_names_have_slashes(gateway: Gateway, client: openai.OpenAI, scripted: Scripted):
    heard(client, "together", "together", is_stream=True, model=VENDORED)
    (served,) = scripted.settled(1)
    assert served["model"] == VENDORED
    assert owed(gateway, "together") == cost(served["prompt_tokens"], 16)


def test_ollama_costs_nothing(gateway: Gateway, client: openai.OpenAI, scripted: Scripted):
    heard(client, "ollama", "ollama", is_stream=True)
    scripted.settled(1)
    assert owed(gateway, "ollama") == 0
