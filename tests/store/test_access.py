"""Tokens: who is let in, from memory, and how soon no longer."""

from datetime import timedelta

import anyio
import asyncpg
import pytest

from gateway.core import credentials
from gateway.core.budget import Scope, Window
from gateway.core.ids import ModelName, TokenId
from gateway.core.money import NanoDollars
from gateway.core.rates import MOST_REQUESTS, MOST_TOKENS, RateLimits
from gateway.errors import LedgerUnavailable
from gateway.store.access import MOST_UNKNOWN, AccessStore, Minted, NewToken, RateLimitChange
from gateway.store.database import Database, connect
from gateway.store.limits import LimitStore
from tests.store.made import DEFAULT, MINT, NOON, PEPPER, SOMEONE, TODAY, actions

LIMITS = RateLimits(requests_per_minute=60, tokens_per_minute=5000)


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def store(database: Database, clock: Clock) -> AccessStore:
    return AccessStore(database, PEPPER, MINT, clock, stale_s=15)


@pytest.fixture
def access(database: Database, clock: Clock) -> AccessStore:
    return store(database, clock)


async def create(access: AccessStore, **changes: object) -> Minted:
    wanted = {"name": "app", "project": DEFAULT, "scopes": ["llm:call"]} | changes
    return await access.create(NewToken(**wanted), SOMEONE)  # type: ignore[arg-type]


async def test_the_bearer_of_a_token_is_who_it_was_made_for(access: AccessStore):
    minted = await create(
        access, models=[ModelName("openai/gpt-5")], expires_at=NOON + timedelta(days=9)
    )
    caller = await access.identify(minted.secret.reveal(), NOON)
    assert (caller.token, caller.name, caller.project) == (minted.token.id, "app", DEFAULT)
    assert (caller.scopes, caller.models) == ({"llm:call"}, {"openai/gpt-5"})


async def test_a_tokens_budget_is_known_with_it_and_no_more_once_it_is_taken_back(
    access: AccessStore, database: Database, clock: Clock
):
    minted = await create(access, budget_nusd=NanoDollars(1))
    caller = await access.identify(minted.secret.reveal(), NOON)
    assert caller.capped == {Window.TOTAL}
    await LimitStore(database).delete((Scope.TOKEN, minted.token.id, Window.TOTAL), TODAY, SOMEONE)
    clock.seconds += 1
    await access.refresh()
    caller = await access.identify(minted.secret.reveal(), NOON)
    assert caller.capped == frozenset()


async def test_the_secret_is_nowhere_in_the_database(access: AccessStore, database: Database):
    minted = await create(access)
    row = await database.fetch_row("SELECT * FROM token")
    assert minted.secret.reveal() not in str(dict(row))
    assert row["secret_hmac"] == credentials.keyed_hash(PEPPER, minted.secret.reveal())
    assert row["prefix"] == minted.secret.reveal()[:12] == minted.token.prefix


@pytest.mark.parametrize(
    "secret", ["", "sk-123", "gwk_live_x", "é\ud800", credentials.token(bytes(32))]
)
async def test_who_has_no_valid_token_is_nobody(access: AccessStore, secret: str):
    assert await access.identify(secret, NOON) is None


async def test_a_known_token_needs_no_database(dsn: str, clock: Clock):
    async with connect(dsn, size=1) as database:
        access = store(database, clock)
        secret = (await create(access)).secret.reveal()
        caller = await access.identify(secret, NOON)
    clock.seconds += 15
    assert await access.identify(secret, NOON) == caller
    clock.seconds += 0.001
    with pytest.raises(LedgerUnavailable):
        await access.identify(secret, NOON)


async def test_a_text_that_is_no_token_never_reaches_the_database(dsn: str, clock: Clock):
    async with connect(dsn, size=1) as database:
        access = store(database, clock)
    assert await access.identify(credentials.token(bytes(32))[:-1] + "0", NOON) is None
    with pytest.raises(LedgerUnavailable):
        await access.identify(credentials.token(bytes(32)), NOON)


async def test_an_expired_token_is_nobodys_from_that_moment_on(access: AccessStore):
    secret = (await create(access, expires_at=NOON + timedelta(days=400))).secret.reveal()
    assert await access.identify(secret, NOON + timedelta(days=399)) is not None
    assert await access.identify(secret, NOON + timedelta(days=400)) is None


