import asyncio
import io
import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, strategies as st
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from gateway.core.budget import BudgetKey, Scope, Window
from gateway.core.ids import KillId, ModelName, Project, Provider, ReplicaId, TokenId, TraceId
from gateway.core.limits import Kill, KillScope
from gateway.core.money import NanoDollars
from gateway.core.outcome import Outcome
from gateway.core.refusal import Code
from gateway.core.traces import Basis, FailedAttempt, Trace
from gateway.telemetry import BudgetFigures, Journal, Telemetry, write_to

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
KNOWN = ModelName("openai/gpt-5-mini")
SECRET = "canary-7f3e"
TRACE = Trace(
    id=TraceId("01931b66-7f3e-7c3a-8f00-1234567890ab"),
    at=NOW,
    token=TokenId("tok-1"),
    project=Project("default"),
    run=None,
    dialect="openai",
    endpoint="chat.completions",
    model_asked=SECRET,
    model=KNOWN,
    provider=Provider("openai"),
    stream=True,
    status=200,
    outcome=Outcome.COMPLETED,
    code=None,
    input_tokens=120,
    cached_tokens=10,
    cache_write_tokens=5,
    output_tokens=300,
    reasoning_tokens=20,
    cost_nusd=NanoDollars(1_234_567),
    cost_basis=Basis.REPORTED,
    bound_nusd=NanoDollars(2_469_134),
    price_version="v1",
    latency_ms=1500.0,
    first_byte_ms=320.0,
    overhead_ms=0.4,
    attempts=1,
    labels={"name": SECRET},
)


ATTEMPT = FailedAttempt(
    model=ModelName("groq/llama-4"),
    provider=Provider("groq"),
    outcome=Outcome.TIMED_OUT,
    cost_nusd=NanoDollars(234_567),
    cost_basis=Basis.BOUND,
    bound_nusd=NanoDollars(234_567),
    took_s=1.0,
)


def ended(**changes: object) -> Trace:
    return msgspec.structs.replace(TRACE, **changes)


class Recorded:
    """A telemetry whose lines and metrics can be read."""

    def __init__(self, *, is_terminal: bool = False) -> None:
        self.raw: list[bytes] = []
        self.connections: dict[tuple[Provider, str], int] = {}
        self.circuits: dict[Provider, bool] = {}
        self.journal = Journal(now=lambda: NOW, write=self.raw.append, is_terminal=is_terminal)
        self.telemetry = Telemetry(
            "1.2.3",
            {KNOWN},
            self.journal,
            upstream_connections=lambda: self.connections,
            open_circuits=lambda: self.circuits,
        )

    @property
    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.raw]

    def exposed(self) -> str:
        return generate_latest(self.telemetry.registry).decode()

    def value(self, name: str, **labels: str) -> float | None:
        return self.telemetry.registry.get_sample_value(f"gateway_{name}", labels)

    def labelled(self, name: str) -> dict[tuple[str, ...], float]:
        return {
            tuple(sample.labels.values()): sample.value
            for family in self.telemetry.registry.collect()
            for sample in family.samples
            if sample.name == f"gateway_{name}"
        }


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


CALL = {"provider": "openai", "model": KNOWN}

# Every metric of this release, its type and labels. They are public: none may change or go away.
METRICS = {
    "requests": ("counter", {"provider", "model", "dialect", "outcome"}),
    "request_duration_seconds": ("histogram", set()),
    "overhead_seconds": ("histogram", set()),
    "time_to_first_byte_seconds": ("histogram", set()),
    "tokens": ("counter", {"provider", "model", "kind"}),
    "cost_usd": ("counter", {"provider", "model"}),
    "refusals": ("counter", {"code"}),
    "streams_active": ("gauge", set()),
    "streams_aborted": ("counter", {"reason"}),
    "budget_limit_usd": ("gauge", {"scope"}),
    "budget_spent_usd": ("gauge", {"scope"}),
    "budget_held_usd": ("gauge", {"scope"}),
    "overshoot_usd": ("counter", set()),
    "bound_to_cost_ratio": ("histogram", set()),
    "kill_switch_active": ("gauge", {"scope"}),
    "kill_propagation_seconds": ("histogram", set()),
    "ledger_lease_wait_seconds": ("histogram", set()),
    "traces_queue_depth": ("gauge", set()),
    "traces_dropped": ("counter", set()),
    "webhooks": ("counter", {"result"}),
    "upstream_connections": ("gauge", {"provider", "state"}),
    "upstream_circuit_open": ("gauge", {"provider"}),
    "build_info": ("gauge", {"version"}),
}


