"""Anthropic's messages, as its API reference and SDK (anthropic 2.13) have them."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from tests.process.produced import Asked, Choice, Counts, Dialect, Frame, Json, Produced, usage_body
from tests.process.script import tokens_of

STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}

_OF_THE_OPENING = {"cache_creation", "service_tier"}


def asked(model: str, body: Json) -> Asked:
    messages = body.get("messages") or []
    contents = [message.get("content") for message in messages]
    text = "\n".join(map(_text_of, contents))
    offered = json.dumps(body["tools"]) if body.get("tools") else ""
    return Asked(
        model=model or str(body.get("model")),
        text=text,
        charged=3 + 3 * len(messages) + tokens_of(_text_of(body.get("system")) + text + offered),
        limit=body.get("max_tokens"),
        tool=_called_tool(body, contents),
        schema=_schema(body),
        is_stream=bool(body.get("stream")),
        script=_said_in_user_id(body),
    )


def _text_of(content: object) -> str:
    if isinstance(content, list):
        return " ".join(part.get("text", "") for part in content)
    return content if isinstance(content, str) else ""


def _said_in_user_id(body: Json) -> Json:
    """Return the script in `metadata.user_id`, where that is a JSON object and not a mere name."""
    user = (body.get("metadata") or {}).get("user_id") or ""
    said: Json = json.loads(user).get("script", {}) if user.startswith("{") else {}
    return said


def _called_tool(body: Json, contents: list[Any]) -> str | None:
    if not body.get("tools") or (contents and _is_result(contents[-1])):
        return None
    match body.get("tool_choice"):
        case {"type": "none"}:
            return None
        case {"type": "tool", "name": str(name)}:
            return name
        case _:
            return str(body["tools"][0]["name"])


def _is_result(content: object) -> bool:
    return isinstance(content, list) and any(p.get("type") == "tool_result" for p in content)


def _schema(body: Json) -> Json | None:
    match (body.get("output_config") or {}).get("format"):
        case {"type": "json_schema", "schema": dict(schema)}:
            return schema
        case _:
            return None


def whole(produced: Produced) -> Json:
    (choice,) = produced.choices
    content = [*_thinking_blocks(produced), _block(produced, choice)]
    answer = _message(produced, content, STOPS[choice.finish])
    if produced.reports_usage:
        answer["usage"] = usage(produced, produced.counts())
    return answer


def _message(produced: Produced, content: list[Json], stop: str | None) -> Json:
    return {
        "id": produced.id,
        "type": "message",
        "role": "assistant",
        "model": produced.model,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
    }


def _thinking_blocks(produced: Produced) -> list[Json]:
    if not produced.thought:
        return []
    if not produced.script.thinks_aloud:
        return [{"type": "redacted_thinking", "data": "c2VjcmV0"}]
    said = "".join(piece.text for piece in produced.thought)
    return [{"type": "thinking", "thinking": said, "signature": "c2lnbmVk"}]


def _block(produced: Produced, choice: Choice) -> Json:
    if choice.tool is None:
        return {"type": "text", "text": choice.text}
    # A call that was cut by max_tokens has arguments that are no JSON; what was whole is given.
    given = json.loads(choice.text) if choice.finish == "tool_calls" else {}
    return {"type": "tool_use", "id": _call_id(produced), "name": choice.tool, "input": given}


def _call_id(produced: Produced) -> str:
    return f"toolu_{produced.id.removeprefix('msg_')}"


def usage(produced: Produced, counts: Counts) -> Json:
    """Return a whole usage object; its counts are apart from each other."""
    said = {
        "input_tokens": counts.prompt - counts.cached - counts.written,
        "cache_creation_input_tokens": counts.written,
        "cache_read_input_tokens": counts.cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": counts.written,
            "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": counts.completion,
        "service_tier": "standard",
    }
    return usage_body(produced, said)


def frames(produced: Produced) -> Iterator[Frame]:
    """Yield a stream's events, each named by its own `type`."""
    (choice,) = produced.choices
    yield _named({"type": "message_start", "message": _opening(produced)})
    thinking = list(_thinking_frames(produced))
    yield from thinking
    yield _named({"type": "ping"})
    yield from _block_frames(produced, choice, index=1 if thinking else 0)
    yield from _closing(produced, choice)
    yield _named({"type": "message_stop"})


