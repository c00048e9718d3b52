"""Requests read strictly, or refused with the path of what is wrong.

The framework reads leniently (it takes `"5"` for a number, ignores what it does not know, keeps the
last of two equal members, and fails on bad UTF-8), so bodies are read here from their raw bytes.
"""

import re
from json import JSONDecoder
from typing import Any, Final, NoReturn, TypeVar

import msgspec
from litestar import Request

from gateway.core.refusal import Code
from gateway.web.problems import Problem, invalid
from gateway.web.shapes import FORMS

MOST_BODY_BYTES: Final = 1 << 20

_CONTENT_TYPE: Final = re.compile(r'application/json(\s*;\s*charset="?utf-8"?)?', re.IGNORECASE)
_UNKNOWN: Final = re.compile(r"unknown field `(.*)`")
_PLACE: Final = re.compile(r" - at `(?:key in )?(.*)`$")
_WORDS: Final = (
    *((f"matching regex {pattern!r}", words) for pattern, words in FORMS.items()),
    ("Expected `int | str", 'It is not an exact amount such as "2.50", in quotes'),
    ("matching regex", "Its form is wrong"),
    ("length <=", "It is too long"),
    ("length >=", "It is too short"),
    ("missing required", "A required member is missing"),
    ("Invalid enum", "It is none of the allowed values"),
    ("Invalid RFC3339", "It is not a time such as 2026-01-31T12:00:00Z"),
)

T = TypeVar("T")


async def body(request: Request[Any, Any, Any], shape: type[T]) -> T:
    """Return a request's JSON body as a struct; raises Problem where it is not exactly that."""
    raw = await raw_body(request)
    kind = request.headers.get("content-type", "")
    if _CONTENT_TYPE.fullmatch(kind.strip()) is None:
        message = "Send the body as JSON, with the header content-type: application/json."
        raise Problem(Code.UNSUPPORTED_MEDIA_TYPE, message)
    return decode(raw, shape)


async def no_body(request: Request[Any, Any, Any]) -> None:
    """Take care that a request has no body; raises Problem where it has one."""
    if await raw_body(request):
        raise invalid("This address takes no body.")


async def raw_body(request: Request[Any, Any, Any], most: int = MOST_BODY_BYTES) -> bytes:
    """Return a request's body as it was sent, of at most so many bytes; raises Problem."""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Problem(Code.UNSUPPORTED_MEDIA_TYPE, "Send the body without a content-encoding.")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:20]) > most:
        raise _too_large(most)
    read = bytearray()
    is_whole = False
    while not is_whole:
        message = await request.receive()
        if message["type"] != "http.request":
            raise invalid("The body ended early.")
        read += message["body"]
        if len(read) > most:
            raise _too_large(most)
        is_whole = not message["more_body"]
    return bytes(read)


def decode(raw: bytes, shape: type[T]) -> T:
    """Return a JSON document as a struct; raises Problem where it is not exactly that."""
    try:
        _STRICT.decode(raw.decode())
        found = msgspec.json.decode(raw, type=shape)
    except _Twice as error:
        raise invalid("An object in the body has the same member twice.") from error
    except msgspec.ValidationError as error:
        raise unfit(error, "The body") from None
    except (ValueError, RecursionError, msgspec.DecodeError):
        raise invalid("The body is not JSON that everyone reads alike.") from None
    _refuse_controls(found, "")
    return found


def query(request: Request[Any, Any, Any], shape: type[T]) -> T:
    """Return a request's query as a struct; raises Problem for a member twice or unknown."""
    pairs = list(request.query_params.multi_items())
    values = dict(pairs)
    if len(values) != len(pairs):
        raise invalid("The query has a member twice.")
    try:
        found = msgspec.convert(values, shape, strict=False)
    except msgspec.ValidationError as error:
        raise unfit(error, "The query") from None
    _refuse_controls(found, "")
    return found


def unfit(error: msgspec.ValidationError, what: str) -> Problem:
    """Return the problem that a value's validation found. Never quotes the value."""
    words = str(error)
    place = _PLACE.search(words)
    path = place.group(1).removeprefix("$").removeprefix(".") if place is not None else ""
    unknown = _UNKNOWN.search(_PLACE.sub("", words))
    if unknown is not None:
        path = f"{path}.{unknown.group(1)}".lstrip(".")[:80]
        return invalid(f"{what} has a member that is not known here.", path)
    return invalid(f"{what} can't be used: {_explained(words)}.", path or None)


def _explained(words: str) -> str:
    """Return a validation's words in our own; theirs are kept where they only name types and numbers."""
    reason = _PLACE.sub("", words)
    for sign, ours in _WORDS:
        if sign in reason:
            return ours
    return reason if reason.startswith("Expected") else "A value is not allowed"


def _refuse_controls(value: object, path: str) -> None:
    """Refuse control characters and halves of characters, which no name or reason of ours has."""
    match value:
        case str():
            if not value.isprintable() and not all(_is_text(character) for character in value):
                raise invalid("A text holds a character that is not allowed.", path or None)
        case dict():
            for name, below in value.items():
                _refuse_controls(name, path)
                _refuse_controls(below, f"{path}.{name}".lstrip("."))
        case list() | tuple():
            for index, below in enumerate(value):
                _refuse_controls(below, f"{path}[{index}]")
        case msgspec.Struct():
            _refuse_controls(msgspec.structs.asdict(value), path)
        case _:
            pass


def _is_text(character: str) -> bool:
    return character >= " " and character != "\x7f" and not "\ud800" <= character <= "\udfff"


def _too_large(most: int) -> Problem:
    return Problem(Code.BODY_TOO_LARGE, f"The body is larger than {most:,} bytes. Send less.")


class _Twice(ValueError):
    """An object has a member twice."""


def _unique(pairs: list[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise _Twice


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


_STRICT: Final = JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
