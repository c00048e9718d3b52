"""What a request for a message asks for, read strictly where money depends on it and nowhere else.

A field that nobody here knows passes untouched, so that a new one works on the day it appears. Where
such a field may stand for input that the body does not contain, the call is bounded by the model's
whole context; where it may cost what no bound covers, the call is refused. Refusals name the field
and what is allowed, and quote nothing of the request but a number.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from gateway.core.calls import Asked
from gateway.core.refusal import Code, Refused
from gateway.providers.adapter import Path, Wanted
from gateway.providers.dialects.messages import tiers
from gateway.providers.fields import (
    MOST_TOKENS,
    Values,
    arguments,
    check_model,
    check_number,
    check_overrides,
    invalid,
    is_flag,
    is_list_of_objects,
    unbounded,
)
from gateway.providers.strict_json import Body, countable

UNBOUNDED: Final[Mapping[str, str]] = {
    "mcp_servers": "the model reads what servers answer as often as it calls them",
    "container": "code that runs at the provider is billed by its time",
    "compaction": "no limit holds for the summary",
}
"""Fields whose cost no bound covers, and why."""

FREE_EDITS: Final = "clear_"
"""How edits of the context are named that only take input away. The others make the model write."""

CALLERS_TOOLS: Final = ("bash_", "browser_toolset_", "computer_", "memory_", "text_editor_")
"""How tools are named that Anthropic defines and the caller runs. All others run at the provider."""

BLOCK_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "text": frozenset({"type", "text", "cache_control", "citations"}),
    "thinking": frozenset({"type", "thinking", "signature"}),
    "redacted_thinking": frozenset({"type", "data"}),
    "tool_use": frozenset(
        {"type", "id", "name", "input", "cache_control", "caller", "toolset_name"}
    ),
    "tool_result": frozenset(
        {"type", "tool_use_id", "content", "is_error", "cache_control", "toolset_name"}
    ),
}
"""The blocks that are all text, by their members. Any other may stand for more than its bytes.

A signature, and `data`, hold earlier thoughts encrypted, in more bytes than these had tokens.
"""


def read(path: Path, body: Body) -> Wanted | Refused:
    """Return what a request for a message asks for, or the first thing that is wrong with it."""
    values = body.values
    for check in _CHECKS:
        refused = check(values)
        if refused is not None:
            return refused
    tools = values.get("tools") or []
    thinking = values.get("thinking") or {}
    asked = Asked(
        model=values["model"],
        stream=values.get("stream") is True,
        output_tokens=values["max_tokens"],
        least_output_tokens=_least_output_tokens(thinking, values["max_tokens"]),
        text_bytes=body.text_bytes,
        messages=len(values["messages"]) + arguments(values["messages"]),
        tools=sum(map(_weight, tools)),
        schema_bytes=_schema_bytes(body, tools),
        hides_input=_hides_input(values, tools),
        tier=tiers.asked(values),
        # Claudes from 5 on think unasked (platform.claude.com, "What's new in Claude Opus 5").
        thinks=thinking.get("type") != "disabled",
    )
    return Wanted(path=path, asked=asked, fields=body.members)


def read_count(path: Path, body: Body) -> Wanted | Refused:
    """Return what a count of tokens asks for, which is free and produces nothing."""
    for check in _COUNT_CHECKS:
        refused = check(body.values)
        if refused is not None:
            return refused
    asked = Asked(
        model=body.values["model"],
        text_bytes=body.text_bytes,
        messages=len(body.values["messages"]),
        makes_output=False,
        is_free=True,
        thinks=False,
    )
    return Wanted(path=path, asked=asked, fields=body.members)


def _check_stream(values: Values) -> Refused | None:
    if is_flag(values.get("stream")):
        return None
    return invalid("stream", "stream must be true or false.")


def _check_ceiling(values: Values) -> Refused | None:
    if values.get("max_tokens") is None:
        return invalid(
            "max_tokens", f"max_tokens must be given: a whole number from 0 to {MOST_TOKENS:,}."
        )
    return check_number(values, "max_tokens", MOST_TOKENS, least=0)


def _check_thinking(values: Values) -> Refused | None:
    thinking = values.get("thinking")
    if thinking is None:
        return None
    if not isinstance(thinking, dict):
        return invalid("thinking", "thinking must be an object.")
    return check_number(thinking, "budget_tokens", MOST_TOKENS, shown="thinking.budget_tokens")


def _check_unbounded(values: Values) -> Refused | None:
    for name, why in UNBOUNDED.items():
        if values.get(name) not in _ABSENT:
            return unbounded(name, why)
    return None


def _check_edits(values: Values) -> Refused | None:
    management = values.get("context_management")
    if management is None:
        return None
    edits = management.get("edits") if isinstance(management, dict) else management
    if edits is not None and not is_list_of_objects(edits):
        return invalid(
            "context_management", "context_management.edits must be an array of objects."
        )
    if all(str(edit.get("type")).startswith(FREE_EDITS) for edit in edits or ()):
        return None
    return unbounded(
        "context_management", "only edits that clear input make the model write nothing"
    )


def _check_messages(values: Values) -> Refused | None:
    if not is_list_of_objects(values.get("messages")):
        return invalid("messages", "messages must be an array of objects.")
    system = values.get("system")
    if system is None or isinstance(system, str) or is_list_of_objects(system):
        return None
    return invalid("system", "system must be a text or an array of objects.")


def _check_tools(values: Values) -> Refused | None:
    tools = values.get("tools")
    if tools is not None and not is_list_of_objects(tools):
        return invalid("tools", "tools must be an array of objects.")
    if all(map(_is_callers, [*(tools or ()), *_defined_later(values["messages"])])):
        return None
    return Refused(
        Code.BOUND_UNKNOWN,
        "Only tools that the caller runs can be bounded: those that run at the provider (web search, web "
        "fetch, code execution, MCP and others) are billed beyond the request. Remove them.",
        param="tools",
    )


def _is_callers(tool: object) -> bool:
    """Return whether a tool's definition is of one that the caller runs."""
    if not isinstance(tool, dict):
        return False
    return _is_custom(tool) or str(tool["type"]).startswith(CALLERS_TOOLS)


