"""Migrations: each once, in order, whole; anything else than a beginning of ours is refused."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from gateway.errors import LedgerUnavailable, SchemaUnusable
from gateway.store.database import Connection, connect
from gateway.store.migrate import Applied, Migration, migrate, packaged, parse, pending, plan, read
from tests.postgres import Databases

FIRST = parse("0001_ledger.sql", b"CREATE TABLE one (n int); INSERT INTO one VALUES (1);")
SECOND = parse("0002_traces.sql", b"CREATE TABLE two AS SELECT n + 1 AS n FROM one;")
BROKEN = parse("0002_broken.sql", b"CREATE TABLE two (n int); SELECT no_such_function();")
UNRECORDABLE = parse(
    "0002_unrecordable.sql",
    b"CREATE TABLE two (n int);"
    b"ALTER TABLE schema_migration ADD CONSTRAINT no_such CHECK (number < 2);",
)
"""Fails after its own SQL is through."""
END_SLEEPERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()"""


@asynccontextmanager
async def session(dsn: str) -> AsyncIterator[Connection]:
    async with connect(dsn, size=1) as database, database.direct() as connection:
        yield connection


async def tables(connection: Connection) -> set[str]:
    rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {row["tablename"] for row in rows}


def remembered(migrations: Sequence[Migration]) -> list[Applied]:
    return [Applied(one.number, one.name, one.checksum) for one in migrations]


async def test_what_is_missing_is_applied_in_order_and_once(empty_dsn: str):
    async with session(empty_dsn) as connection:
        assert await migrate(connection, [FIRST]) == [FIRST]
        assert await migrate(connection, [FIRST, SECOND]) == [SECOND]
        assert await migrate(connection, [FIRST, SECOND]) == []
        assert await connection.fetchval("SELECT n FROM two") == 2


async def test_pending_says_what_is_missing_and_changes_nothing(empty_dsn: str):
    async with session(empty_dsn) as connection:
        assert await pending(connection, [FIRST, SECOND]) == [FIRST, SECOND]
        assert await tables(connection) == set()
        await migrate(connection, [FIRST])
        assert await pending(connection, [FIRST, SECOND]) == [SECOND]


@pytest.mark.parametrize("bad", [BROKEN, UNRECORDABLE], ids=str)
async def test_a_failed_migration_leaves_what_was_before_it_and_nothing_of_itself(
    empty_dsn: str, bad: Migration
):
    async with session(empty_dsn) as connection:
        with pytest.raises(SchemaUnusable, match=f"migration {bad} failed: .*no_such"):
            await migrate(connection, [FIRST, bad])
        assert await tables(connection) == {"one", "schema_migration"}
        assert await migrate(connection, [FIRST, SECOND]) == [SECOND]


async def test_gateways_that_start_at_once_take_turns(empty_dsn: str):
    async def start() -> list[Migration]:
        async with session(empty_dsn) as connection:
            return await migrate(connection, [FIRST, SECOND])

    async with asyncio.TaskGroup() as group:
        starts = [group.create_task(start()) for _ in range(4)]
    assert sorted(start.result() for start in starts) == [[], [], [], [FIRST, SECOND]]


async def test_a_migrator_that_dies_half_way_leaves_nothing_and_hands_on_its_turn(empty_dsn: str):
    slow = parse("0001_slow.sql", b"CREATE TABLE one (n int); SELECT pg_sleep(60);")

    async def die() -> None:
        with pytest.raises(LedgerUnavailable):
            await start(empty_dsn, slow)

    async with asyncio.TaskGroup() as group:
        group.create_task(die())
        async with session(empty_dsn) as connection:
            async with asyncio.timeout(10):
                while not await connection.fetchval(END_SLEEPERS):  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            assert await migrate(connection, [FIRST]) == [FIRST]


async def start(dsn: str, *migrations: Migration) -> None:
    async with session(dsn) as connection:
        await migrate(connection, list(migrations))


async def test_a_migration_does_not_make_everybody_wait_behind_it(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch
):
    limits = "SET LOCAL lock_timeout = '50ms'"
    monkeypatch.setattr("gateway.store.migrate.LIMITS", limits)
    change = parse("0002_change.sql", b"ALTER TABLE one ADD COLUMN m int;")
    async with session(empty_dsn) as connection, session(empty_dsn) as reader:
        await migrate(connection, [FIRST])
        async with reader.transaction():
            await reader.fetch("SELECT * FROM one")
            with pytest.raises(SchemaUnusable, match="did not get a lock"):
                await migrate(connection, [FIRST, change])
        assert await migrate(connection, [FIRST, change]) == [change]


