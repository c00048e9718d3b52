"""What a Responses request asks for, read strictly where money depends on it and not at all elsewhere.

An input that is all in the body, as text, is bounded by the body. Whatever is or may be elsewhere (a
stored response, a file, an image, reasoning that only the provider can read, a field that nobody here
knows) is bounded by the model's whole context. Tools that the provider runs are billed per use and
read the grown context at each turn, which no bound covers: they are refused.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.core.calls import Asked
from gateway.core.refusal import Code, Refused
from gateway.providers.adapter import Path, Wanted
from gateway.providers.fields import (
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

CEILING: Final = "max_output_tokens"
"""The field that bounds the output of a response, its reasoning too."""

UNBOUNDED: Final[Mapping[str, str]] = {
    "background": "the call would run on after its answer",
    "context_management": "no limit holds for the summary",
    "deferred": "the call would run on after its answer",
    "prediction": "rejected prediction tokens are billed as output beyond the ceiling",
    "search_parameters": "searches are billed per use",
    "web_search_options": "searches are billed per use",
}
"""Fields whose cost no bound covers, and why."""

COMPACTING: Final = "compaction_trigger"
"""The item of the input that makes the model sum up what came before it."""

FIELDS: Final = frozenset(
    {
        # OpenAI's, of `ResponseCreateParams`.
        *("access_programs", "background", "background_options", "include", "input"),
        *("instructions", CEILING, "max_tool_calls", "metadata", "model", "moderation"),
        *("parallel_tool_calls", "prompt_cache_key", "prompt_cache_options"),
        *("prompt_cache_retention", "reasoning", "safety_identifier", "service_tier", "store"),
        *("stream", "stream_options", "temperature", "text", "tool_choice", "tools"),
        *("top_logprobs", "top_p", "truncation", "user"),
        # Other hosts', of how tokens are drawn.
        *("frequency_penalty", "min_p", "presence_penalty", "repetition_penalty", "seed"),
        *("stop", "top_k"),
    }
)
"""The fields that bring no input but what is in the body. Any other may."""

ITEM_FIELDS: Final = frozenset(
    {
        *("arguments", "call_id", "content", "id", "input", "name", "namespace", "output"),
        *("phase", "role", "status", "type"),
    }
)
"""The members of an input item that are all text. Any other may stand for more than its bytes."""

PART_FIELDS: Final = frozenset(
    {"annotations", "logprobs", "prompt_cache_breakpoint", "refusal", "text", "type"}
)


def read(path: Path, body: Body) -> Wanted | Refused:
    """Return what a request asks for, or the first thing that is wrong with it."""
    refused = _first(_CHECKS, path, body.values)
    if refused is not None:
        return refused
    values = body.values
    return Wanted(
        path=path,
        asked=Asked(
            model=path.model or values["model"],
            stream=values.get("stream") is True,
            output_tokens=values.get(CEILING),
            text_bytes=body.text_bytes,
            messages=_messages(values),
            tools=len(values.get("tools") or ()),
            schema_bytes=countable(bytes(body.members["text"])) if "text" in body.members else 0,
            hides_input=_hides_input(values),
            tier=values.get("service_tier"),
        ),
        fields=body.members,
    )


def read_count(path: Path, body: Body) -> Wanted | Refused:
    """Return what a count of input tokens asks for. It is free, so that nothing else is checked."""
    refused = _first((check_model, check_overrides), path, body.values)
    if refused is not None:
        return refused
    model = path.model or body.values["model"]
    asked = Asked(model=model, makes_output=False, is_free=True)
    return Wanted(path=path, asked=asked, fields=body.members)


Check = Callable[[Values], Refused | None]


def _first(checks: tuple[Check, ...], path: Path, values: Values) -> Refused | None:
    """Return what the first check that fails says; the model's, which is first, may be the path's."""
    applied = checks if path.model is None else checks[1:]
    return next(filter(None, (check(values) for check in applied)), None)


def _check_unbounded(values: Values) -> Refused | None:
    if not is_flag(values.get("background")):
        return invalid("background", "background must be true or false.")
    for name, why in UNBOUNDED.items():
        value = values.get(name)
        if value is not None and value is not False:
            return unbounded(name, why)
    return None


def _check_prompt(values: Values) -> Refused | None:
    """Refuse a stored prompt that may bring tools of the provider's: nobody here sees which it has."""
    if values.get("prompt") is None or values.get("tool_choice") == "none":
        return None
    return Refused(
        Code.BOUND_UNKNOWN,
        "A stored prompt may bring tools that the provider runs and bills per use. Send its text "
        'instead, or tool_choice "none".',
        param="prompt",
    )