def _defined_later(messages: list[dict[str, Any]]) -> Iterator[object]:
    """Yield the tools that messages define, as a `tool_addition` may with all that `tools` takes.

    Source: anthropic 2.13, `types/beta/beta_tool_change_tool_definition_param.py`.
    """
    for message in messages:
        content = message.get("content")
        for block in content if isinstance(content, list) else ():
            added = block.get("tool") if isinstance(block, dict) else None
            if isinstance(added, dict) and added.get("definition") is not None:
                yield added["definition"]


def _is_custom(tool: Mapping[str, Any]) -> bool:
    return tool.get("type") in _CUSTOM


def _least_output_tokens(thinking: Mapping[str, Any], output_tokens: int) -> int:
    """Return the lowest limit that a thinking budget fits under, where it fits now.

    With interleaved thinking it may be above the limit, whatever that is (platform.claude.com,
    "Extended thinking", November 2026).
    """
    budget: int = thinking.get("budget_tokens") or 0
    return budget + 1 if budget < output_tokens else 1


def _weight(tool: Mapping[str, Any]) -> int:
    """Return how many tools of the caller's own take as much framing as one tool does."""
    return 1 if _is_custom(tool) else _DEFINED_TOOL


def _schema_bytes(body: Body, tools: list[dict[str, Any]]) -> int:
    """Return the size of the schemas that the provider may repeat in its prompt."""
    repeated = [*_SCHEMAS, *(("tools",) if any(tool.get("strict") for tool in tools) else ())]
    return sum(countable(bytes(body.members[name])) for name in repeated if name in body.members)


def _hides_input(values: Values, tools: list[dict[str, Any]]) -> bool:
    if values.get("thread") is not None or any(map(_is_toolset, tools)):
        return True
    return not (_is_text(values.get("system")) and all(map(_is_text_message, values["messages"])))


def _is_toolset(tool: Mapping[str, Any]) -> bool:
    """Return whether a tool stands for many, whose definitions nobody sees."""
    return not _is_custom(tool) and "_toolset_" in str(tool["type"])


def _is_text_message(message: Mapping[str, Any]) -> bool:
    """Return whether all that a message makes the model read is in its bytes."""
    return _has_only(message, _MESSAGE_FIELDS) and _is_text(message.get("content"))


def _has_only(values: Mapping[str, Any], known: frozenset[str]) -> bool:
    """Return whether all members but known ones are null."""
    if values.keys() <= known:
        return True
    return all(values[name] is None for name in values.keys() - known)


def _is_text(content: object) -> bool:
    if content is None or isinstance(content, str):
        return True
    return isinstance(content, list) and all(map(_is_text_block, content))


def _is_text_block(block: object) -> bool:
    if not isinstance(block, dict):
        return isinstance(block, str)
    kind = block.get("type")
    known = BLOCK_FIELDS.get(kind) if isinstance(kind, str) else None
    if known is None or not _has_only(block, known):
        return False
    return kind != "tool_result" or _is_text(block.get("content"))


_MESSAGE_FIELDS: Final = frozenset({"role", "content"})
# Lists, since a value that is looked up in them may be unhashable.
_CUSTOM: Final[list[object]] = [None, "custom"]
_ABSENT: Final[list[object]] = [None, False, []]
_DEFINED_TOOL: Final = 64
"""1,024 tokens: `text_editor` has 700 and `computer` 735 (platform.claude.com, November 2026)."""
_SCHEMAS: Final = ("output_config", "output_format")
_CHECKS: Final[tuple[Callable[[Values], Refused | None], ...]] = (
    check_model,
    check_overrides,
    _check_stream,
    _check_ceiling,
    _check_messages,
    _check_thinking,
    _check_unbounded,
    _check_edits,
    _check_tools,
    tiers.check,
)
_COUNT_CHECKS: Final = (check_model, check_overrides, _check_messages)
