"""Fallbacks and retries from outside: who answers, and that each attempt is paid for, within the cap.

Two providers keep their own accounts. Whatever fails, what they served costs no more than what was
recorded, and that no more than the cap.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import openai
import pytest

from tests.process import standins
from tests.process.conftest import PROVIDER_KEY, GatewayFactory
from tests.process.conversation import HELLO
from tests.process.gateway_process import Gateway
from tests.process.standins import Scripted, wait_until

TOKENS = 100
PRICES = {"m": (Decimal(1), Decimal(10)), "n": (Decimal(3), Decimal(30))}
"""US dollars per million tokens of input and output, by the provider's own name of a model."""
CAP = Decimal(1)


@dataclass(frozen=True, slots=True)
class Pair:
    """A gateway before two providers: `first` has m, `second` has n."""

    gateway: Gateway
    first: Scripted
    second: Scripted

    def truth(self, count: int) -> Decimal:
        """What both providers served, in US dollars, once so many requests have ended."""

        def is_settled() -> bool:
            totals = [self.first.totals(), self.second.totals()]
            running = sum(one["running"] for one in totals)
            return sum(one["requests"] for one in totals) >= count and not running

        wait_until(is_settled, f"{count} requests have ended")
        return sum(
            (self._cost(one) for provider in (self.first, self.second) for one in provider.seen()),
            start=Decimal(0),
        )

    def _cost(self, served: dict[str, Any]) -> Decimal:
        price_in, price_out = PRICES[served["model"]]
        tokens_in, tokens_out = served["prompt_tokens"], served["billed_completion_tokens"]
        return (tokens_in * price_in + tokens_out * price_out) / 10**6

    def run(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.gateway.admin("GET", f"/runs/{name}").json()
        return answer

    def traces(self, name: str) -> list[dict[str, Any]]:
        """The traces of a run, the newest first."""
        listed: list[dict[str, Any]] = self.gateway.admin("GET", f"/traces?run={name}").json()[
            "data"
        ]
        return listed

    def check(self, name: str, *, sent: int, calls: int = 1, cap: Decimal = CAP) -> dict[str, Any]:
        """Return the newest trace of a run, when truth ≤ recorded ≤ cap.

        A trace is flushed with the last of its call's money.
        """
        wait_until(lambda: len(self.traces(name)) == calls, f"{calls} calls of {name} are flushed")
        spent = Decimal(self.run(name)["spent_usd"])
        assert self.truth(sent) <= spent <= cap
        traces = self.traces(name)
        assert sum(Decimal(trace["cost_usd"]) for trace in traces) == spent
        for trace in traces:
            assert Decimal(trace["cost_usd"]) <= Decimal(trace["bound_usd"])
        return traces[0]


@pytest.fixture(scope="module")
def second_session() -> Iterator[Scripted]:
    with standins.scripted(key=PROVIDER_KEY) as standin:
        yield standin


@pytest.fixture(scope="module")
def module_gateway(
    module_gateway_factory: GatewayFactory, scripted_session: Scripted, second_session: Scripted
) -> Gateway:
    def provider(base_url: str, **more: object) -> dict[str, object]:
        return {"dialect": "openai", "base_url": base_url, "key": PROVIDER_KEY, **more}

    def price(model: str) -> dict[str, object]:
        price_in, price_out = PRICES[model]
        return {"input": str(price_in), "output": str(price_out), "hidden_reasoning": False}

    def route(target: str) -> dict[str, object]:
        return {"targets": [{"model": target}], "fallbacks": ["second/n"]}

    return module_gateway_factory(
        {
            "providers": {
                "first": provider(scripted_session.base_url),
                "hasty": provider(scripted_session.base_url, timeouts={"first_byte": "300ms"}),
                "gone": provider("http://127.0.0.1:1/v1"),
                "second": provider(second_session.base_url),
            },
            "prices": {
                "first/m": price("m"),
                "hasty/m": price("m"),
                "gone/m": price("m"),
                "second/n": price("n"),
            },
            "models": {
                "fast": route("first/m"),
                "hasty": route("hasty/m"),
                "gone": route("gone/m"),
            },
            "limits": {"short_budget": "refuse"},
        }
    )


@pytest.fixture
def pair(module_gateway: Gateway, scripted: Scripted, second_session: Scripted) -> Pair:
    second_session.reset()
    for provider in (scripted, second_session):
        provider.script(tokens=TOKENS)
    return Pair(module_gateway, scripted, second_session)


def headers(run: str, cap: Decimal = CAP) -> dict[str, str]:
    return {"x-gateway-run": run, "x-gateway-run-cap-usd": str(cap)}


def answer(client: openai.OpenAI, run: str, model: str, *, streams: bool) -> str:
    """Call as an application does and return the text of the answer."""
    if not streams:
        whole = client.chat.completions.create(
            model=model, messages=HELLO, max_tokens=TOKENS, extra_headers=headers(run)
        )
        return whole.choices[0].message.content or ""
    events = client.chat.completions.create(
        model=model, messages=HELLO, max_tokens=TOKENS, stream=True, extra_headers=headers(run)
    )
    return "".join(choice.delta.content or "" for event in events for choice in event.choices)


FAILURES: dict[str, tuple[str, dict[str, object], int, bool]] = {
    "unreachable": ("gone", {}, 0, False),
    "error 500": ("fast", {"status": 500}, 1, False),
    "error 429": ("fast", {"status": 429}, 1, False),
    "slow first byte": ("hasty", {"tokens": TOKENS, "answer_after": 20.0}, 1, True),
    "dropped after the request": ("fast", {"ending": "close", "ending_after": -1}, 1, True),
    "an error in the place of an answer": (
        "fast",
        {"ending": "error_event", "ending_after": -1},
        1,
        False,
    ),
}
"""For each: the model asked for, the first provider's script, the requests it sees, is it charged?"""


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("failure", FAILURES)
def test_the_sdk_gets_a_normal_answer_and_each_attempt_is_paid_for(
    pair: Pair, failure: str, streams: bool
):
    model, script, seen, is_charged = FAILURES[failure]
    if script.get("ending") == "error_event" and not streams:
        script = {"status": 200, "body": {"error": {"message": "overloaded"}}}
    pair.first.script(**script)
    run = f"{failure.replace(' ', '-')}-{streams}"
    with pair.gateway.sdk() as client:
        text = answer(client, run, model, streams=streams)
    assert text.split()
    assert len(text.split()) == TOKENS
    trace = pair.check(run, sent=seen + 1)
    assert len(pair.first.seen()) == seen
    assert len(pair.second.seen()) == 1
    assert (trace["model"], trace["provider"], trace["attempts"]) == ("second/n", "second", 2)
    assert (trace["outcome"], trace["model_asked"], trace["status"]) == ("completed", model, 200)
    assert trace["cost_basis"] == ("bound" if is_charged else "reported")
    served = pair.second.seen()[0]
    own = (served["prompt_tokens"] * 3 + served["completion_tokens"] * 30) / Decimal(10**6)
    assert (Decimal(trace["cost_usd"]) > own) is is_charged
    assert "attempt_failed" in pair.gateway.stderr()


def test_the_headers_name_who_served_and_sum_the_attempts(pair: Pair):
    pair.first.script(ending="close", ending_after=-1)
    with pair.gateway.sdk() as client:
        raw = client.chat.completions.with_raw_response.create(
            model="fast", messages=HELLO, max_tokens=TOKENS, extra_headers=headers("told")
        )
    trace = pair.check("told", sent=2)
    told = {
        name: raw.headers[f"x-gateway-{name}"] for name in ("model", "cost-usd", "estimate-usd")
    }
    assert told == {
        "model": "second/n",
        "cost-usd": trace["cost_usd"],
        "estimate-usd": trace["bound_usd"],
    }
    left = CAP - Decimal(trace["cost_usd"])
    assert Decimal(raw.headers["x-gateway-run-remaining-usd"]) == left


def test_a_stream_that_breaks_after_a_byte_is_not_begun_anew(pair: Pair):
    pair.first.script(tokens=TOKENS, ending="close", ending_after=5)
    with pair.gateway.sdk() as client, pytest.raises(openai.APIError):
        answer(client, "broken", "fast", streams=True)
    trace = pair.check("broken", sent=1)
    assert (trace["model"], trace["attempts"]) == ("first/m", 1)
    assert pair.second.seen() == []


def test_a_request_that_is_wrong_is_not_tried_elsewhere(pair: Pair):
    pair.first.script(status=400)
    with pair.gateway.sdk() as client, pytest.raises(openai.BadRequestError):
        answer(client, "wrong", "fast", streams=False)
    assert pair.second.seen() == []
    assert Decimal(pair.check("wrong", sent=1)["cost_usd"]) == 0


@pytest.mark.parametrize("script", [{"ending": "close", "ending_after": -1}, {"status": 500}])
def test_a_cap_that_has_no_room_for_the_fallback_passes_the_error_on(
    pair: Pair, script: dict[str, object]
):
    """Room for the first attempt's bound; the second's is three times that."""
    pair.first.script(**script)
    run = f"narrow-{script.get('status', 'lost')}"
    cap = 2 * estimated(pair, "first/m")
    with pair.gateway.sdk() as client, pytest.raises(openai.APIStatusError) as failed:
        client.chat.completions.create(
            model="fast", messages=HELLO, max_tokens=TOKENS, extra_headers=headers(run, cap)
        )
    assert failed.value.status_code == script.get("status", 502)
    trace = pair.check(run, sent=1, cap=cap)
    assert (trace["attempts"], trace["model"]) == (1, "first/m")
    assert pair.second.seen() == []


def test_when_both_fail_the_last_ones_error_is_passed_on(pair: Pair):
    pair.first.script(ending="close", ending_after=-1)
    pair.second.script(status=429)
    with pair.gateway.sdk() as client, pytest.raises(openai.RateLimitError):
        answer(client, "both", "fast", streams=False)
    trace = pair.check("both", sent=2)
    assert (trace["attempts"], trace["outcome"]) == (2, "provider_error")
    assert trace["cost_basis"] == "bound"


def estimated(pair: Pair, model: str) -> Decimal:
    with pair.gateway.sdk() as client:
        raw = client.chat.completions.with_raw_response.create(
            model=model,
            messages=HELLO,
            max_tokens=TOKENS,
            extra_headers={"x-gateway-dry-run": "true"},
        )
    return Decimal(json.loads(raw.text)["bound_usd"])


@pytest.mark.parametrize("script", [{"status": 500}, {"ending": "close", "ending_after": -1}])
def test_each_retry_of_the_sdk_is_held_and_settled_for_itself(
    pair: Pair, script: dict[str, object]
):
    pair.first.script(**script)
    run = f"retried-{script.get('status', 'lost')}"
    with pair.gateway.sdk(retries=2) as client, pytest.raises(openai.APIStatusError):
        answer(client, run, "first/m", streams=False)
    pair.check(run, sent=3, calls=3)
    traces = pair.traces(run)
    assert [trace["attempts"] for trace in traces] == [1, 1, 1]
    assert len({trace["id"] for trace in traces}) == 3
    costs = {trace["cost_usd"] == trace["bound_usd"] for trace in traces}
    assert costs == {"status" not in script}


def test_a_retry_of_the_sdk_that_does_not_fit_is_refused(pair: Pair):
    """The cap has room for two attempts that may have been billed; the SDK would make three."""
    pair.first.script(ending="close", ending_after=-1)
    cap = estimated(pair, "first/m") * Decimal("2.5")
    with pair.gateway.sdk(retries=2) as client, pytest.raises(openai.APIStatusError) as refused:
        client.chat.completions.create(
            model="first/m", messages=HELLO, max_tokens=TOKENS, extra_headers=headers("two", cap)
        )
    assert refused.value.code == "run_cap_exceeded"
    pair.check("two", sent=2, calls=3, cap=cap)
    assert len(pair.first.seen()) == 2


def test_costs_are_counted_at_the_model_of_each_attempt(pair: Pair):
    def counted() -> dict[str, Decimal]:
        lines = pair.gateway.metrics().splitlines()
        costs = [line for line in lines if line.startswith("gateway_cost_usd_total{")]
        return {
            model: sum((Decimal(line.split()[-1]) for line in costs if model in line), Decimal(0))
            for model in ('"first/m"', '"second/n"')
        }

    before = counted()
    pair.first.script(ending="close", ending_after=-1)
    with pair.gateway.sdk() as client:
        answer(client, "counted", "fast", streams=False)
    trace = pair.check("counted", sent=2)
    after = counted()
    added = {model: after[model] - before[model] for model in after}
    assert abs(sum(added.values()) - Decimal(trace["cost_usd"])) < Decimal("0.000001")
    served = pair.second.seen()[0]
    own = (served["prompt_tokens"] * 3 + served["completion_tokens"] * 30) / Decimal(10**6)
    assert abs(added['"second/n"'] - own) < Decimal("0.000001")


def test_a_fallback_that_can_not_be_is_refused_by_check_config(pair: Pair):
    file = pair.gateway.folder / "wrong.yaml"
    config = json.loads(pair.gateway.config_file.read_text())
    config["models"]["fast"]["fallbacks"] = ["second/unpriced"]
    file.write_text(json.dumps(config))
    checked = pair.gateway.cli("check-config", "--config", str(file))
    assert checked.returncode == 1
    assert "$.models.fast.fallbacks[0]: found a model without a price" in checked.stderr
