"""The true account: what a provider did for each request, whatever it reported."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.process.produced import Produced
from tests.process.script import Script

Outcome = Literal["running", "complete", "client_gone", "broken_off", "refused"]


@dataclass(slots=True)
class Served:
    """One request, as the provider saw it. Instants are monotonic seconds."""

    id: str
    path: str
    """Without what goes before the API's own words: /chat/completions, /messages, :generateContent."""
    model: str
    stream: bool
    headers: dict[str, str]
    body: Any
    """As JSON, or None where it is large."""
    started: float
    target: str = ""
    """The request's target as it came, with its query."""
    outcome: Outcome = "running"
    """broken_off: the script ended it early; refused: an error answer, nothing produced."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    """Both are parts of `prompt_tokens`."""
    completion_tokens: int = 0
    """Really produced, reasoning included."""
    billed_completion_tokens: int = 0
    """Produced, and what the script bills beyond."""
    usage_reported: bool = False
    chunks: int = 0
    """Events that carried output; a stream's first and last events carry none."""
    chunk_times: list[float] = field(default_factory=list)
    first_byte: float | None = None
    ended: float | None = None
    gone_at: float | None = None
    """When the client's leaving was noticed, if it left before the end."""
    gone_at_chunk: int | None = None

    def takes(self, produced: Produced) -> None:
        """Enter what goes in."""
        self.prompt_tokens = produced.prompt_tokens
        self.cached_tokens = produced.script.cached_tokens
        self.cache_write_tokens = produced.script.cache_write_tokens

    def gives(self, tokens: int, script: Script) -> None:
        """Enter so much more that has come out."""
        self.completion_tokens += tokens
        self.billed_completion_tokens = self.completion_tokens + script.extra_billed_tokens

    def ends(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.ended = time.monotonic()


def totals(seen: Iterable[Served]) -> dict[str, Any]:
    """Return the sums of an account: how many requests, and each model's tokens."""
    models: dict[str, dict[str, int]] = {}
    requests = running = 0
    for served in seen:
        requests += 1
        running += served.outcome == "running"
        sums = models.setdefault(
            served.model,
            {"requests": 0, "prompt_tokens": 0, "completion_tokens": 0, "billed": 0},
        )
        sums["requests"] += 1
        sums["prompt_tokens"] += served.prompt_tokens
        sums["completion_tokens"] += served.completion_tokens
        sums["billed"] += served.billed_completion_tokens
    return {"requests": requests, "running": running, "models": models}
