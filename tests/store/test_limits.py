"""Caps and kill switches: what is put, what holds, who is told."""

from datetime import date

import anyio
import pytest

from gateway.core.budget import Scope, Window
from gateway.core.ids import KillId, ModelName, Project
from gateway.core.limits import Kill, KillScope
from gateway.core.money import NanoDollars
from gateway.store.database import Database
from gateway.store.ledger import LedgerStore
from gateway.store.limits import LimitStore
from gateway.store.replicas import ReplicaStore
from tests.store.made import (
    MINT,
    MONTH,
    NOON,
    SOMEONE,
    TODAY,
    actions,
    line,
    need,
    new_replica,
    project_key,
)

WORKSPACE_MONTH = (Scope.WORKSPACE, "", Window.MONTH)
PROJECT_DAY = (Scope.PROJECT, "p", Window.DAY)


@pytest.fixture
def limits(database: Database) -> LimitStore:
    return LimitStore(database)


def switch(
    scope: KillScope = KillScope.ALL, scope_id: str = "", project: str | None = None
) -> Kill:
    return Kill(
        id=KillId(MINT.id()),
        scope=scope,
        scope_id=scope_id,
        project=None if project is None else Project(project),
        reason="runaway",
        by="token:018f",
        at=NOON,
    )


async def caps(limits: LimitStore, day: date = TODAY) -> dict[tuple[str, str, str], int | None]:
    rows = await limits.spend(day)
    return {(row.scope.value, row.scope_id, row.window.value): row.cap_nusd for row in rows}


async def test_the_workspaces_month_is_told_of_where_nothing_caps_it(limits: LimitStore):
    assert await caps(limits) == {("workspace", "", "month"): None}
    assert (await limits.load()).caps == {}


async def test_the_configured_cap_holds_until_one_is_put_and_again_when_that_is_deleted(
    limits: LimitStore,
):
    await limits.configure(NanoDollars(500), TODAY)
    assert await caps(limits) == {("workspace", "", "month"): 500}
    await limits.put(WORKSPACE_MONTH, NanoDollars(70), TODAY, SOMEONE)
    await limits.configure(NanoDollars(600), TODAY)
    assert await caps(limits) == {("workspace", "", "month"): 70}
    assert await limits.delete(WORKSPACE_MONTH, TODAY, SOMEONE)
    assert await caps(limits) == {("workspace", "", "month"): 600}
    assert not await limits.delete(WORKSPACE_MONTH, TODAY, SOMEONE)
    await limits.configure(None, TODAY)
    assert await caps(limits) == {("workspace", "", "month"): None}
    assert (await limits.load()).caps == {}


async def test_configuring_the_same_again_changes_and_records_nothing(
    limits: LimitStore, database: Database
):
    await limits.configure(NanoDollars(500), TODAY)
    await limits.configure(NanoDollars(500), TODAY)
    assert await actions(database) == [(1, "budget.put", "budget:workspace::month")]


async def test_a_change_acts_on_the_present_period_and_no_other(
    limits: LimitStore, database: Database
):
    ledger, replica = LedgerStore(database), await new_replica(database)
    yesterday, today = (project_key("p") for _ in range(2))
    yesterday = type(today)(today.scope, today.scope_id, today.window, "2026-11-24")
    await limits.put(PROJECT_DAY, NanoDollars(5), TODAY, SOMEONE)
    await ledger.grant(replica, [need(1, yesterday, today)], {}, 0)
    await limits.put(PROJECT_DAY, NanoDollars(9), TODAY, SOMEONE)
    balances = await ledger.balances([yesterday, today])
    assert [balance.cap for balance in balances.values()] == [5, 9]
    await limits.delete(PROJECT_DAY, TODAY, SOMEONE)
    balances = await ledger.balances([yesterday, today])
    assert [balance.cap for balance in balances.values()] == [5, None]


async def test_load_says_which_windows_are_capped(limits: LimitStore):
    await limits.put(PROJECT_DAY, NanoDollars(5), TODAY, SOMEONE)
    await limits.put((Scope.PROJECT, "p", Window.MONTH), NanoDollars(50), TODAY, SOMEONE)
    await limits.put((Scope.MODEL, "openai/gpt-5", Window.TOTAL), NanoDollars(0), TODAY, SOMEONE)
    assert (await limits.load()).caps == {
        (Scope.PROJECT, "p"): (Window.DAY, Window.MONTH),
        (Scope.MODEL, "openai/gpt-5"): (Window.TOTAL,),
    }


