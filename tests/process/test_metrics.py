"""The metrics of a gateway that has had traffic of every kind: sound, complete, true, and nameless."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.process import standins
from tests.process.conversation import HELLO
from tests.process.gateway_process import Gateway
from tests.process.observing import PRICE, month_at_rest, provider, running, traces
from tests.process.standins import Scripted, wait_until

MODEL = "mock/model"
RUN = "a-run-that-no-metric-names"
LABELS = {
    "gateway_requests_total": {"provider", "model", "dialect", "outcome"},
    "gateway_request_duration_seconds": set(),
    "gateway_overhead_seconds": set(),
    "gateway_time_to_first_byte_seconds": set(),
    "gateway_tokens_total": {"provider", "model", "kind"},
    "gateway_cost_usd_total": {"provider", "model"},
    "gateway_refusals_total": {"code"},
    "gateway_streams_active": set(),
    "gateway_streams_aborted_total": {"reason"},
    "gateway_budget_limit_usd": {"scope"},
    "gateway_budget_spent_usd": {"scope"},
    "gateway_budget_held_usd": {"scope"},
    "gateway_overshoot_usd_total": set(),
    "gateway_bound_to_cost_ratio": set(),
    "gateway_kill_switch_active": {"scope"},
    "gateway_kill_propagation_seconds": set(),
    "gateway_ledger_lease_wait_seconds": set(),
    "gateway_traces_queue_depth": set(),
    "gateway_traces_dropped_total": set(),
    "gateway_upstream_connections": {"provider", "state"},
    "gateway_upstream_circuit_open": {"provider"},
    "gateway_webhooks_total": {"result"},
    "gateway_build_info": {"version"},
}
"""Every metric that there is, by its public name; a histogram's without the suffixes of its samples."""


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Scripted]:
    with standins.scripted(key="sk-of-the-provider") as made:
        yield made


@pytest.fixture(scope="module")
def gateway(stand_in: Scripted) -> Iterator[Gateway]:
    prices = dict.fromkeys((MODEL, "mock/overbilled", "mock/killed"), PRICE)
    config = {"providers": {"mock": provider(stand_in)}, "prices": prices}
    with running(config) as made:
        have_traffic(made, stand_in)
        yield made