def test_the_metrics_are_these_with_these_labels(recorded: Recorded):
    recorded.telemetry.call_ended(TRACE)
    recorded.telemetry.budgets([BudgetFigures(Scope.WORKSPACE, 1, 1, 1)])
    recorded.connections = {(Provider("openai"), "idle"): 1}
    recorded.circuits = {Provider("openai"): True, Provider("groq"): False}
    found = {
        family.name.removeprefix("gateway_"): (
            family.type,
            {label for sample in family.samples for label in sample.labels} - {"le"},
        )
        for family in text_string_to_metric_families(recorded.exposed())
    }
    assert found == METRICS
    assert recorded.value("upstream_circuit_open", provider="openai") == 1
    assert recorded.value("upstream_circuit_open", provider="groq") == 0


def test_every_metric_says_what_it_means_in_both_formats(recorded: Recorded):
    recorded.telemetry.call_ended(TRACE)
    for family in text_string_to_metric_families(recorded.exposed()):
        assert family.documentation.endswith(".")
    assert generate_openmetrics(recorded.telemetry.registry).endswith(b"# EOF\n")


def test_what_has_a_closed_set_of_labels_is_zero_from_the_start(recorded: Recorded):
    assert recorded.labelled("refusals_total") == {(code,): 0 for code in Code}
    assert set(recorded.labelled("streams_aborted_total")) == {
        (outcome,) for outcome in Outcome if outcome not in {Outcome.COMPLETED, Outcome.REFUSED}
    }
    assert recorded.labelled("kill_switch_active") == {(scope,): 0 for scope in KillScope}
    assert recorded.labelled("budget_spent_usd") == {("workspace",): 0, ("project",): 0}
    for name in (
        "streams_active",
        "overshoot_usd_total",
        "traces_queue_depth",
        "traces_dropped_total",
    ):
        assert recorded.value(name) == 0
    assert recorded.value("request_duration_seconds_count") == 0
    assert recorded.value("build_info", version="1.2.3") == 1


def test_a_call_is_counted_in_every_metric_it_concerns(recorded: Recorded):
    for _ in range(2):
        recorded.telemetry.call_ended(TRACE)
    assert recorded.value("requests_total", **CALL, dialect="openai", outcome="completed") == 2
    assert recorded.value("request_duration_seconds_sum") == 3
    assert recorded.value("request_duration_seconds_bucket", le="1.0") == 0
    assert recorded.value("request_duration_seconds_bucket", le="2.5") == 2
    assert recorded.value("overhead_seconds_bucket", le="0.00025") == 0
    assert recorded.value("overhead_seconds_bucket", le="0.0005") == 2
    assert recorded.value("time_to_first_byte_seconds_sum") == pytest.approx(0.64)
    assert recorded.labelled("tokens_total") == {
        ("openai", KNOWN, "input"): 240,
        ("openai", KNOWN, "cached"): 20,
        ("openai", KNOWN, "cache_write"): 10,
        ("openai", KNOWN, "output"): 600,
        ("openai", KNOWN, "reasoning"): 40,
    }
    assert recorded.value("cost_usd_total", **CALL) == 0.002469134
    assert recorded.value("bound_to_cost_ratio_sum") == 4
    assert recorded.value("bound_to_cost_ratio_bucket", le="2.0") == 2


def test_what_an_attempt_costs_is_counted_once_and_at_its_own_model(recorded: Recorded):
    recorded.telemetry.models_known({KNOWN, ATTEMPT.model})
    recorded.telemetry.attempt_failed(ATTEMPT, TRACE.id)
    recorded.telemetry.call_ended(ended(attempts=2), ATTEMPT.cost_nusd)
    assert recorded.value("cost_usd_total", provider="groq", model="groq/llama-4") == 0.000234567
    assert recorded.value("cost_usd_total", **CALL) == 0.001
    assert sum(recorded.labelled("requests_total").values()) == 1
    assert recorded.value("bound_to_cost_ratio_sum") == 2


