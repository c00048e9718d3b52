"""What was spent, is held and is left of each budget, once and live."""

from collections.abc import AsyncGenerator
from typing import Final

import anyio
import msgspec
from litestar import Response
from litestar.types import ASGIApp

from gateway.core.budget import Scope, Window
from gateway.errors import LedgerUnavailable
from gateway.store.limits import BudgetState
from gateway.web.gate import Visitor, visitor_of
from gateway.web.routing import API, Described, Sender, route
from gateway.web.services import Services, services_of
from gateway.web.shapes import ONLY, answer, usd
from gateway.web.streaming import Streamed

TICK_S: Final = 1.0
PING_S: Final = 15.0
PING: Final = b": ping\n\n"

_HEADERS: Final = [(b"content-type", b"text/event-stream; charset=utf-8")]


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """A budget in its present period; a cap of None counts and does not stop."""

    scope: Scope
    scope_id: str
    window: Window
    period_start: str | None
    cap_usd: str | None
    spent_usd: str
    held_usd: str
    left_usd: str | None
    unsettled_usd: str
    overshoot_usd: str


def shown(state: BudgetState) -> Budget:
    """Return a budget as answers have it."""
    return Budget(
        scope=state.scope,
        scope_id=state.scope_id or ONLY,
        window=state.window,
        period_start=state.period_start or None,
        cap_usd=usd(state.cap_nusd),
        spent_usd=usd(state.spent_nusd) or "0",
        held_usd=usd(state.held_nusd) or "0",
        left_usd=usd(state.left_nusd),
        unsettled_usd=usd(state.unsettled_nusd) or "0",
        overshoot_usd=usd(state.overshoot_nusd) or "0",
    )


async def visible(services: Services, visitor: Visitor) -> list[Budget]:
    """Return the budgets that a visitor may see."""
    states = await services.limits.spend(services.today())
    return [shown(state) for state in states if is_visible(state, visitor)]


def is_visible(state: BudgetState, visitor: Visitor) -> bool:
    """Return whether a visitor may see a budget: those that its own calls fall under, or all."""
    project = visitor.confined_to
    if project is None or visitor.caller is None:
        return True
    others = {Scope.PROJECT: project, Scope.TOKEN: visitor.caller.token}
    return others.get(state.scope, state.scope_id) == state.scope_id


@route("GET", f"{API}/spend", Described("Spent, held and left of each budget", answer=list[Budget]))
async def spend(request: Sender) -> Response[bytes]:
    """Answer with the budgets as they stand."""
    return answer(await visible(services_of(request), visitor_of(request)))


@route(
    "GET",
    f"{API}/spend/live",
    Described(
        "The same as server-sent events, at once and whenever it changes",
        answer=list[Budget],
        kind="text/event-stream",
    ),
)
async def live(request: Sender) -> ASGIApp:
    """Answer with the budgets as server-sent events.

    https://html.spec.whatwg.org/multipage/server-sent-events.html
    """
    services, visitor = services_of(request), visitor_of(request)
    first = msgspec.json.encode(await visible(services, visitor))
    return Streamed(_events(services, visitor, first), _HEADERS)


async def _events(
    services: Services, visitor: Visitor, first: bytes
) -> AsyncGenerator[bytes, None]:
    """Yield a frame for each change, at most one a second, until the gateway stops.

    The database may be away for a while: what is shown then is the last that was known.
    """
    last, quiet_s = first, 0.0
    yield _frame(first)
    while not services.is_stopping():
        await anyio.sleep(TICK_S)
        try:
            now = msgspec.json.encode(await visible(services, visitor))
        except LedgerUnavailable:
            now = last
        if now != last:
            last, quiet_s = now, 0.0
            yield _frame(now)
        elif (quiet_s := quiet_s + TICK_S) >= PING_S:
            quiet_s = 0.0
            yield PING


def _frame(document: bytes) -> bytes:
    return b"data: " + document + b"\n\n"
