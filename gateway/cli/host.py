"""Commands that run on the gateway's own host: `serve`, `check-config`, `migrate`; and `status`."""

import os
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from gateway import config
from gateway.cli import printing
from gateway.cli.calling import CommandFailed, ask
from gateway.cli.options import ConfigFile, Json
from gateway.errors import ConfigurationInvalid

REPLICAS: Final = {"REPLICA": "id", "ROLE": "role", "SEEN (UTC)": "seen_at"}
MOST_WORKERS: Final = 64
"""More than one for each core only costs memory and connections to the database."""
KILLS: Final = {
    "KILL SWITCH": "id",
    "STOPS": "scope",
    "OF": "scope_id",
    "REASON": "reason",
    "BY": "by",
    "SINCE (UTC)": "at",
}


def serve(
    *,
    config_file: ConfigFile = None,
    workers: Annotated[
        int,
        typer.Option("--workers", min=1, max=MOST_WORKERS, help="So many processes on one port."),
    ] = 1,
    role: Annotated[
        Literal["all", "proxy", "worker"],
        typer.Option("--role", help="Serve calls (proxy), do the jobs (worker), or both."),
    ] = "all",
) -> None:
    """Serve until SIGTERM or SIGINT."""
    from gateway import app  # noqa: PLC0415  # what serves is large, and other commands are quick

    app.serve(_path(config_file), os.environ, workers=workers, role=role)


def check_config(*, config_file: ConfigFile = None, json: Json = False) -> None:
    """Say whether the configuration can be used, or in one line why not."""
    path = config.find(_path(config_file), os.environ)
    shown = str(path) if path is not None else "built-in defaults"
    from gateway import app  # noqa: PLC0415  # see `serve`

    try:
        app.check(path, os.environ)
    except ConfigurationInvalid as error:
        if json:
            printing.json({"valid": False, "file": shown, "error": str(error)})
        raise CommandFailed(str(error)) from None
    if json:
        printing.json({"valid": True, "file": shown, "error": None})
    else:
        printing.line(f"{shown}: can be used")


def migrate(
    *,
    config_file: ConfigFile = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; fail if something is to be done.")
    ] = False,
    json: Json = False,
) -> None:
    """Bring the database's schema up to date."""
    from gateway import app  # noqa: PLC0415  # see `serve`

    found = app.migrate(_path(config_file), os.environ, check=check)
    if json:
        printing.json({"pending" if check else "applied": found})
    else:
        for migration in found:
            printing.line(f"{'pending' if check else 'applied'}: {migration}")
        printing.line(_summary(len(found), check=check))
    if check and found:
        raise typer.Exit(1)


def status(*, json: Json = False) -> None:
    """Show version, replicas and the kill switches in force."""
    found = ask("GET", "status")
    if json:
        printing.json(found)
        return
    printing.line(f"Version {found['version']}, database {found['database']}")
    printing.table(found["replicas"], REPLICAS, "No replica is alive.")
    printing.table(found["kill"], KILLS, "No kill switch is on.")


def _path(config_file: str | None) -> Path | None:
    return None if config_file is None else Path(config_file)


def _summary(count: int, *, check: bool) -> str:
    if count == 0:
        return "The schema is up to date."
    return f"{count} to apply." if check else f"{count} applied; the schema is up to date."