def test_a_call_without_cost_or_first_byte_leaves_those_out(recorded: Recorded):
    recorded.telemetry.call_ended(ended(cost_nusd=0, first_byte_ms=None))
    assert recorded.value("bound_to_cost_ratio_count") == 0
    assert recorded.value("time_to_first_byte_seconds_count") == 0
    assert recorded.value("request_duration_seconds_count") == 1


def test_money_is_summed_without_a_rounding_error(recorded: Recorded):
    for _ in range(10_000):
        recorded.telemetry.call_ended(ended(cost_nusd=100_000_001))
    assert recorded.value("cost_usd_total", **CALL) == 1000.00001


@given(st.lists(st.floats(0, 10**7), max_size=50))
def test_buckets_only_grow_and_end_at_the_count(milliseconds: list[float]):
    recorded = Recorded()
    for latency in milliseconds:
        recorded.telemetry.call_ended(ended(latency_ms=latency))
    buckets = recorded.labelled("request_duration_seconds_bucket")
    assert list(buckets.values()) == sorted(buckets.values())
    assert buckets["+Inf",] == recorded.value("request_duration_seconds_count") == len(milliseconds)
    for (bound,), count in buckets.items():
        assert count == sum(latency * 0.001 <= float(bound) for latency in milliseconds)


@pytest.mark.parametrize(
    ("model", "provider", "labels"),
    [
        (ModelName(f"openai/{SECRET}"), Provider("openai"), ("openai", "other")),
        (None, Provider("openai"), ("openai", "other")),
        (None, None, ("other", "other")),
    ],
)
def test_an_unknown_model_is_other_in_metrics_and_lines(
    recorded: Recorded, model: ModelName | None, provider: Provider | None, labels: tuple[str, str]
):
    recorded.telemetry.call_ended(ended(model=model, provider=provider))
    assert set(recorded.labelled("cost_usd_total")) == {labels}
    assert (recorded.lines[0]["provider"], recorded.lines[0]["model"]) == labels
    assert SECRET not in recorded.exposed()


def test_no_client_can_make_a_series(recorded: Recorded):
    recorded.telemetry.call_ended(TRACE)
    before = len(recorded.exposed().splitlines())
    for number in range(100):
        asked = ModelName(f"openai/{number}")
        recorded.telemetry.call_ended(ended(model=asked, model_asked=asked, run=str(number)))
    other = len(recorded.exposed().splitlines())
    recorded.telemetry.call_ended(ended(model=ModelName("openai/100")))
    assert len(recorded.exposed().splitlines()) == other
    assert other - before == 7  # one request, five kinds of tokens, one cost


def test_a_model_that_becomes_known_gets_its_own_label(recorded: Recorded):
    new = ModelName("groq/llama-4")
    recorded.telemetry.call_ended(TRACE)
    recorded.telemetry.call_ended(ended(model=new, provider=Provider("groq")))
    recorded.telemetry.models_known({new})
    recorded.telemetry.call_ended(ended(model=new, provider=Provider("groq")))
    recorded.telemetry.call_ended(TRACE)
    assert set(recorded.labelled("cost_usd_total")) == {
        ("groq", "other"),
        ("groq", new),
        ("openai", KNOWN),
        ("openai", "other"),
    }


