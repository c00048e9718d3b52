"""The sandbox's chat completions: an echo, or slow counting, in OpenAI's shape to the last field."""

import re
from collections.abc import Iterator
from itertools import cycle
from typing import Any, Final

import msgspec

from gateway.providers.hosts.sandbox.scripts import (
    BYTES_A_TOKEN,
    CREATED,
    MODELS,
    MOST_OUTPUT_TOKENS,
    Part,
    Script,
    document,
    encode,
    event,
    fingerprint,
    stream,
    tokens,
    unknown_model,
    unusable,
)

SLOW_TOKEN_MS: Final = 50
MOST_CHOICES: Final = 128

_WORD: Final = re.compile(r"\s*\S+|\s+")
_COUNTED: Final = ("one ", "two ", "three ", "four ", "five ", "six ", "seven ", "eight ", "nine ")


class _StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool | None = None


class _Format(msgspec.Struct, frozen=True):
    type: str


class _Asked(msgspec.Struct, frozen=True):
    model: str
    messages: list[dict[str, Any]]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: int | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    response_format: _Format | None = None
    tool_choice: Any = None
    tools: list[dict[str, Any]] | None = None


class _Spoken(msgspec.Struct, frozen=True):
    """What one choice says: words in order, how many tokens, whether the ceiling ended it.

    `function` names the function that the words are arguments of, None where they are text.
    """

    words: tuple[str, ...]
    tokens: int
    is_cut: bool
    function: str | None

    @property
    def finish_reason(self) -> str:
        if self.is_cut:
            return "length"
        return "stop" if self.function is None else "tool_calls"


class _Answer(msgspec.Struct, frozen=True):
    """A request with what is answered to it, the same in every choice."""

    asked: _Asked
    spoken: _Spoken
    id: str
    choices: int
    token_ms: int

    def usage(self) -> dict[str, int]:
        prompt = max(1, sum(tokens(_text(message)) for message in self.asked.messages))
        completion = self.spoken.tokens * self.choices
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }


def answer(body: bytes) -> Script:
    """Return what the sandbox answers to a chat request."""
    try:
        asked = _ASKED.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return unusable()
    if asked.model not in MODELS:
        return unknown_model()
    if not 1 <= (asked.n or 1) <= MOST_CHOICES:
        return unusable()
    is_slow = asked.model == "slow"
    spoken = _count(_ceiling(asked)) if is_slow else _echo(asked)
    full = _Answer(asked, spoken, fingerprint(body), asked.n or 1, SLOW_TOKEN_MS * is_slow)
    return stream(_parts(full)) if asked.stream else document(_whole(full), _whole_ms(full))


def _ceiling(asked: _Asked) -> int:
    given = [
        limit for limit in (asked.max_completion_tokens, asked.max_tokens) if limit is not None
    ]
    return max(1, min([MOST_OUTPUT_TOKENS, *given]))


def _count(ceiling: int) -> _Spoken:
    """Return counting up to a ceiling, which is what always ends it."""
    return _within(cycle(_COUNTED), ceiling, None)


def _echo(asked: _Asked) -> _Spoken:
    said = next((_text(m) for m in reversed(asked.messages) if m.get("role") == "user"), "")
    function = _function(asked)
    if function is not None or _is_json(asked):
        said = encode({"echo": said}).decode()
    words = (found.group() for found in _WORD.finditer(said))
    return _within(words, _ceiling(asked), function)


def _within(words: Iterator[str], ceiling: int, function: str | None) -> _Spoken:
    """Return as many words as a ceiling allows, the last one perhaps in part."""
    spoken: list[str] = []
    used = 0
    for word in words:
        size = tokens(word)
        if used + size > ceiling:
            part = _beginning(word, ceiling - used)
            used += sum(map(tokens, part))
            return _Spoken((*spoken, *part), used, is_cut=True, function=function)
        spoken.append(word)
        used += size
    return _Spoken(tuple(spoken), used, is_cut=False, function=function)


def _beginning(word: str, left: int) -> tuple[str, ...]:
    """Return as much of a word as some tokens hold, nothing where that is no whole character."""
    part = word.encode("utf-8", "replace")[: left * BYTES_A_TOKEN].decode("utf-8", "ignore")
    return (part,) if part else ()


def _text(message: dict[str, Any]) -> str:
    """Return the text of a message, whether it is one string or parts."""
    content = message.get("content")
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        return " ".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _is_json(asked: _Asked) -> bool:
    return asked.response_format is not None and asked.response_format.type.startswith("json")


def _function(asked: _Asked) -> str | None:
    """Return the function that the request insists on, None where text will do."""
    names = [_name(tool) for tool in asked.tools or ()]
    if asked.tool_choice == "required" and names:
        return names[0]
    if isinstance(asked.tool_choice, dict):
        return _name(asked.tool_choice)
    return None


def _name(tool: dict[str, Any]) -> str | None:
    function = tool.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None


def _whole(full: _Answer) -> dict[str, Any]:
    said = "".join(full.spoken.words)
    message: dict[str, Any] = {"role": "assistant", "content": said, "refusal": None}
    if full.spoken.function is not None:
        message["content"] = None
        message["tool_calls"] = [_call(full, 0, said)]
    return {
        **_head(full, "chat.completion"),
        "choices": [
            {
                "index": index,
                "message": message,
                "logprobs": None,
                "finish_reason": full.spoken.finish_reason,
            }
            for index in range(full.choices)
        ],
        "usage": full.usage(),
    }


def _whole_ms(full: _Answer) -> int:
    """Return how long a whole answer takes; choices are made side by side."""
    return full.spoken.tokens * full.token_ms


def _parts(full: _Answer) -> Iterator[Part]:
    """Yield a stream's events, of all choices word by word."""
    names_usage = bool(full.asked.stream_options and full.asked.stream_options.include_usage)
    head: dict[str, Any] = _head(full, "chat.completion.chunk")
    tail = {"usage": None} if names_usage else {}
    for delay_ms, delta, reason in _deltas(full):
        for index in range(full.choices):
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
            yield Part(0 if index else delay_ms, event({**head, "choices": [choice], **tail}))
    if names_usage:
        yield Part(0, event({**head, "choices": [], "usage": full.usage()}))
    yield Part(0, b"data: [DONE]\n\n")


def _deltas(full: _Answer) -> Iterator[tuple[int, dict[str, Any], str | None]]:
    """Yield what a choice's events say: delay, delta, and the reason that ends it."""
    yield 0, _opening(full), None
    for word in full.spoken.words:
        yield tokens(word) * full.token_ms, _spoken_delta(full, word), None
    yield 0, {}, full.spoken.finish_reason


def _opening(full: _Answer) -> dict[str, Any]:
    if full.spoken.function is None:
        return {"role": "assistant", "content": "", "refusal": None}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"index": 0, **_call(full, 0, "")}],
    }


def _spoken_delta(full: _Answer, word: str) -> dict[str, Any]:
    if full.spoken.function is None:
        return {"content": word}
    return {"tool_calls": [{"index": 0, "function": {"arguments": word}}]}


def _call(full: _Answer, at: int, arguments: str) -> dict[str, Any]:
    return {
        "id": f"call_{full.id[:16]}{at}",
        "type": "function",
        "function": {"name": full.spoken.function, "arguments": arguments},
    }


def _head(full: _Answer, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-sandbox-{full.id}",
        "object": kind,
        "created": CREATED,
        "model": full.asked.model,
        "service_tier": "default",
        "system_fingerprint": "sandbox",
    }


_ASKED: Final = msgspec.json.Decoder(_Asked)
