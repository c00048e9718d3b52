"""A pipeline on fakes: the real dialect, prices and purse, a scripted provider, a ledger in memory."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC

import anyio
import msgspec
from msgspec import structs

from gateway.core.budget import BudgetKey, Scope, Window
from gateway.core.calls import Timeouts
from gateway.core.ids import ModelName, Project, Provider, TokenId
from gateway.core.limits import Caller, Limits, OnExcess
from gateway.core.pricing import DEFAULT_TIER, Model, PriceBook, Rates, Schedule, Vocabulary
from gateway.core.routing import WeightedModel, directory
from gateway.core.secret import Secret
from gateway.core.traces import Trace
from gateway.errors import GatewayError
from gateway.exchange.doors import Door, Terms
from gateway.exchange.holding import Holding
from gateway.exchange.pacing import Pacing
from gateway.exchange.pipeline import Pipeline
from gateway.exchange.progress import Call, Standing
from gateway.exchange.purse import Purse, Terms as PurseTerms
from gateway.exchange.reading import BodyReader
from gateway.exchange.relay import Relay
from gateway.exchange.switchboard import Switchboard
from gateway.providers.adapter import Endpoint, Path
from gateway.providers.catalog import adapter
from gateway.providers.routes import OPENAI
from tests.fakes import (
    FakeCallers,
    FakeClient,
    FakeClock,
    FakeCounter,
    FakeLedger,
    FakeResponse,
    FakeRuns,
    FakeUpstream,
    FakeWitness,
)
from tests.waiting import eventually

KEY = "sk-provider-key-0123456789"
TERMS = Terms(base_url="https://stub.test/v1", keys=(Secret(KEY),))
TOKEN = "gwk_live_client"
MONTH = BudgetKey(Scope.WORKSPACE, "", Window.MONTH, "2026-11-01")
DOLLAR = 10**9
RATES = Rates(
    input=DOLLAR,
    output=2 * DOLLAR,
    cached_input=DOLLAR,
    cache_write=DOLLAR,
    cache_write_1h=DOLLAR,
    audio_input=DOLLAR,
    audio_output=2 * DOLLAR,
    image_output=2 * DOLLAR,
)
MODEL = Model(
    name=ModelName("stub/m"),
    provider=Provider("stub"),
    upstream_name="m",
    tiers={DEFAULT_TIER: Schedule(RATES)},
    max_output_tokens=None,
    context_tokens=1000,
    vocabulary=Vocabulary.O200K,
    hidden_reasoning=False,
)
CALLER = Caller(
    token=TokenId("t1"), name="ci", project=Project("p1"), scopes=frozenset({"llm:call"})
)
EVENTS = [(b"content-type", b"text/event-stream")]
JSON = [(b"content-type", b"application/json")]


def chunk(text: str) -> bytes:
    body = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": text}}]}
    return b"data: " + msgspec.json.encode(body) + b"\n\n"


FINISH = b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8}}\n\n'
DONE = b"data: [DONE]\n\n"
ANSWER = b'{"id":"c","choices":[{"index":0,"message":{"content":"hi"}}],"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8}}'
REPORTED = 5 * 1000 + 3 * 2000
"""What the usage above costs, in nano-dollars."""


def stream(*script: bytes | GatewayError | anyio.Event) -> FakeResponse:
    return FakeResponse(200, EVENTS, script)


def whole(body: bytes = ANSWER, status: int = 200) -> FakeResponse:
    return FakeResponse(status, JSON, [body])


class World:
    """Everything around one pipeline."""

    def __init__(  # noqa: PLR0913  # a world, each part by name
        self,
        answer: FakeResponse | GatewayError | anyio.Event,
        *,
        caps: Mapping[BudgetKey, int | None] | None = None,
        limits: Limits | None = None,
        model: Model = MODEL,
        fallbacks: Sequence[Model] = (),
        targets: Sequence[Model] = (),
        total_s: float = 60.0,
        terms: Mapping[str, Terms] | None = None,
    ) -> None:
        """Answer so. Where there are fallbacks or targets, `fast` is the name of the model with them.

        `targets` answer besides it, in turn by run. `terms` are of the providers that are named.
        """
        self.clock = FakeClock()
        self.chance = 0.0
        """Of the longest pause before a retry."""
        self.ledger = FakeLedger(caps or {MONTH: 1000 * DOLLAR})
        self.witness = FakeWitness()
        self.board = Switchboard(limits or Limits(output_ceiling=100))
        self.upstream = FakeUpstream(answer)
        self.callers = FakeCallers({TOKEN: CALLER})
        self.runs = FakeRuns()
        self.pacing = Pacing(self.clock)
        self.purse = Purse(
            self.ledger,
            "r1",
            self.clock,
            PurseTerms(15.0, 20_000),
            self.witness,  # type: ignore[arg-type]
        )
        models = [model, *fallbacks, *targets]
        book = PriceBook("prices-1", {each.name: each for each in models})
        weighted = tuple(WeightedModel(each.name, 1) for each in (model, *targets))
        aliases = {"fast": weighted} if fallbacks or targets else {}
        names = directory(
            book,
            [each.provider for each in models],
            aliases,
            {"fast": tuple(each.name for each in fallbacks)},
        )
        self.pipeline = Pipeline(
            standing=Standing(
                directory=names,
                spoken={"openai": names},
                adapters={
                    each.provider: adapter(
                        each.provider, "openai", f"https://{each.provider}.test/v1"
                    )
                    for each in models
                },
                timeouts={each.provider: Timeouts(1.0, 1.0, 1.0, total_s) for each in models},
                doors={
                    each.provider: Door(each.provider, (terms or {}).get(each.provider, TERMS))
                    for each in models
                },
                zone=UTC,
            ),
            callers=self.callers,
            runs=self.runs,
            bodies=BodyReader(),
            pacing=self.pacing,
            counter=FakeCounter(),
            clock=self.clock,
            board=self.board,
            purse=self.purse,
            holding=Holding(
                board=self.board,
                purse=self.purse,
                ledger=self.ledger,
                counter=FakeCounter(),
            ),
            relay=Relay(self.upstream, self.board),
            reporter=self.witness,
            chance=lambda: self.chance,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator["World"]:
        async with anyio.create_task_group() as group:
            group.start_soon(self.purse.run)
            yield self
            group.cancel_scope.cancel()
        await self.purse.drain()

    async def call(
        self,
        client: FakeClient | None = None,
        *,
        headers: Sequence[tuple[bytes, bytes]] = (),
        secret: str | None = TOKEN,
        **body: object,
    ) -> FakeClient:
        """Make one call and return its client when it has ended."""
        wanted = {"model": "stub/m", "messages": [{"role": "user", "content": "hi"}], **body}
        client = client or FakeClient()
        client.sends(msgspec.json.encode(wanted))
        await self.pipeline.run(call(headers, secret), client)
        return client

    @property
    def trace(self) -> Trace:
        """The one trace that was reported."""
        (trace,) = self.traces
        return trace

    @property
    def traces(self) -> list[Trace]:
        return [what for name, what in self.witness.heard if name == "call_ended"]  # type: ignore[misc]

    def sent(self) -> dict[str, object]:
        """The body that went upstream."""
        (request,) = self.upstream.requests
        return msgspec.json.decode(request.body, type=dict[str, object])

    async def until_running(self) -> None:
        await eventually(lambda: self.board.running > 0)


def call(headers: Sequence[tuple[bytes, bytes]] = (), secret: str | None = TOKEN) -> Call:
    return Call(
        path=Path(endpoint=Endpoint.CHAT_COMPLETIONS),
        dialect=OPENAI,
        secret=secret,
        headers=list(headers),
        passed=[],
    )


def refusing(**changes: object) -> Limits:
    """Limits that refuse where the default ones clamp."""
    strict = Limits(output_ceiling=100, over_ceiling=OnExcess.REFUSE, short_budget=OnExcess.REFUSE)
    return structs.replace(strict, **changes)
