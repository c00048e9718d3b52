"""What a load asks for, and what its clients saw of it.

Each call has a name that everybody who keeps books can see: the provider as the request's `user`,
the ledger as the trace's label `call`. So a bill and a record are compared call by call, also where
the client never heard of the call's trace.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

MODEL = "stub/m"
FALLING = "falling"
"""A name whose first model fails, in one of `FAILING`'s ways; `MODEL` is its fallback."""
FAILING: Mapping[str, Mapping[str, Any]] = {
    "stub/refusing": {"status": 503},
    "stub/breaking": {"ending": "reset", "ending_after": -1},
}
"""Models that fail, and how: before anything is billed, and after it."""
INPUT_NUSD = 1_000
OUTPUT_NUSD = 10_000
"""Nano-dollars a token, of the provider's bill and of the gateway's price alike."""
PRICE = {
    "input": "1",
    "output": "10",
    "max_output_tokens": 4096,
    "context_tokens": 128_000,
    "hidden_reasoning": False,
}
NUSD = Decimal(10) ** 9

Leaving = Literal["stays", "unsent", "unanswered", "answered", "streaming"]
"""When a client leaves: in the middle of its request, before the answer, at its head, within it."""


def usd(nusd: int) -> str:
    """Return nano-dollars as the dollars of JSON and headers."""
    return str(Decimal(nusd) / NUSD)


@dataclass(frozen=True, slots=True)
class Token:
    """A client's token, and what is known of it."""

    id: str
    project: str
    secret: str


@dataclass(frozen=True, slots=True)
class Payer:
    """Who pays for a call: a token, and a run with its cap in nano-dollars, if it has one."""

    token: Token
    run: str | None = None
    run_cap: int | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """One call, as it is to be made."""

    name: str
    payer: Payer
    is_stream: bool
    max_tokens: int
    script: Mapping[str, Any]
    """What the provider is told to do with it (`tests/process/script.py`)."""
    model: str = MODEL
    leaves: Leaving = "stays"
    after: float = 0.0
    """Seconds until an unanswered client leaves; of a streaming one, the events it reads, in parts of 0.01."""

    @property
    def goes_beyond(self) -> bool:
        """Return whether the provider is told to pass the bound that it is given."""
        return not self.script.keys().isdisjoint({"ignore_max_tokens", "extra_billed_tokens"})

    @property
    def is_told_its_cost(self) -> bool:
        """Return whether the provider is told to answer whole, with usage, and nothing beyond."""
        says_usage = self.script.get("usage") != "never" and self.model == MODEL
        return says_usage and "ending" not in self.script and not self.goes_beyond

    def request(self) -> bytes:
        """Return the call's bytes on a connection that is kept."""
        body = json.dumps(self._body()).encode()
        lines = [
            "POST /v1/chat/completions HTTP/1.1",
            "host: gateway",
            f"authorization: Bearer {self.payer.token.secret}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            f"x-gateway-label: call={self.name}",
            *self._run_headers(),
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    def _body(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": "Say something, and not too much."}],
            "max_tokens": self.max_tokens,
            "stream": self.is_stream,
            "user": self.name,
            "metadata": {"script": json.dumps(self.script)},
        }

    def _run_headers(self) -> list[str]:
        run, cap = self.payer.run, self.payer.run_cap
        named = [] if run is None else [f"x-gateway-run: {run}"]
        return named if cap is None else [*named, f"x-gateway-run-cap-usd: {usd(cap)}"]


@dataclass(frozen=True, slots=True)
class Heard:
    """What a client heard; without a status nobody answered."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    """Of an answer that is no stream, or no success."""
    is_whole: bool = False
    """Whether the answer ended by its own framing."""
    has_left: bool = False
    """Whether the client left, as ordered."""
    was_reached: bool = True
    """Whether there was a connection at all."""

    @property
    def code(self) -> str | None:
        """Return the code of a refusal."""
        if self.status in {None, 200}:
            return None
        try:
            return str(json.loads(self.body)["error"]["code"])
        except (ValueError, KeyError, TypeError):
            return "unreadable"


@dataclass(frozen=True, slots=True)
class Made:
    """A call that was made at a replica. Instants are monotonic seconds."""

    order: Order
    replica: int
    started: float
    ended: float
    heard: Heard

    @property
    def is_refused(self) -> bool:
        return self.heard.status == 402


def now() -> float:
    """Return this instant, on the clock that all processes of a machine share."""
    return time.monotonic()
