"""The owner's link and session."""

import anyio
import pytest

from gateway.store.database import Database
from gateway.store.sessions import SessionStore
from tests.store.made import MINT, SOMEONE, actions


@pytest.fixture
def sessions(database: Database) -> SessionStore:
    return SessionStore(database, MINT)


async def sign_in(sessions: SessionStore) -> str:
    secret = await sessions.sign_in((await sessions.owner_link(SOMEONE)).reveal())
    assert secret is not None
    return secret.reveal()


async def test_a_link_opens_a_session_of_the_owner(sessions: SessionStore):
    assert await sessions.session(await sign_in(sessions)) == "owner"


async def test_a_link_is_good_once_also_for_many_at_once(sessions: SessionStore):
    link = (await sessions.owner_link(SOMEONE)).reveal()
    opened = []

    async def use() -> None:
        opened.append(await sessions.sign_in(link))

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(use)
    assert sum(secret is not None for secret in opened) == 1


async def test_a_link_is_good_for_half_an_hour(sessions: SessionStore, database: Database):
    link = (await sessions.owner_link(SOMEONE)).reveal()
    lasts = await database.fetch_value(
        "SELECT extract(epoch FROM expires_at - created_at) FROM owner_link"
    )
    assert lasts == 1800
    await database.execute("UPDATE owner_link SET expires_at = now()")
    assert await sessions.sign_in(link) is None


@pytest.mark.parametrize("link", ["", "x", "0" * 43, "\ud800\0"])
async def test_what_is_no_link_opens_nothing(sessions: SessionStore, link: str):
    assert await sessions.sign_in(link) is None
    assert await sessions.session(link) is None
    assert not await sessions.end(link)


@pytest.mark.parametrize(
    "change", ["seen_at = now() - interval '24 h'", "expires_at = now()", "ended_at = now()"]
)
async def test_a_session_ends_when_idle_or_old_or_ended(
    sessions: SessionStore, database: Database, change: str
):
    secret = await sign_in(sessions)
    await database.execute(f"UPDATE session SET {change}")  # noqa: S608
    assert await sessions.session(secret) is None


async def test_a_session_that_is_used_goes_on_for_at_most_a_week(
    sessions: SessionStore, database: Database
):
    secret = await sign_in(sessions)
    await database.execute("UPDATE session SET seen_at = now() - interval '23 h'")
    assert await sessions.session(secret) == "owner"
    assert await database.fetch_value("SELECT now() - seen_at < interval '1 minute' FROM session")
    assert await database.fetch_value(
        "SELECT expires_at - created_at = interval '7 d' FROM session"
    )


async def test_an_ended_session_is_nobodys(sessions: SessionStore, database: Database):
    secret, other = await sign_in(sessions), await sign_in(sessions)
    assert await sessions.end(secret)
    assert not await sessions.end(secret)
    assert await sessions.session(secret) is None
    assert await sessions.session(other) == "owner"
    recorded = [action for _, action, _ in await actions(database)]
    assert recorded == ["owner_link.create", "session.start"] * 2 + ["session.end"]


async def test_no_secret_is_in_the_database(sessions: SessionStore, database: Database):
    secret = await sign_in(sessions)
    for table in ("session", "owner_link", "audit"):
        rows = await database.fetch(f"SELECT t::text FROM {table} t")  # noqa: S608
        assert secret not in str(rows)
