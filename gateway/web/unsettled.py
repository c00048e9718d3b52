"""What dead replicas may have spent: listed, and resolved by whoever has read the provider's invoice."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final

import msgspec
from litestar import Response
from msgspec import Meta

from gateway.core.budget import BudgetKey, Scope, Window
from gateway.core.ids import Project, ReplicaId, RunName
from gateway.core.money import for_people, to_usd
from gateway.store.unsettled import Asked, BudgetRow, Part, TooMuch, Unresolvable, Unsettled
from gateway.web import reading
from gateway.web.gate import visitor_of
from gateway.web.problems import CONFLICT, Problem, invalid, not_found
from gateway.web.routing import API, Described, Sender, route
from gateway.web.services import services_of
from gateway.web.shapes import (
    ONLY,
    Body,
    Dollars,
    Page,
    Paging,
    Sentence,
    answer,
    nano,
    page,
    uuid,
)

_CURSOR: Final = re.compile(r"([0-9a-f-]{36})_([0-9]{1,18})")
_REFUSALS: Final[Mapping[Unresolvable, Problem]] = {
    Unresolvable.UNKNOWN: not_found("replica"),
    Unresolvable.LIVE: Problem(
        CONFLICT,
        "This replica is alive: what it leased is its own to spend, and it will say what it spent.",
        param="replica",
    ),
    Unresolvable.NOTHING: Problem(
        CONFLICT, "Nothing of this replica is unsettled, or nothing any more.", param="replica"
    ),
    Unresolvable.NO_SUCH_BUDGET: Problem(
        CONFLICT, "Nothing of this replica is unsettled in such a budget.", param="scope"
    ),
    Unresolvable.SEVERAL: invalid(
        "That fits several budgets of this replica. Say also scope_id, window and period_start.",
        "scope",
    ),
}


class UnsettledMoney(msgspec.Struct, frozen=True, kw_only=True):
    """What a dead replica had leased of one budget. A run's budget says whose run it is.

    `seen_at` is when the replica was last heard of, `sequence` the number of its last flush.
    """

    replica: ReplicaId
    role: str
    version: str
    scope: Scope
    scope_id: str
    window: Window
    period_start: str | None
    run: RunName | None
    project: Project | None
    amount_usd: str
    seen_at: datetime
    sequence: int


class Resolution(Body, frozen=True, kw_only=True):
    """What a dead replica really spent: of each of its budgets, or of the one that is named."""

    replica: str
    spent_usd: Dollars
    reason: Sentence
    scope: Scope | None = None
    scope_id: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    window: Window | None = None
    period_start: Annotated[str, Meta(min_length=1, max_length=10)] | None = None


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one budget's unsettled money: `booked_usd` was spent, the rest is free again."""

    scope: Scope
    scope_id: str
    window: Window
    period_start: str | None
    booked_usd: str
    returned_usd: str


class ResolvedReplica(msgspec.Struct, frozen=True, kw_only=True):
    """What was resolved of a replica."""

    replica: ReplicaId
    resolved: list[Resolved]


@route(
    "GET",
    f"{API}/unsettled",
    Described("List what dead replicas may have spent", query=Paging, answer=Page[UnsettledMoney]),
)
async def listing(request: Sender) -> Response[bytes]:
    """List what is unsettled, by replica and budget."""
    query = reading.query(request, Paging)
    after = None if query.cursor is None else _place(query.cursor)
    found = await services_of(request).unsettled.page(after, query.limit)
    listed = page(found, query.limit, lambda one: f"{one.replica}_{one.row}")
    return answer(Page([shown(one) for one in listed.data], listed.next_cursor))


@route(
    "POST",
    f"{API}/unsettled",
    Described(
        "Say what a dead replica really spent; the rest is given back",
        body=Resolution,
        answer=ResolvedReplica,
    ),
)
async def resolve(request: Sender) -> Response[bytes]:
    """Resolve what is unsettled of a replica."""
    order = await reading.body(request, Resolution)
    replica = ReplicaId(uuid(order.replica, "replica"))
    outcome = await services_of(request).unsettled.resolve(
        replica,
        nano(order.spent_usd, "spent_usd"),
        _asked(order),
        order.reason,
        visitor_of(request).actor,
    )
    if isinstance(outcome, TooMuch):
        most = for_people(outcome.unsettled)
        raise invalid(f"Only {most} is unsettled of this budget. Say at most that.", "spent_usd")
    if isinstance(outcome, Unresolvable):
        raise _REFUSALS[outcome]
    return answer(ResolvedReplica(replica=replica, resolved=[_resolved(part) for part in outcome]))


def shown(one: Unsettled) -> UnsettledMoney:
    """Return what is unsettled as answers have it."""
    return UnsettledMoney(
        replica=one.replica,
        role=one.role,
        version=one.version,
        scope=one.budget.scope,
        scope_id=one.budget.scope_id or ONLY,
        window=one.budget.window,
        period_start=one.budget.period_start or None,
        run=one.run,
        project=one.project,
        amount_usd=to_usd(one.amount),
        seen_at=one.seen_at,
        sequence=one.sequence,
    )


def _place(cursor: str) -> tuple[ReplicaId, BudgetRow]:
    """Return where a page begins; raises Problem."""
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise invalid("This is not a cursor of this list.", "cursor")
    return ReplicaId(uuid(found[1], "cursor")), BudgetRow(int(found[2]))


def _asked(order: Resolution) -> Asked:
    """Return which budgets are meant. The store calls the workspace by an empty id."""
    return Asked(
        scope=order.scope,
        scope_id="" if order.scope_id == ONLY else order.scope_id,
        window=order.window,
        period_start=order.period_start,
    )


def _resolved(part: Part) -> Resolved:
    key: BudgetKey = part.budget
    return Resolved(
        scope=key.scope,
        scope_id=key.scope_id or ONLY,
        window=key.window,
        period_start=key.period_start or None,
        booked_usd=to_usd(part.booked),
        returned_usd=to_usd(part.returned),
    )
