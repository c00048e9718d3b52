"""How the one line about a wrong configuration is worded: path, what was found, what is allowed.

A line never quotes what came from the environment (the file's own `${NAME}` is quoted instead), nor
the user information or query of a URL, and it is always one line, whatever the file holds.
"""

import difflib
import json
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from gateway.errors import ConfigurationInvalid

Tree = None | bool | int | Decimal | str | list["Tree"] | dict[str, "Tree"]
"""What a YAML file says, with its texts as written: `${NAME}` is not yet replaced."""

ROOT: Final = "$"
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_URL_SECRETS = re.compile(r"(?<=//)[^/\s]*@|(?<=\?).*", re.DOTALL)
_SHOWN = 60


def invalid(path: str, found: str, allowed: str) -> ConfigurationInvalid:
    """Return the failure whose text is the line; the caller raises it."""
    return ConfigurationInvalid(f"{path}: found {found}, allowed is {allowed}")


def unknown_key(path: str, key: str, known: Iterable[str]) -> ConfigurationInvalid:
    """Return the failure for a key that a section does not have, with the nearest that it has."""
    keys = list(known)
    allowed = ", ".join(keys)
    return invalid(child(path, key), "an unknown key", f"{allowed}{did_you_mean(key, keys)}")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `"; did you mean …?"` where something known is near, else nothing."""
    nearest = difflib.get_close_matches(word[:_SHOWN], list(known), n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def child(path: str, key: str | int) -> str:
    """Return the path of a mapping's value or a list's item."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if _PLAIN_KEY.fullmatch(key):
        return f"{path}.{key}"
    return f"{path}[{_quoted(key)}]"


def shown(value: Tree) -> str:  # noqa: PLR0911  # one arm a member
    """Return a value as a line shows it; a mapping or list by its kind alone."""
    match value:
        case None:
            return "nothing (null)"
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case Decimal():
            return f"{value:f}"
        case str():
            return f"text {_quoted(_URL_SECRETS.sub('***', value))}"
        case list():
            return "a list"
        case dict():
            return "a mapping"


def _quoted(text: str) -> str:
    """Return a text in quotes, on one line and in ASCII, cut where it is long."""
    return json.dumps(text[:_SHOWN]) + ("…" if len(text) > _SHOWN else "")
