"""How the gateway does: for operators with a credential, and for anybody, who is told no more than that."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec
from litestar import Response

from gateway.core.ids import ReplicaId
from gateway.errors import LedgerUnavailable
from gateway.web import kill
from gateway.web.kill import Switch
from gateway.web.pages import pages_of, wants_page
from gateway.web.routing import API, Described, Sender, route
from gateway.web.services import Services, services_of
from gateway.web.shapes import answer

State = Literal["up", "down", "stopping"]


class Replica(msgspec.Struct, frozen=True):
    """A process that is taken for alive."""

    id: ReplicaId
    role: str
    seen_at: datetime


class Job(msgspec.Struct, frozen=True):
    """A scheduled job, and how it went."""

    name: str
    last_success_at: datetime | None
    next_at: datetime | None
    error: str | None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What operators see of all replicas."""

    version: str
    database: str
    replicas: Sequence[Replica]
    kill: Sequence[Switch]
    jobs: Sequence[Job]


class Component(msgspec.Struct, frozen=True):
    """A part of the gateway that works or doesn't."""

    name: str
    state: State


class PublicStatus(msgspec.Struct, frozen=True):
    """What anybody may know."""

    status: State
    components: Sequence[Component]


@route("GET", f"{API}/status", Described("Version, replicas, kill switches, jobs", answer=Status))
async def status(request: Sender) -> Response[bytes]:
    """Answer an operator."""
    services = services_of(request)
    return answer(
        Status(
            version=services.version,
            database=services.database,
            replicas=[Replica(r.id, r.role, r.seen_at) for r in await services.replicas.live()],
            kill=await kill.in_force(services),
            jobs=[],
        )
    )


@route("GET", "/status", Described("Whether the gateway works", answer=PublicStatus))
async def public_status(request: Sender) -> Response[bytes]:
    """Answer anybody: a page for a browser, else JSON."""
    found = await _public(services_of(request))
    if wants_page(request.headers.get("accept", "")):
        return pages_of(request).answer("status.html", found=found)
    return answer(found)


async def _public(services: Services) -> PublicStatus:
    try:
        await services.replicas.live()
        database: State = "up"
    except LedgerUnavailable:
        database = "down"
    gateway: State = "stopping" if services.is_stopping() else "up"
    parts = [Component("gateway", gateway), Component("database", database)]
    worst: State = next((part.state for part in parts if part.state != "up"), "up")
    return PublicStatus(worst, parts)
