"""What commands print: JSON for programs, tables and lines for people.

Text that came from elsewhere is shown without control characters, which could move a terminal's cursor
or pretend to be our own words. Where output is piped there is no colour, and no line is folded.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

_ANY_WIDTH: Final = 4096
"""Wider than any table: a terminal wraps lines, but nothing may be cut off an id or an amount."""
_TIME_CHARACTERS: Final = len("2026-01-31T12:00:00")

Columns = Mapping[str, str]
"""Headings, and the member of a row that each shows."""


def json(value: object) -> None:
    """Print a value as one line of JSON."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def line(text: str) -> None:
    """Print one line for people."""
    sys.stdout.write(clean(text) + "\n")


def warning(text: str) -> None:
    """Print one line on standard error."""
    sys.stderr.write(f"gateway: {clean(text)}\n")


def table(rows: Sequence[Mapping[str, Any]], columns: Columns, empty: str) -> None:
    """Print rows as a table, or a sentence where there is none."""
    if not rows:
        line(empty)
        return
    show(made_table(rows, columns))


def made_table(rows: Iterable[Mapping[str, Any]], columns: Columns) -> Table:
    """Return rows as a table; amounts and counts stand on the right."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for heading, member in columns.items():
        made.add_column(heading, justify="right" if _is_number(member) else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell(member, row.get(member))) for member in columns.values()))
    return made


def details(row: Mapping[str, Any], columns: Columns) -> None:
    """Print one thing, a line for each member."""
    made = Table(box=None, pad_edge=False, show_header=False)
    made.add_column(style="bold")
    made.add_column()
    for heading, member in columns.items():
        made.add_row(heading, Text(cell(member, row.get(member))))
    show(made)


def show(made: Table) -> None:
    """Print a table; where it is piped, without the blanks that would end its lines."""
    screen = Console(file=sys.stdout, width=_ANY_WIDTH)
    if screen.is_terminal:
        screen.print(made)
        return
    with screen.capture() as captured:
        screen.print(made)
    sys.stdout.writelines(f"{text.rstrip()}\n" for text in captured.get().splitlines())


def console() -> Console:
    """Return the terminal that standard output is, as wide as it is now."""
    return Console(file=sys.stdout)


def cell(member: str, value: object) -> str:  # noqa: PLR0911  # one arm a kind
    """Return a member's value for people: dollars, times to the second, lists by comma."""
    match value:
        case None:
            return "none" if member == "cap_usd" else "-"
        case str() if member.endswith("_usd"):
            return _dollars(value)
        case str() if member == "at" or member.endswith("_at"):
            return value[:_TIME_CHARACTERS].replace("T", " ")
        case list():
            return ", ".join(cell(member, one) for one in value) or "-"
        case dict():
            return ", ".join(f"{name}={clean(str(one))}" for name, one in value.items()) or "-"
        case _:
            return clean(str(value))


def clean(text: str) -> str:
    """Return a text on one line, with a mark for each character that can't be shown."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _dollars(amount: str) -> str:
    """Return an amount with its cents, and with all its digits where cents would hide some."""
    whole, _, decimals = clean(amount).partition(".")
    return f"${whole}.{decimals.ljust(2, '0')}"


def _is_number(member: str) -> bool:
    return member.endswith(("_usd", "_tokens", "_ms", "_cut", "_minute")) or member in {
        "calls",
        "seq",
    }
