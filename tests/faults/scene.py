"""One scenario on its stage: who pays, what goes wrong meanwhile, and what it came to."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal

from tests.faults.calls import NUSD, OUTPUT_NUSD, Payer
from tests.faults.load import MAX_TOKENS, MEAN_NUSD, SMALL_TOKENS, Load, Mix
from tests.faults.stage import Stage
from tests.faults.truth import (
    BUDGETS,
    TRACES,
    Books,
    Budget,
    Expected,
    Key,
    broken_budgets,
    broken_calls,
    budgets,
    records,
)

WRONGLY_MOST = Decimal("0.01")
"""Of a cap that was asked for to its end, the most that may be left beside one call's bound."""
CLIENTS = 24


@dataclass(frozen=True, slots=True)
class Size:
    """How much of it: calls at least, and kills where replicas are killed at random."""

    calls: int
    kills: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a scenario came to. Amounts are nano-dollars, over the caps of its payers."""

    calls: int = 0
    served: int = 0
    refused: int = 0
    unavailable: int = 0
    cut_by_crash: int = 0
    kills: int = 0
    truth: int = 0
    cap: int = 0
    recorded: int = 0
    unsettled: int = 0
    overshoot: int = 0
    wrongly: Decimal | None = None
    """The part of the caps that was wrongly refused, of 1; None where that can't be said."""
    problems: list[str] = field(default_factory=list)
    is_complete: bool = True

    @classmethod
    def broken_off(cls, reason: str) -> "Found":
        """Return what is found where a scenario came to no end."""
        return cls(problems=[reason], is_complete=False)


