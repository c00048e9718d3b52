"""Vectors, as OpenAI and as Gemini give them. They have input tokens and nothing else."""

import base64
import struct
from collections.abc import Mapping

from tests.process.dialects import chat
from tests.process.dialects.completions import inputs, tokens_in
from tests.process.produced import Asked, Dialect, Json, Produced

DIMENSIONS = 1536


def asked(model: str, body: Json) -> Asked:
    given = inputs(body.get("input", ""))
    return Asked(
        model=model or str(body.get("model")),
        text="",
        charged=sum(map(tokens_in, given)),
        choices=0,
        script=chat.said_in_metadata(body),
        body=body,
    )


def whole(produced: Produced) -> Json:
    """Return vectors of the size asked for, each telling its input's place in its first number."""
    asked_for = produced.asked.body
    count = len(inputs(asked_for.get("input", "")))
    vectors = vectors_of(count, asked_for.get("dimensions"))
    is_base64 = asked_for.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": i, "embedding": _base64(v) if is_base64 else v}
        for i, v in enumerate(vectors)
    ]
    return {"object": "list", "data": data, "model": produced.model, "usage": _usage(produced)}


def _usage(produced: Produced) -> Mapping[str, object]:
    tokens = produced.prompt_tokens
    return {"prompt_tokens": tokens, "total_tokens": tokens, **produced.script.usage_fields}


def vectors_of(count: int, size: int | None) -> list[list[float]]:
    return [[float(index), *([0.5] * ((size or DIMENSIONS) - 1))] for index in range(count)]


def _base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


EMBEDDINGS = Dialect("emb-", asked, whole, None, chat.error)
