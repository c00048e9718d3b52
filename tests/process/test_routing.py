"""Routing from outside: providers that die and come back, retries, several keys, a full provider.

The providers keep their own accounts. Whatever happens on the way, what was recorded is what they
served, to the nano-dollar, as nothing here breaks off; and at the end nothing is held.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.process import standins
from tests.process.conftest import PROVIDER_KEY, GatewayFactory
from tests.process.conversation import HELLO
from tests.process.gateway_process import Gateway
from tests.process.standins import Scripted, wait_until

TOKENS = 20
PRICE = {"input": "1", "output": "10", "hidden_reasoning": False}
"""US dollars per million tokens."""
WRONG_KEY = "sk-wrong-key-that-must-not-be-seen"
CIRCUIT = {"failures": 3, "cool_down": "1s"}
PATIENT = {"failures": 3, "cool_down": "3s"}
"""For tests that make several calls while a circuit is open."""


@dataclass(frozen=True, slots=True)
class Town:
    """A gateway before two stand-ins, under many providers' names, so that no test shuts another's."""

    gateway: Gateway
    first: Scripted
    second: Scripted

    def call(self, model: str, run: str, **body: object) -> httpx.Response:
        return httpx.post(
            f"{self.gateway.base_url}/chat/completions",
            headers={
                "authorization": f"Bearer {self.gateway.client_token}",
                "x-gateway-run": run,
            },
            json={"model": model, "messages": HELLO, "max_tokens": TOKENS, **body},
            timeout=30,
        )

    @contextmanager
    def streaming(self, model: str, run: str) -> Iterator[httpx.Response]:
        """A stream that has begun; leaving the block before its end leaves the stream."""
        with httpx.stream(
            "POST",
            f"{self.gateway.base_url}/chat/completions",
            headers={
                "authorization": f"Bearer {self.gateway.client_token}",
                "x-gateway-run": run,
            },
            json={"model": model, "messages": HELLO, "max_tokens": TOKENS, "stream": True},
            timeout=30,
        ) as answer:
            yield answer

    def traces(self, run: str, count: int) -> list[dict[str, Any]]:
        """The traces of a run, the oldest first, once there are so many."""
        found: list[dict[str, Any]] = []

        def are_there() -> bool:
            params = {"run": run, "limit": "500"}
            found[:] = self.gateway.admin("GET", "/traces", params=params).json()["data"]
            return len(found) >= count

        wait_until(are_there, f"{count} traces of {run}")
        assert len(found) == count
        return found[::-1]

    def check(self, *runs: str) -> None:
        """The runs cost what both stand-ins served since the test began; nothing is held."""

        def money(run: str) -> dict[str, Any]:
            shown: dict[str, Any] = self.gateway.admin("GET", f"/runs/{run}").json()
            return shown

        wait_until(
            lambda: all(Decimal(money(run)["held_usd"]) == 0 for run in runs), "nothing is held"
        )
        spent = sum((Decimal(money(run)["spent_usd"]) for run in runs), Decimal(0))
        served = [*self.first.seen(), *self.second.seen()]
        tokens = Decimal(10) / 10**6
        assert spent == sum(
            (
                one["prompt_tokens"] * Decimal(1) / 10**6 + one["billed_completion_tokens"] * tokens
                for one in served
            ),
            Decimal(0),
        )

    def is_open(self, provider: str) -> bool:
        line = f'gateway_upstream_circuit_open{{provider="{provider}"}} '
        (found,) = [one for one in self.gateway.metrics().splitlines() if one.startswith(line)]
        return float(found.removeprefix(line)) == 1

    def events(self, event: str, provider: str) -> list[dict[str, Any]]:
        return [
            line
            for line in self.gateway.log()
            if line.get("event") == event and line.get("provider") == provider
        ]


@pytest.fixture(scope="module")
def second_session() -> Iterator[Scripted]:
    with standins.scripted(key=PROVIDER_KEY) as standin:
        yield standin


@pytest.fixture(scope="module")
def module_gateway(
    module_gateway_factory: GatewayFactory, scripted_session: Scripted, second_session: Scripted
) -> Gateway:
    def provider(standin: Scripted, **more: object) -> dict[str, object]:
        return {
            "dialect": "openai",
            "base_url": standin.base_url,
            "key": PROVIDER_KEY,
            "circuit": CIRCUIT,
            **more,
        }

    first, second = scripted_session, second_session
    keys = {"key": None, "keys": [WRONG_KEY, PROVIDER_KEY]}
    providers: Mapping[str, dict[str, object]] = {
        "dying": provider(first),
        "usual": provider(first, circuit={}),
        "a": provider(first, circuit=PATIENT),
        "b": provider(second, circuit=PATIENT),
        "gone": provider(first, base_url="http://127.0.0.1:1/v1"),
        "patient": provider(first, retries=2),
        "keyed": provider(first, **keys),
        "narrow": provider(first, max_concurrent=1),
        "alone": provider(first, max_concurrent=1),
        "wide": provider(second),
    }
    return module_gateway_factory(
        {
            "providers": providers,
            "prices": {f"{name}/m": PRICE for name in providers},
            "models": {
                "shared": {"targets": [{"model": "a/m"}, {"model": "b/m"}]},
                "fallen": {"targets": [{"model": "gone/m"}], "fallbacks": ["wide/m"]},
                "crowded": {"targets": [{"model": "narrow/m"}], "fallbacks": ["wide/m"]},
            },
        }
    )


@pytest.fixture
def town(module_gateway: Gateway, scripted: Scripted, second_session: Scripted) -> Town:
    second_session.reset()
    for standin in (scripted, second_session):
        standin.script(tokens=TOKENS)
    return Town(module_gateway, scripted, second_session)


def failed(town: Town, model: str, run: str, times: int = 3) -> None:
    for _ in range(times):
        assert town.call(model, run).status_code == 503


def test_a_provider_that_dies_is_refused_fast_and_comes_back(town: Town):
    town.first.script(status=503)
    failed(town, "dying/m", "dying")
    assert town.is_open("dying")
    began = time.monotonic()
    refused = town.call("dying/m", "dying")
    assert time.monotonic() - began < 1.0
    assert refused.status_code == 502
    assert refused.json()["error"]["code"] == "upstream_error"
    assert "dying has failed 3 times in a row; it is tried again in 1 s" in refused.text
    assert refused.headers["retry-after"] == "1"
    assert len(town.first.seen()) == 3
    wait_until(lambda: town.call("dying/m", "dying").status_code == 503, "it was tried once")
    assert len(town.first.seen()) == 4
    assert [one["failures"] for one in town.events("circuit_opened", "dying")] == [3, 4]
    assert [one["wait_s"] for one in town.events("circuit_opened", "dying")] == [1.0, 2.0]
    town.first.script(tokens=TOKENS)
    wait_until(lambda: town.call("dying/m", "dying").status_code == 200, "it is asked again")
    assert not town.is_open("dying")
    assert len(town.events("circuit_closed", "dying")) == 1
    assert town.call("dying/m", "dying").status_code == 200
    town.check("dying")


def test_five_failures_in_a_row_are_enough_unless_told_otherwise(town: Town):
    town.first.script(status=503)
    failed(town, "usual/m", "usual", 5)
    assert town.is_open("usual")
    assert town.call("usual/m", "usual").status_code == 502
    assert [one["wait_s"] for one in town.events("circuit_opened", "usual")] == [10.0]


def test_an_sdk_that_retries_lands_when_the_provider_is_back(town: Town):
    town.first.script(status=503)
    failed(town, "a/m", "landing")
    assert town.is_open("a")
    town.first.script(tokens=TOKENS)
    with town.gateway.sdk(retries=5) as client:
        whole = client.chat.completions.create(
            model="a/m",
            messages=HELLO,
            max_tokens=TOKENS,
            extra_headers={"x-gateway-run": "landing"},
        )
    assert whole.choices[0].message.content
    assert not town.is_open("a")
    town.check("landing")


def test_runs_move_to_the_other_target_and_come_back(town: Town):
    runs = [f"moving-{number}" for number in range(8)]

    def homes() -> list[str]:
        answers = [town.call("shared", run) for run in runs]
        assert {answer.status_code for answer in answers} == {200}
        return [answer.headers["x-gateway-model"] for answer in answers]

    before = homes()
    assert set(before) == {"a/m", "b/m"}
    town.first.script(status=500)
    for _ in range(3):
        assert town.call("a/m", "moving").status_code == 500
    assert homes() == 8 * ["b/m"]
    town.first.script(tokens=TOKENS)
    wait_until(lambda: homes() == before, "every run is back at its own")
    town.check("moving", *runs)


def test_where_all_targets_are_shut_nothing_is_sent(town: Town):
    for standin, model in ((town.first, "a/m"), (town.second, "b/m")):
        standin.script(status=500)
        for _ in range(3):
            assert town.call(model, "all-shut").status_code == 500
    seen = len(town.first.seen()) + len(town.second.seen())
    began = time.monotonic()
    answers = [town.call("shared", "all-shut") for _ in range(4)]
    if time.monotonic() - began < 0.5:
        assert {answer.status_code for answer in answers} == {502}
        assert len(town.first.seen()) + len(town.second.seen()) == seen
    for standin in (town.first, town.second):
        standin.script(tokens=TOKENS)
    for model in ("a/m", "b/m"):
        wait_until(lambda m=model: town.call(m, "all-shut").status_code == 200, "it is back")
    town.check("all-shut")


def test_a_provider_that_can_not_be_reached_is_soon_passed_over(town: Town):
    answers = [town.call("fallen", "fallen") for _ in range(5)]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["x-gateway-model"] for answer in answers} == {"wide/m"}
    assert [trace["attempts"] for trace in town.traces("fallen", 5)] == [2, 2, 2, 1, 1]
    assert town.is_open("gone")
    town.check("fallen")


def test_a_call_is_tried_again_with_the_same_model_and_pays_once(town: Town):
    town.first.script(status=503, headers={"retry-after": "1"})
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(town.call, "patient/m", "patient")
        wait_until(lambda: len(town.first.seen()) == 1, "the first attempt failed")
        town.first.script(tokens=TOKENS)
        assert answer.result().status_code == 200
    (trace,) = town.traces("patient", 1)
    assert (trace["attempts"], trace["outcome"]) == (2, "completed")
    assert trace["cost_basis"] == "reported"
    assert len(town.first.seen()) == 2
    town.check("patient")


def test_retries_end_and_the_last_error_comes_through(town: Town):
    town.first.script(status=429, headers={"retry-after-ms": "1"})
    answer = town.call("patient/m", "spent")
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "scripted_429"
    (trace,) = town.traces("spent", 1)
    assert (trace["attempts"], Decimal(trace["cost_usd"])) == (3, 0)
    town.check("spent")


@pytest.mark.parametrize("ends", ["killed", "left"])
def test_a_call_that_waits_to_try_again_can_be_ended(town: Town, ends: str):
    town.first.script(status=503, headers={"retry-after": "3"})
    answers: list[httpx.Response] = []

    def call() -> None:
        with town.gateway.sdk(timeout=0.5 if ends == "left" else 30.0) as client:
            try:
                client.chat.completions.create(
                    model="patient/m",
                    messages=HELLO,
                    max_tokens=TOKENS,
                    extra_headers={"x-gateway-run": ends},
                )
            except Exception as error:  # noqa: BLE001  # whatever the SDK makes of it
                answers.extend([error.response] if hasattr(error, "response") else [])

    caller = threading.Thread(target=call)
    caller.start()
    wait_until(lambda: len(town.first.seen()) == 1, "the first attempt failed")
    if ends == "killed":
        town.first.settled(1)
        time_of_kill = time.monotonic()
        order = {"scope": "run", "id": ends, "reason": "test"}
        switch = town.gateway.admin("POST", "/kill", json=order)
        assert switch.is_success, switch.text
    caller.join(20)
    if ends == "killed":
        assert time.monotonic() - time_of_kill < 2.0, "it did not wait for its pause to end"
        assert answers[0].status_code == 403
        assert answers[0].json()["error"]["code"] == "kill_switch"
    (trace,) = town.traces(ends, 1)
    assert trace["outcome"] == ("killed" if ends == "killed" else "client_gone")
    assert (trace["attempts"], Decimal(trace["cost_usd"])) == (1, 0)
    assert len(town.first.seen()) == 1
    town.check(ends)


def test_a_key_that_is_refused_rests_and_the_other_answers(town: Town):
    answers = [town.call("keyed/m", "keyed") for _ in range(4)]
    assert {answer.status_code for answer in answers} == {200}
    assert [trace["attempts"] for trace in town.traces("keyed", 4)] == [2, 1, 1, 1]
    (rested,) = town.events("key_rests", "keyed")
    assert (rested["index"], rested["status"], rested["rest_s"]) == (0, 401, 60.0)
    said = town.gateway.stderr() + town.gateway.stdout() + "".join(a.text for a in answers)
    assert WRONG_KEY not in said
    assert PROVIDER_KEY not in said
    town.check("keyed")


def test_a_provider_that_is_full_is_not_asked_until_a_call_ends(town: Town):
    town.first.script(tokens=TOKENS, chunk_after=0.05)
    with town.streaming("alone/m", "full") as stream:
        lines = stream.iter_lines()
        next(lines)
        refused = town.call("alone/m", "full")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert refused.json()["error"]["code"] == "too_many_streams"
        assert "alone" in refused.json()["error"]["message"]
        rest = list(lines)
    assert "data: [DONE]" in rest
    wait_until(lambda: town.call("alone/m", "full").status_code == 200, "there is room again")
    town.check("full")


def test_a_stream_that_is_left_makes_room(town: Town):
    town.first.script(tokens=TOKENS, chunk_after=0.05)
    with town.streaming("alone/m", "leaving") as stream:
        lines = stream.iter_lines()  # kept, as its end would be the stream's
        next(lines)
        assert town.call("alone/m", "leaving").status_code == 429
    wait_until(lambda: town.call("alone/m", "leaving").status_code == 200, "there is room again")


def test_who_finds_a_provider_full_goes_to_the_next(town: Town):
    town.first.script(tokens=TOKENS, chunk_after=0.05)
    with town.streaming("crowded", "crowded") as stream:
        lines = stream.iter_lines()
        next(lines)
        answer = town.call("crowded", "crowded")
        assert answer.status_code == 200
        assert answer.headers["x-gateway-model"] == "wide/m"
        list(lines)
    assert [trace["attempts"] for trace in town.traces("crowded", 2)] == [1, 1]
    town.check("crowded")


def test_many_at_once_through_one_place_are_each_served_or_refused(town: Town):
    town.first.script(tokens=TOKENS)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: town.call("alone/m", "many"), range(80)))
    codes = [answer.status_code for answer in answers]
    assert set(codes) <= {200, 429}
    assert len(town.first.seen()) == codes.count(200) > 0
    wait_until(lambda: town.call("alone/m", "many").status_code == 200, "there is room again")
    town.check("many")