def have_traffic(gateway: Gateway, stand_in: Scripted) -> None:
    """Two calls and a stream that complete; one refused, overbilled, broken, killed; a stranger's."""
    stand_in.script("overbilled", extra_billed_tokens=100_000)
    stand_in.script("killed", chunk_after=0.05, ending="hang")
    with gateway.sdk() as client:
        create = client.chat.completions.create
        for _ in range(2):
            create(model=MODEL, messages=HELLO, extra_headers={"x-gateway-run": RUN})
        list(create(model=MODEL, messages=HELLO, stream=True))
        create(model="mock/overbilled", messages=HELLO)
        for wrong in ({"model": "mock/unheard-of"}, {"model": MODEL, "max_tokens": 0}):
            with pytest.raises(openai.APIStatusError):
                create(messages=HELLO, **wrong)
        stand_in.script("model", ending="reset")
        with pytest.raises(openai.APIError):
            list(create(model=MODEL, messages=HELLO, stream=True))
        with create(model="mock/killed", messages=HELLO, stream=True) as stream:
            next(stream)
            order = {"scope": "model", "id": "mock/killed", "reason": "a test"}
            gateway.admin("POST", "/kill", json=order).raise_for_status()
            with pytest.raises(openai.APIError):
                list(stream)
    with (
        gateway.sdk(token="gwk_live_of_a_stranger") as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.chat.completions.create(model=MODEL, messages=HELLO)
    month_at_rest(gateway)


@pytest.fixture(scope="module")
def metrics(gateway: Gateway) -> dict[str, Metric]:
    """The metrics by public name, once the budgets' figures, read every 2 s, are those of the end."""
    spent = float(month_at_rest(gateway)["spent_usd"])

    def are_fresh() -> bool:
        return value(read(gateway), "gateway_budget_spent_usd", scope="workspace") == spent

    wait_until(are_fresh, "the budgets' figures are those of the end", every=0.1)
    return read(gateway)


def read(gateway: Gateway) -> dict[str, Metric]:
    families = text_string_to_metric_families(gateway.metrics())
    return {one.name + ("_total" if one.type == "counter" else ""): one for one in families}


def value(metrics: dict[str, Metric], name: str, suffix: str = "", **labels: str) -> float:
    family = next(one for key, one in metrics.items() if key == name)
    (found,) = [
        one.value
        for one in family.samples
        if one.name == name + suffix and labels.items() == one.labels.items()
    ]
    return found


def test_promtool_has_nothing_to_say(gateway: Gateway, promtool: Path) -> None:
    checked = subprocess.run(
        [str(promtool), "check", "metrics"],
        input=gateway.metrics(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_each_metric_is_there_with_its_labels_and_no_other(metrics: dict[str, Metric]) -> None:
    named = {
        name: {label for one in family.samples for label in one.labels} - {"le"}
        for name, family in metrics.items()
    }
    assert named == LABELS
    assert all(family.documentation for family in metrics.values())


def test_no_metric_names_a_run_a_token_or_a_call(
    gateway: Gateway, metrics: dict[str, Metric]
) -> None:
    values = {
        v for family in metrics.values() for one in family.samples for v in one.labels.values()
    }
    kept = traces(gateway, 8)
    personal = {one[name] for one in kept for name in ("id", "token", "run") if one[name]}
    assert values.isdisjoint(personal)
    assert not [v for v in values if re.search(r"[0-9a-f]{8}-|gwk_|unheard", v)]


def test_counters_are_what_happened(metrics: dict[str, Metric]) -> None:
    def calls(model: str, outcome: str) -> float:
        labels = {"provider": "mock", "model": model, "dialect": "openai", "outcome": outcome}
        return value(metrics, "gateway_requests_total", **labels)

    assert calls(MODEL, "completed") == 3
    assert calls(MODEL, "provider_lost") == 1
    assert calls("mock/killed", "killed") == 1
    assert calls("mock/overbilled", "completed") == 1
    refusals = {code: value(metrics, "gateway_refusals_total", code=code) for code in REFUSED}
    assert refusals == REFUSED
    assert value(metrics, "gateway_streams_aborted_total", reason="killed") == 1
    assert value(metrics, "gateway_streams_aborted_total", reason="provider_lost") == 1
    assert value(metrics, "gateway_streams_active") == 0
    assert value(metrics, "gateway_kill_switch_active", scope="model") == 1
    assert value(metrics, "gateway_kill_switch_active", scope="all") == 0
    assert value(metrics, "gateway_kill_propagation_seconds", "_count") == 1
    assert value(metrics, "gateway_traces_dropped_total") == 0


REFUSED = {"price_unknown": 1, "invalid_request": 1, "token_invalid": 1, "kill_switch": 0}


def test_money_and_tokens_are_those_of_the_traces(
    gateway: Gateway, metrics: dict[str, Metric]
) -> None:
    kept = traces(gateway, 8)
    for model in (MODEL, "mock/overbilled", "mock/killed"):
        ours = [one for one in kept if one["model"] == model]
        labels = {"provider": "mock", "model": model}
        cost = value(metrics, "gateway_cost_usd_total", **labels)
        assert cost == pytest.approx(sum(float(one["cost_usd"]) for one in ours), abs=1e-9)
        for kind in ("input", "cached", "cache_write", "output", "reasoning"):
            tokens = value(metrics, "gateway_tokens_total", **labels, kind=kind)
            assert tokens == sum(one[f"{kind}_tokens"] for one in ours)
    overshoot = [
        float(o["cost_usd"]) - float(o["bound_usd"])
        for o in kept
        if o["model"] == "mock/overbilled"
    ]
    assert value(metrics, "gateway_overshoot_usd_total") == pytest.approx(*overshoot, abs=1e-9)


def test_budgets_are_those_of_the_workspace(gateway: Gateway, metrics: dict[str, Metric]) -> None:
    assert value(metrics, "gateway_budget_limit_usd", scope="workspace") == 500
    assert value(metrics, "gateway_budget_held_usd", scope="workspace") == 0


def test_every_call_is_in_the_histograms(metrics: dict[str, Metric]) -> None:
    assert value(metrics, "gateway_request_duration_seconds", "_count") == 8
    assert value(metrics, "gateway_overhead_seconds", "_count") == 8
    assert value(metrics, "gateway_time_to_first_byte_seconds", "_count") == 6
    assert value(metrics, "gateway_bound_to_cost_ratio", "_count") == 6
    assert value(metrics, "gateway_ledger_lease_wait_seconds", "_count") >= 1
