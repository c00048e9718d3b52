"""Providers for the gateway to speak to, each a process of its own on 127.0.0.1.

Two are other people's work, so that our reading of the wire is not tested against itself:

* `llmock` (PyPI) and `aimock` (npm `@copilotkit/aimock`) answer as OpenAI, Anthropic and Gemini do,
  and aimock as Azure and Bedrock too, from fixed texts;
* `scripted` is ours (`provider.py`): it misbehaves on demand and keeps the true account.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.process.programs import NODE, ROOT

START_SECONDS = 30.0
AIMOCK = ROOT / "tests/node_modules/@copilotkit/aimock/dist/cli.js"

AIMOCK_TEXT = "Hello from aimock. This text comes in several chunks of twenty characters."
AIMOCK_USAGE = {"prompt_tokens": 30, "completion_tokens": 19, "total_tokens": 49}
"""What every answer reports, in the words of its API; without it all but chat report zeros."""
AIMOCK_FIXTURES: list[dict[str, Any]] = [
    {
        "match": {"endpoint": "chat", "toolName": "get_weather", "hasToolResult": False},
        "response": {
            "toolCalls": [{"name": "get_weather", "arguments": {"city": "Paris"}}],
            "usage": AIMOCK_USAGE,
        },
    },
    {
        "match": {"endpoint": "chat", "responseFormat": "json_object"},
        "response": {"content": '{"answer": 42}', "usage": AIMOCK_USAGE},
    },
    {
        "match": {"endpoint": "chat"},
        "response": {"content": AIMOCK_TEXT, "usage": AIMOCK_USAGE},
    },
    {"match": {"endpoint": "embedding"}, "response": {"embedding": [0.25, -0.5, 1.0]}},
]


@dataclass(frozen=True, slots=True)
class Standin:
    """A running provider."""

    url: str
    """What the SDKs of Azure and Amazon are given, where it serves them."""
    key: str
    anthropic_path: str = ""
    gemini_path: str = ""

    @property
    def base_url(self) -> str:
        """Return what an OpenAI SDK is given: it ends in `/v1`."""
        return f"{self.url}/v1"

    @property
    def anthropic_url(self) -> str:
        """Return what Anthropic's SDK is given, which adds `/v1` itself."""
        return f"{self.url}{self.anthropic_path}"

    @property
    def gemini_url(self) -> str:
        """Return what Google's SDK is given, which adds `/v1` or `/v1beta` itself."""
        return f"{self.url}{self.gemini_path}"


class Scripted(Standin):
    """Our provider, from outside: tell it what to do, and ask what it did."""

    __slots__ = ()

    def script(self, model: str = "*", **said: object) -> None:
        """Set what a model does (`*`: each one without its own) until `reset`; see `script.Script`."""
        self._post("/_script", {model: said})

    def next(self, **said: object) -> None:
        """Set what is done with one request to come, after those that this was said for before."""
        self._post("/_next", said)

    def refuse_early(self, status: int, body: object) -> None:
        """Answer the next request once its head has come, and read its connection away."""
        self._post("/_early", {"status": status, "body": body})

    def reset(self) -> None:
        """Forget the account, and all scripts but those it was started with."""
        self._post("/_reset", {})

    def seen(self) -> list[dict[str, Any]]:
        """Return the account: `account.Served` for each request, in order of arrival."""
        answer = httpx.get(f"{self.url}/_seen", timeout=30)
        requests: list[dict[str, Any]] = answer.raise_for_status().json()["requests"]
        return requests

    def totals(self) -> dict[str, Any]:
        """Return {"requests", "running", "models": {name: {"requests", "prompt_tokens", …}}}."""
        totals: dict[str, Any] = httpx.get(f"{self.url}/_totals").raise_for_status().json()
        return totals

    def settled(self, count: int, *, seconds: float = 10.0) -> list[dict[str, Any]]:
        """Return the account once it holds `count` requests and none is running any more."""

        def is_settled() -> bool:
            totals = self.totals()
            return bool(totals["requests"] >= count and totals["running"] == 0)

        wait_until(is_settled, f"{count} requests have ended", seconds=seconds)
        return self.seen()

    def _post(self, path: str, body: Mapping[str, Any]) -> None:
        httpx.post(f"{self.url}{path}", json=body).raise_for_status()


