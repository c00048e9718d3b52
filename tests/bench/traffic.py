"""What is sent and what is answered: the same bytes through the gateway and through nginx.

Sizes are those of a small chat: a request of 1 KB, an answer of 600 bytes, a stream of 200 events of
about 180 bytes. The shapes are those of OpenAI's API reference for chat completions, of November 2025.
"""

import json
from dataclasses import dataclass
from typing import Any

REQUEST_BYTES = 1024
ANSWER_BYTES = 600
EVENTS = 200
EVENT_BYTES = 180
MODEL = "model"
PATH = "/v1/chat/completions"

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One kind of traffic: where nginx proxies it, and what goes over the wire."""

    name: str
    """The provider's name in the gateway's configuration, and the first part of nginx's path."""
    is_stream: bool

    @property
    def request(self) -> bytes:
        return request(f"{self.name}/{MODEL}", is_stream=self.is_stream)

    @property
    def answered(self) -> bytes:
        """The body as the provider sends it."""
        return STREAM if self.is_stream else ANSWER

    @property
    def relayed(self) -> bytes:
        """The body as the gateway passes it on: without the usage that the client did not ask for."""
        return self.answered.replace(USAGE_EVENT, b"")

    @property
    def chunks(self) -> int:
        """How many events the provider sends in one answer; 0 where it is no stream."""
        return EVENTS if self.is_stream else 0


def request(model: str, *, is_stream: bool) -> bytes:
    """Return a chat request of exactly REQUEST_BYTES."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": "system", "content": "You are a careful assistant. Answer in one sentence."},
            {"role": "user", "content": ""},
        ],
        "temperature": 0.2,
        "max_tokens": 512,
        "stream": is_stream,
    }
    body["messages"][1]["content"] = _prose(REQUEST_BYTES - len(_json(body)))
    return _json(body)


def _answer() -> bytes:
    """Return a whole answer of exactly ANSWER_BYTES."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "",
        "refusal": None,
        "annotations": [],
    }
    body: dict[str, Any] = {
        "id": "chatcmpl-CfGk3HsTzQm8Yd1vW5xLb0PnRaUe2",
        "object": "chat.completion",
        "created": 1_764_000_000,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": _usage(40),
        "service_tier": "default",
    }
    message["content"] = _prose(ANSWER_BYTES - len(_json(body)))
    return _json(body)


def events() -> list[bytes]:
    """Return the EVENTS events of a stream: role, text, end, usage and `[DONE]`."""
    texts = EVENTS - 4
    deltas = [{"role": "assistant", "content": ""}, *({"content": " word"} for _ in range(texts))]
    told = [_event(delta, None) for delta in deltas]
    return [*told, _event({}, "stop"), USAGE_EVENT, DONE]


def _event(delta: dict[str, str], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _framed({**_HEAD, "choices": [choice]})


def _framed(payload: dict[str, Any]) -> bytes:
    return b"data: " + _json(payload) + b"\n\n"


def _usage(output: int) -> dict[str, Any]:
    details = {"reasoning_tokens": 0, "audio_tokens": 0}
    return {
        "prompt_tokens": 200,
        "completion_tokens": output,
        "total_tokens": 200 + output,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": details,
    }


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _prose(size: int) -> str:
    """Return so many characters of text; raises ValueError if there is no room for any."""
    if size <= 0:
        raise ValueError("the frame is larger than the whole is to be")
    return ("The quick brown fox jumps over the lazy dog. " * (size // 45 + 1))[:size]


_HEAD: dict[str, Any] = {
    "id": "chatcmpl-CfGk3HsTz",
    "object": "chat.completion.chunk",
    "created": 1_764_000_000,
    "model": MODEL,
}
USAGE_EVENT = _framed({**_HEAD, "choices": [], "usage": _usage(EVENTS - 4)})
ANSWER = _answer()
STREAM = b"".join(events())
