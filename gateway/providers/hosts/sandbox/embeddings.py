"""The sandbox's embeddings: short vectors of length 1, the same for the same text."""

import struct
from base64 import b64encode
from hashlib import blake2b
from math import sqrt
from typing import Any, Final

import msgspec

from gateway.providers.hosts.sandbox.scripts import (
    MODELS,
    Script,
    document,
    encode,
    refusal,
    tokens,
    unknown_model,
    unusable,
)

DIMENSIONS: Final = 8
MOST_DIMENSIONS: Final = 256
MOST_INPUTS: Final = 2048


class _Asked(msgspec.Struct, frozen=True):
    model: str
    input: str | list[Any]
    encoding_format: str | None = None
    dimensions: int | None = None


def answer(body: bytes) -> Script:
    """Return what the sandbox answers to an embeddings request."""
    try:
        asked = _ASKED.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return unusable()
    if asked.model not in MODELS:
        return unknown_model()
    count = DIMENSIONS if asked.dimensions is None else asked.dimensions
    inputs = _inputs(asked.input)
    if not 1 <= len(inputs) <= MOST_INPUTS or not 1 <= count <= MOST_DIMENSIONS:
        return refusal(
            400,
            f"The sandbox embeds 1 to {MOST_INPUTS} inputs in 1 to {MOST_DIMENSIONS} dimensions.",
            "invalid_request",
        )
    is_packed = asked.encoding_format == "base64"
    vectors = [_vector(encode(one), count) for one in inputs]
    used = sum(map(_size, inputs))
    return document(
        {
            "object": "list",
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": _packed(vector) if is_packed else vector,
                }
                for index, vector in enumerate(vectors)
            ],
            "model": asked.model,
            "usage": {"prompt_tokens": used, "total_tokens": used},
        }
    )


def _inputs(given: str | list[Any]) -> list[Any]:
    """Return the inputs one by one: a text, or a list of token ids, is one of them."""
    if isinstance(given, str) or (given and isinstance(given[0], int)):
        return [given]
    return given


def _size(one: object) -> int:
    return len(one) if isinstance(one, list) else tokens(str(one))


def _vector(seed: bytes, count: int) -> list[float]:
    """Return a unit vector that depends on nothing but the seed."""
    digests = (blake2b(seed, digest_size=64, salt=bytes([at])).digest() for at in range(4))
    numbers = [byte - 127.5 for byte in b"".join(digests)[:count]]
    length = sqrt(sum(number * number for number in numbers))
    return [number / length for number in numbers]


def _packed(vector: list[float]) -> str:
    """Return a vector as the SDKs ask for it: base64 of little-endian 32-bit floats."""
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


_ASKED: Final = msgspec.json.Decoder(_Asked)