def test_a_refused_call_is_counted_by_its_code_and_a_killed_one_is_not(recorded: Recorded):
    recorded.telemetry.call_ended(
        ended(outcome=Outcome.REFUSED, code=Code.RUN_CAP_EXCEEDED, status=402)
    )
    recorded.telemetry.call_ended(ended(outcome=Outcome.KILLED, code=Code.KILL_SWITCH))
    recorded.telemetry.refused(Code.TOKEN_INVALID)
    counted = {
        code: count for (code,), count in recorded.labelled("refusals_total").items() if count
    }
    assert counted == {"run_cap_exceeded": 1, "token_invalid": 1}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"outcome": Outcome.CLIENT_GONE}, "client_gone"),
        ({"outcome": Outcome.SHUT_DOWN, "status": 503}, "shut_down"),
        ({"outcome": Outcome.PROVIDER_ERROR, "status": 200}, "provider_error"),
        ({"outcome": Outcome.PROVIDER_ERROR, "status": 429}, None),
        ({"outcome": Outcome.COMPLETED}, None),
        ({"outcome": Outcome.REFUSED, "code": Code.KILL_SWITCH}, None),
        ({"outcome": Outcome.KILLED, "stream": False}, None),
    ],
)
def test_only_a_stream_that_ended_early_was_aborted(
    recorded: Recorded, changes: dict[str, object], reason: str | None
):
    recorded.telemetry.call_ended(ended(**changes))
    counted = [
        name for (name,), count in recorded.labelled("streams_aborted_total").items() if count
    ]
    assert counted == ([reason] if reason else [])


def test_what_happens_beside_calls_is_measured(recorded: Recorded):
    telemetry = recorded.telemetry
    telemetry.stream_opened()
    telemetry.stream_opened()
    telemetry.stream_closed()
    telemetry.kill_propagated(0.2)
    telemetry.lease_waited(0.003)
    telemetry.traces_queued(7)
    telemetry.traces_dropped(2)
    telemetry.overshoot(1_500_000_000, TRACE.id)
    telemetry.kills([KillScope.RUN, KillScope.RUN, KillScope.ALL])
    telemetry.webhook_failed("ops", "m", 1, "timed_out")
    telemetry.webhook_failed("ops", "m", 2, "timed_out")
    telemetry.webhook_delivered("ops", "m", 3)
    recorded.connections = {(Provider("openai"), "busy"): 3, (Provider("openai"), "idle"): 4}
    assert recorded.labelled("webhooks_total") == {
        ("delivered",): 1,
        ("failed",): 2,
        ("given_up",): 0,
    }
    assert recorded.value("streams_active") == 1
    assert recorded.value("kill_propagation_seconds_bucket", le="0.15") == 0
    assert recorded.value("kill_propagation_seconds_bucket", le="0.25") == 1
    assert recorded.value("ledger_lease_wait_seconds_sum") == 0.003
    assert recorded.value("traces_queue_depth") == 7
    assert recorded.value("traces_dropped_total") == 2
    assert recorded.value("overshoot_usd_total") == 1.5
    assert recorded.value("kill_switch_active", scope="run") == 2
    assert recorded.value("kill_switch_active", scope="token") == 0
    assert recorded.value("upstream_connections", provider="openai", state="idle") == 4
    telemetry.kills([])
    assert recorded.value("kill_switch_active", scope="all") == 0


def test_budgets_are_summed_by_scope_and_replaced_whole(recorded: Recorded):
    nano = 10**9
    recorded.telemetry.budgets(
        [
            BudgetFigures(Scope.WORKSPACE, 500 * nano, 12 * nano, nano),
            BudgetFigures(Scope.PROJECT, 20 * nano, 2 * nano, 0),
            BudgetFigures(Scope.PROJECT, None, 3 * nano, nano),
            BudgetFigures(Scope.RUN, nano, nano, nano),
        ]
    )
    assert recorded.labelled("budget_limit_usd") == {("workspace",): 500, ("project",): 20}
    assert recorded.labelled("budget_spent_usd") == {("workspace",): 12, ("project",): 5}
    assert recorded.labelled("budget_held_usd") == {("workspace",): 1, ("project",): 1}
    recorded.telemetry.budgets([BudgetFigures(Scope.WORKSPACE, None, nano, 0)])
    assert recorded.labelled("budget_limit_usd") == {}
    assert recorded.labelled("budget_spent_usd") == {("workspace",): 1, ("project",): 0}