@contextlib.contextmanager
def llmock(*options: str) -> Iterator[Standin]:
    """Run llmock 0.2, with further options of `llmock serve`.

    Can: chat completions streamed (a word a chunk) and not, usage (an estimate: characters / 4),
    tools (calls the best match with arguments made from its schema, then answers in text), JSON
    mode and schemas, `n`, embeddings (1,536 floats, `str` or `list[str]`), models; OpenAI's
    responses, Anthropic's messages and Gemini under `/v1beta` (also as an array), all with usage;
    `/groq/openai/v1`, `/mistral/v1`, `/xai/v1`, `/together/v1`. Faults by
    `POST /_llmock/scenario`; `GET /_llmock/requests` is its account.
    Can't: honour max_tokens, base64 embeddings, count as OpenAI does, check keys, legacy
    completions, any counting of tokens, Gemini's `/v1` and embeddings, Azure, Bedrock.
    """
    command = [f"{ROOT}/.venv/bin/llmock", "serve", "--port", "0", "--response-style", "static"]
    with _running([*command, *options], r"Uvicorn running on (http://\S+)") as url:
        yield Standin(url, "any-key", anthropic_path="/anthropic", gemini_path="/gemini")


@contextlib.contextmanager
def aimock(fixtures: Sequence[Mapping[str, Any]] | None = None) -> Iterator[Standin]:
    """Run aimock 1.43 with fixtures: {"match": …, "response": …}, the first that matches answers.

    The default ones call `get_weather` where it is offered and not yet answered, answer JSON mode
    with `{"answer": 42}`, and everything else with `AIMOCK_TEXT`, each at `AIMOCK_USAGE`. Can:
    streams (20 characters a chunk), tools, JSON mode, embeddings (the fixture's vector for every
    input; base64 too), models; one fixture answers in every API: OpenAI's chat and responses,
    Azure's deployments and `/openai/v1`, Anthropic's messages, Gemini under `/v1beta`, Bedrock's
    converse and invoke (Claude, Titan, Llama, … by the model's name), streamed and not.
    `GET /__aimock/journal` is its account.
    Can't: honour max_tokens or `n`, follow a JSON schema, miss a catch-all fixture, legacy
    completions, any counting of tokens, Gemini's `/v1`, arrays and batches, text in a stream of
    converse that boto3 takes (it begins a block with an empty `start`; calls of tools are well);
    responses have no sequence numbers, and no key is checked.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "fixtures.json")
        file.write_text(json.dumps({"fixtures": list(fixtures or AIMOCK_FIXTURES)}))
        command = [str(NODE), str(AIMOCK), "--port", "0", "--strict", "--fixtures", str(file)]
        with _running(command, r"listening on (http://\S+)") as url:
            yield Standin(url, "any-key")


@contextlib.contextmanager
def scripted(
    *, key: str | None = None, scripts: Mapping[str, Any] | None = None
) -> Iterator[Scripted]:
    """Run our provider; with `key` it refuses all others. `scripts` are kept through a reset."""
    command = [
        sys.executable,
        "-m",
        "tests.process.provider",
        "--scripts",
        json.dumps(scripts or {}),
    ]
    if key is not None:
        command += ["--key", key]
    with _running(command, r"listening on (http://\S+)") as url:
        yield Scripted(url, key or "any-key")


def wait_until(
    condition: Callable[[], bool], what: str, *, seconds: float = 10.0, every: float = 0.01
) -> None:
    """Return once the condition holds. Raises TimeoutError, naming `what`, after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(every)


@contextlib.contextmanager
def _running(command: list[str], announced: str) -> Iterator[str]:
    """Run a server that announces its URL in its output; yields that URL once it has."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"},
        )
        try:
            yield _announced(process, output.fileno(), announced)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _announced(process: subprocess.Popen[bytes], output: int, pattern: str) -> str:
    found: list[str] = []

    def has_announced() -> bool:
        said = os.pread(output, 1_000_000, 0).decode(errors="replace")
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}:\n{said}")
        found.extend(re.findall(pattern, said))
        return bool(found)

    wait_until(has_announced, f"{process.args!r} announced its URL", seconds=START_SECONDS)
    return found[0]
