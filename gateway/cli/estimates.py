"""`gateway estimate`: what a call may cost, without making it."""

import sys
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import typer

from gateway.cli import printing
from gateway.cli.calling import ask
from gateway.cli.options import Json, given

SHOWN: Final = {
    "MODEL": "model",
    "INPUT TOKENS, AT MOST": "input_tokens_bound",
    "OUTPUT TOKENS, AT MOST": "output_tokens_bound",
    "COST, AT MOST": "bound_usd",
    "WOULD BE ADMITTED": "admitted",
}
SHORTAGES: Final = {"REFUSED FOR": "code", "BUDGET": "budget", "LEFT": "left_usd"}


def estimate(  # noqa: PLR0913 - the public spelling
    body: Annotated[
        str, typer.Argument(metavar="FILE", help="The request's JSON body; - is standard input.")
    ] = "-",
    *,
    path: Annotated[
        str | None,
        typer.Option(
            "--path",
            help="Where it would be sent, such as /anthropic/v1/messages; by default /v1/chat/completions.",
        ),
    ] = None,
    endpoint: Annotated[
        Literal["chat/completions", "embeddings"] | None,
        typer.Option("--endpoint", help="The same, for OpenAI's alone."),
    ] = None,
    project: Annotated[
        str | None, typer.Option("--project", help="Its project; by default the token's own.")
    ] = None,
    run: Annotated[str | None, typer.Option("--run", help="The run that it is for.")] = None,
    output_ceiling: Annotated[
        int | None, typer.Option("--output-ceiling", min=1, help="A lower ceiling for this call.")
    ] = None,
    json: Json = False,
) -> None:
    """Say what a call may cost, and whether it would be admitted now."""
    order = given(
        path=path,
        endpoint=endpoint,
        body=_request(body),
        project=project,
        run=run,
        output_tokens_ceiling=output_ceiling,
    )
    found = ask("POST", "estimate", body=order)
    if json:
        printing.json(found)
        return
    printing.details({**found, "admitted": "yes" if found["admitted"] else "no"}, SHOWN)
    if found["refusals"]:
        printing.table(found["refusals"], SHORTAGES, "")


def _request(source: str) -> Any:  # noqa: ANN401 - the bytes of a JSON document
    """Return a request's body as it was written; wrong usage where it is not JSON."""
    try:
        raw = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        return msgspec.json.decode(raw, type=msgspec.Raw)
    except OSError as error:
        raise typer.BadParameter(f"{source}: {error.strerror}", param_hint="FILE") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise typer.BadParameter(f"{source}: is not JSON", param_hint="FILE") from None
