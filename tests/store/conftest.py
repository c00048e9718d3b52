"""Fixtures for tests on a real PostgreSQL.

`postgres` is the one server of the session, `dsn` the URL of a migrated database that is this
test's alone, `database` a `Database` on it.
"""

from collections.abc import AsyncIterator
from typing import Final

import pytest_asyncio

from gateway.store.database import Database, connect
from gateway.store.embedded import EmbeddedPostgres
from tests.postgres import NOT_DURABLE, Databases, passable_folder

OURS: Final = "local all all peer map=gw\n"
"""What the gateway itself allows, beside which the tests have a visitor."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres() -> AsyncIterator[EmbeddedPostgres]:
    with passable_folder() as folder:
        (folder / "hba").write_text(f"local all visitor scram-sha-256\n{OURS}")
        settings = {**NOT_DURABLE, "hba_file": str(folder / "hba")}
        server = EmbeddedPostgres(folder / "state", report=print, settings=settings)
        async with server:
            yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def databases(postgres: EmbeddedPostgres) -> Databases:
    made = Databases(postgres)
    await made.make_template()
    return made


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def visitor(databases: Databases) -> str:
    """The password of a role `visitor`, who is no superuser and comes in by it."""
    await databases.do("CREATE ROLE visitor LOGIN PASSWORD 'right'")
    return "right"


@pytest_asyncio.fixture
async def dsn(databases: Databases) -> AsyncIterator[str]:
    async with databases.fresh() as dsn:
        yield dsn


@pytest_asyncio.fixture
async def empty_dsn(databases: Databases) -> AsyncIterator[str]:
    """The URL of a database without any table."""
    async with databases.fresh("template0") as dsn:
        yield dsn


@pytest_asyncio.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    async with connect(dsn, size=5) as database:
        yield database
