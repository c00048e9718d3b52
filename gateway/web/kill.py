"""The kill switch: thrown until every replica has said so, listed, lifted."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Response
from msgspec import Meta

from gateway.core.ids import KillId, Project, is_run_name
from gateway.core.limits import Kill, KillScope
from gateway.web import reading
from gateway.web.gate import Visitor, visitor_of
from gateway.web.problems import invalid, not_found
from gateway.web.routing import API, Described, Sender, route
from gateway.web.services import Services, services_of
from gateway.web.shapes import (
    ONLY,
    Body,
    Name,
    Page,
    Paging,
    Sentence,
    answer,
    is_model,
    is_uuid,
    nothing,
    uuid,
)

_IDS: Final[Mapping[KillScope, tuple[Callable[[str], bool], str]]] = {
    KillScope.RUN: (is_run_name, "A run's name is 1 to 128 of A-Za-z0-9._:-"),
    KillScope.TOKEN: (is_uuid, "A token is stopped by its id, as listed with the tokens."),
    KillScope.PROJECT: (is_run_name, "A project is 1 to 128 of A-Za-z0-9._:-"),
    KillScope.MODEL: (is_model, "A model is provider/model, such as openai/gpt-5-mini."),
}
"""What ids look like. A switch that can match nothing must not look as if it had stopped something."""


class KillOrder(Body, frozen=True, kw_only=True):
    """What to stop, and why. `id` is left out for `all`; `project` narrows a run's name."""

    scope: KillScope
    id: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    project: Name | None = None
    reason: Sentence


class Switch(msgspec.Struct, frozen=True, kw_only=True):
    """A kill switch that is on."""

    id: KillId
    scope: KillScope
    scope_id: str
    project: Project | None
    reason: str
    by: str
    at: datetime


class Thrown(Switch, frozen=True, kw_only=True):
    """A kill switch that was thrown now, and how far it had come when this was said.

    `late` names the replicas that had not applied it by then: they stop when their lease ends.
    """

    replicas: int
    acknowledged: int
    streams_cut: int
    late: Sequence[str]


class Lifted(msgspec.Struct, frozen=True):
    """The kill switches that were lifted."""

    lifted: list[KillId]


def shown(kill: Kill) -> Switch:
    """Return a kill switch as answers have it."""
    return Switch(**_fields(kill))


async def in_force(services: Services) -> list[Switch]:
    """Return the kill switches that are on, oldest first."""
    return [shown(kill) for kill in (await services.limits.load()).kills]


@route(
    "POST",
    f"{API}/kill",
    Described(
        "Stop calls, new and running, on every replica", body=KillOrder, answer=Thrown, status=201
    ),
)
async def throw(request: Sender) -> Response[bytes]:
    """Throw a kill switch, and answer when it is in force."""
    services, visitor = services_of(request), visitor_of(request)
    kill = _ordered(await reading.body(request, KillOrder), services, visitor)
    recorded = await services.limits.kill(kill, visitor.actor)
    reached = await services.limits.acknowledged(recorded.id)
    return answer(Thrown(**_fields(recorded), **msgspec.structs.asdict(reached)), 201)


@route(
    "GET",
    f"{API}/kill",
    Described("List the kill switches that are on", query=Paging, answer=Page[Switch]),
)
async def listing(request: Sender) -> Response[bytes]:
    """List the kill switches that are on."""
    query = reading.query(request, Paging)
    switches = await in_force(services_of(request))
    after = [switch for switch in switches if query.cursor is None or _place(switch) > query.cursor]
    left_over = len(after) > query.limit
    return answer(Page(after[: query.limit], _place(after[query.limit - 1]) if left_over else None))


@route("DELETE", f"{API}/kill/{{id:str}}", Described("Lift a kill switch", status=204))
async def lift(request: Sender) -> Response[bytes]:
    """Lift one kill switch."""
    await reading.no_body(request)
    kill = KillId(uuid(request.path_params["id"], "id"))
    if not await services_of(request).limits.lift(kill, visitor_of(request).actor):
        raise not_found("kill switch in force")
    return nothing()


@route("DELETE", f"{API}/kill", Described("Lift every kill switch", answer=Lifted))
async def lift_all(request: Sender) -> Response[bytes]:
    """Lift every kill switch."""
    await reading.no_body(request)
    lifted = await services_of(request).limits.lift_all(visitor_of(request).actor)
    return answer(Lifted(lifted))


def _ordered(order: KillOrder, services: Services, visitor: Visitor) -> Kill:
    is_all = order.scope is KillScope.ALL
    named = None if order.id == ONLY else order.id
    if is_all != (named is None):
        message = (
            "Leave the id out to stop everything." if is_all else "Say the id of what to stop."
        )
        raise invalid(message, "id")
    is_id, form = _IDS.get(order.scope, (bool, ""))
    if named is not None and not is_id(named):
        raise invalid(form, "id")
    if order.project is not None and order.scope is not KillScope.RUN:
        raise invalid("A project narrows the name of a run alone.", "project")
    return Kill(
        id=KillId(services.mint.id()),
        scope=order.scope,
        scope_id=named or "",
        project=None if order.project is None else Project(order.project),
        reason=order.reason,
        by=visitor.name,
        at=services.now(),
    )


def _fields(kill: Kill) -> dict[str, Any]:
    return msgspec.structs.asdict(kill) | {"scope_id": kill.scope_id or ONLY}


def _place(switch: Switch) -> str:
    return f"{switch.at:%Y%m%dT%H%M%S.%f}_{switch.id}"
