"""What one JSON answer says, an event of a stream or a whole response: text, usage, who served it.

The usual shape is decoded by type, and nothing but what is acted on becomes a Python object. What
does not fit, or is JSON only to a lenient reader, is read again, slowly, and there every text counts
as output: what is strange costs its most.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec import structs

from gateway.core.events import Broken, Delta, Event, Opaque, Served, Usage
from gateway.providers import lenient_json, openai_accounts
from gateway.providers.lenient_json import (
    ABSENT,
    is_there,
    label,
    names_own_twice,
    names_twice,
    string,
    strings,
)

SEARCH_NUSD: Final = 25_000_000
"""Nano-dollars of one search by a tool, at the dearest that OpenAI lists (openai.com/api/pricing,
November 2026: $10 to $25 a thousand). Such tools are refused, but a stored prompt may bring one."""


class Part(msgspec.Struct, frozen=True, gc=False):
    """A part of a message or of reasoning."""

    text: str | None = None
    refusal: str | None = None


class Item(msgspec.Struct, frozen=True, gc=False):
    """One item of the output, as far as it is text that the model produced."""

    type: str | None = None
    name: str | None = None
    arguments: str | None = None
    input: str | None = None
    content: list[Part] | None = None
    summary: list[Part] | None = None


class Response(msgspec.Struct, frozen=True, gc=False):
    """A response, as an answer of its own or inside of an event."""

    object: str | None = None
    status: str | None = None
    model: str | None = None
    service_tier: str | None = None
    usage: dict[str, Any] | None = None
    tool_usage: Any = None
    error: Any = None
    output: msgspec.Raw = ABSENT


class Said(msgspec.Struct, frozen=True, gc=False):
    """One event of a stream. Its text is in `delta`, or repeated whole in one of the others."""

    type: str | None = None
    sequence_number: int | None = None
    output_index: int = 0
    content_index: int | None = None
    summary_index: int | None = None
    delta: str | None = None
    text: str | None = None
    refusal: str | None = None
    arguments: str | None = None
    input: str | None = None
    item: Item | None = None
    response: msgspec.Raw = ABSENT
    error: Any = None

    @property
    def repeated(self) -> str:
        """The whole text that an event ends."""
        return self.text or self.refusal or self.arguments or self.input or ""


def read_event(document: bytes) -> Said | None:
    """Return what an event says; None where it is not a JSON object to anyone."""
    try:
        return _EVENT.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _event_slowly(document)


def read(document: bytes) -> Response | None:
    """Return what a response says; None where it is not a JSON object to anyone."""
    try:
        return _RESPONSE.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _response_slowly(document)


def text(response: Response) -> str:
    """Return all that the model produced in a response."""
    if not is_there(response.output):
        return ""
    try:
        return "".join(map(item_text, _ITEMS.decode(response.output)))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = lenient_json.read(b'{"output":' + bytes(response.output) + b"}")
        return "".join(strings(found))


def item_text(item: Item) -> str:
    """Return all that the model produced in one item."""
    parts = [*(item.summary or ()), *(item.content or ())]
    said = "".join(f"{part.text or ''}{part.refusal or ''}" for part in parts)
    return f"{item.name or ''}{item.arguments or ''}{item.input or ''}{said}"


def is_broken(response: Response) -> bool:
    """Return whether a response is an error: it failed, or is nothing but one."""
    return response.status in _FAILED or bool(response.error)


def usage(response: Response, document: bytes) -> Usage | None:
    """Return a response's account if it has one that can be trusted."""
    if response.usage is None or names_own_twice(document):
        return None
    account = bytes(_ACCOUNT.decode(document).usage)
    if names_twice(account):
        return None
    found = openai_accounts.read(response.usage, openai_accounts.RESPONSES, makes_output=True)
    if found is None:
        return None
    if not openai_accounts.MONEY.isdisjoint(response.usage):
        found = structs.replace(found, billed_nusd=openai_accounts.billed(account))
    return _with_tools(found, response.tool_usage)


def event_usage(response: Response, document: bytes, event: bytes) -> Usage | None:
    """Return the account of a response that is in an event, if nothing of it was said twice."""
    return None if names_own_twice(event) else usage(response, document)


def served(response: Response, *, is_final: bool) -> Served | None:
    """Return who served a response; the tier is certain at its end alone, and is never `auto`."""
    tier = label(response.service_tier) if is_final else None
    found = Served(label(response.model), None if tier == "auto" else tier)
    return found if found != Served(None, None) else None


