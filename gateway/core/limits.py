"""May this call go on? The kill switch, scopes, allowed models, the request's ceiling."""

from collections.abc import Mapping
from datetime import date, datetime, tzinfo
from enum import StrEnum

import msgspec

from gateway.core.budget import BudgetKey, Scope, Window
from gateway.core.calls import Asked
from gateway.core.ids import KillId, ModelName, Project, Provider, RunId, RunName, TokenId
from gateway.core.money import NanoDollars, for_people
from gateway.core.rates import RateLimits
from gateway.core.refusal import Code, Refused

CALL_SCOPE = "llm:call"


class KillScope(StrEnum):
    """What a kill switch stops."""

    ALL = "all"
    RUN = "run"
    TOKEN = "token"  # noqa: S105  # a scope, not a credential
    PROJECT = "project"
    MODEL = "model"
    PROVIDER = "provider"


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """A kill switch that is on. `scope_id` is empty for `all`; `project` narrows a run's name."""

    id: KillId
    scope: KillScope
    scope_id: str
    project: Project | None
    reason: str
    by: str
    at: datetime


class OnExcess(StrEnum):
    """What to do with a call that asks for more than it may have."""

    CLAMP = "clamp"
    REFUSE = "refuse"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """All limits that hold now, as one value that is replaced and never changed.

    `caps` says which windows are capped for a (scope, id); the amounts live in the database and in
    leases. Amounts are nano-dollars, ceilings are tokens; None means no such limit.
    """

    kills: tuple[Kill, ...] = ()
    caps: Mapping[tuple[Scope, str], tuple[Window, ...]] = msgspec.field(default_factory=dict)
    request_cap: NanoDollars | None = None
    run_cap: NanoDollars | None = None
    """The cap of a run that is opened without one."""
    output_ceiling: int | None = None
    over_ceiling: OnExcess = OnExcess.CLAMP
    short_budget: OnExcess = OnExcess.CLAMP
    require_run: bool = False


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls: what a valid token says of its bearer. `models` None: every model.

    `capped` are the windows of the token's own budgets. They are read with the token, since a new one
    may come to a replica before the notice of its budget does.
    """

    token: TokenId
    name: str
    project: Project
    scopes: frozenset[str]
    models: frozenset[ModelName] | None = None
    expires_at: datetime | None = None
    capped: frozenset[Window] = frozenset()
    rate_limits: RateLimits | None = None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is open, or closed. Its money is the budget (`run`, its id, `total`)."""

    id: RunId
    name: RunName
    project: Project
    is_open: bool
    output_ceiling: int | None


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a call would reach, so far as a kill switch can name it. Run names live in a project."""

    token: TokenId
    project: Project
    run: RunName | None
    model: ModelName
    provider: Provider


class Admitted(msgspec.Struct, frozen=True):
    """The call may go on. `ceiling` is the most output tokens of one choice; None: no such limit."""

    ceiling: int | None


def is_killed(kill: Kill, target: Target) -> bool:
    """Return whether a kill switch stops a call to this target."""
    match kill.scope:
        case KillScope.ALL:
            return True
        case KillScope.RUN:
            in_project = kill.project is None or kill.project == target.project
            return in_project and kill.scope_id == target.run
        case _:
            named: str = getattr(target, kill.scope.value)
            return kill.scope_id == named


def killing(kills: tuple[Kill, ...], target: Target) -> Kill | None:
    """Return the first kill switch that stops a call to this target."""
    return next((kill for kill in kills if is_killed(kill, target)), None)


def killed(kill: Kill) -> Refused:
    """Return the refusal of a call that a kill switch stops."""
    name = (
        "the kill switch"
        if kill.scope is KillScope.ALL
        else f"the kill switch for this {kill.scope}"
    )
    since = kill.at.strftime("%Y-%m-%d %H:%M UTC")
    return Refused(
        Code.KILL_SWITCH,
        f"Stopped: {name} is on since {since} (set by {kill.by}: {kill.reason}). Ask an operator to release it.",
    )


def admit(
    target: Target, asked: Asked, caller: Caller, limits: Limits, ceiling: int | None
) -> Admitted | Refused:
    """Decide, from memory alone, whether a call may go on, and with which ceiling.

    `ceiling` is the lowest of the ceilings that apply beside the workspace's own (the header's, the
    run's). A ceiling is for the whole request: its choices share it.
    """
    if CALL_SCOPE not in caller.scopes:
        return Refused(
            Code.SCOPE_MISSING,
            f"This token lacks the scope {CALL_SCOPE}. Use a token that was created with it.",
        )
    kill = killing(limits.kills, target)
    if kill is not None:
        return killed(kill)
    return disallowed(caller, target.model) or _under_ceiling(
        asked, limits, lowest(limits.output_ceiling, ceiling)
    )


def may_use(caller: Caller, model: ModelName) -> bool:
    """Return whether a model is among those that a token is for."""
    return caller.models is None or model in caller.models


def disallowed(caller: Caller, model: ModelName) -> Refused | None:
    """Return the refusal of a model that a token is not for; None where it is."""
    if may_use(caller, model):
        return None
    return Refused(
        Code.MODEL_NOT_ALLOWED,
        f"This token may not use {model}. Use one of its allowed models or ask for it.",
        param="model",
    )


def lowest(*ceilings: int | None) -> int | None:
    """Return the lowest of some limits, None where none is set."""
    return min((ceiling for ceiling in ceilings if ceiling is not None), default=None)


def _under_ceiling(asked: Asked, limits: Limits, ceiling: int | None) -> Admitted | Refused:
    if ceiling is None or not asked.makes_output:
        return Admitted(asked.output_tokens)
    each = ceiling // asked.choices
    too_few = too_few_tokens(asked, each)
    if too_few is not None:
        return too_few
    wanted = asked.output_tokens
    is_refused = limits.over_ceiling is OnExcess.REFUSE and wanted is not None and wanted > each
    if each < 1 or is_refused:
        total = (
            f"{wanted} output tokens"
            if asked.choices == 1
            else f"{asked.choices} choices of {wanted or 1} output tokens"
        )
        return Refused(
            Code.INVALID_REQUEST,
            f"This call asks for {total}; the ceiling for one request is {ceiling}. Ask for fewer.",
            param="max_completion_tokens" if each >= 1 else "n",
        )
    return Admitted(lowest(each, wanted))


def too_few_tokens(asked: Asked, ceiling: int) -> Refused | None:
    """Return the refusal of a call that its provider would refuse under such a ceiling, if it would."""
    least = asked.least_output_tokens
    if least <= 1 or ceiling >= least:
        return None
    return Refused(
        Code.INVALID_REQUEST,
        f"This call's thinking budget needs a limit of at least {least} output tokens; the ceiling for "
        f"this call is {ceiling}. Lower the budget or switch thinking off.",
        param="thinking",
    )


def request_cap_excess(bound: NanoDollars, limits: Limits) -> Refused | None:
    """Return the refusal of a call whose bound passes the cap of one request, if it does."""
    if limits.request_cap is None or bound <= limits.request_cap:
        return None
    return Refused(
        Code.REQUEST_CAP_EXCEEDED,
        f"This call may cost up to {for_people(bound)}; the cap for one request is "
        f"{for_people(limits.request_cap)}. Send less, ask for fewer output tokens, or raise limits.request_usd.",
        budget="request",
        left_nusd=limits.request_cap,
    )


def period_start(window: Window, day: date) -> str:
    """Return the first day of the period that a local day belongs to; empty where it never ends."""
    match window:
        case Window.MONTH:
            return day.replace(day=1).isoformat()
        case Window.DAY:
            return day.isoformat()
        case Window.TOTAL:
            return ""


def budgets(
    target: Target,
    run: Run | None,
    limits: Limits,
    day: date,
    capped: frozenset[Window] = frozenset(),
) -> tuple[BudgetKey, ...]:
    """Return every budget that a call falls under, on a day of the configured time zone.

    `capped` are windows of its token, whether `limits` have heard of them or not. The workspace's month is always among them, so that spend is counted where nothing caps it.
    """
    scopes = (
        (Scope.WORKSPACE, ""),
        (Scope.PROJECT, target.project),
        (Scope.TOKEN, target.token),
        (Scope.MODEL, target.model),
    )
    keys = [
        BudgetKey(scope, name, window, period_start(window, day))
        for scope, name in scopes
        for window in limits.caps.get((scope, name), ())
    ]
    month = BudgetKey(Scope.WORKSPACE, "", Window.MONTH, period_start(Window.MONTH, day))
    if month not in keys:
        keys.insert(0, month)
    own = (BudgetKey(Scope.TOKEN, target.token, w, period_start(w, day)) for w in sorted(capped))
    keys.extend(key for key in own if key not in keys)
    if run is not None:
        keys.append(run_budget(run))
    return tuple(keys)


def run_budget(run: Run) -> BudgetKey:
    """Return the budget that is a run's cap."""
    return BudgetKey(Scope.RUN, run.id, Window.TOTAL, "")