def test_a_call_is_one_line_of_json_in_the_form_of_all_others(recorded: Recorded):
    recorded.telemetry.call_ended(ended(code=Code.UPSTREAM_ERROR, outcome=Outcome.PROVIDER_LOST))
    recorded.telemetry.ledger_back()
    call, other = recorded.lines
    head = {"timestamp": "2026-01-02T03:04:05.678901Z", "level": "info"}
    assert other == {**head, "event": "ledger_back"}
    assert call == {
        **head,
        "event": "call_ended",
        "trace": TRACE.id,
        "token": "tok-1",
        "project": "default",
        "provider": "openai",
        "model": KNOWN,
        "dialect": "openai",
        "endpoint": "chat.completions",
        "stream": True,
        "status": 200,
        "outcome": "provider_lost",
        "code": "upstream_error",
        "cost_usd": "0.001234567",
        "latency_ms": 1500.0,
        "overhead_ms": 0.4,
        "first_byte_ms": 320.0,
        "input_tokens": 120,
        "cached_tokens": 10,
        "cache_write_tokens": 5,
        "output_tokens": 300,
        "reasoning_tokens": 20,
    }
    assert [list(line)[:3] for line in (call, other)] == [["timestamp", "level", "event"]] * 2
    assert all(line.count(b"\n") == 1 and line.endswith(b"\n") for line in recorded.raw)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_line_holds_nothing_that_a_client_wrote(is_terminal: bool):
    recorded = Recorded(is_terminal=is_terminal)
    recorded.telemetry.call_ended(ended(run=SECRET, model=ModelName(f"openai/{SECRET}")))
    assert SECRET not in b"".join(recorded.raw).decode()


def test_a_terminal_gets_a_readable_line():
    recorded = Recorded(is_terminal=True)
    recorded.telemetry.call_ended(TRACE)
    recorded.telemetry.started("http://127.0.0.1:8080")
    call, started = (line.decode() for line in recorded.raw)
    assert "call_ended" in call
    assert TRACE.id in call
    assert "None" not in call
    assert "http://127.0.0.1:8080" in started
    assert "03:04:05" in started


def kill(reason: str) -> Kill:
    return Kill(
        id=KillId("k1"),
        scope=KillScope.RUN,
        scope_id=SECRET,
        project=None,
        reason=reason,
        by=SECRET,
        at=NOW,
    )