async def test_a_turn_that_never_comes_is_given_up(empty_dsn: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gateway.store.migrate.WAIT_FOR_TURN", "SET statement_timeout = '50ms'")
    async with session(empty_dsn) as other, session(empty_dsn) as connection:
        await other.execute("SELECT pg_advisory_lock($1)", 0x5265_6173_6F6E)
        with pytest.raises(SchemaUnusable, match="another gateway"):
            await migrate(connection, [FIRST])


async def test_an_owner_who_is_no_superuser_can_migrate_and_a_guest_is_told(
    databases: Databases, empty_dsn: str, visitor: str
):
    url = empty_dsn.replace("gateway@", f"visitor:{visitor}@")
    async with session(url) as connection:
        with pytest.raises(SchemaUnusable, match="owner of the database"):
            await migrate(connection, [FIRST])
    name = re.search(r"/(test_\d+)", empty_dsn)
    assert name is not None
    await databases.do(f"ALTER DATABASE {name[1]} OWNER TO visitor")
    async with session(url) as connection:
        assert await migrate(connection, [FIRST, SECOND]) == [FIRST, SECOND]


async def test_the_release_applies_to_an_empty_database_and_then_has_nothing_to_do(empty_dsn: str):
    async with session(empty_dsn) as connection:
        assert await migrate(connection) == packaged()
        assert await migrate(connection) == []
        assert await pending(connection) == []


def test_files_are_read_by_number(tmp_path: Path):
    (tmp_path / "0002_b.sql").write_text("SELECT 2")
    (tmp_path / "0001_a.sql").write_text("SELECT 1")
    (tmp_path / "README").write_text("not SQL")
    assert [str(one) for one in read(tmp_path)] == ["0001_a", "0002_b"]


@pytest.mark.parametrize(
    "names",
    [
        ["0002_b.sql"],
        ["0001_a.sql", "0003_c.sql"],
        ["0001_a.sql", "0001_b.sql"],
        ["1_a.sql"],
        ["0001-a.sql"],
        ["0001_A.sql"],
    ],
)
def test_a_gap_a_double_or_a_wrong_name_is_refused(tmp_path: Path, names: list[str]):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(SchemaUnusable):
        read(tmp_path)


def test_a_checksum_is_of_the_text_not_of_its_line_ends():
    assert parse("0001_a.sql", b"a\r\nb") == parse("0001_a.sql", b"a\nb")
    assert parse("0001_a.sql", b"a\nb").checksum != parse("0001_a.sql", b"a\nc").checksum


def test_a_schema_newer_than_the_release_is_refused():
    with pytest.raises(SchemaUnusable, match="0002, newer than this release's 0001"):
        plan([FIRST], remembered([FIRST, SECOND]))


def test_a_changed_migration_is_refused():
    changed = parse("0001_ledger.sql", b"CREATE TABLE one (n bigint);")
    with pytest.raises(SchemaUnusable, match=r"0001_ledger .*checksum differs"):
        plan([changed, SECOND], remembered([FIRST]))


def test_a_database_with_a_gap_is_refused():
    with pytest.raises(SchemaUnusable, match="lacks migration 0001_ledger but has 0002_traces"):
        plan([FIRST, SECOND], remembered([SECOND]))


@given(st.data())
def test_only_a_beginning_of_the_release_is_ever_continued(data: st.DataObject):
    release = [parse(f"{n:04}_m.sql", str(n).encode()) for n in range(1, 6)]
    other = [Applied(n, "m", "different") for n in range(1, 8)]
    known = remembered(release)
    drawn = data.draw(st.lists(st.sampled_from(known + other), unique_by=lambda one: one.number))
    applied = sorted(drawn, key=lambda one: one.number)
    if applied == known[: len(applied)]:
        assert plan(release, applied) == release[len(applied) :]
    else:
        with pytest.raises(SchemaUnusable) as refused:
            plan(release, applied)
        assert "\n" not in str(refused.value)
