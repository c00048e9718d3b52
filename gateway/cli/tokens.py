"""`gateway tokens`, `gateway sign-in-link` and `gateway audit`: who may come in, and what they did."""

from typing import Annotated, Final

import typer

from gateway.cli import printing
from gateway.cli.calling import ask, ask_all, gateway, value
from gateway.cli.options import Json, Limit, given
from gateway.remote.management import segment

LISTED: Final = {
    "ID": "id",
    "NAME": "name",
    "BEGINS": "prefix",
    "PROJECT": "project",
    "SCOPES": "scopes",
    "EXPIRES (UTC)": "expires_at",
    "REVOKED (UTC)": "revoked_at",
    "LAST USED (UTC)": "last_used_at",
}
MADE: Final = {
    "ID": "id",
    "NAME": "name",
    "PROJECT": "project",
    "SCOPES": "scopes",
    "EXPIRES (UTC)": "expires_at",
    "TOKEN": "token",
}
CHANGES: Final = {
    "SEQ": "seq",
    "TIME (UTC)": "at",
    "WHO": "actor",
    "BY": "via",
    "ACTION": "action",
    "TARGET": "target",
    "DETAIL": "detail",
}


def create(  # noqa: PLR0913 - the public spelling
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the token is for.")],
    *,
    project: Annotated[
        str | None, typer.Option("--project", help="Its project; by default the caller's own.")
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            help="llm:call (the default), usage:read, admin:read, admin:write, admin:*; may be repeated.",
        ),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", help="Such as 12h or 30d; by default a year.")
    ] = None,
    budget_usd: Annotated[
        str | None, typer.Option("--budget-usd", help="Caps all that it ever spends.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Allow provider/model; may be repeated.")
    ] = None,
    json: Json = False,
) -> None:
    """Make a token. It is shown once."""
    body = given(
        name=name,
        project=project,
        scopes=scope or None,
        expires=expires,
        budget_usd=budget_usd,
        models=model or None,
    )
    made = ask("POST", "tokens", body=body)
    printing.json(made) if json else printing.details(made, MADE)


def listing(*, limit: Limit = 100, json: Json = False) -> None:
    """List tokens, newest first."""
    found = ask_all("tokens", limit)
    printing.json(found) if json else printing.table(found, LISTED, "No token.")


def revoke(
    token: Annotated[str, typer.Argument(metavar="ID", help="The token's id, as listed.")],
    *,
    json: Json = False,
) -> None:
    """Revoke a token for good."""
    ask("DELETE", f"tokens/{segment(token)}")
    printing.json({"revoked": token}) if json else printing.line(f"Token {token} is revoked.")


def sign_in_link(*, json: Json = False) -> None:
    """Make a one-time link that signs the owner in to the console."""
    with gateway() as management:
        made = value(management.call("POST", "sign-in-links"))
        link = management.url + made["path"]
    if json:
        printing.json({"url": link, "expires_at": made["expires_at"]})
    else:
        printing.line(link)


def audit(*, limit: Limit = 100, json: Json = False) -> None:
    """List changes, newest first."""
    found = ask_all("audit", limit)
    printing.json(found) if json else printing.table(found, CHANGES, "No change.")