EVENTS: dict[str, tuple[Callable[[Telemetry], None], str, dict[str, object]]] = {
    "started": (
        lambda t: t.started("http://127.0.0.1:8080"),
        "info",
        {"base_url": "http://127.0.0.1:8080", "version": "1.2.3"},
    ),
    "sandbox_offered": (
        lambda t: t.sandbox_offered(),
        "warning",
        {"provider": "sandbox", "costs_money": False},
    ),
    "stopping": (lambda t: t.stopping(3), "info", {"running": 3}),
    "stopped": (lambda t: t.stopped(), "info", {}),
    "ledger_lost": (lambda t: t.ledger_lost("gone"), "error", {"reason": "gone"}),
    "ledger_back": (lambda t: t.ledger_back(), "info", {}),
    "configuration_reloaded": (lambda t: t.configuration_reloaded(), "info", {}),
    "configuration_refused": (
        lambda t: t.configuration_refused("$.limits: wrong"),
        "error",
        {"reason": "$.limits: wrong"},
    ),
    "prices_changed": (lambda t: t.prices_changed("v 1"), "info", {"version": "v 1"}),
    "prices_refused": (lambda t: t.prices_refused("empty"), "error", {"reason": "empty"}),
    "replica_reclaimed": (
        lambda t: t.replica_reclaimed(ReplicaId("r1"), 2_500_000_000),
        "warning",
        {"replica": "r1", "unsettled_usd": "2.5"},
    ),
    "embedded_database": (lambda t: t.embedded_database("ready"), "info", {"message": "ready"}),
    "circuit_opened": (
        lambda t: t.circuit_opened(Provider("openai"), 5, 10.0),
        "warning",
        {"provider": "openai", "failures": 5, "wait_s": 10.0},
    ),
    "circuit_closed": (
        lambda t: t.circuit_closed(Provider("openai")),
        "info",
        {"provider": "openai"},
    ),
    "key_rests": (
        lambda t: t.key_rests(Provider("openai"), 1, 429, 2.5),
        "warning",
        {"provider": "openai", "index": 1, "status": 429, "rest_s": 2.5},
    ),
    "upstream_failed": (
        lambda t: t.upstream_failed(Provider("openai"), "UpstreamLost", TRACE.id),
        "warning",
        {"trace": TRACE.id, "provider": "openai", "kind": "UpstreamLost"},
    ),
    "attempt_failed": (
        lambda t: t.attempt_failed(ATTEMPT, TRACE.id),
        "warning",
        {
            "trace": TRACE.id,
            "provider": "groq",
            "model": "other",
            "outcome": "timed_out",
            "cost_usd": "0.000234567",
        },
    ),
    "overshoot": (
        lambda t: t.overshoot(5, TRACE.id),
        "warning",
        {"trace": TRACE.id, "overshoot_usd": "0.000000005"},
    ),
    "traces_dropped": (lambda t: t.traces_dropped(2), "error", {"count": 2}),
    "kill_applied": (
        lambda t: t.kill_applied(kill(SECRET), 4),
        "warning",
        {"kill": "k1", "scope": "run", "cut": 4},
    ),
    "threshold_passed": (
        lambda t: t.threshold_passed(
            BudgetKey(Scope.PROJECT, "search", Window.DAY, "2026-11-25"), 80
        ),
        "warning",
        {
            "scope": "project",
            "scope_id": "search",
            "window": "day",
            "period_start": "2026-11-25",
            "percent": 80,
        },
    ),
    "webhook_delivered": (
        lambda t: t.webhook_delivered("ops", "m1", 1),
        "info",
        {"webhook": "ops", "message": "m1", "attempt": 1},
    ),
    "webhook_failed": (
        lambda t: t.webhook_failed("ops", "m1", 2, "status 503"),
        "warning",
        {"webhook": "ops", "message": "m1", "attempt": 2, "reason": "status 503"},
    ),
    "webhook_given_up": (
        lambda t: t.webhook_given_up("ops", "m1", 10, "timed_out"),
        "error",
        {"webhook": "ops", "message": "m1", "attempt": 10, "reason": "timed_out"},
    ),
    "unhandled": (
        lambda t: t.unhandled(ValueError(SECRET), "flush"),
        "error",
        {"where": "flush", "error": "ValueError"},
    ),
}


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_is_one_line_with_these_fields(recorded: Recorded, event: str):
    happen, level, fields = EVENTS[event]
    happen(recorded.telemetry)
    (line,) = recorded.lines
    assert line.pop("timestamp") == "2026-01-02T03:04:05.678901Z"
    assert line == {"level": level, "event": event, **fields}


def fail() -> None:
    try:
        {}[SECRET]
    except KeyError as error:
        raise ExceptionGroup(SECRET, [ValueError(SECRET), OSError(5, SECRET)]) from error


def test_an_unhandled_error_is_its_types_and_places_never_its_words(recorded: Recorded):
    try:
        fail()
    except ExceptionGroup as error:
        recorded.telemetry.unhandled(error, "POST /v1/chat/completions")
    (line,) = recorded.lines
    assert line["error"] == "ExceptionGroup"
    assert line["because_of"] == ["ValueError", "OSError", "KeyError"]
    assert [place.split(" ")[1] for place in line["at"]][-1] == "fail"
    assert line["at"][-1].startswith("tests/unit/test_telemetry.py:")
    assert SECRET not in recorded.raw[0].decode()


def test_a_database_error_adds_its_code_and_constraint_only(recorded: Recorded):
    class UniqueViolation(Exception):
        sqlstate = "23505"
        constraint_name = "runs_pkey"
        detail = SECRET

    recorded.telemetry.unhandled(UniqueViolation(SECRET), "flush")
    (line,) = recorded.lines
    assert (line["sqlstate"], line["constraint_name"]) == ("23505", "runs_pkey")
    assert SECRET not in recorded.raw[0].decode()


def test_errors_that_caused_each_other_are_told_once(recorded: Recorded):
    one, other = ValueError(), KeyError()
    one.__context__, other.__context__ = other, one
    recorded.telemetry.unhandled(one, "flush")
    assert recorded.lines[0]["because_of"] == ["KeyError"]


