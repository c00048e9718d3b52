"""`gateway runs`: open one with a cap, look, close."""

from typing import Annotated, Any, Final, Literal

import typer

from gateway.cli import printing
from gateway.cli.calling import ask, ask_all
from gateway.cli.options import Json, Limit, Project, given
from gateway.remote.management import segment

LISTED: Final = {
    "RUN": "id",
    "PROJECT": "project",
    "STATE": "state",
    "CALLS": "calls",
    "CAP": "cap_usd",
    "SPENT": "spent_usd",
    "HELD": "held_usd",
    "UNSETTLED": "unsettled_usd",
    "LEFT": "left_usd",
    "OPENED (UTC)": "opened_at",
}
SHOWN: Final = LISTED | {
    "CEILING": "output_tokens_ceiling",
    "LABELS": "labels",
    "OPENED BY": "opened_by",
    "CLOSED (UTC)": "closed_at",
}

Name = Annotated[str, typer.Argument(metavar="RUN", help="What the run is called.")]


def create(
    name: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Its name; by default a new id.")
    ] = None,
    *,
    project: Project = None,
    cap_usd: Annotated[
        str | None, typer.Option("--cap-usd", help="Its cap; by default limits.run_usd.")
    ] = None,
    output_ceiling: Annotated[
        int | None,
        typer.Option("--output-ceiling", min=1, help="The most output tokens of one call."),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="NAME=VALUE", help="Up to 4.")
    ] = None,
    json: Json = False,
) -> None:
    """Open a run with a cap of its own."""
    body = given(
        name=name,
        project=project,
        cap_usd=cap_usd,
        output_tokens_ceiling=output_ceiling,
        labels=labels(label or []),
    )
    _show(ask("POST", "runs", body=body), json=json)


def show(run: Name, *, project: Project = None, json: Json = False) -> None:
    """Show a run."""
    _show(ask("GET", f"runs/{segment(run)}", query=given(project=project)), json=json)


def listing(
    *,
    project: Annotated[str | None, typer.Option("--project", help="Of one project alone.")] = None,
    state: Annotated[
        Literal["open", "closed"] | None, typer.Option("--state", help="Of one state alone.")
    ] = None,
    limit: Limit = 100,
    json: Json = False,
) -> None:
    """List runs, newest first."""
    found = ask_all("runs", limit, given(project=project, state=state))
    printing.json(found) if json else printing.table(found, LISTED, "No run.")


def close(run: Name, *, project: Project = None, json: Json = False) -> None:
    """Close a run for good: it admits no more calls."""
    _show(ask("POST", f"runs/{segment(run)}/close", query=given(project=project)), json=json)


def labels(texts: list[str]) -> dict[str, str]:
    """Return labels that were written as NAME=VALUE; wrong usage where one was not."""
    pairs = [text.partition("=") for text in texts]
    if not all(name and equals for name, equals, _ in pairs):
        raise typer.BadParameter("a label is NAME=VALUE", param_hint="--label")
    return {name: text for name, _, text in pairs}


def _show(run: dict[str, Any], *, json: bool) -> None:
    printing.json(run) if json else printing.details(run, SHOWN)
