"""What one JSON answer says, a chunk of a stream or a whole one: text, usage, who served it.

The usual shape is decoded by type, and nothing but what is acted on becomes a Python object. What
does not fit, or is JSON only to a lenient reader (NaN, lone surrogates, bytes that are not UTF-8),
is read again, slowly, and there every text counts as output: what is strange costs its most.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec import structs

from gateway.core.events import Broken, Delta, Event, Served, Usage
from gateway.providers import lenient_json, openai_accounts
from gateway.providers.lenient_json import (
    ABSENT,
    is_there,
    label,
    names_twice,
    string,
    strings,
)
from gateway.providers.strict_json import has_duplicates


class Called(msgspec.Struct, frozen=True, gc=False):
    """A call of a function or custom tool, or a part of one."""

    name: str | None = None
    arguments: str | None = None
    input: str | None = None


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    """One tool call."""

    function: Called | None = None
    custom: Called | None = None


class Audio(msgspec.Struct, frozen=True, gc=False):
    """Spoken output, as far as it is text."""

    transcript: str | None = None


class Said(msgspec.Struct, frozen=True, gc=False):
    """What the model produced: a `delta` of a stream or a `message`."""

    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Called | None = None
    audio: Audio | None = None


class Choice(msgspec.Struct, frozen=True, gc=False):
    """One choice. `text` is a legacy completion's, and all text of a choice that was read slowly."""

    index: int = 0
    delta: Said | None = None
    message: Said | None = None
    text: str | None = None
    finish_reason: str | None = None


class Answer(msgspec.Struct, frozen=True, gc=False):
    """One chunk or answer. `data` are embeddings."""

    choices: list[Choice] | None = None
    model: str | None = None
    service_tier: str | None = None
    usage: dict[str, Any] | None = None
    error: Any = None
    x_groq: dict[str, Any] | None = None
    object: str | None = None
    data: msgspec.Raw = ABSENT


class Accounts(msgspec.Struct, frozen=True, gc=False):
    """The parts of an answer that hold an account, as they came."""

    usage: msgspec.Raw = ABSENT
    x_groq: msgspec.Raw = ABSENT


def read(document: bytes) -> Answer | None:
    """Return what a JSON document says; None where it is not a JSON object to anyone."""
    try:
        return _DECODER.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _read_slowly(document)


def text(answer: Answer) -> str:
    """Return all that the model produced in an answer, of all its choices."""
    choices = answer.choices
    if not choices:
        return ""
    if len(choices) == 1:
        return text_of(choices[0])
    return "".join(map(text_of, choices))


def is_broken(answer: Answer) -> bool:
    """Return whether an answer is an error, wholly or beside its choices.

    Hosts of the older form say `"object": "error"` (vLLM before 0.9, Mistral); OpenRouter ends a
    choice with the reason `error`.
    """
    if answer.error or (answer.object == "error" and not answer.choices):
        return True
    if any(choice.finish_reason == "error" for choice in answer.choices or ()):
        return True
    return answer.x_groq is not None and bool(answer.x_groq.get("error"))


def usage(answer: Answer, document: bytes, *, makes_output: bool) -> Usage | None:
    """Return an answer's account if it has one that can be trusted."""
    values = answer.usage or (answer.x_groq or {}).get("usage")
    if not isinstance(values, dict) or _is_ambiguous(document):
        return None
    reported = openai_accounts.read(values, openai_accounts.CHAT, makes_output=makes_output)
    if reported is None or openai_accounts.MONEY.isdisjoint(values):
        return reported
    billed = (openai_accounts.billed(bytes(raw)) for raw in _accounts(document))
    return structs.replace(
        reported, billed_nusd=next((nusd for nusd in billed if nusd is not None), None)
    )


def whole(document: bytes, *, makes_output: bool) -> Sequence[Event]:
    """Return what a complete answer says, its usage last; nothing where it is no answer at all."""
    answer = read(document)
    if answer is None or (
        answer.choices is None and not is_there(answer.data) and not is_broken(answer)
    ):
        return ()
    return tuple(_events(answer, document, makes_output=makes_output))


def _events(answer: Answer, document: bytes, *, makes_output: bool) -> Iterator[Event]:
    if answer.model or answer.service_tier:
        yield Served(label(answer.model), label(answer.service_tier))
    produced = text(answer)
    if produced:
        yield Delta(produced)
    if is_broken(answer):
        yield Broken()
    reported = usage(answer, document, makes_output=makes_output)
    if reported is not None:
        yield reported


def text_of(choice: Choice) -> str:
    """Return all that the model produced in one choice."""
    said = choice.delta or choice.message
    if said is None:
        return choice.text or ""
    produced = said.content or ""
    if said.tool_calls:
        produced += "".join(map(_called, said.tool_calls))
    for more in (said.reasoning_content, said.reasoning, said.refusal):
        if more:
            produced += more
    if said.function_call is not None:
        produced += _arguments(said.function_call)
    if said.audio is not None:
        produced += said.audio.transcript or ""
    return produced


def _called(call: ToolCall) -> str:
    return _arguments(call.function) + _arguments(call.custom)


def _arguments(called: Called | None) -> str:
    if called is None:
        return ""
    return f"{called.name or ''}{called.arguments or ''}{called.input or ''}"


def _is_ambiguous(document: bytes) -> bool:
    """Return whether an account may be read in two ways, having a member twice.

    Where its own name stands once, as in every usual answer, only the account is read again; a text
    can't hold the name, for its quotes are escaped there. A large answer is never read again whole:
    there each name has to be the only one of its kind.
    """
    if all(document.count(name) <= 1 for name in _MEMBER_NAMES):
        return any(names_twice(bytes(raw)) for raw in _accounts(document))
    if len(document) <= _MOST_CHECKED:
        return has_duplicates(document)
    return any(document.count(name) > 1 for name in _ACCOUNT_NAMES)


def _accounts(document: bytes) -> list[msgspec.Raw]:
    try:
        found = _ACCOUNT_DECODER.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return [msgspec.Raw(document)]
    return [raw for raw in (found.usage, found.x_groq) if is_there(raw)]


def _read_slowly(document: bytes) -> Answer | None:
    values = lenient_json.read(document)
    if values is None:
        return None
    choices = values.get("choices")
    reported = values.get("usage")
    return Answer(
        choices=list(map(_choice, choices)) if isinstance(choices, list) else None,
        model=string(values.get("model")),
        service_tier=string(values.get("service_tier")),
        usage=reported if isinstance(reported, dict | None) else {},
        error=values.get("error"),
        x_groq=x_groq if isinstance(x_groq := values.get("x_groq"), dict) else None,
        object=string(values.get("object")),
        data=msgspec.Raw(b"[]") if isinstance(values.get("data"), list) else ABSENT,
    )


def _choice(value: object) -> Choice:
    if not isinstance(value, dict):
        return Choice()
    index = value.get("index")
    said = [value.get(name) for name in ("delta", "message", "text")]
    return Choice(
        index=index if type(index) is int else 0,
        text="".join(strings(said)),
        finish_reason=string(value.get("finish_reason")),
    )


_MOST_CHECKED: Final = 64 << 10
_MEMBER_NAMES: Final = (b'"usage"', b'"service_tier"')
_ACCOUNT_NAMES: Final = (
    b'"usage"',
    b'"prompt_tokens"',
    b'"completion_tokens"',
    b'"total_tokens"',
)
_DECODER: Final = msgspec.json.Decoder(Answer)
_ACCOUNT_DECODER: Final = msgspec.json.Decoder(Accounts)
