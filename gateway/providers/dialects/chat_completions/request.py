"""What a chat request asks for, read strictly where money depends on it and not at all elsewhere.

A field that nobody here knows passes untouched, so that a provider's new one works on the day it
appears. Where such a field may stand for input that the body does not contain, the call is bounded
by the model's whole context; where it may cost what no bound covers, the call is refused.
Refusals name the field and what is allowed, and quote nothing of the request but a number.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from gateway.core.calls import Asked
from gateway.core.refusal import Code, Refused
from gateway.providers.adapter import Path, Wanted
from gateway.providers.fields import (
    MOST_CHOICES,
    MOST_TOKENS,
    Values,
    check_model,
    check_number,
    check_overrides,
    check_tier,
    invalid,
    is_flag,
    is_list_of_objects,
    unbounded,
)
from gateway.providers.strict_json import Body, countable

CEILINGS: Final = ("max_completion_tokens", "max_tokens")
"""The fields that bound the output of one choice: today's name, and the one it had before."""

UNBOUNDED: Final[Mapping[str, str]] = {
    "prediction": "rejected prediction tokens are billed as output beyond the ceiling",
    "web_search_options": "searches are billed per use",
    "search_parameters": "searches are billed per use",
    "enable_search": "searches are billed per use",
    "background": "the call would run on after its answer",
    "deferred": "the call would run on after its answer",
    "data_sources": "what is found there is read by calls of the model that nobody sees",
    "dataSources": "what is found there is read by calls of the model that nobody sees",
    "enhancements": "they are billed apart",
}
"""Fields whose cost no bound covers, and why. The last three are Azure's.

`prediction`: OpenAI's guide on predicted outputs bills rejected tokens as completion tokens and
does not allow `max_completion_tokens` beside it (developers.openai.com, November 2026).
"""

STORED_INPUT: Final = frozenset({"chat_template", "conversation", "previous_response_id", "prompt"})
"""Fields that refer to input which the provider keeps, or make of the body more than it holds."""

MESSAGE_FIELDS: Final = frozenset(
    {
        "annotations",
        "cache_control",
        "content",
        "function_call",
        "name",
        "partial",
        "prefix",
        "reasoning",
        "reasoning_content",
        "refusal",
        "role",
        "tool_call_id",
        "tool_calls",
    }
)
"""The members of a message that are all text. Any other may stand for more than its bytes."""

PART_FIELDS: Final = frozenset({"cache_control", "refusal", "text", "type"})


def read(path: Path, body: Body) -> Wanted | Refused:
    """Return what a chat request asks for, or the first thing that is wrong with it."""
    for check in _CHECKS if path.model is None else _CHECKS[1:]:
        refused = check(body.values)
        if refused is not None:
            return refused
    values = body.values
    is_stream = values.get("stream") is True
    options = values.get("stream_options") or {}
    return Wanted(
        path=path,
        asked=Asked(
            model=path.model or values["model"],
            stream=is_stream,
            output_tokens=_output_tokens(values),
            choices=max(values.get("n") or 1, values.get("best_of") or 1),
            text_bytes=body.text_bytes,
            messages=len(values["messages"]) + 2 * _arguments(values["messages"]),
            tools=len(values.get("tools") or ()) + len(values.get("functions") or ()),
            schema_bytes=schema_bytes(body),
            hides_input=_hides_input(values),
            audio_output="audio" in (values.get("modalities") or ()),
            tier=values.get("service_tier"),
        ),
        fields=body.members,
        wants_usage=is_stream and options.get("include_usage") is True,
    )


def check_stream(values: Values) -> Refused | None:
    """Refuse a `stream` that is not true, false or null, and options that are not an object."""
    if not is_flag(values.get("stream")):
        return invalid("stream", "stream must be true or false.")
    options = values.get("stream_options")
    if options is None:
        return None
    if not isinstance(options, dict):
        return invalid("stream_options", "stream_options must be an object.")
    if not is_flag(options.get("include_usage")):
        return invalid("stream_options", "stream_options.include_usage must be true or false.")
    return None