def _opening(produced: Produced) -> Json:
    message = _message(produced, [], None)
    if produced.reports_usage:
        # The first report has the whole input, and the output so far, which is one token or so.
        message["usage"] = usage(produced, produced.counts(1))
    return message


def _closing(produced: Produced, choice: Choice) -> Iterator[Frame]:
    delta = {"stop_reason": STOPS[choice.finish], "stop_sequence": None}
    closing: Json = {"type": "message_delta", "delta": delta}
    if produced.script.usage in {"never", "first"}:
        yield _named(closing)
        return
    said = usage(produced, produced.counts())
    # Of the other members only the first report tells.
    counts = {name: value for name, value in said.items() if name not in _OF_THE_OPENING}
    for _ in range(2 if produced.script.usage == "twice" else 1):
        yield _named(closing | {"usage": counts})


def _thinking_frames(produced: Produced) -> Iterator[Frame]:
    for block in _thinking_blocks(produced):
        if not produced.script.thinks_aloud:
            yield from _whole_block(0, block, [])
            return
        deltas = [
            _delta(0, {"type": "thinking_delta", "thinking": piece.text}, piece.tokens)
            for piece in produced.thought
        ]
        signed = {"type": "signature_delta", "signature": block["signature"]}
        empty = {"type": "thinking", "thinking": "", "signature": ""}
        yield from _whole_block(0, empty, [*deltas, _delta(0, signed, 0)])


def _block_frames(produced: Produced, choice: Choice, index: int) -> Iterator[Frame]:
    if choice.tool is None:
        said = [
            _delta(index, {"type": "text_delta", "text": piece.text}, piece.tokens)
            for piece in choice.pieces
        ]
        yield from _whole_block(index, {"type": "text", "text": ""}, said)
        return
    call = {"type": "tool_use", "id": _call_id(produced), "name": choice.tool, "input": {}}
    arguments = [
        _delta(index, {"type": "input_json_delta", "partial_json": piece.text}, piece.tokens)
        for piece in choice.pieces
    ]
    yield from _whole_block(index, call, arguments)


def _whole_block(index: int, block: Json, deltas: Iterable[Frame]) -> Iterator[Frame]:
    yield _named({"type": "content_block_start", "index": index, "content_block": block})
    yield from deltas
    yield _named({"type": "content_block_stop", "index": index})


def _delta(index: int, delta: Json, tokens: int) -> Frame:
    return _named({"type": "content_block_delta", "index": index, "delta": delta}, tokens)


def _named(payload: Json, tokens: int = 0) -> Frame:
    return Frame(payload, tokens, str(payload["type"]))


def error(status: int, code: str, message: str) -> Json:
    said = {"type": ERRORS.get(status, "api_error"), "message": message}
    return {"type": "error", "error": said, "request_id": "req_scripted"}


def error_frame(body: Json, _: int) -> Frame:
    return Frame(body, name="error")


def counted(produced: Produced) -> Json:
    return {"input_tokens": produced.prompt_tokens}


def models(names: list[str]) -> Json:
    listed = [
        {"type": "model", "id": n, "display_name": n, "created_at": "2025-11-24T00:00:00Z"}
        for n in names
    ]
    return {"data": listed, "has_more": False, "first_id": names[0], "last_id": names[-1]}


MESSAGES = Dialect("msg_", asked, whole, frames, error, error_frame)
COUNT_TOKENS = Dialect("msg_", asked, counted, None, error, error_frame, is_free=True)
