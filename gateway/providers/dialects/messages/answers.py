"""What one JSON document of an answer says, an event of a stream or a whole one.

The usual shapes are decoded by type, and nothing but what is acted on becomes a Python object. What
does not fit, or is JSON only to a lenient reader (NaN, lone surrogates, bytes that are not UTF-8), is
read again, slowly, and there every text counts as output: what is strange costs its most.

A signature, a citation's quotation and the results of tools are no output that anyone is billed for.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gateway.core.events import Event, Served
from gateway.providers import lenient_json
from gateway.providers.dialects.messages import accounts, tiers
from gateway.providers.dialects.messages.accounts import Counts
from gateway.providers.lenient_json import (
    ABSENT,
    is_there,
    label,
    names_own_twice,
    names_twice,
    string,
    strings,
)


class Block(msgspec.Struct, frozen=True, gc=False):
    """A block of content, whole or as it begins, or one `delta` of it; a message's delta too.

    `everything` is all its text, where it was read slowly.
    """

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    name: str | None = None
    input: msgspec.Raw = ABSENT
    partial_json: str | None = None
    content: msgspec.Raw = ABSENT
    stop_reason: str | None = None
    everything: str = ""


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message, whole or as it begins; and what a complete answer may be instead of one."""

    type: str | None = None
    model: str | None = None
    content: list[Block] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None
    input_tokens: Any = None


class Told(msgspec.Struct, frozen=True, gc=False):
    """The data of one event."""

    type: str | None = None
    message: Message | None = None
    content_block: Block | None = None
    delta: Block | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


class _Account(msgspec.Struct, frozen=True):
    usage: msgspec.Raw = ABSENT


def event(document: bytes) -> Told | None:
    """Return what an event's data say; None where they are not a JSON object to anyone."""
    try:
        told = _EVENT.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _told(lenient_json.read(document))
    if _is_known(told.delta) and _is_known(told.content_block):
        return told
    return _told(lenient_json.read(document))


def message(document: bytes) -> Message | None:
    """Return what a complete answer says; None where it is not a JSON object to anyone."""
    try:
        found = _MESSAGE.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _message(lenient_json.read(document))
    if all(map(_is_known, found.content or ())):
        return found
    return _message(lenient_json.read(document))


def _is_known(part: Block | None) -> bool:
    return part is None or part.type is None or part.type in _KNOWN


def text(block: Block | None) -> str:
    """Return what the model produced in a block or delta."""
    if block is None:
        return ""
    produced = block.text or ""
    if block.type == "text_delta":
        return produced + block.everything
    for more in (block.partial_json, block.thinking, block.name):
        if more:
            produced += more
    if is_there(block.input) and bytes(block.input) != _NO_INPUT:
        produced += bytes(block.input).decode("utf-8", "replace")
    if is_there(block.content) and block.type in _COMPACTED:
        produced += bytes(block.content).decode("utf-8", "replace")
    if block.type in _CITED:
        produced += _CITATION
    return produced + block.everything


def thinks(block: Block | None) -> bool:
    """Return whether a block or delta is thought, of which not all may be shown."""
    return block is not None and block.type in _THOUGHT


def counts(usage: Mapping[str, Any] | None, document: bytes) -> Counts | None:
    """Return an account's counts, None where there is none that can be trusted."""
    if usage is None or _is_ambiguous(document):
        return None
    return accounts.read(usage)


def served(found: Message, fields: Mapping[str, msgspec.Raw]) -> Event | None:
    """Return who served a message, as far as it says so; `fields` are the request's."""
    name = label(found.model)
    tier = tiers.served(fields, found.usage or {})
    return None if name is None and tier is None else Served(name, tier)


def _is_ambiguous(document: bytes) -> bool:
    """Return whether an account may be read in two ways, having a member twice.

    Of a large answer only its own members and its account are looked at.
    """
    if len(document) <= _MOST_CHECKED:
        return names_twice(document)
    return names_own_twice(document) or names_twice(_account(document))


def _account(document: bytes) -> bytes:
    """Return a whole answer's account; nothing, which is no JSON, where there is none."""
    try:
        return bytes(_ACCOUNT.decode(document).usage)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return b""


def _told(values: Mapping[str, Any] | None) -> Told | None:
    if values is None:
        return None
    return Told(
        type=string(values.get("type")),
        message=_message(values.get("message")),
        content_block=_block(values.get("content_block")),
        delta=_block(values.get("delta")),
        usage=_object(values.get("usage")),
        error=values.get("error"),
    )


def _message(values: object) -> Message | None:
    if not isinstance(values, dict):
        return None
    content = values.get("content")
    return Message(
        type=string(values.get("type")),
        model=string(values.get("model")),
        content=[_read(one) for one in content] if isinstance(content, list) else None,
        usage=_object(values.get("usage")),
        error=values.get("error"),
        input_tokens=values.get("input_tokens"),
    )


def _block(values: object) -> Block | None:
    return None if values is None else _read(values)


def _read(values: object) -> Block:
    """Return a block read slowly: its kind, and all text but what is known to be no output."""
    if not isinstance(values, dict):
        return Block(everything="".join(strings(values)))
    kind = string(values.get("type"))
    told = {name: value for name, value in values.items() if name not in _UNBILLED}
    produced = "" if kind in _KNOWN and kind not in _PRODUCED else "".join(strings(told))
    stop_reason = string(values.get("stop_reason"))
    return Block(type=kind, everything=produced, stop_reason=stop_reason)


def _object(value: object) -> dict[str, Any] | None:
    """Return an object; an empty account, which is none, for anything else but null."""
    return value if isinstance(value, dict) or value is None else {}


_THOUGHT: Final = frozenset({"thinking", "redacted_thinking", "thinking_delta"})
_COMPACTED: Final = frozenset({"compaction", "compaction_delta"})
_CITED: Final = frozenset({"citations_delta"})
_CITATION: Final = "[0:0-0]"
"""Stands for what a model writes to cite: a quotation itself is not billed as output (platform.claude.com,
"Citations", November 2026)."""
_PRODUCED: Final = frozenset(
    {
        "text",
        "text_delta",
        "thinking",
        "thinking_delta",
        "tool_use",
        "server_tool_use",
        "mcp_tool_use",
        "input_json_delta",
        *_COMPACTED,
    }
)
"""Blocks and deltas that are output."""
_KNOWN: Final = _PRODUCED | {
    "citations_delta",
    "redacted_thinking",
    "signature_delta",
    "fallback",
    "container_upload",
    "mcp_tool_listing",
    "mcp_tool_result",
    "advisor_tool_result",
    "web_search_tool_result",
    "web_fetch_tool_result",
    "tool_search_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
}
"""All that anthropic 2.13 has a type for. What is none of them is read slowly, and is all output."""
_UNBILLED: Final = frozenset({"type", "id", "signature", "citations", "stop_reason"})
_NO_INPUT: Final = b"{}"
_MOST_CHECKED: Final = 64 << 10
_EVENT: Final = msgspec.json.Decoder(Told)
_MESSAGE: Final = msgspec.json.Decoder(Message)
_ACCOUNT: Final = msgspec.json.Decoder(_Account)
