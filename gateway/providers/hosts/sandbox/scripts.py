"""What the sandbox answers, as a value: head, parts of the body, and how long each waits."""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

import msgspec

from gateway.providers.adapter import Headers

CREATED: Final = 1_767_225_600
"""The sandbox has no clock: everything it makes is of 2026-01-01."""
MODELS: Final = ("echo", "slow")
CONTEXT_TOKENS: Final = 131_072
MOST_OUTPUT_TOKENS: Final = 4096
BYTES_A_TOKEN: Final = 2

_JSON: Final = ((b"content-type", b"application/json"),)
_EVENTS: Final = ((b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache"))


class Part(msgspec.Struct, frozen=True):
    """Bytes of a body, sent `delay_ms` milliseconds after those before them."""

    delay_ms: int
    data: bytes


class Script(msgspec.Struct, frozen=True):
    """One answer. `parts` is used up by performing it."""

    status: int
    headers: Headers
    parts: Iterator[Part]


def tokens(text: str) -> int:
    """Return how many sandbox tokens a text has."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_A_TOKEN)


def fingerprint(body: bytes) -> str:
    """Return what makes the ids of a request's answer: the same for the same body."""
    return blake2b(body, digest_size=12).hexdigest()


def encode(value: object) -> bytes:
    """Return a value as JSON."""
    return _WRITER.encode(value)


def event(value: object) -> bytes:
    """Return a value as a server-sent event."""
    return b"data: " + encode(value) + b"\n\n"


def document(value: object, delay_ms: int = 0) -> Script:
    """Return the script of one JSON answer."""
    return Script(200, _JSON, iter((Part(delay_ms, encode(value)),)))


def stream(parts: Iterator[Part]) -> Script:
    """Return the script of a streamed answer."""
    return Script(200, _EVENTS, parts)


def refusal(status: int, message: str, code: str) -> Script:
    """Return the script of an error in OpenAI's shape."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return Script(status, _JSON, iter((Part(0, encode({"error": error})),)))


def unknown_model() -> Script:
    """Return the refusal of a model that the sandbox has not."""
    return refusal(404, f"The sandbox has these models: {', '.join(MODELS)}.", "model_not_found")


def unusable() -> Script:
    """Return the refusal of a body that the sandbox can't read."""
    return refusal(400, "The sandbox can't read this request.", "invalid_request")


_WRITER: Final = msgspec.json.Encoder()
