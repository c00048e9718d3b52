"""Admission, ceilings, budgets and kill switches, as decided from memory."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st
from msgspec import structs

from gateway.core import limits
from gateway.core.budget import BudgetKey, Scope, Window
from gateway.core.calls import Asked
from gateway.core.ids import KillId, ModelName, Project, Provider, RunId, RunName, TokenId
from gateway.core.limits import Admitted, Caller, Kill, KillScope, Limits, OnExcess, Run, Target
from gateway.core.money import NanoDollars
from gateway.core.refusal import Code, Refused

TARGET = Target(
    token=TokenId("t1"),
    project=Project("p1"),
    run=RunName("r1"),
    model=ModelName("openai/gpt-4o"),
    provider=Provider("openai"),
)
CALLER = Caller(
    token=TokenId("t1"), name="ci", project=Project("p1"), scopes=frozenset({"llm:call"})
)
ASKED = Asked(model="gpt-4o", output_tokens=100)
RUN = Run(
    id=RunId("0192-run"),
    name=RunName("r1"),
    project=Project("p1"),
    is_open=True,
    output_ceiling=None,
)


def kill(scope: KillScope, scope_id: str, project: str | None = None) -> Kill:
    return Kill(
        id=KillId("k1"),
        scope=scope,
        scope_id=scope_id,
        project=None if project is None else Project(project),
        reason="runaway agent",
        by="ada",
        at=datetime(2026, 11, 25, 14, 3, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("switch", "stops"),
    [
        (kill(KillScope.ALL, ""), True),
        (kill(KillScope.RUN, "r1"), True),
        (kill(KillScope.RUN, "r1", "p1"), True),
        (kill(KillScope.RUN, "r1", "p2"), False),
        (kill(KillScope.RUN, "r2"), False),
        (kill(KillScope.TOKEN, "t1"), True),
        (kill(KillScope.TOKEN, "t2"), False),
        (kill(KillScope.PROJECT, "p1"), True),
        (kill(KillScope.PROJECT, "p2"), False),
        (kill(KillScope.MODEL, "openai/gpt-4o"), True),
        (kill(KillScope.MODEL, "openai/gpt-4o-mini"), False),
        (kill(KillScope.PROVIDER, "openai"), True),
        (kill(KillScope.PROVIDER, "groq"), False),
    ],
)
def test_a_kill_switch_stops_what_its_scope_names_and_nothing_else(switch: Kill, stops: bool):
    verdict = limits.admit(TARGET, ASKED, CALLER, Limits(kills=(switch,)), None)
    assert isinstance(verdict, Refused) is stops
    if isinstance(verdict, Refused):
        assert verdict.code is Code.KILL_SWITCH
        assert "2026-11-25 14:03 UTC" in verdict.message
        assert "ada: runaway agent" in verdict.message


def test_a_call_without_a_run_is_not_stopped_by_a_runs_switch():
    target = structs.replace(TARGET, run=None)
    switch = kill(KillScope.RUN, "r1")
    assert limits.killing((switch,), target) is None


def test_a_token_without_the_scope_calls_nothing():
    caller = structs.replace(CALLER, scopes=frozenset({"usage:read"}))
    verdict = limits.admit(TARGET, ASKED, caller, Limits(), None)
    assert isinstance(verdict, Refused)
    assert verdict.code is Code.SCOPE_MISSING


def test_a_token_uses_its_allowed_models_only():
    allowed = structs.replace(CALLER, models=frozenset({ModelName("openai/gpt-4o")}))
    other = structs.replace(CALLER, models=frozenset({ModelName("openai/gpt-5")}))
    assert limits.admit(TARGET, ASKED, allowed, Limits(), None) == Admitted(100)
    verdict = limits.admit(TARGET, ASKED, other, Limits(), None)
    assert isinstance(verdict, Refused)
    assert verdict.code is Code.MODEL_NOT_ALLOWED


@pytest.mark.parametrize(
    ("asked", "choices", "workspace", "call", "ceiling"),
    [
        (100, 1, 4096, None, 100),
        (5000, 1, 4096, None, 4096),
        (None, 1, 4096, None, 4096),
        (None, 1, 4096, 200, 200),
        (None, 1, None, None, None),
        (7, 1, None, None, 7),
        (None, 4, 4096, None, 1024),
        (2000, 4, 4096, None, 1024),
        (50, 4, 4096, 100, 25),
    ],
)
def test_the_lowest_ceiling_holds_and_is_shared_by_the_choices(
    asked: int | None, choices: int, workspace: int | None, call: int | None, ceiling: int | None
):
    wanted = structs.replace(ASKED, output_tokens=asked, choices=choices)
    verdict = limits.admit(TARGET, wanted, CALLER, Limits(output_ceiling=workspace), call)
    assert verdict == Admitted(ceiling)


@pytest.mark.parametrize(("ceiling", "is_refused"), [(2000, True), (2001, False), (None, False)])
def test_a_thinking_budget_is_never_cut_but_refused(ceiling: int | None, is_refused: bool):
    thinks = structs.replace(ASKED, output_tokens=9000, least_output_tokens=2001)
    verdict = limits.admit(TARGET, thinks, CALLER, Limits(output_ceiling=ceiling), None)
    assert isinstance(verdict, Refused) is is_refused
    if isinstance(verdict, Refused):
        assert (verdict.code, verdict.param) == (Code.INVALID_REQUEST, "thinking")
        assert "at least 2001" in verdict.message
        assert "ceiling for this call is 2000" in verdict.message


def test_no_output_at_all_is_admitted():
    silent = structs.replace(ASKED, output_tokens=0)
    assert limits.admit(TARGET, silent, CALLER, Limits(output_ceiling=50), None) == Admitted(0)


def test_a_call_above_the_ceiling_is_refused_where_the_workspace_says_so():
    strict = Limits(output_ceiling=50, over_ceiling=OnExcess.REFUSE)
    verdict = limits.admit(TARGET, ASKED, CALLER, strict, None)
    assert isinstance(verdict, Refused)
    assert verdict.code is Code.INVALID_REQUEST
    assert "100 output tokens" in verdict.message
    assert "50" in verdict.message
    silent = structs.replace(ASKED, output_tokens=None)
    assert limits.admit(TARGET, silent, CALLER, strict, None) == Admitted(50)


def test_more_choices_than_the_ceiling_has_tokens_are_refused():
    wanted = structs.replace(ASKED, choices=128)
    verdict = limits.admit(TARGET, wanted, CALLER, Limits(output_ceiling=100), None)
    assert isinstance(verdict, Refused)
    assert verdict.param == "n"


def test_embeddings_have_no_ceiling():
    wanted = Asked(model="e", makes_output=False)
    assert limits.admit(TARGET, wanted, CALLER, Limits(output_ceiling=10), None) == Admitted(None)


def test_the_cap_of_one_request_refuses_a_bound_above_it():
    capped = Limits(request_cap=NanoDollars(1_000_000_000))
    assert limits.request_cap_excess(NanoDollars(1_000_000_000), capped) is None
    refused = limits.request_cap_excess(NanoDollars(1_000_000_001), capped)
    assert refused is not None
    assert refused.code is Code.REQUEST_CAP_EXCEEDED
    assert "$1.000000001" in refused.message


def test_a_call_falls_under_every_capped_budget_and_always_under_the_months():
    caps = {
        (Scope.TOKEN, "t1"): (Window.DAY, Window.TOTAL),
        (Scope.PROJECT, "p1"): (Window.MONTH,),
        (Scope.PROJECT, "p2"): (Window.MONTH,),
    }
    keys = limits.budgets(TARGET, RUN, Limits(caps=caps), date(2026, 11, 25))
    assert set(keys) == {
        BudgetKey(Scope.WORKSPACE, "", Window.MONTH, "2026-11-01"),
        BudgetKey(Scope.PROJECT, "p1", Window.MONTH, "2026-11-01"),
        BudgetKey(Scope.TOKEN, "t1", Window.DAY, "2026-11-25"),
        BudgetKey(Scope.TOKEN, "t1", Window.TOTAL, ""),
        BudgetKey(Scope.RUN, "0192-run", Window.TOTAL, ""),
    }
    assert len(keys) == len(set(keys))


def test_a_token_brings_budgets_that_the_limits_have_not_heard_of():
    day, both = date(2026, 11, 25), frozenset((Window.DAY, Window.TOTAL))
    known = Limits(caps={(Scope.TOKEN, "t1"): (Window.TOTAL,)})
    keys = limits.budgets(TARGET, None, known, day, both)
    assert keys == (
        BudgetKey(Scope.WORKSPACE, "", Window.MONTH, "2026-11-01"),
        BudgetKey(Scope.TOKEN, "t1", Window.TOTAL, ""),
        BudgetKey(Scope.TOKEN, "t1", Window.DAY, "2026-11-25"),
    )


def test_a_period_begins_by_the_clock_on_the_wall_of_its_zone():
    instant = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)
    assert limits.local_day(instant, ZoneInfo("UTC")) == date(2026, 12, 31)
    assert limits.local_day(instant, ZoneInfo("Europe/Berlin")) == date(2027, 1, 1)


@given(st.sampled_from(Window), st.dates())
def test_a_period_contains_its_day_and_starts_with_itself(window: Window, day: date):
    start = limits.period_start(window, day)
    if window is Window.TOTAL:
        assert start == ""
    else:
        first = date.fromisoformat(start)
        assert first <= day
        assert limits.period_start(window, first) == start


@pytest.mark.parametrize("scope", Scope)
def test_every_scope_has_its_own_refusal_with_the_numbers(scope: Scope):
    window = Window.TOTAL if scope is Scope.RUN else Window.MONTH
    key = BudgetKey(scope, "x", window, "")
    refused = limits.over_budget(key, RUN, 420_000_000, 5_000_000_000, NanoDollars(810_000_000))
    assert refused.code.value.endswith(("cap_exceeded", "budget_exceeded"))
    assert "$0.42 of its $5.00" in refused.message
    assert "$0.81" in refused.message


def test_a_closed_run_is_refused_and_an_open_one_is_not():
    assert limits.closed(RUN) is None
    refused = limits.closed(structs.replace(RUN, is_open=False))
    assert refused is not None
    assert refused.code is Code.RUN_CAP_EXCEEDED
