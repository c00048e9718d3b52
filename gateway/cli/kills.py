"""`gateway kill` and `gateway unkill`."""

from typing import Annotated, Final

import typer

from gateway.cli import printing
from gateway.cli.calling import ask
from gateway.cli.options import Json, given
from gateway.remote.management import segment

THROWN: Final = {
    "KILL SWITCH": "id",
    "STOPS": "scope",
    "OF": "scope_id",
    "REASON": "reason",
    "STREAMS CUT": "streams_cut",
}
NO_REASON: Final = "no reason given"
"""Who is in a hurry may leave the reason out."""


def kill(  # noqa: PLR0913 - the public spelling
    *,
    everything: Annotated[bool, typer.Option("--all", help="Stop every call.")] = False,
    run: Annotated[str | None, typer.Option("--run", help="Stop a run.")] = None,
    token: Annotated[str | None, typer.Option("--token", help="Stop a token, by its id.")] = None,
    project: Annotated[
        str | None, typer.Option("--project", help="Stop a project, or say which one's --run.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Stop provider/model.")] = None,
    provider: Annotated[str | None, typer.Option("--provider", help="Stop a provider.")] = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why, for the others.")
    ] = NO_REASON,
    json: Json = False,
) -> None:
    """Stop calls, new and running, on every replica."""
    scopes = {"run": run, "token": token, "model": model, "provider": provider}
    if run is None:
        scopes["project"] = project
    named = given(**scopes)
    if len(named) + everything != 1:
        options = "--all, --run, --token, --project, --model or --provider"
        raise typer.BadParameter(f"say one of {options}")
    scope, name = next(iter(named.items()), ("all", None))
    narrowed = project if run is not None else None
    body = given(scope=scope, id=name, project=narrowed, reason=reason)
    _report(ask("POST", "kill", body=body), json=json)


def unkill(
    ident: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The kill switch, as listed by status.")
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Lift every kill switch.")] = False,
    json: Json = False,
) -> None:
    """Lift a kill switch, or all."""
    if (ident is None) != everything:
        raise typer.BadParameter("say either the id of a kill switch or --all")
    if ident is None:
        lifted = ask("DELETE", "kill")["lifted"]
    else:
        ask("DELETE", f"kill/{segment(ident)}")
        lifted = [ident]
    count = len(lifted)
    if json:
        printing.json({"lifted": lifted})
    else:
        printing.line(f"Lifted {count} kill switch{'' if count == 1 else 'es'}.")


def _report(thrown: dict[str, object], *, json: bool) -> None:
    printing.json(thrown) if json else printing.details(thrown, THROWN)
    if not json:
        printing.line(f"{thrown['acknowledged']} of {thrown['replicas']} replicas applied it.")
    for replica in _late(thrown):
        printing.warning(f"replica {replica} has not answered; it stops when its lease ends")


def _late(thrown: dict[str, object]) -> list[object]:
    late = thrown["late"]
    return late if isinstance(late, list) else []
