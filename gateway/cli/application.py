"""All commands by their names, and the one place where failures become exit codes."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import typer
from typer.exceptions import TyperException

from gateway.cli import (
    budgets,
    estimates,
    host,
    kills,
    prices,
    printing,
    runs,
    tokens,
    traces,
    unsettled,
)
from gateway.errors import GatewayError

FAILED: Final = 1
WRONG_USAGE: Final = 2
INTERRUPTED: Final = 130
"""As a shell reports a command that SIGINT ended."""

Command = Callable[..., None]

_COMMANDS: Final[Mapping[str, Command]] = {
    "serve": host.serve,
    "check-config": host.check_config,
    "migrate": host.migrate,
    "status": host.status,
    "spend": budgets.spend,
    "estimate": estimates.estimate,
    "kill": kills.kill,
    "unkill": kills.unkill,
    "sign-in-link": tokens.sign_in_link,
}
_GROUPS: Final[Mapping[str, tuple[str, Mapping[str, Command]]]] = {
    "budgets": (
        "Caps of the workspace, projects, tokens and models.",
        {
            "put": budgets.put,
            "show": budgets.show,
            "list": budgets.listing,
            "delete": budgets.delete,
        },
    ),
    "prices": (
        "What models cost, and where that is from.",
        {
            "show": prices.show,
            "check": prices.check,
            "update": prices.update,
            "versions": prices.versions,
            "activate": prices.activate,
        },
    ),
    "runs": (
        "Runs, each with a cap of its own.",
        {"create": runs.create, "show": runs.show, "list": runs.listing, "close": runs.close},
    ),
    "tokens": (
        "Tokens of clients and operators.",
        {
            "create": tokens.create,
            "list": tokens.listing,
            "change": tokens.change,
            "revoke": tokens.revoke,
        },
    ),
    "traces": (
        "What is kept of calls: metadata, no text.",
        {"list": traces.listing, "export": traces.export},
    ),
    "unsettled": (
        "What killed processes may have spent.",
        {"list": unsettled.listing, "resolve": unsettled.resolve},
    ),
    "audit": ("Who changed what.", {"list": tokens.audit}),
}


def main() -> None:
    """Run the command of the process's arguments, and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:  # noqa: PLR0911  # one arm an ending
    """Run a command and return its exit code."""
    try:
        code = build()(args=list(arguments), prog_name="gateway", standalone_mode=False)
        sys.stdout.flush()
    except TyperException as error:
        return _failed(error.format_message() + _hint(error), error.exit_code)
    except GatewayError as error:
        return _failed(str(error), FAILED)
    except typer.Exit as exit_:
        return exit_.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        _close_output()
        return FAILED
    return code if isinstance(code, int) else 0


def build() -> typer.Typer:
    """Return the command with all its subcommands."""
    root = _group("A self-hosted gateway to language models whose caps hold.", _COMMANDS)
    for name, (text, commands) in _GROUPS.items():
        root.add_typer(_group(text, commands), name=name)
    return root


def _group(text: str, commands: Mapping[str, Command]) -> typer.Typer:
    group = typer.Typer(
        help=text,
        add_completion=False,
        no_args_is_help=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    for name, command in commands.items():
        group.command(name)(command)
    return group


def _hint(error: TyperException) -> str:
    """Return where the usage of the command that was used wrongly is explained."""
    if error.exit_code != WRONG_USAGE:
        return ""
    context = getattr(error, "ctx", None)
    command = "gateway" if context is None else context.command_path
    return f" (see {command} --help)"


def _failed(text: str, code: int) -> int:
    """Say what went wrong, in one line, and return the exit code."""
    printing.warning(" ".join(text.split()))
    return code


def _close_output() -> None:
    """Leave nothing to write, so that the interpreter's own flush at exit finds no broken pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
