"""The audit log: numbered without a gap, bound to the change, never changed."""

import anyio
import asyncpg
import pytest

from gateway.store.audit import Action, Actor, record
from gateway.store.database import Database
from tests.store.made import SOMEONE, actions


async def write(database: Database, target: str, *, fails: bool = False) -> None:
    async with database.transaction() as connection:
        await record(connection, SOMEONE, Action.KILL_ON, target, {"n": 1, "s": "x"})
        if fails:
            raise ZeroDivisionError


async def test_a_row_says_who_did_what_to_what(database: Database):
    async with database.transaction() as connection:
        actor = Actor("token:1", "gwk_live_abc", "192.0.2.7")
        await record(connection, actor, Action.BUDGET_PUT, "budget:run:1", {"cap_nusd": 5})
    row = await database.fetch_row("SELECT * FROM audit")
    assert {name: value for name, value in row.items() if name != "at"} == {
        "seq": 1,
        "actor": "token:1",
        "via": "gwk_live_abc",
        "address": "192.0.2.7",
        "action": "budget.put",
        "target": "budget:run:1",
        "detail": {"cap_nusd": 5},
    }


async def test_numbers_have_no_gap_where_changes_fail_and_race(database: Database):
    async def failing() -> None:
        with pytest.raises(ZeroDivisionError):
            await write(database, "no", fails=True)

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(write, database, "yes")
            group.start_soon(failing)
    assert await actions(database) == [(seq, "kill.on", "yes") for seq in range(1, 11)]
    rows = await database.fetch("SELECT at FROM audit ORDER BY seq")
    assert rows == sorted(rows)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'me'",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "DELETE FROM audit WHERE false",
    ],
)
async def test_the_database_refuses_to_change_or_remove_rows(database: Database, statement: str):
    await write(database, "kept")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await database.execute(statement)
    assert len(await actions(database)) == 1
