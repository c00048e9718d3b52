"""Gemini's generateContent and its kin, as its API reference and SDK (google-genai 3.6) have them."""

import itertools
import json
from collections.abc import Iterator

from tests.process.dialects.embeddings import vectors_of
from tests.process.produced import Asked, Choice, Counts, Dialect, Frame, Json, Produced, usage_body
from tests.process.script import Piece, tokens_of

FINISHES = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}
STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def asked(model: str, body: Json) -> Asked:
    # countTokens may wrap the whole request that it counts.
    body = body.get("generateContentRequest") or body
    contents = body.get("contents") or []
    text = "\n".join(map(_text_of, contents))
    system = _text_of(body.get("systemInstruction") or body.get("system_instruction") or {})
    offered = json.dumps(body["tools"]) if body.get("tools") else ""
    config = body.get("generationConfig") or body.get("generation_config") or {}
    return Asked(
        model=model,
        text=text,
        charged=3 + 3 * len(contents) + tokens_of(system + text + offered),
        limit=_number(config, "maxOutputTokens", "max_output_tokens"),
        choices=_number(config, "candidateCount", "candidate_count") or 1,
        tool=_called_tool(body, contents),
        schema=_schema(config),
        script=json.loads((body.get("labels") or {}).get("script") or "{}"),
    )


def _text_of(content: Json) -> str:
    return " ".join(part.get("text", "") for part in content.get("parts") or ())


def _number(config: Json, *spellings: str) -> int | None:
    given = (config[name] for name in spellings if name in config)
    return next((int(value) for value in given), None)


def _called_tool(body: Json, contents: list[Json]) -> str | None:
    declared = [
        function["name"]
        for tool in body.get("tools") or ()
        for function in tool.get("functionDeclarations") or ()
    ]
    last = contents[-1].get("parts") or () if contents else ()
    mode = ((body.get("toolConfig") or {}).get("functionCallingConfig") or {}).get("mode")
    if mode == "NONE" or any("functionResponse" in part for part in last):
        return None
    return next(iter(declared), None)


def _schema(config: Json) -> Json | None:
    schema: Json | None = config.get("responseJsonSchema") or config.get("responseSchema")
    if schema is None and config.get("responseMimeType") == "application/json":
        return {}
    return schema


def whole(produced: Produced) -> Json:
    candidates = [
        {
            "content": {"parts": _all_parts(produced, index, choice), "role": "model"},
            "finishReason": FINISHES[choice.finish],
            "index": index,
        }
        for index, choice in enumerate(produced.choices)
    ]
    return _envelope(produced, candidates, produced.counts(), reports=produced.reports_usage)


def _all_parts(produced: Produced, index: int, choice: Choice) -> list[Json]:
    thought = "".join(piece.text for piece in produced.thought)
    said = [_call(choice)] if choice.tool is not None else [{"text": choice.text}]
    is_aloud = produced.script.thinks_aloud and index == 0 and thought
    return [{"text": thought, "thought": True}, *said] if is_aloud else said


def _call(choice: Choice) -> Json:
    arguments = json.loads(choice.text) if choice.finish == "tool_calls" else {}
    return {"functionCall": {"name": choice.tool, "args": arguments}}


def _envelope(produced: Produced, candidates: list[Json], counts: Counts, *, reports: bool) -> Json:
    answer: Json = {"candidates": candidates}
    if reports:
        answer["usageMetadata"] = usage(produced, counts)
    return answer | {"modelVersion": produced.model, "responseId": produced.id}


def usage(produced: Produced, counts: Counts) -> Json:
    """Return the counts; thought is outside the candidates', what was cached inside the prompt's."""
    said = {
        "promptTokenCount": counts.prompt,
        "candidatesTokenCount": counts.completion - counts.reasoning,
        "totalTokenCount": counts.prompt + counts.completion,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": counts.prompt}],
    }
    if counts.cached:
        said["cachedContentTokenCount"] = counts.cached
        said["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": counts.cached}]
    if counts.reasoning:
        said["thoughtsTokenCount"] = counts.reasoning
    return usage_body(produced, said)


