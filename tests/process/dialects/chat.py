"""OpenAI's chat completions, as its API reference of November 2025 has them."""

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.process.produced import (
    Asked,
    Choice,
    Counts,
    Dialect,
    Frame,
    Json,
    Produced,
    usage_body,
)
from tests.process.script import Piece, tokens_of

CREATED = 1_764_000_000


def asked(model: str, body: Json) -> Asked:
    messages = body.get("messages") or []
    text = "\n".join(text_of(message.get("content")) for message in messages)
    offered = json.dumps(body["tools"]) if body.get("tools") else ""
    return Asked(
        model=model or str(body.get("model")),
        text=text,
        charged=3 + 3 * len(messages) + tokens_of(text + offered),
        limit=_limit(body),
        choices=int(body.get("n") or 1),
        tool=_called_tool(body, messages),
        schema=_schema(body.get("response_format")),
        is_stream=bool(body.get("stream")),
        wants_usage=wants_usage(body),
        script=said_in_metadata(body),
    )


def text_of(content: object) -> str:
    """Return the text of a message's content; parts that are not text count for nothing."""
    if isinstance(content, list):
        return " ".join(part.get("text", "") for part in content)
    return content if isinstance(content, str) else ""


def wants_usage(body: Json) -> bool:
    return bool((body.get("stream_options") or {}).get("include_usage"))


def said_in_metadata(body: Json) -> Json:
    """Return the script in a request's `metadata`, whose values are strings."""
    said: Json = json.loads((body.get("metadata") or {}).get("script") or "{}")
    return said


def _limit(body: Json) -> int | None:
    """Return the most output tokens of one choice that the request allows, in either spelling."""
    given = (body.get("max_completion_tokens"), body.get("max_tokens"))
    return min((limit for limit in given if limit is not None), default=None)


def _called_tool(body: Json, messages: list[Json]) -> str | None:
    """Return the tool to call: one is offered, none was answered yet, and calling is not forbidden."""
    if not body.get("tools") or (messages and messages[-1].get("role") == "tool"):
        return None
    match body.get("tool_choice", "auto"):
        case "none":
            return None
        case {"function": {"name": str(name)}}:
            return name
        case _:
            return str(body["tools"][0]["function"]["name"])


def _schema(response_format: object) -> Json | None:
    match response_format:
        case {"type": "json_object"}:
            return {}
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return schema
        case _:
            return None


def whole(produced: Produced) -> Json:
    choices = [
        {
            "index": index,
            "message": _message(produced, index, choice),
            "logprobs": None,
            "finish_reason": choice.finish,
        }
        for index, choice in enumerate(produced.choices)
    ]
    answer = envelope(produced, "chat.completion", choices)
    if produced.reports_usage:
        answer["usage"] = usage(produced, produced.counts())
    return answer


def usage(produced: Produced, counts: Counts) -> Json:
    details = {"cached_tokens": counts.cached}
    if counts.written:
        details["cache_write_tokens"] = counts.written
    said = {
        "prompt_tokens": counts.prompt,
        "completion_tokens": counts.completion,
        "total_tokens": counts.prompt + counts.completion,
        "prompt_tokens_details": details,
        "completion_tokens_details": {"reasoning_tokens": counts.reasoning},
    }
    return usage_body(produced, said)


def _message(produced: Produced, index: int, choice: Choice) -> Json:
    message: Json = {"role": "assistant", "content": choice.text, "refusal": None}
    if choice.tool is not None:
        function = {"name": choice.tool, "arguments": choice.text}
        call = {"id": _call_id(produced, index), "type": "function", "function": function}
        message |= {"content": None, "tool_calls": [call]}
    if produced.script.thinks_aloud and index == 0:
        message["reasoning_content"] = "".join(piece.text for piece in produced.thought)
    return message


def frames(produced: Produced) -> Iterator[Frame]:
    """Yield a stream's events in order; choices take turns, as OpenAI's do."""
    return with_usage(produced, "chat.completion.chunk", _content_frames(produced))


def with_usage(produced: Produced, kind: str, content: Iterator[Frame]) -> Iterator[Frame]:
    so_far = produced.hidden_tokens
    ended = 0
    for number, frame in enumerate(content):
        so_far += frame.tokens
        ended += any(choice["finish_reason"] for choice in frame.payload["choices"])
        place = _place(number, is_last=ended == len(produced.choices))
        if produced.script.usage in {"each", place}:
            frame.payload["usage"] = usage(produced, produced.counts(so_far))
        elif produced.script.usage == "groq" and place == "in_last":
            said = usage(produced, produced.counts(so_far))
            frame.payload["x_groq"] = {"id": "req_scripted", "usage": said}
        elif produced.asked.wants_usage and produced.reports_usage:
            frame.payload["usage"] = None
        yield frame
    for counts in _counts_at_the_end(produced):
        yield Frame(envelope(produced, kind, []) | {"usage": usage(produced, counts)})


def _place(number: int, *, is_last: bool) -> str:
    return "in_last" if is_last else "first" if number == 0 else "between"


def _counts_at_the_end(produced: Produced) -> list[Counts]:
    """Return the bill of each event that has usage and nothing else."""
    whole = produced.counts()
    match produced.script.usage:
        case "asked":
            return [whole] if produced.asked.wants_usage else []
        case "always":
            return [whole]
        case "twice":
            return [whole, whole]
        case "differing":
            return [produced.counts(produced.completion_tokens // 2), whole]
        case _:
            return []


def _content_frames(produced: Produced) -> Iterator[Frame]:
    for index, choice in enumerate(produced.choices):
        yield _delta(produced, index, _opening(produced, index, choice))
    if produced.script.thinks_aloud:
        for piece in produced.thought:
            yield _delta(produced, 0, {"reasoning_content": piece.text}, tokens=piece.tokens)
    turns = itertools.zip_longest(*(choice.pieces for choice in produced.choices))
    for turn in turns:
        for index, piece in enumerate(turn):
            if piece is not None:
                said = _said(produced.choices[index], piece)
                yield _delta(produced, index, said, tokens=piece.tokens)
    for index, choice in enumerate(produced.choices):
        yield _delta(produced, index, {}, finish=choice.finish)


def _opening(produced: Produced, index: int, choice: Choice) -> Json:
    if choice.tool is None:
        return {"role": "assistant", "content": "", "refusal": None}
    function = {"name": choice.tool, "arguments": ""}
    call = {"index": 0, "id": _call_id(produced, index), "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _said(choice: Choice, piece: Piece) -> Json:
    if choice.tool is None:
        return {"content": piece.text}
    return {"tool_calls": [{"index": 0, "function": {"arguments": piece.text}}]}


def _delta(
    produced: Produced, index: int, delta: Json, *, finish: str | None = None, tokens: int = 0
) -> Frame:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    payload = envelope(produced, "chat.completion.chunk", [choice])
    return Frame(payload, tokens)


def envelope(produced: Produced, kind: str, choices: list[Json]) -> Json:
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


def error(status: int, code: str, message: str) -> Json:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def models(names: list[str]) -> Mapping[str, Any]:
    listed = [{"id": n, "object": "model", "created": 0, "owned_by": "scripted"} for n in names]
    return {"object": "list", "data": listed}


CHAT = Dialect("chatcmpl-", asked, whole, frames, error, done=b"data: [DONE]\n\n")