def test_a_library_says_its_template_and_never_its_arguments(recorded: Recorded):
    with recorded.telemetry.libraries_captured():
        logging.getLogger("litestar").warning("Could not read %s", SECRET)
        logging.getLogger("asyncio").error(f"Task exception was never retrieved\n{SECRET}")  # noqa: G004
        logging.getLogger("asyncpg.pool").error(f"row {SECRET}")  # noqa: G004
        logging.getLogger("uvicorn.error").error(ValueError(SECRET))
    messages = [(line["level"], line["logger"], line["message"]) for line in recorded.lines]
    assert messages[:2] == [
        ("warning", "litestar", "Could not read %s"),
        ("error", "asyncio", "Task exception was never retrieved"),
    ]
    assert [text.partition(":")[0] for _, _, text in messages[2:]] == [
        "tests/unit/test_telemetry.py"
    ] * 2
    assert SECRET not in b"".join(recorded.raw).decode()


def test_a_library_says_nothing_below_a_warning_nor_about_what_anyone_can_cause(
    recorded: Recorded,
):
    with recorded.telemetry.libraries_captured():
        logging.getLogger("httpx").info("HTTP Request: %s", SECRET)
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    assert recorded.raw == []


def test_a_library_error_comes_with_its_places_and_a_cut_call_does_not(recorded: Recorded):
    with recorded.telemetry.libraries_captured():
        for error in (ValueError(SECRET), asyncio.CancelledError(SECRET)):
            try:
                raise error
            except (ValueError, asyncio.CancelledError) as caught:
                logger = logging.getLogger("uvicorn.error")
                logger.error("Exception in ASGI application\n", exc_info=caught)  # noqa: TRY400  # as uvicorn does
    (line,) = recorded.lines
    assert (line["message"], line["error"]) == ("Exception in ASGI application", "ValueError")
    assert line["at"]
    assert SECRET not in recorded.raw[0].decode()


async def test_a_failed_task_that_nobody_awaited_says_no_word_of_its_error(recorded: Recorded):
    with recorded.telemetry.libraries_captured():
        asyncio.get_running_loop().call_exception_handler(
            {"message": "Unhandled exception in event loop", "exception": ValueError(SECRET)}
        )
    (line,) = recorded.lines
    assert (line["message"], line["error"]) == ("Unhandled exception in event loop", "ValueError")
    assert SECRET not in recorded.raw[0].decode()


def test_what_the_interpreter_would_print_is_a_line_too(
    recorded: Recorded, capfd: pytest.CaptureFixture[str]
):
    class Careless:
        def __del__(self) -> None:
            raise ValueError(SECRET)

    with recorded.telemetry.libraries_captured():
        del_me = Careless()
        del del_me
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        sys.excepthook(KeyError, KeyError(SECRET), None)
        warnings.showwarning(SECRET, UserWarning, "file.py", 1)
    assert [line.get("where") for line in recorded.lines] == ["finalizer", "thread", "main", None]
    assert recorded.lines[3]["logger"] == "py.warnings"
    assert SECRET not in b"".join(recorded.raw).decode()
    assert capfd.readouterr() == ("", "")


def test_the_process_is_given_back_as_it_was(recorded: Recorded, request: pytest.FixtureRequest):
    server = logging.getLogger("uvicorn.error")
    request.addfinalizer(lambda: server.setLevel(logging.NOTSET))
    server.setLevel(logging.INFO)

    def state() -> list[object]:
        root = logging.getLogger()
        hooks = (sys.excepthook, sys.unraisablehook, threading.excepthook, warnings.showwarning)
        return [*root.handlers, root.level, server.level, *hooks]

    before = state()
    with recorded.telemetry.libraries_captured():
        assert state() != before
    assert state() == before


def test_lines_reach_a_descriptor_whole_and_a_closed_one_stops_nothing():
    reader, writer = os.pipe()
    write = write_to(writer)
    write(b"one\n")
    write(b"two\n")
    assert os.read(reader, 100) == b"one\ntwo\n"
    os.close(reader)
    write(b"lost\n")
    os.close(writer)
    write(b"lost\n")


def test_a_full_pipe_stops_nothing():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    write = write_to(writer)
    for _ in range(100):
        write(b"x" * 4095 + b"\n")
    os.close(writer)
    with io.FileIO(reader) as pipe:
        assert all(len(line) == 4096 for line in pipe.readall().splitlines(keepends=True))
