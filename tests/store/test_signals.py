"""Signals on a real database: what others changed is in force here at once, or by the next poll."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from gateway.core.budget import Scope, Window
from gateway.core.ids import KillId, ReplicaId, RunName
from gateway.core.limits import Kill, KillScope, Limits, Target
from gateway.core.money import NanoDollars
from gateway.core.outcome import Ending, Killed
from gateway.exchange.purse import Purse, Terms
from gateway.exchange.switchboard import Running, Switchboard
from gateway.jobs.signals import Signals
from gateway.store.database import Database
from gateway.store.limits import LimitStore
from gateway.store.price_choices import PriceChoices
from gateway.store.replicas import ReplicaStore, Role
from gateway.store.runs import RunDefaults, RunStore
from tests.fakes import FakeClock, FakeLedger, FakeWitness
from tests.store.made import CALLER, DEFAULT, MINT, NOON, SOMEONE, TODAY
from tests.waiting import eventually

TARGET = Target(
    token=CALLER.token,
    project=DEFAULT,
    run=RunName("r1"),
    model="openai/gpt-4o",  # type: ignore[arg-type]
    provider="openai",  # type: ignore[arg-type]
)


class Tokens:
    """Counts how often it was asked to look again."""

    def __init__(self) -> None:
        self.refreshed = 0

    async def refresh(self) -> None:
        self.refreshed += 1


class Here:
    """One replica's view, followed in the test's own loop."""

    def __init__(self, database: Database, poll_s: float = 60.0) -> None:
        self.database = database
        self.replica = ReplicaId(MINT.id())
        self.limits = LimitStore(database)
        self.runs = RunStore(database, MINT, RunDefaults(NanoDollars(100)))
        self.tokens = Tokens()
        self.shares: list[int] = []
        self.prices = Tokens()
        self.board = Switchboard(Limits())
        self.witness = FakeWitness()
        clock = FakeClock()
        self.purse = Purse(FakeLedger({}), self.replica, clock, Terms(15.0, 0), self.witness)
        self.signals = Signals(
            replica=self.replica,
            database=database,
            limits=self.limits,
            runs=self.runs,
            tokens=self.tokens,
            replicas=ReplicaStore(database),
            share=self.shares.append,
            prices=self.prices,
            board=self.board,
            purse=self.purse,
            witness=self.witness,
            now=lambda: NOON,
            poll_s=poll_s,
        )

    @asynccontextmanager
    async def following(self) -> AsyncIterator["Here"]:
        await ReplicaStore(self.database).register(self.replica, Role.ALL, "0")
        await self.signals.read()
        seen = self.tokens.refreshed
        async with anyio.create_task_group() as group:
            group.start_soon(self.signals.run)
            await eventually(lambda: self.tokens.refreshed > seen)
            yield self
            group.cancel_scope.cancel()


def kill() -> Kill:
    return Kill(
        id=KillId(MINT.id()),
        scope=KillScope.ALL,
        scope_id="",
        project=None,
        reason="test",
        by="ada",
        at=NOON,
    )


async def test_a_kill_switch_cuts_what_runs_and_is_acknowledged_with_the_count(database: Database):
    cut: list[Ending] = []
    async with Here(database).following() as here:
        here.board.begin(Running(TARGET, is_stream=True, cut=cut.append))
        switch = await here.limits.kill(kill(), SOMEONE)
        reached = await here.limits.acknowledged(switch.id)
        assert (reached.replicas, reached.acknowledged, reached.streams_cut) == (1, 1, 1)
        assert isinstance(cut[0], Killed)
        assert here.board.limits.kills == (switch,)
        assert "kill_propagated" in here.witness.names()
        await here.limits.lift(switch.id, SOMEONE)
        await eventually(lambda: here.board.limits.kills == ())


async def test_a_kill_switch_that_is_on_at_the_start_is_in_force_before_the_first_call(
    database: Database,
):
    switch = await LimitStore(database).kill(kill(), SOMEONE)
    async with Here(database).following() as here:
        assert [each.id for each in here.board.limits.kills] == [switch.id]
        assert "kill_propagated" not in here.witness.names()


async def test_a_cap_that_is_new_is_asked_from_then_on(database: Database):
    async with Here(database).following() as here:
        key = (Scope.PROJECT, "p1", Window.DAY)
        await here.limits.put(key, NanoDollars(5), TODAY, SOMEONE)
        await eventually(lambda: here.board.limits.caps.get((Scope.PROJECT, "p1")) == (Window.DAY,))


async def test_a_run_that_another_replica_closed_is_closed_here(database: Database):
    async with Here(database).following() as here:
        run = await here.runs.open(DEFAULT, RunName("r1"), None, CALLER)
        assert run.is_open
        other = RunStore(database, MINT, RunDefaults(None))
        await other.close(DEFAULT, RunName("r1"), SOMEONE)

        async def is_closed() -> bool:
            return not (await here.runs.open(DEFAULT, RunName("r1"), None, CALLER)).is_open

        with anyio.fail_after(10):
            while not await is_closed():
                await anyio.lowlevel.checkpoint()


async def test_another_list_of_prices_is_heard_of_at_once(database: Database):
    async with Here(database).following() as here:
        seen = here.prices.refreshed
        await PriceChoices(database).activate(None, SOMEONE)
        await eventually(lambda: here.prices.refreshed > seen)


async def test_without_a_notice_the_poll_finds_it(database: Database):
    async with Here(database, poll_s=0.05).following() as here:
        async with database.transaction() as connection:
            await connection.execute(
                "INSERT INTO kill (id, scope, scope_id, reason, by) VALUES ($1, 'all', '', 'r', 'b')",
                MINT.id(),
            )
        await eventually(lambda: len(here.board.limits.kills) == 1)


async def test_limits_are_shared_by_as_many_replicas_as_serve_calls(database: Database):
    replicas = ReplicaStore(database)
    async with Here(database).following() as here:
        assert here.shares[-1] == 1
        other, jobs = ReplicaId(MINT.id()), ReplicaId(MINT.id())
        await replicas.register(jobs, Role.WORKER, "0")
        await replicas.register(other, Role.PROXY, "0")
        await eventually(lambda: here.shares[-1] == 2)
        await replicas.reclaim_dead(other)
        await eventually(lambda: here.shares[-1] == 1)
        await replicas.renew(other)
        await eventually(lambda: here.shares[-1] == 2)
        await replicas.stop(other)
        await eventually(lambda: here.shares[-1] == 1)
