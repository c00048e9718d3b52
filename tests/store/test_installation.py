"""The first start of a database, and the second."""

from datetime import timedelta

import anyio
import pytest

from gateway.errors import ConfigurationInvalid
from gateway.store.access import AccessStore
from gateway.store.database import Database
from gateway.store.installation import FirstStart, InstallationStore
from gateway.store.sessions import SessionStore
from tests.store.made import MINT, NOON, PEPPER, SOMEONE

ADMIN = ["admin:*"]


@pytest.fixture
def installation(database: Database) -> InstallationStore:
    return InstallationStore(database, PEPPER, MINT)


@pytest.fixture
def access(database: Database) -> AccessStore:
    return AccessStore(database, PEPPER, MINT, lambda: 0.0, stale_s=15)


async def test_the_first_start_gives_a_token_for_calls_and_a_link_for_the_owner(
    installation: InstallationStore, access: AccessStore, database: Database
):
    first = await installation.open(NOON)
    caller = await access.identify(first.client.secret.reveal(), NOON)
    assert (caller.project, caller.scopes) == ("default", {"llm:call"})
    assert await SessionStore(database, MINT).sign_in(first.owner_link.reveal()) is not None


async def test_later_starts_give_nothing(installation: InstallationStore, database: Database):
    await installation.open(NOON)
    assert await installation.open(NOON) is None
    assert await InstallationStore(database, PEPPER, MINT).open(NOON) is None
    assert await database.fetch_value("SELECT count(*) FROM token") == 1


async def test_of_several_that_start_at_once_one_is_the_first(installation: InstallationStore):
    given: list[FirstStart | None] = []

    async def start() -> None:
        given.append(await installation.open(NOON))

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(start)
    assert sum(first is not None for first in given) == 1


async def test_another_pepper_on_the_same_database_stops_the_start(
    installation: InstallationStore, database: Database
):
    await installation.open(NOON)
    with pytest.raises(ConfigurationInvalid, match="the token pepper is not the one"):
        await InstallationStore(database, bytes(32), MINT).open(NOON)


async def test_a_short_pepper_is_refused_before_anything_is_written(database: Database):
    with pytest.raises(ValueError, match="at least 32 bytes"):
        await InstallationStore(database, b"short", MINT).open(NOON)
    assert await database.fetch_value("SELECT count(*) FROM installation") == 0


async def test_a_local_token_is_made_where_there_is_no_good_one(
    installation: InstallationStore, access: AccessStore
):
    local = await installation.local_token(None, ADMIN, NOON)
    caller = await access.identify(local.secret.reveal(), NOON)
    assert caller.scopes == {"admin:*"}
    assert caller.expires_at == NOON + timedelta(days=365)
    assert await installation.local_token(local.secret.reveal(), ADMIN, NOON) is None
    await access.revoke(local.token.id, SOMEONE)
    assert await installation.local_token(local.secret.reveal(), ADMIN, NOON) is not None
