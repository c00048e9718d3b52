"""A provider's JSON, read leniently: what is strange in an answer must cost its most, and never raise.

Answers are first decoded by type. What does not fit, or is JSON only to a lenient reader (NaN, lone
surrogates, bytes that are not UTF-8), is read here again, slowly. And an account that names a figure
twice may be read in two ways, so that it is no account.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from gateway.providers.strict_json import has_duplicates

MOST_LABEL: Final = 256
"""Characters of a model's or tier's name; a longer one is not taken for a name."""
_MOST_CHECKED: Final = 64 << 10
_NULL: Final = b"null"
_SPACE: Final = b" \n\r\t"


ABSENT: Final = msgspec.Raw(b"")
"""A member that is not there. msgspec takes no `Raw | None`: it would decode nothing but null."""


def is_there(value: msgspec.Raw) -> bool:
    """Return whether a member was given, and is not null."""
    size = memoryview(value).nbytes
    return size > 0 and (size != len(_NULL) or bytes(value) != _NULL)


def read(document: bytes) -> dict[str, Any] | None:
    """Return the object that a document is to a lenient reader; None where it is none."""
    try:
        values = json.loads(document.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def strings(value: object) -> Iterator[str]:
    """Yield every text within a value, in a form that can be encoded, in no certain order."""
    left = [value]
    while left:
        match left.pop():
            case str(found):
                yield found.encode("utf-8", "replace").decode()
            case dict(members):
                left.extend(members.values())
            case list(items):
                left.extend(items)
            case _:
                pass


def string(value: object) -> str | None:
    """Return a value if it is a text."""
    return value if isinstance(value, str) else None


def label(name: str | None) -> str | None:
    """Return a model's or tier's name, None where it can't be one."""
    return name if name and len(name) <= MOST_LABEL and name.isprintable() else None


def names_twice(value: bytes) -> bool:
    """Return whether a JSON value has a member twice anywhere: none has that encodes to itself."""
    try:
        written = msgspec.json.encode(msgspec.json.decode(value))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return True
    return written != value.translate(None, _SPACE) and has_duplicates(value)


def names_own_twice(value: bytes) -> bool:
    """Return whether an object has one of its own members twice, whatever is inside of these.

    That is found without reading them, in time that even a large answer has. One that is written
    strangely (escapes in a name) is looked at member by member, unless it is too large for that.
    """
    try:
        written = msgspec.json.encode(_MEMBERS.decode(value))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return True
    if written.translate(None, _SPACE) == value.translate(None, _SPACE):
        return False
    return len(value) > _MOST_CHECKED or has_duplicates(value)


_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
