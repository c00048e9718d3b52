"""Runs: opened by order, listed, shown, closed. A run's id is what its client calls it."""

from collections.abc import Mapping
from datetime import datetime

import msgspec
from litestar import Response

from gateway.core.ids import Project, RunId, RunName
from gateway.store.runs import NewRun, RunState, State
from gateway.web import reading
from gateway.web.gate import Visitor, visitor_of
from gateway.web.problems import CONFLICT, Problem, not_found
from gateway.web.routing import API, Described, Sender, route
from gateway.web.services import services_of
from gateway.web.shapes import (
    Body,
    Ceiling,
    Dollars,
    Labels,
    Name,
    Page,
    Paging,
    Query,
    answer,
    nano,
    page,
    run_name,
    usd,
    uuid,
)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run and its money. `id` is its name, unique in its project; `uid` is ours."""

    id: RunName
    uid: RunId
    project: Project
    state: State
    cap_usd: str | None
    spent_usd: str
    held_usd: str
    left_usd: str | None
    unsettled_usd: str
    overshoot_usd: str
    calls: int
    output_tokens_ceiling: int | None
    labels: Mapping[str, str]
    opened_by: str
    opened_at: datetime
    closed_at: datetime | None


class RunOrder(Body, frozen=True, kw_only=True):
    """A run to open. Without a name it gets one; without a cap, the configured one."""

    name: Name | None = None
    project: Name | None = None
    cap_usd: Dollars | None = None
    output_tokens_ceiling: Ceiling | None = None
    labels: Labels = msgspec.field(default_factory=dict)


class RunQuery(Query, frozen=True, kw_only=True):
    """Which project a run's name belongs to: by default the caller's own."""

    project: Name | None = None


class RunsQuery(Paging, frozen=True, kw_only=True):
    """Which runs to list."""

    project: Name | None = None
    state: State | None = None


def shown(state: RunState) -> Run:
    """Return a run as answers have it."""
    return Run(
        id=state.name,
        uid=state.id,
        project=state.project,
        state=state.state,
        cap_usd=usd(state.cap_nusd),
        spent_usd=usd(state.spent_nusd) or "0",
        held_usd=usd(state.held_nusd) or "0",
        left_usd=usd(state.left_nusd),
        unsettled_usd=usd(state.unsettled_nusd) or "0",
        overshoot_usd=usd(state.overshoot_nusd) or "0",
        calls=state.calls,
        output_tokens_ceiling=state.output_tokens_ceiling,
        labels=state.labels,
        opened_by=state.opened_by,
        opened_at=state.opened_at,
        closed_at=state.closed_at,
    )


@route(
    "POST",
    f"{API}/runs",
    Described("Open a run with a cap of its own", body=RunOrder, answer=Run, status=201),
)
async def create(request: Sender) -> Response[bytes]:
    """Open a run."""
    services, visitor = services_of(request), visitor_of(request)
    wanted = await reading.body(request, RunOrder)
    ordered = NewRun(
        project=_project(visitor, wanted.project),
        name=RunName(wanted.name or services.mint.id()),
        cap_nusd=None if wanted.cap_usd is None else nano(wanted.cap_usd, "cap_usd"),
        output_ceiling=wanted.output_tokens_ceiling,
        labels=wanted.labels,
    )
    state = await services.runs.create(ordered, visitor.name, visitor.actor)
    if state is None:
        message = f"The project {ordered.project} has had a run of that name. Choose another."
        raise Problem(CONFLICT, message, param="name")
    return answer(shown(state), 201)


@route("GET", f"{API}/runs", Described("List runs", query=RunsQuery, answer=Page[Run]))
async def listing(request: Sender) -> Response[bytes]:
    """List runs, newest first."""
    query = reading.query(request, RunsQuery)
    visitor = visitor_of(request)
    project = visitor.confined_to or query.project
    states = await services_of(request).runs.page(
        None if project is None else Project(project),
        query.state,
        before=None if query.cursor is None else RunId(uuid(query.cursor, "cursor")),
        limit=query.limit,
    )
    return answer(page([shown(state) for state in states], query.limit, lambda run: run.uid))


@route("GET", f"{API}/runs/{{run:str}}", Described("Show a run", query=RunQuery, answer=Run))
async def show(request: Sender) -> Response[bytes]:
    """Show one run."""
    project, name = _asked(request)
    state = await services_of(request).runs.show(project, name)
    if state is None:
        raise not_found("run")
    return answer(shown(state))


@route(
    "POST",
    f"{API}/runs/{{run:str}}/close",
    Described("Close a run for good: it admits no more calls", query=RunQuery, answer=Run),
)
async def close(request: Sender) -> Response[bytes]:
    """Close one run."""
    project, name = _asked(request)
    await reading.no_body(request)
    state = await services_of(request).runs.close(project, name, visitor_of(request).actor)
    if state is None:
        raise not_found("run")
    return answer(shown(state))


def _asked(request: Sender) -> tuple[Project, RunName]:
    """Return which run an address names."""
    query = reading.query(request, RunQuery)
    name = run_name(request.path_params["run"])
    return _project(visitor_of(request), query.project), name


def _project(visitor: Visitor, asked: str | None) -> Project:
    return visitor.confined_to or Project(asked or visitor.project)