async def test_spend_tells_the_present_period_to_the_last_nano_dollar(
    limits: LimitStore, database: Database
):
    ledger, replica = LedgerStore(database), await new_replica(database)
    await limits.put(PROJECT_DAY, NanoDollars(500), TODAY, SOMEONE)
    await ledger.grant(replica, [need(120, MONTH, project_key("p"))], {}, 0)
    await ledger.flush(replica, 1, [line(30, 50, project_key("p"))], [])
    month, day = await limits.spend(TODAY)
    assert (month.scope, month.period_start, month.held_nusd, month.left_nusd) == (
        Scope.WORKSPACE,
        "2026-11-01",
        120,
        None,
    )
    assert (day.scope_id, day.window, day.period_start) == ("p", Window.DAY, "2026-11-25")
    assert (day.cap_nusd, day.spent_nusd, day.held_nusd, day.left_nusd) == (500, 30, 70, 400)
    [tomorrow] = await limits.spend(date(2026, 11, 26), Scope.PROJECT, "p")
    assert (tomorrow.period_start, tomorrow.cap_nusd, tomorrow.left_nusd) == (
        "2026-11-26",
        500,
        500,
    )
    assert await limits.spend(TODAY, Scope.PROJECT, "q") == []


async def test_runs_are_not_among_the_budgets(limits: LimitStore, database: Database):
    await database.execute(
        "INSERT INTO budget (scope, scope_id, time_window, period_start) VALUES ('run', 'r', 'total', '')"
    )
    assert len(await limits.spend(TODAY)) == 1


async def test_a_kill_switch_is_on_until_it_is_lifted(limits: LimitStore, database: Database):
    run = await limits.kill(switch(KillScope.RUN, "r1", "p"), SOMEONE)
    every = await limits.kill(switch(), SOMEONE)
    assert (run.project, run.scope_id, run.reason, run.by) == ("p", "r1", "runaway", "token:018f")
    assert run.at != NOON
    assert (await limits.load()).kills == (run, every)
    assert await limits.lift(run.id, SOMEONE)
    assert not await limits.lift(run.id, SOMEONE)
    assert (await limits.load()).kills == (every,)
    assert [action for _, action, _ in await actions(database)] == [
        "kill.on",
        "kill.on",
        "kill.off",
    ]


async def test_all_kill_switches_are_lifted_at_once(limits: LimitStore):
    thrown = {(await limits.kill(switch(), SOMEONE)).id for _ in range(3)}
    assert set(await limits.lift_all(SOMEONE)) == thrown
    assert (await limits.load()).kills == ()
    assert await limits.lift_all(SOMEONE) == []


@pytest.mark.parametrize("scope", [KillScope.MODEL, KillScope.PROVIDER, KillScope.TOKEN])
async def test_each_scope_is_kept_as_it_is(limits: LimitStore, scope: KillScope):
    kill = await limits.kill(switch(scope, ModelName("openai/gpt-5")), SOMEONE)
    assert (await limits.load()).kills[0] == kill


async def test_a_kill_command_is_answered_when_each_live_replica_has_applied_it(
    limits: LimitStore, database: Database
):
    first, second, gone = [await new_replica(database) for _ in range(3)]
    await ReplicaStore(database).stop(gone)
    kill = await limits.kill(switch(), SOMEONE)
    assert (await limits.acknowledgement(kill.id)).late == (first, second)

    async def apply() -> None:
        await limits.acknowledge(kill.id, first, 4)
        await limits.acknowledge(kill.id, first, 9)
        await limits.acknowledge(kill.id, second, 0)

    async with anyio.create_task_group() as group:
        group.start_soon(apply)
        reached = await limits.acknowledged(kill.id, 10)
    assert (reached.replicas, reached.acknowledged, reached.streams_cut) == (2, 2, 4)
    assert reached.late == ()


async def test_a_kill_command_names_who_has_not_answered_in_time(
    limits: LimitStore, database: Database
):
    first, second = [await new_replica(database) for _ in range(2)]
    kill = await limits.kill(switch(), SOMEONE)
    await limits.acknowledge(kill.id, second, 2)
    reached = await limits.acknowledged(kill.id, 0.02)
    assert (reached.replicas, reached.acknowledged, reached.streams_cut) == (2, 1, 2)
    assert reached.late == (first,)