def whole(document: bytes) -> Sequence[Event]:
    """Return what a complete answer says, its usage last; nothing where it is no answer at all."""
    response = read(document)
    if response is None or (not is_there(response.output) and not is_broken(response)):
        return ()
    return tuple(_events(response, document)) or (Opaque(),)


def counted(document: bytes) -> Sequence[Event]:
    """Return that an answer is a count of input tokens; nothing where it is none."""
    values = lenient_json.read(document) or {}
    if values.get("error"):
        return (Broken(),)
    return (Opaque(),) if type(values.get("input_tokens")) is int else ()


def _events(response: Response, document: bytes) -> Iterator[Event]:
    who = served(response, is_final=True)
    if who is not None:
        yield who
    produced = text(response)
    if produced:
        yield Delta(produced)
    if is_broken(response):
        yield Broken()
    reported = usage(response, document)
    if reported is not None:
        yield reported


def _with_tools(usage: Usage, tool_usage: object) -> Usage:
    """Return an account with what the provider's own tools used beside it.

    Images are made by another model, whose tokens are charged at the dearest of this one.
    """
    searches = _count(tool_usage, "web_search", "num_requests")
    read_too = _count(tool_usage, "image_gen", "input_tokens")
    made_too = _count(tool_usage, "image_gen", "output_tokens")
    if not (searches or read_too or made_too):
        return usage
    return structs.replace(
        usage,
        input=usage.input + read_too,
        output=usage.output + made_too,
        fees_nusd=searches * SEARCH_NUSD,
        certain=False,
    )


def _count(values: object, tool: str, name: str) -> int:
    """Return a count, 0 where there is none."""
    found = values.get(tool) if isinstance(values, dict) else None
    number = found.get(name) if isinstance(found, dict) else None
    is_sound = type(number) is int and 0 < number < openai_accounts.MOST_COUNT
    return number if is_sound and isinstance(number, int) else 0


def _event_slowly(document: bytes) -> Said | None:
    values = lenient_json.read(document)
    if values is None:
        return None
    kind = string(values.get("type"))
    number = values.get("sequence_number")
    return Said(
        type=kind,
        sequence_number=number if type(number) is int else None,
        delta="".join(strings(values if kind is None else values.get("delta"))),
        text="".join(strings([values.get(name) for name in _REPEATED])),
        response=_response_of(values, document),
        error=values.get("error"),
    )


def _response_of(values: dict[str, Any], document: bytes) -> msgspec.Raw:
    """Return the response in an event as it came; where no strict reader finds it, what it says."""
    try:
        return _INNER.decode(document).response
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        response = values.get("response")
        return _raw(response) if isinstance(response, dict) else ABSENT


def _response_slowly(document: bytes) -> Response | None:
    values = lenient_json.read(document)
    if values is None:
        return None
    output = values.get("output")
    return Response(
        status=string(values.get("status")),
        model=string(values.get("model")),
        service_tier=string(values.get("service_tier")),
        usage=reported if isinstance(reported := values.get("usage"), dict) else None,
        tool_usage=values.get("tool_usage"),
        error=values.get("error"),
        output=_raw(output) if isinstance(output, list) else ABSENT,
    )


def _raw(value: object) -> msgspec.Raw:
    """Return a value as strict JSON, what no strict reader takes as null; nothing if it is too deep."""
    try:
        return msgspec.Raw(msgspec.json.encode(_strict(value)))
    except (msgspec.MsgspecError, RecursionError, OverflowError):
        return msgspec.Raw(b"null")


def _strict(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {str(_strict(name)): _strict(inner) for name, inner in value.items()}
        case list():
            return [_strict(inner) for inner in value]
        case int() if abs(value) >= _MOST_INTEGER:
            return None
        case _:
            return value


class _Inner(msgspec.Struct, frozen=True, gc=False):
    response: msgspec.Raw = ABSENT


class _Account(msgspec.Struct, frozen=True, gc=False):
    usage: msgspec.Raw


_FAILED: Final = ("failed", "cancelled")
_REPEATED: Final = ("text", "refusal", "arguments", "input", "code", "item")
_MOST_INTEGER: Final = 2**63
_EVENT: Final = msgspec.json.Decoder(Said)
_RESPONSE: Final = msgspec.json.Decoder(Response)
_ITEMS: Final = msgspec.json.Decoder(list[Item])
_INNER: Final = msgspec.json.Decoder(_Inner)
_ACCOUNT: Final = msgspec.json.Decoder(_Account)