def _check_stream(values: Values) -> Refused | None:
    if not is_flag(values.get("stream")):
        return invalid("stream", "stream must be true or false.")
    if isinstance(values.get("stream_options"), dict | None):
        return None
    return invalid("stream_options", "stream_options must be an object.")


def _check_numbers(values: Values) -> Refused | None:
    checked = (check_number(values, name, most) for name, most in _NUMBERS.items())
    return next(filter(None, checked), None)


def _check_input(values: Values) -> Refused | None:
    given = values.get("input")
    if given is None or isinstance(given, str):
        return None
    if not is_list_of_objects(given):
        return invalid("input", "input must be a text or an array of objects.")
    if any(item.get("type") == COMPACTING for item in given):
        return unbounded("input", f"no limit holds for the summary that {COMPACTING} asks for")
    if all(map(_brings_callers, given)):
        return None
    return unbounded("input", "an item of it brings tools that the provider runs, billed per use")


def _brings_callers(item: Mapping[str, Any]) -> bool:
    """Return whether an item brings no tools but those that the caller runs.

    `additional_tools` and `tool_search_output` may have any (openai 3.57, `types/responses`).
    """
    tools = item.get("tools")
    if tools is None:
        return True
    return is_list_of_objects(tools) and all(tool.get("type") in _TOOL_TYPES for tool in tools)


def _check_tools(values: Values) -> Refused | None:
    tools = values.get("tools")
    if tools is None:
        return None
    if not is_list_of_objects(tools):
        return invalid("tools", "tools must be an array of objects.")
    if all(tool.get("type") in _TOOL_TYPES for tool in tools):
        return None
    return Refused(
        Code.BOUND_UNKNOWN,
        "Only tools of type function or custom can be bounded: what the provider runs itself (web and "
        "file search, code, images, MCP, shell, computer) is billed per use. Remove the others.",
        param="tools",
    )


def _messages(values: Values) -> int:
    given = values.get("input")
    return 1 + (len(given) if isinstance(given, list) else 1)


def _hides_input(values: Values) -> bool:
    others = values.keys() - FIELDS
    if any(values[name] is not None for name in others):
        return True
    if not isinstance(values.get("instructions"), str | None):
        return True
    given = values.get("input")
    return isinstance(given, list) and not all(map(_is_text, given))


def _is_text(item: Mapping[str, Any]) -> bool:
    """Return whether all that an item makes the model read is in its bytes.

    An item without a type is a message if it has a role, and else refers to one that is stored.
    """
    kind = item.get("type") or ("message" if "role" in item else None)
    if kind not in _TEXT_ITEMS:
        return False
    if not item.keys() <= ITEM_FIELDS:
        others = item.keys() - ITEM_FIELDS
        if any(item[name] is not None for name in others):
            return False
    return all(_is_text_value(item.get(name)) for name in ("content", "output", "input"))


def _is_text_value(value: object) -> bool:
    if value is None or isinstance(value, str):
        return True
    return isinstance(value, list) and all(map(_is_text_part, value))


def _is_text_part(part: object) -> bool:
    return isinstance(part, dict) and part.keys() <= PART_FIELDS and part.get("type") in _TEXT_PARTS


_NUMBERS: Final = {CEILING: MOST_TOKENS, "max_tool_calls": MOST_TOKENS, "n": 1, "best_of": 1}
# Lists, since a value that is looked up in them may be unhashable.
_TOOL_TYPES: Final = ["custom", "function"]
_TEXT_ITEMS: Final = [
    *("message", "function_call", "function_call_output"),
    *("custom_tool_call", "custom_tool_call_output"),
]
_TEXT_PARTS: Final = ["input_text", "output_text", "refusal", "text"]
_CHECKS: Final[tuple[Check, ...]] = (
    check_model,
    check_overrides,
    _check_stream,
    _check_unbounded,
    _check_prompt,
    _check_numbers,
    check_tier,
    _check_input,
    _check_tools,
)
