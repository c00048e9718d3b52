"""`gateway tokens`, `gateway sign-in-link` and `gateway audit`: who may come in, and what they did."""

from typing import Annotated, Any, Final

import typer

from gateway.cli import printing
from gateway.cli.calling import ask, ask_all, gateway, value
from gateway.cli.options import Json, Limit, given
from gateway.remote.management import segment

NO_LIMIT: Final = "none"
LISTED: Final = {
    "ID": "id",
    "NAME": "name",
    "BEGINS": "prefix",
    "PROJECT": "project",
    "SCOPES": "scopes",
    "REQUESTS/MIN": "requests_per_minute",
    "TOKENS/MIN": "tokens_per_minute",
    "EXPIRES (UTC)": "expires_at",
    "REVOKED (UTC)": "revoked_at",
    "LAST USED (UTC)": "last_used_at",
}
CHANGED: Final = {
    "ID": "id",
    "NAME": "name",
    "PROJECT": "project",
    "SCOPES": "scopes",
    "REQUESTS/MIN": "requests_per_minute",
    "TOKENS/MIN": "tokens_per_minute",
    "EXPIRES (UTC)": "expires_at",
}
MADE: Final = {**CHANGED, "TOKEN": "token"}
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
    requests_per_minute: Annotated[
        int | None, typer.Option("--requests-per-minute", min=1, help="At most so many calls.")
    ] = None,
    tokens_per_minute: Annotated[
        int | None,
        typer.Option("--tokens-per-minute", min=1, help="At most so many tokens, in and out."),
    ] = None,
    json: Json = False,
) -> None:
    """Make a token. It is shown once."""
    limits = given(requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute)
    body = given(
        name=name,
        project=project,
        scopes=scope or None,
        expires=expires,
        budget_usd=budget_usd,
        models=model or None,
        rate_limits=limits or None,
    )
    made = ask("POST", "tokens", body=body)
    printing.json(made) if json else printing.details(_flat(made), MADE)


def listing(*, limit: Limit = 100, json: Json = False) -> None:
    """List tokens, newest first."""
    found = ask_all("tokens", limit)
    if json:
        printing.json(found)
    else:
        printing.table([_flat(token) for token in found], LISTED, "No token.")


def change(
    token: Annotated[str, typer.Argument(metavar="ID", help="The token's id, as listed.")],
    *,
    requests_per_minute: Annotated[
        str | None,
        typer.Option("--requests-per-minute", metavar="N|none", help="At most so many calls."),
    ] = None,
    tokens_per_minute: Annotated[
        str | None,
        typer.Option("--tokens-per-minute", metavar="N|none", help="At most so many tokens."),
    ] = None,
    json: Json = False,
) -> None:
    """Change a token's rate limits; one that is not named stays as it is."""
    named = given(requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute)
    if not named:
        raise typer.BadParameter("name the limit that is to change")
    limits = {name: _limit(text, name) for name, text in named.items()}
    changed = ask("PATCH", f"tokens/{segment(token)}", body={"rate_limits": limits})
    printing.json(changed) if json else printing.details(_flat(changed), CHANGED)


def revoke(
    token: Annotated[str, typer.Argument(metavar="ID", help="The token's id, as listed.")],
    *,
    json: Json = False,
) -> None:
    """Revoke a token for good."""
    ask("DELETE", f"tokens/{segment(token)}")
    printing.json({"revoked": token}) if json else printing.line(f"Token {token} is revoked.")


def _limit(text: str, name: str) -> int | None:
    """Return a limit that was typed; raises BadParameter."""
    if text == NO_LIMIT:
        return None
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        hint = f"--{name.replace('_', '-')}"
        raise typer.BadParameter(f"{text!r} is neither a number from 1 nor none", param_hint=hint)
    return int(text)


def _flat(token: dict[str, Any]) -> dict[str, Any]:
    """Return a token with its rate limits among its own members."""
    return {**token, **token.get("rate_limits", {})}


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
