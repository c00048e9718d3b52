"""Clients that make calls, by a mix that a seed decides."""

import asyncio
import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.faults.calls import MODEL, Leaving, Made, Order, Payer, now
from tests.faults.replica import Replica
from tests.faults.stage import Stage

MAX_TOKENS: Final = 64
SMALL_TOKENS: Final = 16
"""The ceiling of the calls that a cap is spent to its end with."""
MEAN_NUSD: Final = 370_000
"""What a call of the default mix costs, about; its bound is about three times that."""
STAGES: Final[tuple[Leaving, ...]] = ("unsent", "unanswered", "answered", "streaming")
UNREACHED_SECONDS: Final = 0.02
UNAVAILABLE_SECONDS: Final = 0.05
REFUSED_SECONDS: Final = 0.02
"""Whoever was refused tries again, and not as fast as it can."""


@dataclass(frozen=True, slots=True)
class Mix:
    """What calls are like. Shares are of 1."""

    streams: float = 0.5
    leaving: float = 0.05
    """Whose client leaves before the end, at any stage."""
    tokens: tuple[int, int] = (5, MAX_TOKENS)
    scripts: Sequence[Mapping[str, Any]] = field(default_factory=lambda: ({},))
    """One of them is added to what the provider is told."""
    model: str = MODEL


class Load:
    """Makes calls for payers, at replicas of a stage that run."""

    def __init__(
        self,
        stage: Stage,
        rng: random.Random,
        name: str,
        payers: Callable[[int], Payer],
        mix: Mix | None = None,
    ) -> None:
        """`payers` is told a call's number, from 0; `name` begins every call's name."""
        self.made: list[Made] = []
        self._stage = stage
        self._rng = rng
        self._mix = mix or Mix()
        self._orders = self._ordered(name, payers)

    async def run(self, goes_on: Callable[[], bool], clients: int) -> None:
        """Make calls while told to go on, by so many clients at once; returns when all have ended."""
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(self._client(goes_on))

    async def one(self, order: Order, replica: Replica) -> Made | None:
        """Make one call, and keep it; None where nothing listens."""
        started = now()
        heard = await replica.call(order)
        if not heard.was_reached:
            return None
        made = Made(order, replica.number, started, now(), heard)
        self.made.append(made)
        self._stage.made.append(made)
        return made

    async def spend_the_rest(self, name: str, payer: Payer) -> None:
        """Call once after the other, at each replica in turn, until no small call fits any more."""
        numbers = itertools.count()
        for max_tokens in (MAX_TOKENS, SMALL_TOKENS):
            refused = 0
            while refused < 2:
                number = next(numbers)
                made = await self.one(
                    _plain(f"{name}-rest-{number}", payer, max_tokens), self._turn(number)
                )
                refused += made is not None and made.is_refused

    def _turn(self, number: int) -> Replica:
        replicas = self._stage.living
        return replicas[number % len(replicas)]

    async def _client(self, goes_on: Callable[[], bool]) -> None:
        while goes_on():
            replicas = [one for one in self._stage.living if not one.is_frozen]
            made = None
            if replicas:
                made = await self.one(next(self._orders), self._rng.choice(replicas))
            if made is None:
                await asyncio.sleep(UNREACHED_SECONDS)
            elif made.heard.status == 503:
                await asyncio.sleep(UNAVAILABLE_SECONDS)
            elif made.is_refused:
                await asyncio.sleep(REFUSED_SECONDS)

    def _ordered(self, name: str, payers: Callable[[int], Payer]) -> Iterator[Order]:
        rng, mix = self._rng, self._mix
        for number in itertools.count():
            leaves = rng.choice(STAGES) if rng.random() < mix.leaving else "stays"
            script = {
                "tokens": rng.randint(*mix.tokens),
                "tokens_per_chunk": 8,
                "answer_after": rng.choice((0, 0.002, 0.01)),
                "chunk_after": rng.choice((0, 0.001, 0.005)),
                **rng.choice(mix.scripts),
            }
            yield Order(
                name=f"{name}-{number}",
                payer=payers(number),
                is_stream=leaves == "streaming" or rng.random() < mix.streams,
                max_tokens=MAX_TOKENS,
                script=script,
                model=mix.model,
                leaves=leaves,
                after=rng.random() * 0.03,
            )


def _plain(name: str, payer: Payer, max_tokens: int) -> Order:
    script = {"tokens": max_tokens}
    return Order(name, payer, is_stream=False, max_tokens=max_tokens, script=script)