_SHORT_CODES: Mapping[Scope, Code] = {
    Scope.WORKSPACE: Code.MONTH_BUDGET_EXCEEDED,
    Scope.PROJECT: Code.PROJECT_BUDGET_EXCEEDED,
    Scope.TOKEN: Code.TOKEN_BUDGET_EXCEEDED,
    Scope.MODEL: Code.MODEL_BUDGET_EXCEEDED,
    Scope.RUN: Code.RUN_CAP_EXCEEDED,
}


def over_budget(
    key: BudgetKey, run: Run | None, left: int, cap: int, bound: NanoDollars
) -> Refused:
    """Return the refusal of a call whose bound does not fit what is left of a budget."""
    code = _SHORT_CODES[key.scope]
    if run is not None and key.scope is Scope.RUN and not run.is_open:
        return Refused(
            code, f"Budget: run {run.name} is closed. Open another run.", budget="run", left_nusd=0
        )
    return Refused(
        code,
        f"Budget: {_name(key, run)} has {for_people(left)} of its {for_people(cap)} cap left; this call "
        f"may cost up to {for_people(bound)}. Raise the cap or ask for fewer output tokens.",
        budget=budget_name(key),
        left_nusd=left,
    )


def closed(run: Run) -> Refused | None:
    """Return the refusal of a call to a closed run; None where it is open."""
    if run.is_open:
        return None
    message = f"Budget: run {run.name} is closed. Open another run."
    return Refused(Code.RUN_CAP_EXCEEDED, message, budget="run", left_nusd=0)


def budget_name(key: BudgetKey) -> str:
    """Return a budget's name in estimates: `run`, `workspace month`, `token total`."""
    return "run" if key.scope is Scope.RUN else f"{key.scope} {key.window}"


def _name(key: BudgetKey, run: Run | None) -> str:
    match key.scope:
        case Scope.RUN:
            return f"run {run.name}" if run is not None else "the run"
        case Scope.WORKSPACE:
            return f"the workspace's {_period(key)} budget"
        case Scope.TOKEN:
            return f"this token's {_period(key)} budget"
        case Scope.PROJECT | Scope.MODEL:
            return f"{key.scope} {key.scope_id}'s {_period(key)} budget"


def _period(key: BudgetKey) -> str:
    return "total" if key.window is Window.TOTAL else f"{key.window}ly".replace("dayly", "daily")


def local_day(now: datetime, zone: tzinfo) -> date:
    """Return the day that an aware time falls on in a zone."""
    return now.astimezone(zone).date()