def frames(produced: Produced) -> Iterator[Frame]:
    """Yield a stream's chunks: each reports the usage so far, and the last has the reason to end."""
    so_far = produced.hidden_tokens
    chunks = list(_chunks(produced))
    for place, (candidate, tokens) in enumerate(chunks, start=1):
        so_far += tokens
        counts = produced.counts(max(so_far, produced.reasoning_tokens))
        reports = _reports(produced, place, is_last=place == len(chunks))
        yield Frame(_envelope(produced, [candidate], counts, reports=reports), tokens)
    if produced.script.usage == "twice":
        yield Frame(_envelope(produced, [{"index": 0}], produced.counts(), reports=True))


def _reports(produced: Produced, place: int, *, is_last: bool) -> bool:
    match produced.script.usage:
        case "never":
            return False
        case "first":
            return place == 1
        case "always" | "twice":
            return is_last
        case _:
            return True


def _chunks(produced: Produced) -> Iterator[tuple[Json, int]]:
    """Yield candidates with their tokens; candidates take turns."""
    if produced.script.thinks_aloud:
        for piece in produced.thought:
            yield _candidate(0, {"text": piece.text, "thought": True}), piece.tokens
    spoken = [_pieces(choice) for choice in produced.choices]
    for turn in itertools.zip_longest(*spoken):
        for index, piece in enumerate(turn):
            if piece is not None:
                part, tokens = piece
                yield _candidate(index, part), tokens
    for index, choice in enumerate(produced.choices):
        yield _candidate(index, {"text": ""}) | {"finishReason": FINISHES[choice.finish]}, 0


def _pieces(choice: Choice) -> list[tuple[Json, int]]:
    if choice.tool is None:
        return [({"text": piece.text}, piece.tokens) for piece in choice.pieces]
    return [(_call(choice), _sum(choice.pieces))]


def _sum(pieces: list[Piece]) -> int:
    return sum(piece.tokens for piece in pieces)


def _candidate(index: int, part: Json) -> Json:
    return {"content": {"parts": [part], "role": "model"}, "index": index}


def error(status: int, code: str, message: str) -> Json:
    named = STATUSES.get(status, "UNKNOWN")
    reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": code.upper()}
    return {"error": {"code": status, "message": message, "status": named, "details": [reason]}}


def counted(produced: Produced) -> Json:
    tokens = produced.prompt_tokens
    details = [{"modality": "TEXT", "tokenCount": tokens}]
    return {"totalTokens": tokens, "promptTokensDetails": details}


def embedded(model: str, body: Json) -> Asked:
    """Read one embedding, or a batch of `requests`."""
    requests = body.get("requests") or [body]
    charged = sum(tokens_of(_text_of(one.get("content") or {})) for one in requests)
    return Asked(model=model, text="", charged=charged, choices=0, body=body)


def embeddings(produced: Produced) -> Json:
    asked_for = produced.asked.body
    requests = asked_for.get("requests")
    size = (requests or [asked_for])[0].get("outputDimensionality")
    vectors = [{"values": vector} for vector in vectors_of(len(requests or [0]), size)]
    answer: Json = {"embeddings": vectors} if requests else {"embedding": vectors[0]}
    if produced.reports_usage:
        answer["usageMetadata"] = usage_body(produced, {"promptTokenCount": produced.prompt_tokens})
    return answer


def models(names: list[str]) -> Json:
    methods = ["generateContent", "countTokens"]
    listed = [
        {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": methods}
        for name in names
    ]
    return {"models": listed}


GENERATE = Dialect("gem-", asked, whole, frames, error, line_end=b"\r\n")
EMBED = Dialect("gem-", embedded, embeddings, None, error)
COUNT_TOKENS = Dialect("gem-", asked, counted, None, error, is_free=True)
