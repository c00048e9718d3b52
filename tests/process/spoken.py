"""One call in each form of each API, as plain HTTP: what is common to them all is tested on these."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.process.bedrock_provider import BedrockProvider
from tests.process.observing import PRICE
from tests.process.standins import Scripted

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
MODELS = ("mock/model", "azure/model", "anthropic/model", "gemini/model", f"bedrock/{CLAUDE}")


@dataclass(frozen=True)
class Form:
    """A way to ask for output. `body` takes the prompt, `broken` the message of an error event."""

    name: str
    path: str
    body: Callable[[str], dict[str, Any]]
    broken: Callable[[str], str] | None = None
    """An error event of a stream in which it is an event of text; None where it is no such stream."""

    @property
    def is_bedrock(self) -> bool:
        return self.name.startswith("bedrock")

    @property
    def streams(self) -> bool:
        return self.broken is not None or "stream" in self.path


def _said(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def _chat(text: str, **more: object) -> dict[str, Any]:
    return {"model": "mock/model", "max_tokens": 64, "messages": _said(text), **more}


def _completion(text: str, **more: object) -> dict[str, Any]:
    return {"model": "mock/model", "max_tokens": 64, "prompt": text, **more}


def _response(text: str, **more: object) -> dict[str, Any]:
    return {"model": "mock/model", "max_output_tokens": 64, "input": text, **more}


def _azure_response(text: str) -> dict[str, Any]:
    return {**_response(text), "model": "azure/model"}


def _message(text: str, **more: object) -> dict[str, Any]:
    return {"model": "anthropic/model", "max_tokens": 64, "messages": _said(text), **more}


def _content(text: str) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": text}]}]}


def _converse(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"text": text}]}]}


def _invoke(text: str) -> dict[str, Any]:
    return {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": _said(text)}


def _streamed(body: Callable[..., dict[str, Any]]) -> Callable[[str], dict[str, Any]]:
    return lambda text: body(text, stream=True)


def _openai_error(text: str) -> str:
    return "data: " + json.dumps({"error": {"message": text, "type": "e", "code": "c"}})


def _response_error(text: str) -> str:
    event = {"type": "error", "sequence_number": 1, "code": "c", "message": text, "param": None}
    return "event: error\ndata: " + json.dumps(event)


def _response_failed(text: str) -> str:
    error = {"code": "server_error", "message": text}
    response = {"id": "r", "object": "response", "status": "failed", "error": error, "output": []}
    event = {"type": "response.failed", "sequence_number": 1, "response": response}
    return "event: response.failed\ndata: " + json.dumps(event)


def _message_error(text: str) -> str:
    event = {"type": "error", "error": {"type": "overloaded_error", "message": text}}
    return "event: error\ndata: " + json.dumps(event)


def _element_error(text: str) -> str:
    return json.dumps({"error": {"code": 500, "message": text, "status": "INTERNAL"}})


_DEPLOYED = "/azure/openai/deployments/azure%2Fmodel/chat/completions?api-version=2024-10-21"
_GEMINI = "/gemini/v1beta/models/gemini%2Fmodel:"
_BEDROCK = f"/bedrock/model/bedrock%2F{CLAUDE.replace(':', '%3A')}/"

FORMS = [
    Form("chat", "/v1/chat/completions", _chat),
    Form("chat streamed", "/v1/chat/completions", _streamed(_chat), _openai_error),
    Form("completions", "/v1/completions", _completion),
    Form("completions streamed", "/v1/completions", _streamed(_completion), _openai_error),
    Form("responses", "/v1/responses", _response),
    Form("responses streamed", "/v1/responses", _streamed(_response), _response_error),
    Form("responses failed", "/v1/responses", _streamed(_response), _response_failed),
    Form("azure", _DEPLOYED, _chat),
    Form("azure streamed", _DEPLOYED, _streamed(_chat), _openai_error),
    Form("azure responses", "/azure/openai/v1/responses", _azure_response),
    Form("messages", "/anthropic/v1/messages", _message),
    Form("messages streamed", "/anthropic/v1/messages", _streamed(_message), _message_error),
    Form("gemini", f"{_GEMINI}generateContent", _content),
    Form(
        "gemini streamed",
        f"{_GEMINI}streamGenerateContent?alt=sse",
        _content,
        lambda text: "data: " + _element_error(text),
    ),
    Form("gemini array", f"{_GEMINI}streamGenerateContent", _content, _element_error),
    Form("bedrock converse", f"{_BEDROCK}converse", _converse),
    Form("bedrock converse-stream", f"{_BEDROCK}converse-stream", _converse),
    Form("bedrock invoke", f"{_BEDROCK}invoke", _invoke),
    Form("bedrock invoke stream", f"{_BEDROCK}invoke-with-response-stream", _invoke),
]


def config(scripted: Scripted, bedrock: BedrockProvider) -> dict[str, Any]:
    """Return a configuration in which each form is answered, by one of the two."""
    places: Mapping[str, tuple[str, str, str]] = {
        "mock": ("openai", scripted.base_url, scripted.key),
        "azure": ("azure", scripted.url, scripted.key),
        "anthropic": ("anthropic", scripted.anthropic_url, scripted.key),
        "gemini": ("gemini", scripted.gemini_url, scripted.key),
        "bedrock": ("bedrock", bedrock.url, bedrock.key),
    }
    return {
        "providers": {
            name: {"dialect": dialect, "base_url": url, "key": key}
            for name, (dialect, url, key) in places.items()
        },
        "prices": dict.fromkeys(MODELS, PRICE | {"cache_write": "2", "cache_write_1h": "3"}),
    }
