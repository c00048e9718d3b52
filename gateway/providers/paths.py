"""What a request line means to a provider's API: a call, a listing, or a path that is refused.

A path is taken literally, as it came, before anything decodes or joins it: whoever needs to normalise
a path before it matches meant to get past a rule. What an API could bill and nobody here can meter
is refused, not passed on.
"""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec

from gateway.core.refusal import Code, Refused
from gateway.providers.adapter import Dialect, Path


class Metered(msgspec.Struct, frozen=True):
    """A call to be admitted, priced and passed on, in a dialect."""

    path: Path
    dialect: Dialect


class Listing(msgspec.Struct, frozen=True):
    """A listing of models, or of the `one` named, which the gateway answers itself, in a dialect."""

    dialect: Dialect
    one: str | None = None


class Unserved(msgspec.Struct, frozen=True):
    """A path of a provider's API that is refused, in its dialect. `allow`: the `Allow` header."""

    refused: Refused
    dialect: Dialect
    allow: bytes | None = None


Routed = Metered | Listing | Unserved


def segment(raw: bytes) -> str | None:
    """Return one segment of a path, decoded once; None where it is no text, or empty.

    It is a name to be looked up, and never joined into another path as it is.
    """
    try:
        name = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        return None
    return name or None


def parameter(query: bytes, name: str) -> str | None:
    """Return a query's parameter where it is given once, as a version or format is; else None."""
    found = [value for key, value in parse_qsl(query.decode("latin-1")) if key == name]
    return found[0] if len(found) == 1 and _WORD.fullmatch(found[0]) else None


def unmetered(dialect: Dialect, served: Sequence[str]) -> Unserved:
    """Return the refusal of a path that is not among those `served`."""
    message = (
        f"This path is not metered here, so it is refused. Use exactly one of: {', '.join(served)}."
    )
    return Unserved(Refused(Code.ENDPOINT_NOT_METERED, message), dialect)


def misplaced(dialect: Dialect, prefix: str) -> Unserved:
    """Return the refusal of a path that would be served, or at least known, under `prefix`."""
    message = (
        f"This path is not metered here, so it is refused. This API is under {prefix}: "
        "let your SDK's base URL end in that."
    )
    return Unserved(Refused(Code.ENDPOINT_NOT_METERED, message), dialect)


def wrong_method(dialect: Dialect, allowed: str) -> Unserved:
    """Return the refusal of another method than the one that a path has."""
    message = f"Use {allowed} for this path."
    return Unserved(Refused(Code.METHOD_NOT_ALLOWED, message), dialect, allowed.encode())


_WORD: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