def check_unbounded(values: Values) -> Refused | None:
    """Refuse fields whose cost no bound covers."""
    if UNBOUNDED.keys().isdisjoint(values):
        return None
    for name, why in UNBOUNDED.items():
        value = values.get(name)
        if value is not None and value is not False:
            return unbounded(name, why)
    return None


def _check_numbers(values: Values) -> Refused | None:
    checked = (check_number(values, name, most) for name, most in _NUMBERS.items())
    return next(filter(None, checked), None)


def _check_messages(values: Values) -> Refused | None:
    if is_list_of_objects(values.get("messages")):
        return None
    return invalid("messages", "messages must be an array of objects.")


def _check_tools(values: Values) -> Refused | None:
    for name in ("tools", "functions"):
        tools = values.get(name)
        if tools is not None and not is_list_of_objects(tools):
            return invalid(name, f"{name} must be an array of objects.")
    for tool in values.get("tools") or ():
        if tool.get("type", "function") not in _TOOL_TYPES:
            return Refused(
                Code.BOUND_UNKNOWN,
                "Only tools of type function or custom can be bounded: the provider bills its own "
                "tools per use. Remove the others.",
                param="tools",
            )
    return None


def _check_modalities(values: Values) -> Refused | None:
    modalities = values.get("modalities")
    if modalities is None or isinstance(modalities, list):
        return None
    return invalid("modalities", "modalities must be an array of texts.")


def _output_tokens(values: Values) -> int | None:
    """Return the larger limit where both are given, since a provider may heed either."""
    given = [values[name] for name in CEILINGS if values.get(name) is not None]
    return max(given, default=None)


def schema_bytes(body: Body) -> int:
    """Return the size of the schemas that a provider may repeat in its prompt."""
    present = (bytes(body.members[name]) for name in _SCHEMAS if name in body.members)
    return sum(map(countable, present))


def _arguments(messages: list[Mapping[str, Any]]) -> int:
    """Return at least how many arguments the calls of tools have that messages tell again.

    A host may show each to its model as markup, with up to 16 tokens more than its JSON has bytes
    (DeepSeek's `<|DSML|parameter name="a" string="true">`, as its published encoding has it).
    """
    calls = (call for message in messages for call in _calls(message))
    told = (call["function"].get("arguments") for call in calls)
    return sum(len(_NAME.findall(text)) for text in told if isinstance(text, str))


def _calls(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, dict) and isinstance(call.get("function"), dict):
            yield call


def _hides_input(values: Values) -> bool:
    if not STORED_INPUT.isdisjoint(values):
        return True
    return not all(map(_is_text, values["messages"]))


def _is_text(message: Mapping[str, Any]) -> bool:
    """Return whether all that a message makes the model read is in its bytes."""
    if not message.keys() <= MESSAGE_FIELDS:
        others = message.keys() - MESSAGE_FIELDS
        if any(message[name] is not None for name in others):
            return False
    content = message.get("content")
    if content is None or isinstance(content, str):
        return True
    return isinstance(content, list) and all(map(_is_text_part, content))


def _is_text_part(part: object) -> bool:
    if not isinstance(part, dict):
        return isinstance(part, str)
    return part.keys() <= PART_FIELDS and part.get("type") in _PART_TYPES


_NAME: Final = re.compile(r'"\s*:')
"""The end of each name in JSON, and sometimes a text that looks like it."""
_NUMBERS: Final = {
    "max_completion_tokens": MOST_TOKENS,
    "max_tokens": MOST_TOKENS,
    "n": MOST_CHOICES,
    "best_of": MOST_CHOICES,
}
# Lists, since a value that is looked up in them may be unhashable.
_TOOL_TYPES: Final = ["custom", "function"]
_PART_TYPES: Final = ["refusal", "text"]
_SCHEMAS: Final = ("response_format", "guided_json", "structured_outputs")
_CHECKS: Final[tuple[Callable[[Values], Refused | None], ...]] = (
    check_model,
    check_overrides,
    check_stream,
    check_unbounded,
    _check_numbers,
    check_tier,
    _check_messages,
    _check_tools,
    _check_modalities,
)
