"""`gateway prices`: what models cost here, what is missing, and the list that it is from."""

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256 as hashed
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from gateway.cli import printing
from gateway.cli.calling import ask, ask_all
from gateway.cli.options import Json, Limit, given
from gateway.remote.management import segment

RATES: Final = {
    "MODEL": "model",
    "TIER": "tier",
    "ABOVE": "above_tokens",
    "INPUT": "input_usd",
    "CACHED": "cached_input_usd",
    "WRITE": "cache_write_usd",
    "WRITE 1H": "cache_write_1h_usd",
    "AUDIO IN": "audio_input_usd",
    "CACHED AUDIO": "cached_audio_input_usd",
    "OUTPUT": "output_usd",
    "AUDIO OUT": "audio_output_usd",
    "IMAGE OUT": "image_output_usd",
    "REQUEST": "per_request_usd",
    "CONTEXT": "context_tokens",
    "MAX OUTPUT": "max_output_tokens",
    "SOURCE": "source",
}
FINDINGS: Final = {"WHAT": "kind", "OF": "subject", "WHY": "message"}
VERSIONS: Final = {
    "VERSION": "id",
    "PRICES OF": "published_on",
    "ADDED (UTC)": "added_at",
    "BY": "added_by",
    "CHOSEN": "chosen",
    "IN FORCE": "in_force",
}
_KINDS: Final = ("new", "dearer", "cheaper", "changed", "gone")
_SHOWN: Final = 12
"""Models of a kind that are named; JSON has them all."""


def show(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="Of one model, by any name of it.")
    ] = None,
    *,
    provider: Annotated[str | None, typer.Option("--provider", help="Of one provider.")] = None,
    limit: Limit = 5000,
    json: Json = False,
) -> None:
    """Show what models cost: US dollars per million tokens, in each tier and above each cliff."""
    found = ask_all("prices", limit, given(model=model, provider=provider))
    if json:
        printing.json(found)
        return
    printing.table([row for one in found for row in _rows(one)], RATES, "No such price.")
    if found:
        printing.line(f"Prices: {found[0]['price_version']}")


def check(
    *,
    days: Annotated[
        int, typer.Option("--days", min=0, max=3650, help="Prices older than this are old.")
    ] = 60,
    json: Json = False,
) -> None:
    """Say what prices leave open; exit code 1 where they do."""
    found = ask("GET", "prices/check", query={"days": days})
    if json:
        printing.json(found)
    else:
        printing.line(
            f"Prices: {found['price_version']}, of {found['published_on']}, {found['models']} models"
        )
        printing.table(found["findings"], FINDINGS, "Nothing is missing.")
    if found["findings"]:
        raise typer.Exit(1)


def update(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="data.json of genai-prices.")],
    *,
    sha256: Annotated[
        str | None, typer.Option("--sha256", metavar="HEX", help="Take no other file than this.")
    ] = None,
    published_on: Annotated[
        str | None,
        typer.Option("--published-on", metavar="DATE", help="By default when FILE was written."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Even if older than what is in force.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing.")] = False,
    json: Json = False,
) -> None:
    """Put a file of published prices in force on every replica."""
    content, written_on = _read(file)
    query = {
        "published_on": published_on or written_on,
        "sha256": sha256,
        "force": "true" if force else None,
        "dry_run": "true" if dry_run else None,
    }
    done = ask("POST", "prices", query=query, body=msgspec.Raw(content))
    if not json:
        printing.line(f"SHA-256 {hashed(content).hexdigest()}")
    _report(done, json=json)


def versions(*, json: Json = False) -> None:
    """List the lists of prices that can be put in force."""
    found = ask("GET", "prices/versions")["data"]
    if json:
        printing.json(found)
        return
    rows = [
        {
            **one,
            "chosen": "yes" if one["is_chosen"] else "",
            "in_force": "yes" if one["is_in_force"] else "",
        }
        for one in found
    ]
    printing.table(rows, VERSIONS, "None.")


def activate(
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="As listed; `package` is the release's own.")
    ],
    *,
    json: Json = False,
) -> None:
    """Put a list of prices in force again, on every replica."""
    _report(ask("POST", f"prices/versions/{segment(version)}/activate"), json=json)


def _rows(one: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a line for each tier and cliff; what is of the model alone stands in the first."""
    shared: dict[str, Any] = one
    for rates in one["rates"]:
        dollars = {f"{name}_usd": rate for name, rate in rates.items()}
        yield {**shared, **dollars, "tier": rates["tier"], "above_tokens": rates["above_tokens"]}
        shared = {"model": ""}


def _read(file: Path) -> tuple[bytes, str]:
    """Return a file's bytes, and the UTC day on which it was written; wrong usage where it is not JSON."""
    try:
        content = file.read_bytes()
        written = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        msgspec.json.decode(content, type=msgspec.Raw)
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="FILE") from None
    except msgspec.DecodeError:
        raise typer.BadParameter(f"{file}: is not JSON", param_hint="FILE") from None
    return content, written.date().isoformat()


def _report(done: dict[str, Any], *, json: bool) -> None:
    if json:
        printing.json(done)
        return
    state = "in force" if done["is_in_force"] else "not in force: a dry run"
    printing.line(f"{done['price_version']} (prices of {done['published_on']}) is {state}.")
    for kind in _KINDS:
        names = done[kind]
        more = f", … ({len(names) - _SHOWN} more)" if len(names) > _SHOWN else ""
        listed = f": {', '.join(names[:_SHOWN])}{more}" if names else ""
        printing.line(f"{kind}: {len(names)}{listed}")
