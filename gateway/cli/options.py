"""Options that several commands have, spelled once."""

from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="Print at most so many.")]
Project = Annotated[
    str | None, typer.Option("--project", help="The project; by default the token's own.")
]
ConfigFile = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The configuration; by default GATEWAY_CONFIG, else configs/gateway.yaml.",
    ),
]


def given(**members: Any) -> dict[str, Any]:  # noqa: ANN401 - members of a JSON body
    """Return the members of a body that were given."""
    return {name: value for name, value in members.items() if value is not None}
