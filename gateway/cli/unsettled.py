"""`gateway unsettled`: what killed processes may have spent, and what they did spend."""

import sys
from typing import Annotated, Final

import typer

from gateway.cli import printing
from gateway.cli.calling import ask, ask_all
from gateway.cli.options import Json, Limit, given
from gateway.core.budget import Scope, Window

LISTED: Final = {
    "REPLICA": "replica",
    "BUDGET": "scope",
    "OF": "scope_id",
    "WINDOW": "window",
    "FROM": "period_start",
    "RUN": "run",
    "PROJECT": "project",
    "UNSETTLED": "amount_usd",
    "LAST HEARD (UTC)": "seen_at",
    "FLUSHES": "sequence",
}
RESOLVED: Final = {
    "BUDGET": "scope",
    "OF": "scope_id",
    "WINDOW": "window",
    "FROM": "period_start",
    "BOOKED": "booked_usd",
    "RETURNED": "returned_usd",
}


def listing(*, limit: Limit = 100, json: Json = False) -> None:
    """List what killed processes may have spent."""
    found = ask_all("unsettled", limit)
    printing.json(found) if json else printing.table(found, LISTED, "Nothing is unsettled.")


def resolve(  # noqa: PLR0913 - the public spelling
    replica: Annotated[str, typer.Argument(metavar="REPLICA", help="Its id, as listed.")],
    *,
    spent_usd: Annotated[
        str, typer.Option("--spent-usd", help="What it really spent, by the provider's invoice.")
    ],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="For the audit log.")],
    scope: Annotated[
        Scope | None, typer.Option("--scope", help="Of one budget alone: its scope.")
    ] = None,
    scope_id: Annotated[
        str | None, typer.Option("--id", help="Of which; a run's is listed under OF.")
    ] = None,
    window: Annotated[Window | None, typer.Option("--window", help="Its window.")] = None,
    period: Annotated[
        str | None, typer.Option("--period", metavar="DATE", help="When its period began.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    json: Json = False,
) -> None:
    """Book what a killed process really spent, and give the rest back. It can't be undone."""
    if not yes:
        _ask_first(replica, spent_usd)
    body = given(
        replica=replica,
        spent_usd=spent_usd,
        reason=reason,
        scope=scope,
        scope_id=scope_id,
        window=window,
        period_start=period,
    )
    done = ask("POST", "unsettled", body=body)
    printing.json(done) if json else printing.table(done["resolved"], RESOLVED, "Nothing.")


def _ask_first(replica: str, spent_usd: str) -> None:
    """Have a person confirm; wrong usage where there is none."""
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody is there to be asked: say --yes", param_hint="--yes")
    spent = printing.clean(f"${spent_usd} as what replica {replica} spent")
    typer.confirm(f"Book {spent}, and give the rest back?", abort=True, err=True)
