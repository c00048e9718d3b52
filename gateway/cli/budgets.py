"""`gateway budgets` and `gateway spend`: caps, and what is left of them."""

import sys
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.live import Live

from gateway.cli import printing
from gateway.cli.calling import CommandFailed, ask, ask_all, gateway, pieces
from gateway.cli.options import Json, Limit, given
from gateway.core.budget import Window
from gateway.remote.management import Broken, segment

ONLY: Final = "-"
"""The id of the workspace, of which there is one."""
SPEND: Final = {
    "BUDGET": "scope",
    "OF": "scope_id",
    "WINDOW": "window",
    "FROM": "period_start",
    "CAP": "cap_usd",
    "SPENT": "spent_usd",
    "HELD": "held_usd",
    "UNSETTLED": "unsettled_usd",
    "LEFT": "left_usd",
}

Scope = Annotated[str, typer.Argument(metavar="SCOPE", help="workspace, project, token or model.")]
Of = Annotated[
    str, typer.Argument(metavar="ID", help="Of which; the workspace, of which there is one, is -.")
]
In = Annotated[
    Window | None, typer.Option("--window", help="The window; needed where there are several.")
]


def put(
    scope: Scope,
    scope_id: Of = ONLY,
    *,
    cap_usd: Annotated[str, typer.Option("--cap-usd", help="US dollars, such as 2.50.")],
    window: Annotated[Window, typer.Option("--window", help="The window.")] = Window.MONTH,
    json: Json = False,
) -> None:
    """Set a cap."""
    body = {"cap_usd": cap_usd, "window": window}
    _show(ask("PUT", _path(scope, scope_id), body=body), json=json)


def show(scope: Scope, scope_id: Of = ONLY, *, window: In = None, json: Json = False) -> None:
    """Show a budget."""
    _show(ask("GET", _path(scope, scope_id), query=given(window=window)), json=json)


def listing(
    *,
    scope: Annotated[str | None, typer.Option("--scope", help="Of one scope alone.")] = None,
    limit: Limit = 100,
    json: Json = False,
) -> None:
    """List budgets."""
    found = ask_all("budgets", limit, given(scope=scope))
    printing.json(found) if json else printing.table(found, SPEND, "No budget.")


def delete(scope: Scope, scope_id: Of = ONLY, *, window: In = None, json: Json = False) -> None:
    """Take a cap back; the configuration's holds again."""
    ask("DELETE", _path(scope, scope_id), query=given(window=window))
    done = {"deleted": True, "scope": scope, "scope_id": scope_id}
    printing.json(done) if json else printing.line(f"The cap of {scope} {scope_id} is gone.")


def spend(
    *,
    live: Annotated[bool, typer.Option("--live", help="Go on and show every change.")] = False,
    json: Json = False,
) -> None:
    """Show what is spent, held and left of each budget."""
    if not live:
        found = ask("GET", "spend")
        printing.json(found) if json else printing.table(found, SPEND, "No budget.")
        return
    with gateway() as management, management.stream("spend/live") as answer:
        states = events(pieces(answer))
        try:
            _print_each(states, json=json)
        except Broken:
            raise CommandFailed("the connection to the gateway broke off") from None
    raise CommandFailed("the gateway ended the connection: it stops, or a proxy between cut it")


def events(received: Iterable[bytes]) -> Iterator[Any]:
    """Yield the JSON of each server-sent event; comments keep a connection alive and say nothing."""
    rest = b""
    for piece in received:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            name, _, data = line.partition(b":")
            if name == b"data":
                yield msgspec.json.decode(data)


def _print_each(states: Iterable[list[Any]], *, json: bool) -> None:
    if json or not sys.stdout.isatty():
        for state in states:
            printing.json(state) if json else printing.table(state, SPEND, "No budget.")
            sys.stdout.flush()
        return
    with Live(console=printing.console(), auto_refresh=False) as screen:
        for state in states:
            screen.update(printing.made_table(state, SPEND), refresh=True)


def _path(scope: str, scope_id: str) -> str:
    """Return where a budget is. A forgotten id of a project would be the one that is named `-`."""
    if scope_id == ONLY and scope in {"project", "token", "model"}:
        raise typer.BadParameter(f"say which {scope}", param_hint="ID")
    return f"budgets/{segment(scope)}/{segment(scope_id)}"


def _show(budget: dict[str, Any], *, json: bool) -> None:
    printing.json(budget) if json else printing.table([budget], SPEND, "")
