"""May this call go on? The kill switch, scopes, allowed models, the request's ceiling."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec

from gateway.core.budget import Scope, Window
from gateway.core.ids import KillId, ModelName, Project, Provider, RunId, RunName, TokenId
from gateway.core.money import NanoDollars


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
    output_ceiling: int | None = None
    over_ceiling: OnExcess = OnExcess.CLAMP
    short_budget: OnExcess = OnExcess.CLAMP
    require_run: bool = False


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls: what a valid token says of its bearer. `models` None: every model."""

    token: TokenId
    name: str
    project: Project
    scopes: frozenset[str]
    models: frozenset[ModelName] | None = None
    expires_at: datetime | None = None


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
