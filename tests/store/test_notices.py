"""What one gateway tells the others, and that it is told with the change and not before it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio
import pytest

from gateway.core.budget import Scope, Window
from gateway.core.ids import KillId, ReplicaId, RunId
from gateway.core.limits import Kill, KillScope
from gateway.core.money import NanoDollars
from gateway.core.secret import Secret
from gateway.store.access import AccessStore, NewToken, RateLimitChange
from gateway.store.database import Database
from gateway.store.limits import LimitStore
from gateway.store.notices import (
    CHANNEL,
    CapsChanged,
    KillOff,
    KillOn,
    Notice,
    PricesChanged,
    ReplicasChanged,
    RunClosed,
    TokensChanged,
    parse,
    payload,
)
from gateway.store.replicas import ReplicaStore, Role
from gateway.store.runs import RunDefaults, RunStore
from tests.store.made import CALLER, DEFAULT, MINT, NOON, PEPPER, SOMEONE, TODAY, name
from tests.waiting import eventually

ID = "019a0000-0000-7000-8000-000000000001"


@pytest.mark.parametrize(
    "notice",
    [
        KillOn(KillId(ID)),
        KillOff(KillId(ID)),
        CapsChanged(),
        TokensChanged(),
        RunClosed(RunId(ID)),
        ReplicasChanged(),
        PricesChanged(),
    ],
)
def test_every_notice_survives_its_journey(notice: Notice):
    assert parse(payload(notice)) == notice


@pytest.mark.parametrize(
    "text", ["", "kill", "kill:", "kill:x", f"stop:{ID}", f"caps:{ID}", "tokens:"]
)
def test_a_notice_of_another_release_is_nothing(text: str):
    assert parse(text) is None or text == "tokens:"


@asynccontextmanager
async def listening(database: Database) -> AsyncIterator[list[Notice | None]]:
    """Hear notices for a block."""
    heard: list[Notice | None] = []
    is_listening = anyio.Event()

    async def begin() -> None:
        is_listening.set()

    hear = partial(
        database.listen, CHANNEL, lambda text: heard.append(parse(text)), on_reconnect=begin
    )
    async with anyio.create_task_group() as group:
        group.start_soon(hear)
        await is_listening.wait()
        yield heard
        group.cancel_scope.cancel()


async def test_each_change_is_told_to_those_who_listen(database: Database):
    limits = LimitStore(database)
    runs = RunStore(database, MINT, RunDefaults(None))
    access = AccessStore(database, PEPPER, MINT, lambda: 0.0, stale_s=15)
    kill = Kill(
        id=KillId(MINT.id()),
        scope=KillScope.ALL,
        scope_id="",
        project=None,
        reason="",
        by="",
        at=NOON,
    )
    run = await runs.open(DEFAULT, name("r"), None, CALLER)
    async with listening(database) as heard:
        await limits.put((Scope.WORKSPACE, "", Window.DAY), NanoDollars(1), TODAY, SOMEONE)
        await limits.delete((Scope.WORKSPACE, "", Window.DAY), TODAY, SOMEONE)
        await limits.kill(kill, SOMEONE)
        await limits.lift(kill.id, SOMEONE)
        await runs.close(DEFAULT, name("r"), SOMEONE)
        await runs.close(DEFAULT, name("r"), SOMEONE)
        minted = await access.create(NewToken(name="t", project=DEFAULT, scopes=[]), SOMEONE)
        assert isinstance(minted.secret, Secret)
        await access.change(minted.token.id, RateLimitChange(requests_per_minute=1), SOMEONE)
        await access.revoke(minted.token.id, SOMEONE)
        await eventually(lambda: len(heard) >= 8)
    assert heard == [
        CapsChanged(),
        CapsChanged(),
        KillOn(kill.id),
        KillOff(kill.id),
        RunClosed(run.id),
        *[TokensChanged()] * 3,
    ]


async def test_whenever_there_are_more_or_fewer_replicas_the_others_are_told(database: Database):
    replicas = ReplicaStore(database)
    dead, ended = ReplicaId(MINT.id()), ReplicaId(MINT.id())
    async with listening(database) as heard:
        for replica in (dead, ended, ended):
            await replicas.register(replica, Role.ALL, "0")
        await replicas.stop(ended)
        for _ in range(2):
            await replicas.reclaim_dead(dead)
        for _ in range(2):
            await replicas.renew(dead)
        await eventually(lambda: len(heard) >= 5)
    assert heard == [ReplicasChanged()] * 5