class Scene:
    """What a scenario is given to play with."""

    def __init__(self, stage: Stage, rng: random.Random, name: str, size: Size) -> None:
        self.stage = stage
        self.rng = rng
        self.name = name
        self.size = size
        self.problems: list[str] = []
        self._loads: list[Load] = []
        self._exhausted: list[Key] = []
        self._settled: dict[Key, tuple[Budget, int]] = {}
        self._wrongly: list[Decimal] = []
        self._kills_before = stage.kills
        self._payers = 0

    async def payer(self, cap: int | None, budget: int | None = None, run: str = "run") -> Payer:
        """Return a payer with a run of this cap in a project of its own; `budget` is its token's."""
        self._payers += 1
        token = await self.stage.token(f"{self.name}-{self._payers}", budget)
        return Payer(token, None if cap is None else run, cap)

    def tight(self, share: float = 0.5) -> int:
        """Return a cap that such a share of the calls uses up, in nano-dollars."""
        return round(self.size.calls * share * MEAN_NUSD)

    def load(self, payers: list[Payer], mix: Mix | None = None) -> Load:
        """Return a load whose calls the payers share at random."""
        return self.load_for(lambda _: self.rng.choice(payers), mix)

    def load_for(self, payers: Callable[[int], Payer], mix: Mix | None = None) -> Load:
        """Return a load whose payers are told by a call's number."""
        load = Load(self.stage, self.rng, f"{self.name}-{len(self._loads)}", payers, mix)
        self._loads.append(load)
        return load

    async def meanwhile(
        self, load: Load, trouble: Callable[[], Awaitable[None]], clients: int = CLIENTS
    ) -> None:
        """Run a load until the trouble is over and enough calls were made."""
        over = asyncio.Event()

        def goes_on() -> bool:
            return not over.is_set() or len(load.made) < self.size.calls

        async with asyncio.TaskGroup() as group:
            group.create_task(load.run(goes_on, clients))
            await trouble()
            over.set()

    async def quietly(self, load: Load, clients: int = CLIENTS) -> None:
        """Run a load until enough calls were made."""
        await load.run(lambda: len(load.made) < self.size.calls, clients)

    async def exhaust(self, payer: Payer, key: Key | None = None) -> None:
        """Spend what a payer has left of a budget, by default its own, to the last call that fits."""
        load = self.load([payer])
        await load.spend_the_rest(f"{self.name}-{len(self._loads)}", payer)
        self._exhausted.append(key or narrowest(payer))

    def pause(self, least: float, most: float) -> Awaitable[None]:
        """Wait for a time that the seed decides, in seconds: faults come at no particular instant."""
        return asyncio.sleep(self.rng.uniform(least, most))

    def claim(self, holds: bool, what: str) -> None:
        """Say what must hold; it is a problem if it doesn't."""
        if not holds:
            self.problems.append(what)

    async def books(self, margin: float) -> Books:
        """Wait for rest, and return what everybody has written down."""
        stage = self.stage
        await stage.rest()
        await stage.take_bills()
        traces = await stage.server.read(stage.database, TRACES)
        found = budgets(await stage.server.read(stage.database, BUDGETS))
        crashed = frozenset(one.order.name for one in stage.made if stage.was_crashed(one, margin))
        return Books(stage.made, crashed, stage.bills, records(traces), found, stage.setting.zone)

    async def settle(self, *keys: Key) -> None:
        """Judge budgets as they stand now, since what follows changes their caps."""
        books = await self.books(Expected().flush_seconds)
        self._check_exhausted(books)
        self.problems += broken_budgets(books, keys)
        for key in keys:
            self._settled[key] = books.budgets[key], books.truth(key).billed

    async def judged(self, expected: Expected) -> Found:
        """Compare the books, and return what this scenario came to."""
        books = await self.books(expected.flush_seconds)
        made = [one for load in self._loads for one in load.made]
        self._check_exhausted(books)
        keys = {key for one in made for key in books.keys(one)} - self._settled.keys()
        own = {narrowest(one.order.payer) for one in made} & books.budgets.keys()
        shown = [
            (books.budgets[key], books.truth(key).billed) for key in own - self._settled.keys()
        ]
        shown += self._settled.values()
        statuses = [one.heard.status for one in made]
        return Found(
            calls=len(made),
            served=statuses.count(200),
            refused=statuses.count(402),
            unavailable=statuses.count(503),
            cut_by_crash=sum(one.order.name in books.crashed for one in made),
            kills=self.stage.kills - self._kills_before,
            truth=sum(billed for _, billed in shown),
            cap=sum(budget.cap or 0 for budget, _ in shown),
            recorded=sum(budget.spent for budget, _ in shown),
            unsettled=sum(budget.unsettled for budget, _ in shown),
            overshoot=sum(budget.overshoot for budget, _ in shown),
            wrongly=max(self._wrongly, default=None),
            problems=[
                *self._unhandled(),
                *self.problems,
                *broken_budgets(books, keys),
                *broken_calls(books, made, expected),
            ],
        )

    def _unhandled(self) -> list[str]:
        """Return what replicas logged that they should not: named once, by whichever scene sees it."""
        found = {line for replica in self.stage.replicas for line in replica.unhandled()}
        fresh = found - self.stage.unhandled
        self.stage.unhandled |= fresh
        return [f"logged: {line[:1500]}" for line in sorted(fresh)]

    def _check_exhausted(self, books: Books) -> None:
        for key in self._exhausted:
            part = self._left_over(books, key)
            self._wrongly.append(part)
            self.claim(part <= WRONGLY_MOST, f"{'/'.join(key)}: {part:.2%} of it wrongly refused")
        self._exhausted.clear()

    def _left_over(self, books: Books, key: Key) -> Decimal:
        """Return which part of an exhausted cap is left beside what no call fits into, of 1."""
        budget: Budget = books.budgets[key]
        if budget.cap is None:
            return Decimal(0)
        left = budget.cap - budget.spent - budget.unsettled
        return Decimal(max(0, left - self._small_bound())) / budget.cap

    def _small_bound(self) -> int:
        """Return the bound of the calls that caps are exhausted with, from what others were told."""
        estimates = [
            Decimal(one.heard.headers["x-gateway-estimate-usd"])
            for one in self.stage.made
            if one.order.max_tokens == MAX_TOKENS and "x-gateway-estimate-usd" in one.heard.headers
        ]
        return int(max(estimates) * NUSD) - (MAX_TOKENS - SMALL_TOKENS) * OUTPUT_NUSD


def narrowest(payer: Payer) -> Key:
    """Return the budget that limits a payer first: its run's, else its token's."""
    if payer.run is None:
        return Key("token", payer.token.id)
    return Key("run", f"{payer.token.project}/{payer.run}")
