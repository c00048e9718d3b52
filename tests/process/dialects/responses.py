"""OpenAI's responses, as its API reference and SDK (openai 3.57) have them."""

import json
from collections.abc import Iterable, Iterator

from tests.process.dialects import chat
from tests.process.produced import Asked, Choice, Counts, Dialect, Frame, Json, Produced, usage_body
from tests.process.script import tokens_of

Item = tuple[Json, Json, list[Frame]]
"""An item of the output as it begins, as it is in the end, and the events between the two."""


def asked(model: str, body: Json) -> Asked:
    given = body.get("input", "")
    items = [{"content": given}] if isinstance(given, str) else given
    text = "\n".join(chat.text_of(item.get("content")) for item in items)
    offered = json.dumps(body["tools"]) if body.get("tools") else ""
    told = str(body.get("instructions") or "")
    return Asked(
        model=model or str(body.get("model")),
        text=text,
        charged=3 + 3 * len(items) + tokens_of(told + text + offered),
        limit=body.get("max_output_tokens"),
        tool=_called_tool(body, items),
        schema=_schema(body),
        is_stream=bool(body.get("stream")),
        script=chat.said_in_metadata(body),
    )


def _called_tool(body: Json, items: list[Json]) -> str | None:
    functions = [tool["name"] for tool in body.get("tools") or () if tool["type"] == "function"]
    if not functions or (items and items[-1].get("type") == "function_call_output"):
        return None
    match body.get("tool_choice", "auto"):
        case "none":
            return None
        case {"type": "function", "name": str(name)}:
            return name
        case _:
            return str(functions[0])


def _schema(body: Json) -> Json | None:
    match (body.get("text") or {}).get("format"):
        case {"type": "json_object"}:
            return {}
        case {"type": "json_schema", "schema": dict(schema)}:
            return schema
        case _:
            return None


def whole(produced: Produced) -> Json:
    return _response(produced, [ended for _, ended, _ in _items(produced)], is_over=True)


def _response(produced: Produced, output: list[Json], *, is_over: bool) -> Json:
    (choice,) = produced.choices
    is_cut = is_over and choice.finish == "length"
    status = "incomplete" if is_cut else "completed" if is_over else "in_progress"
    reports = is_over and produced.reports_usage
    return {
        "id": produced.id,
        "object": "response",
        "created_at": chat.CREATED,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "instructions": None,
        "max_output_tokens": produced.asked.limit,
        "metadata": {},
        "model": produced.model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage(produced, produced.counts()) if reports else None,
        "user": None,
    }


def usage(produced: Produced, counts: Counts) -> Json:
    said = {
        "input_tokens": counts.prompt,
        "input_tokens_details": {
            "cached_tokens": counts.cached,
            "cache_write_tokens": counts.written,
        },
        "output_tokens": counts.completion,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning},
        "total_tokens": counts.prompt + counts.completion,
    }
    return usage_body(produced, said)


def frames(produced: Produced) -> Iterator[Frame]:
    """Yield a stream's events, numbered in their order, each named by its own `type`."""
    for number, frame in enumerate(_unnumbered(produced)):
        numbered = frame.payload | {"sequence_number": number}
        yield Frame(numbered, frame.tokens, str(frame.payload["type"]))


def _unnumbered(produced: Produced) -> Iterator[Frame]:
    for kind in ("response.created", "response.in_progress"):
        yield Frame({"type": kind, "response": _response(produced, [], is_over=False)})
    output: list[Json] = []
    for index, (begun, ended, between) in enumerate(_items(produced)):
        yield _of_item("response.output_item.added", index, item=begun)
        yield from between
        yield _of_item("response.output_item.done", index, item=ended)
        output.append(ended)
    answer = _response(produced, output, is_over=True)
    yield Frame({"type": f"response.{answer['status']}", "response": answer})


def _items(produced: Produced) -> list[Item]:
    (choice,) = produced.choices
    thinking = [_reasoning(produced)] if produced.thought else []
    make = _message if choice.tool is None else _call
    return [*thinking, make(produced, choice, len(thinking))]


def _reasoning(produced: Produced) -> Item:
    ident = f"rs_{_number(produced)}"
    empty: Json = {"id": ident, "type": "reasoning", "summary": []}
    if not produced.script.thinks_aloud:
        return empty, empty, []
    place = {"item_id": ident, "summary_index": 0}
    said = "".join(piece.text for piece in produced.thought)
    part = {"type": "summary_text", "text": said}
    between = [
        _of_item("response.reasoning_summary_part.added", 0, part=part | {"text": ""}, **place),
        *(
            _of_item("response.reasoning_summary_text.delta", 0, p.tokens, delta=p.text, **place)
            for p in produced.thought
        ),
        _of_item("response.reasoning_summary_text.done", 0, text=said, **place),
        _of_item("response.reasoning_summary_part.done", 0, part=part, **place),
    ]
    return empty, empty | {"summary": [part]}, between


def _message(produced: Produced, choice: Choice, index: int) -> Item:
    ident = f"msg_{_number(produced)}"
    place = {"item_id": ident, "content_index": 0}
    part: Json = {"type": "output_text", "annotations": [], "logprobs": [], "text": choice.text}
    message = {"id": ident, "type": "message", "role": "assistant"}
    between = [
        _of_item("response.content_part.added", index, part=part | {"text": ""}, **place),
        *_deltas("response.output_text.delta", index, choice, **place, logprobs=[]),
        _of_item("response.output_text.done", index, text=choice.text, logprobs=[], **place),
        _of_item("response.content_part.done", index, part=part, **place),
    ]
    begun = message | {"status": "in_progress", "content": []}
    return begun, message | {"status": _status(choice), "content": [part]}, between


def _call(produced: Produced, choice: Choice, index: int) -> Item:
    ident = f"fc_{_number(produced)}"
    call = {"id": ident, "type": "function_call", "name": choice.tool}
    call["call_id"] = f"call_{_number(produced)}"
    kind = "response.function_call_arguments"
    done = _of_item(f"{kind}.done", index, item_id=ident, arguments=choice.text, name=choice.tool)
    between = [*_deltas(f"{kind}.delta", index, choice, item_id=ident), done]
    begun = call | {"arguments": "", "status": "in_progress"}
    return begun, call | {"arguments": choice.text, "status": _status(choice)}, between


def _status(choice: Choice) -> str:
    return "incomplete" if choice.finish == "length" else "completed"


def _deltas(kind: str, index: int, choice: Choice, **members: object) -> Iterable[Frame]:
    return (
        _of_item(kind, index, piece.tokens, delta=piece.text, **members) for piece in choice.pieces
    )


def _of_item(kind: str, index: int, tokens: int = 0, **members: object) -> Frame:
    return Frame({"type": kind, "output_index": index, **members}, tokens)


def _number(produced: Produced) -> str:
    return produced.id.removeprefix("resp_")


def error_frame(body: Json, count: int) -> Frame:
    """Return the flat event that tells of an error in a stream."""
    said = body["error"]
    payload = {"type": "error", "code": said["code"], "message": said["message"], "param": None}
    return Frame(payload | {"sequence_number": count}, name="error")


def counted(produced: Produced) -> Json:
    return {"object": "response.input_tokens", "input_tokens": produced.prompt_tokens}


RESPONSES = Dialect("resp_", asked, whole, frames, chat.error, error_frame)
INPUT_TOKENS = Dialect("resp_", asked, counted, None, chat.error, error_frame, is_free=True)
