"""Caps: set, shown, listed, taken back. Addressed by what they are for, `token/018f…`, and a window."""

from collections.abc import Callable, Mapping
from typing import Final

from litestar import Response

from gateway.core.budget import Scope, Window
from gateway.core.ids import is_run_name
from gateway.web import reading, spend
from gateway.web.gate import visitor_of
from gateway.web.problems import invalid, not_found
from gateway.web.routing import API, Described, Sender, route
from gateway.web.services import services_of
from gateway.web.shapes import (
    ONLY,
    Body,
    Dollars,
    Page,
    Paging,
    Query,
    answer,
    is_model,
    nano,
    nothing,
    uuid,
)
from gateway.web.spend import Budget


class Cap(Body, frozen=True, kw_only=True):
    """A cap to set. The window may be in the query instead; without one it is a month."""

    cap_usd: Dollars
    window: Window | None = None


class BudgetQuery(Query, frozen=True, kw_only=True):
    """Which window of a budget; needed where it has several."""

    window: Window | None = None


class BudgetsQuery(Paging, frozen=True, kw_only=True):
    """Which budgets to list."""

    scope: Scope | None = None


_IDS: Final[Mapping[Scope, tuple[Callable[[str], bool], str]]] = {
    Scope.WORKSPACE: (lambda text: text == ONLY, f"The workspace's id is {ONLY}."),
    Scope.PROJECT: (is_run_name, "A project is 1 to 128 of A-Za-z0-9._:-"),
    Scope.TOKEN: (lambda text: bool(uuid(text, "id")), ""),
    Scope.MODEL: (is_model, "A model is provider/model, such as openai/gpt-5-mini."),
}
"""What can be capped, and what its ids look like. A run's cap is given when it is opened."""

_PATH: Final = f"{API}/budgets/{{of:str}}/{{id:path}}"


@route("GET", f"{API}/budgets", Described("List budgets", query=BudgetsQuery, answer=Page[Budget]))
async def listing(request: Sender) -> Response[bytes]:
    """List budgets, the workspace's first."""
    query = reading.query(request, BudgetsQuery)
    found = await spend.visible(services_of(request), visitor_of(request))
    wanted = sorted((b for b in found if query.scope in {None, b.scope}), key=_place)
    after = [b for b in wanted if query.cursor is None or _place(b) > query.cursor]
    left_over = len(after) > query.limit
    return answer(Page(after[: query.limit], _place(after[query.limit - 1]) if left_over else None))


@route("GET", _PATH, Described("Show a budget", query=BudgetQuery, answer=Budget))
async def show(request: Sender) -> Response[bytes]:
    """Show one budget."""
    scope, scope_id = _asked(request)
    return answer(await _find(request, scope, scope_id))


@route("PUT", _PATH, Described("Set a cap", query=BudgetQuery, body=Cap, answer=Budget))
async def put(request: Sender) -> Response[bytes]:
    """Set a cap, in force from the next grant on."""
    scope, scope_id = _asked(request)
    cap = await reading.body(request, Cap)
    asked = reading.query(request, BudgetQuery).window
    if asked is not None and cap.window not in {None, asked}:
        raise invalid("The query and the body name different windows.", "window")
    window = asked or cap.window or Window.MONTH
    services, actor = services_of(request), visitor_of(request).actor
    key = (scope, scope_id, window)
    await services.limits.put(key, nano(cap.cap_usd, "cap_usd"), services.today(), actor)
    return answer(await _find(request, scope, scope_id, window))


@route(
    "DELETE",
    _PATH,
    Described("Take a cap back; the configuration's holds again", query=BudgetQuery, status=204),
)
async def delete(request: Sender) -> Response[bytes]:
    """Take back a cap that was set here."""
    scope, scope_id = _asked(request)
    await reading.no_body(request)
    budget = await _find(request, scope, scope_id)
    services, actor = services_of(request), visitor_of(request).actor
    key = (scope, scope_id, budget.window)
    if not await services.limits.delete(key, services.today(), actor):
        message = "This cap was not set through the API. Change it in the configuration."
        raise invalid(message, "id")
    return nothing()


def _asked(request: Sender) -> tuple[Scope, str]:
    """Return what an address names. The store calls the workspace by an empty id."""
    name, given = request.path_params["of"], request.path_params["id"].removeprefix("/")
    if name not in {scope.value for scope in _IDS}:
        raise invalid(f"A budget is for one of {', '.join(_IDS)}.", "scope")
    scope = Scope(name)
    is_id, allowed = _IDS[scope]
    if not is_id(given):
        raise invalid(allowed, "id")
    return scope, "" if scope is Scope.WORKSPACE else given


async def _find(
    request: Sender, scope: Scope, scope_id: str, window: Window | None = None
) -> Budget:
    """Return the one budget of an address and a window; raises Problem for none, or several."""
    services, visitor = services_of(request), visitor_of(request)
    window = window or reading.query(request, BudgetQuery).window
    states = await services.limits.spend(services.today(), scope, scope_id)
    found = [
        state
        for state in states
        if window in {None, state.window} and spend.is_visible(state, visitor)
    ]
    if not found:
        raise not_found("budget")
    if len(found) > 1:
        windows = ", ".join(state.window for state in found)
        raise invalid(f"There are several such budgets. Say which window: {windows}.", "window")
    return spend.shown(found[0])


def _place(budget: Budget) -> str:
    """Return where a budget stands in the list, which is its cursor as well."""
    first = "0" if budget.scope is Scope.WORKSPACE else "1"
    return f"{first}:{budget.scope}:{budget.scope_id}:{budget.window}"