async def test_a_token_that_expired_by_the_databases_clock_is_nobodys(
    access: AccessStore, database: Database
):
    secret = (await create(access)).secret.reveal()
    await database.execute("UPDATE token SET expires_at = now() - interval '1 s'")
    assert await access.identify(secret, NOON - timedelta(days=9999)) is None


async def test_a_revoked_token_is_refused_here_at_once_and_elsewhere_after_a_refresh(
    access: AccessStore, database: Database, clock: Clock
):
    elsewhere = store(database, clock)
    minted = await create(access)
    secret = minted.secret.reveal()
    assert await access.identify(secret, NOON) == await elsewhere.identify(secret, NOON)
    assert await access.revoke(minted.token.id, SOMEONE)
    assert not await access.revoke(minted.token.id, SOMEONE)
    assert await access.identify(secret, NOON) is None
    assert await elsewhere.identify(secret, NOON) is not None
    clock.seconds += 0.5
    await elsewhere.refresh()
    assert await elsewhere.identify(secret, NOON) is None


async def test_a_refresh_keeps_valid_tokens_in_force_and_brings_their_changes(
    access: AccessStore, database: Database, clock: Clock
):
    secret = (await create(access)).secret.reveal()
    await access.identify(secret, NOON)
    for _ in range(10):
        clock.seconds += 10
        await access.refresh()
        await access.identify(secret, NOON)
    await database.execute("UPDATE token SET project = 'moved'")
    clock.seconds += 0.5
    await access.refresh()
    assert (await access.identify(secret, NOON)).project == "moved"


async def test_a_token_that_nobody_uses_is_forgotten(dsn: str, clock: Clock):
    async with connect(dsn, size=1) as database:
        access = store(database, clock)
        secret = (await create(access)).secret.reveal()
        await access.identify(secret, NOON)
        clock.seconds += 120
        await access.refresh()
    with pytest.raises(LedgerUnavailable):
        await access.identify(secret, NOON)


async def test_an_unknown_token_is_looked_for_once_a_second(dsn: str, clock: Clock):
    stranger = credentials.token(bytes(32))
    async with connect(dsn, size=1) as database:
        access = store(database, clock)
        assert await access.identify(stranger, NOON) is None
    assert await access.identify(stranger, NOON) is None
    clock.seconds += 1
    with pytest.raises(LedgerUnavailable):
        await access.identify(stranger, NOON)


async def test_a_token_just_made_elsewhere_is_let_in_after_a_refresh(
    access: AccessStore, database: Database, clock: Clock
):
    minted = await create(access)
    elsewhere = store(database, clock)
    await database.execute("UPDATE token SET revoked_at = now()")
    assert await elsewhere.identify(minted.secret.reveal(), NOON) is None
    await database.execute("UPDATE token SET revoked_at = NULL")
    assert await elsewhere.identify(minted.secret.reveal(), NOON) is None
    await elsewhere.refresh()
    assert await elsewhere.identify(minted.secret.reveal(), NOON) is not None


async def test_a_flood_of_unknown_tokens_fills_no_memory_and_lets_others_in(access: AccessStore):
    secret = (await create(access)).secret.reveal()
    await access.identify(secret, NOON)
    strangers = [credentials.token(number.to_bytes(32)) for number in range(MOST_UNKNOWN + 50)]

    async def ask(group: list[str]) -> None:
        for stranger in group:
            assert await access.identify(stranger, NOON) is None

    async with anyio.create_task_group() as group:
        for start in range(8):
            group.start_soon(ask, strangers[start::8])
        assert await access.identify(secret, NOON) is not None
    assert len(access._unknown) == MOST_UNKNOWN


async def test_last_use_is_noted_by_the_minute(
    access: AccessStore, database: Database, clock: Clock
):
    await access.identify((await create(access)).secret.reveal(), NOON)
    await create(access)
    clock.seconds += 60
    await access.refresh()
    unused, used = await access.page()
    assert unused.last_used_at is None
    assert used.last_used_at.second == 0
    assert await database.fetch_value(
        "SELECT max(last_used_at) = date_trunc('minute', now()) FROM token"
    )


async def test_a_tokens_budget_is_a_cap_on_all_that_it_spends(
    access: AccessStore, database: Database
):
    minted = await create(access, budget_nusd=NanoDollars(70))
    [budget] = await LimitStore(database).spend(TODAY, Scope.TOKEN)
    assert (budget.scope_id, budget.window, budget.cap_nusd) == (minted.token.id, Window.TOTAL, 70)


