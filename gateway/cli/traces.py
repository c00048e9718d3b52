"""`gateway traces`: what is kept of calls."""

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

import typer

from gateway.cli import printing
from gateway.cli.calling import CommandFailed, ask_all, gateway, pieces
from gateway.cli.options import Json, Limit, given
from gateway.remote.management import Broken

LISTED: Final = {
    "TIME (UTC)": "at",
    "MODEL": "model",
    "RUN": "run",
    "OUTCOME": "outcome",
    "CODE": "code",
    "INPUT": "input_tokens",
    "OUTPUT": "output_tokens",
    "COST": "cost_usd",
    "BASIS": "cost_basis",
    "LATENCY (MS)": "latency_ms",
}

Run = Annotated[str | None, typer.Option("--run", help="Of one run alone.")]
Model = Annotated[str | None, typer.Option("--model", help="Of one provider/model alone.")]
Token = Annotated[str | None, typer.Option("--token", help="Of one token alone, by its id.")]
OfProject = Annotated[str | None, typer.Option("--project", help="Of one project alone.")]
Outcome = Annotated[str | None, typer.Option("--outcome", help="That ended so alone.")]
Label = Annotated[
    str | None, typer.Option("--label", metavar="NAME=VALUE", help="With one label alone.")
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="T",
        help="From 2026-01-31T12:00:00Z on, from 2026-01-31 on, or of the last 90m, 24h or 7d.",
    ),
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="T", help="Before that; the same forms.")
]

_AGE: Final = re.compile(r"([1-9][0-9]{0,4})([smhd])")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def listing(  # noqa: PLR0913 - the public spelling
    *,
    run: Run = None,
    model: Model = None,
    token: Token = None,
    project: OfProject = None,
    outcome: Outcome = None,
    label: Label = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 100,
    json: Json = False,
) -> None:
    """List calls, newest first; as JSON, one a line."""
    query = given(
        run=run,
        model=model,
        token=token,
        project=project,
        outcome=outcome,
        label=label,
        since=_moment(since),
        until=_moment(until),
    )
    found = ask_all("traces", limit, query)
    if not json:
        printing.table(found, LISTED, "No call.")
    for call in found if json else ():
        printing.json(call)


def export(  # noqa: PLR0913 - the public spelling
    *,
    form: Annotated[
        Literal["csv", "jsonl"], typer.Option("--format", help="How it is written.")
    ] = "jsonl",
    run: Run = None,
    model: Model = None,
    token: Token = None,
    project: OfProject = None,
    outcome: Outcome = None,
    label: Label = None,
    since: Since = None,
    until: Until = None,
    json: Annotated[bool, typer.Option("--json", help="The same as --format jsonl.")] = False,
) -> None:
    """Write every call that is wanted to standard output."""
    query = given(
        format="jsonl" if json else form,
        run=run,
        model=model,
        token=token,
        project=project,
        outcome=outcome,
        label=label,
        since=_moment(since),
        until=_moment(until),
    )
    with gateway() as management, management.stream("traces/export", query=query) as answer:
        try:
            for piece in pieces(answer):
                sys.stdout.buffer.write(piece)
        except Broken:
            message = "the export broke off, and what was written is not complete"
            raise CommandFailed(message) from None
        sys.stdout.buffer.flush()


def moment(text: str, now: datetime) -> str:
    """Return a time as the API takes it; what is neither an age nor a date is left for it to judge."""
    if _DATE.fullmatch(text) is not None:
        return f"{text}T00:00:00Z"
    age = _AGE.fullmatch(text)
    if age is None:
        return text
    at = now.astimezone(UTC) - timedelta(**{_UNITS[age[2]]: int(age[1])})
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _moment(text: str | None) -> str | None:
    if text is None:
        return None
    from gateway.app.clock import SystemClock  # noqa: PLC0415  # large, and seldom needed

    return moment(text, SystemClock().utc())
