"""OpenAI's answers, made from a script and a request: what is produced, and how it is written.

Pure: what the provider does over time with these is in `provider.py`. Shapes are those of OpenAI's
API reference for chat completions and embeddings, of November 2025.
"""

import base64
import itertools
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.process import script as scripts
from tests.process.script import Piece, Script

CREATED = 1_764_000_000


@dataclass(frozen=True, slots=True)
class Choice:
    """What one choice says: prose, or the arguments of one call of a tool."""

    pieces: list[Piece]
    finish: str
    tool: str | None

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Frame:
    """One event of a stream; `tokens` is what it adds to the completion, 0 for mere structure."""

    payload: dict[str, Any]
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Produced:
    """A whole completion, decided before its first byte."""

    id: str
    model: str
    script: Script
    choices: list[Choice]
    prompt_tokens: int
    reasoning_tokens: int
    """Over all choices."""
    wants_usage: bool

    @property
    def completion_tokens(self) -> int:
        return self.reasoning_tokens + sum(
            piece.tokens for choice in self.choices for piece in choice.pieces
        )

    def usage(self, completion_tokens: int) -> dict[str, Any]:
        """Return the usage that is reported when so much was produced: the bill, extras included."""
        billed = completion_tokens + self.script.extra_billed_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": billed,
            "total_tokens": self.prompt_tokens + billed,
            "prompt_tokens_details": {"cached_tokens": self.script.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
        }


def produce(answer_id: str, script: Script, body: Mapping[str, Any]) -> Produced:
    limit = output_limit(body)
    count = int(body.get("n") or 1)
    thought = script.reasoning_tokens
    if limit is not None and not script.ignore_max_tokens:
        thought = min(thought, limit)
        limit -= thought
    return Produced(
        id=answer_id,
        model=str(body.get("model")),
        script=script,
        choices=[_choice(script, body, limit) for _ in range(count)],
        prompt_tokens=scripts.charged_prompt(script, body),
        reasoning_tokens=thought * count,
        wants_usage=bool((body.get("stream_options") or {}).get("include_usage")),
    )


def output_limit(body: Mapping[str, Any]) -> int | None:
    """Return the most output tokens of one choice that the request allows, in either spelling."""
    asked = (body.get("max_completion_tokens"), body.get("max_tokens"))
    return min((limit for limit in asked if limit is not None), default=None)


def _choice(script: Script, body: Mapping[str, Any], limit: int | None) -> Choice:
    said = scripts.prompt_text(body) if script.echo else script.text
    tool = scripts.called_tool(body)
    if tool is not None:
        arguments = {"text": said} if script.echo else script.tool_arguments
        pieces, finish = scripts.speech(script, json.dumps(arguments), limit)
        return Choice(pieces, "tool_calls" if finish == "stop" else finish, tool)
    pieces, finish = scripts.speech(script, scripts.json_answer(script, body) or said, limit)
    return Choice(pieces, finish, None)


def answer_body(produced: Produced) -> dict[str, Any]:
    """Return the answer to a request that did not ask for a stream."""
    choices = [
        {
            "index": index,
            "message": _message(produced, index, choice),
            "logprobs": None,
            "finish_reason": choice.finish,
        }
        for index, choice in enumerate(produced.choices)
    ]
    answer = _envelope(produced, "chat.completion", choices)
    if produced.script.usage != "never":
        answer["usage"] = produced.usage(produced.completion_tokens)
    return answer


def _message(produced: Produced, index: int, choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None}
    if choice.tool is not None:
        function = {"name": choice.tool, "arguments": choice.text}
        call = {"id": _call_id(produced, index), "type": "function", "function": function}
        message |= {"content": None, "tool_calls": [call]}
    return message


def stream_frames(produced: Produced) -> Iterator[Frame]:
    """Yield a stream's events in order; choices take turns, as OpenAI's do."""
    so_far = produced.reasoning_tokens
    for frame in _content_frames(produced):
        so_far += frame.tokens
        if produced.script.usage == "each":
            frame.payload["usage"] = produced.usage(so_far)
        elif produced.wants_usage and produced.script.usage != "never":
            frame.payload["usage"] = None
        yield frame
    for _ in range(_usage_events(produced)):
        payload = _envelope(produced, "chat.completion.chunk", [])
        yield Frame(payload | {"usage": produced.usage(so_far)})


def _usage_events(produced: Produced) -> int:
    match produced.script.usage:
        case "asked":
            return int(produced.wants_usage)
        case "always":
            return 1
        case "twice":
            return 2
        case "never" | "each":
            return 0


def _content_frames(produced: Produced) -> Iterator[Frame]:
    for index, choice in enumerate(produced.choices):
        yield _delta(produced, index, _opening(produced, index, choice))
    turns = itertools.zip_longest(*(choice.pieces for choice in produced.choices))
    for turn in turns:
        for index, piece in enumerate(turn):
            if piece is not None:
                said = _said(produced.choices[index], piece)
                yield _delta(produced, index, said, tokens=piece.tokens)
    for index, choice in enumerate(produced.choices):
        yield _delta(produced, index, {}, finish=choice.finish)


def _opening(produced: Produced, index: int, choice: Choice) -> dict[str, Any]:
    if choice.tool is None:
        return {"role": "assistant", "content": "", "refusal": None}
    function = {"name": choice.tool, "arguments": ""}
    call = {"index": 0, "id": _call_id(produced, index), "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _said(choice: Choice, piece: Piece) -> dict[str, Any]:
    if choice.tool is None:
        return {"content": piece.text}
    return {"tool_calls": [{"index": 0, "function": {"arguments": piece.text}}]}


def _delta(
    produced: Produced,
    index: int,
    delta: dict[str, Any],
    *,
    finish: str | None = None,
    tokens: int = 0,
) -> Frame:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    payload = _envelope(produced, "chat.completion.chunk", [choice])
    if produced.script.pad_bytes:
        payload["obfuscation"] = "x" * produced.script.pad_bytes
    return Frame(payload, tokens)


def _envelope(produced: Produced, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": produced.id,
        "object": kind,
        "created": CREATED,
        "model": produced.model,
        "service_tier": "default",
        "system_fingerprint": "fp_scripted",
        "choices": choices,
    }


def _call_id(produced: Produced, index: int) -> str:
    return f"call_{produced.id.removeprefix('chatcmpl-')}_{index}"


def embedding_tokens(body: Mapping[str, Any]) -> int:
    return sum(
        len(item) if isinstance(item, list) else scripts.tokens_of(item) for item in _inputs(body)
    )


def embeddings_body(body: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    """Return vectors of the size asked for (1,536), each telling its input's place in its first number."""
    size = int(body.get("dimensions") or 1536)
    vectors = [[float(index), *([0.5] * (size - 1))] for index, _ in enumerate(_inputs(body))]
    is_base64 = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": i, "embedding": _base64(v) if is_base64 else v}
        for i, v in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body.get("model"), "usage": usage}


def _inputs(body: Mapping[str, Any]) -> list[Any]:
    given = body.get("input", "")
    is_one = isinstance(given, str) or (given and isinstance(given[0], int))
    return [given] if is_one else list(given)


def _base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def error_body(status: int, code: str, message: str) -> dict[str, Any]:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