async def test_a_token_is_known_with_its_rate_limits(access: AccessStore):
    minted = await create(access, rate_limits=LIMITS)
    assert minted.token.rate_limits == LIMITS
    assert (await access.page())[0].rate_limits == LIMITS
    caller = await access.identify(minted.secret.reveal(), NOON)
    assert caller.rate_limits == LIMITS


async def test_a_token_without_rate_limits_says_so_in_one_comparison(access: AccessStore):
    caller = await access.identify((await create(access)).secret.reveal(), NOON)
    assert caller.rate_limits is None


async def test_changed_rate_limits_are_in_force_elsewhere_after_a_refresh(
    access: AccessStore, database: Database, clock: Clock
):
    elsewhere = store(database, clock)
    minted = await create(access, rate_limits=LIMITS)
    secret = minted.secret.reveal()
    assert (await elsewhere.identify(secret, NOON)).rate_limits == LIMITS
    changed = await access.change(minted.token.id, RateLimitChange(requests_per_minute=9), SOMEONE)
    clock.seconds += 0.5
    await elsewhere.refresh()
    wanted = RateLimits(requests_per_minute=9, tokens_per_minute=5000)
    assert changed.rate_limits == wanted == (await elsewhere.identify(secret, NOON)).rate_limits


async def test_a_change_takes_away_what_is_none_and_leaves_what_is_not_set(access: AccessStore):
    token = (await create(access, rate_limits=LIMITS)).token.id
    once = await access.change(token, RateLimitChange(tokens_per_minute=None), SOMEONE)
    assert once.rate_limits == RateLimits(requests_per_minute=60)
    twice = await access.change(token, RateLimitChange(requests_per_minute=None), SOMEONE)
    assert twice.rate_limits == RateLimits()
    assert (await access.change(token, RateLimitChange(), SOMEONE)) == twice


async def test_a_revoked_or_unknown_token_is_not_changed(access: AccessStore, database: Database):
    token = (await create(access)).token.id
    await access.revoke(token, SOMEONE)
    before = await actions(database)
    change = RateLimitChange(requests_per_minute=1)
    assert await access.change(token, change, SOMEONE) is None
    assert await access.change(TokenId(MINT.id()), change, SOMEONE) is None
    assert await actions(database) == before


async def test_a_change_is_recorded_with_what_holds_after_it(
    access: AccessStore, database: Database
):
    token = (await create(access, rate_limits=LIMITS)).token.id
    await access.change(token, RateLimitChange(tokens_per_minute=None), SOMEONE)
    assert await actions(database) == [
        (1, "token.create", f"token:{token}"),
        (2, "token.change", f"token:{token}"),
    ]
    created, changed = [
        r["detail"] for r in await database.fetch("SELECT * FROM audit ORDER BY seq")
    ]
    assert (created["requests_per_minute"], created["tokens_per_minute"]) == ("60", "5000")
    assert (changed["requests_per_minute"], changed["tokens_per_minute"]) == ("60", "none")


@pytest.mark.parametrize(
    "limits",
    [
        RateLimits(requests_per_minute=MOST_REQUESTS + 1),
        RateLimits(requests_per_minute=0),
        RateLimits(tokens_per_minute=MOST_TOKENS + 1),
        RateLimits(tokens_per_minute=0),
    ],
)
async def test_the_database_refuses_a_limit_that_is_none(access: AccessStore, limits: RateLimits):
    with pytest.raises(asyncpg.CheckViolationError):
        await create(access, rate_limits=limits)
    most = RateLimits(requests_per_minute=MOST_REQUESTS, tokens_per_minute=MOST_TOKENS)
    assert (await create(access, rate_limits=most)).token.rate_limits == most


async def test_tokens_are_listed_newest_first_page_by_page(access: AccessStore):
    names = [(await create(access, name=f"t{number}")).token.name for number in range(3)]
    first = await access.page(limit=2)
    rest = await access.page(before=first[-1].id, limit=2)
    assert [token.name for token in [*first, *rest]] == names[::-1]


async def test_making_and_revoking_are_recorded_without_the_secret(
    access: AccessStore, database: Database
):
    minted = await create(access)
    await access.revoke(minted.token.id, SOMEONE)
    target = f"token:{minted.token.id}"
    assert await actions(database) == [(1, "token.create", target), (2, "token.revoke", target)]
    rows = await database.fetch("SELECT * FROM audit")
    assert minted.secret.reveal() not in str([dict(row) for row in rows])
