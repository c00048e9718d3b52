"""Calls of tokens with rate limits: what counts, what comes back, and what is left alone."""

import anyio
import msgspec
import pytest
from msgspec import structs

from gateway.core.budget import BudgetKey, Scope, Window
from gateway.core.ids import ModelName, Provider
from gateway.core.rates import RateLimits
from gateway.core.refusal import Code
from gateway.errors import UpstreamUnreachable
from tests.fakes import FakeClient, FakeResponse
from tests.unit.exchange.world import (
    ANSWER,
    CALLER,
    DONE,
    MODEL,
    MONTH,
    TOKEN,
    USAGE,
    World,
    chunk,
    refusing,
    stream,
    whole,
)

R1 = [(b"x-gateway-run", b"r1")]
RUN = BudgetKey(Scope.RUN, "p1/r1", Window.TOTAL, "")
USED = 8
"""Tokens that the scripted answers report."""


def limited(world: World, requests: int | None = None, tokens: int | None = None) -> World:
    limits = RateLimits(requests_per_minute=requests, tokens_per_minute=tokens)
    world.callers._callers[TOKEN] = structs.replace(CALLER, rate_limits=limits)
    return world


def left(world: World, tokens: int) -> int:
    """Return how many of a limit's tokens can be taken now."""
    bucket = world.pacing._paces[CALLER.token]._tokens
    assert bucket is not None
    bucket.turn(bucket.rate, int(world.clock.seconds * 10**9))
    count = 0
    while count < tokens and not bucket.wait_ns((count + 1) * 60 * 10**9):
        count += 1
    return count


def answering() -> World:
    """Return a world whose provider answers every call."""
    world = World(whole())
    world.upstream.answer = whole
    return world


def code(client: FakeClient) -> str:
    found: str = msgspec.json.decode(client.received)["error"]["code"]
    return found


async def test_a_request_too_many_is_refused_and_tells_when_to_come_again():
    world = limited(answering(), requests=12)
    async with world.running():
        served = [(await world.call()).status for _ in range(12)]
        refused = await world.call(headers=R1)
        world.clock.advance(5)
        again = await world.call()
    assert served == [200] * 12
    assert (refused.status, code(refused), refused.header("retry-after")) == (
        429,
        "rate_limited",
        "5",
    )
    assert again.status == 200
    assert world.traces[12].code is Code.RATE_LIMITED


async def test_a_call_that_is_refused_opens_no_run_takes_no_place_and_holds_nothing():
    world = limited(answering(), requests=1)
    async with world.running():
        await world.call()
        asked = world.ledger.asked
        await world.call(headers=R1)
        assert not world.runs.runs
        assert world.ledger.asked == asked
        assert world.upstream.sent == 1
        assert all(door.room.taken == 0 for door in world.pipeline.standing.doors.values())


async def test_another_tokens_calls_and_those_without_limits_are_not_held_up():
    world = limited(answering(), requests=1)
    world.callers._callers["free"] = CALLER
    async with world.running():
        await world.call()
        assert (await world.call()).status == 429
        assert (await world.call(secret="free")).status == 200


async def test_a_dry_run_counts_nothing():
    world = limited(answering(), requests=1, tokens=1000)
    async with world.running():
        for _ in range(3):
            dry = await world.call(headers=[(b"x-gateway-dry-run", b"true")])
            assert dry.status == 200
        assert (await world.call()).status == 200


@pytest.mark.parametrize("streams", [False, True])
async def test_a_call_counts_for_what_its_provider_reports(streams: bool):
    answer = stream(chunk("hi"), USAGE, DONE) if streams else whole()
    world = limited(World(answer), tokens=1000)
    async with world.running():
        await world.call(stream=streams, max_tokens=50)
    assert left(world, 1000) == 1000 - USED


async def test_while_it_runs_it_counts_for_what_it_may_use():
    gate = anyio.Event()
    world = limited(World(stream(chunk("hi"), gate, USAGE, DONE)), tokens=100)
    async with world.running(), anyio.create_task_group() as group:
        group.start_soon(lambda: world.call(stream=True, max_tokens=60))
        await world.until_running()
        refused = await world.call(max_tokens=60)
        gate.set()
    assert (refused.status, code(refused)) == (429, "rate_limited")
    assert "Too many tokens" in refused.received.decode()
    assert left(world, 100) == 100 - USED


async def test_a_call_that_a_budget_refuses_gives_its_tokens_back_and_was_a_request():
    world = limited(World(whole(), caps={MONTH: 1}, limits=refusing()), requests=2, tokens=100)
    async with world.running():
        assert (await world.call()).status == 402
        assert left(world, 100) == 100
        assert (await world.call()).status == 402
        assert (await world.call()).status == 429


async def test_a_client_that_leaves_gives_back_what_is_not_used():
    never = anyio.Event()
    world = limited(World(FakeResponse(200, [], [never])), tokens=1000)
    async with world.running(), anyio.create_task_group() as group:
        group.start_soon(world.call)
        await world.until_running()
        group.cancel_scope.cancel()
    guess = 1000 - left(world, 1000)
    assert 100 < guess < 300, "what a lost call used nobody knows, so its guess stands"
    world.clock.advance(60)
    assert left(world, 1000) == 1000


async def test_all_attempts_of_a_call_count_as_one_request_and_the_tokens_of_each():
    other = structs.replace(
        MODEL, name=ModelName("other/n"), provider=Provider("other"), upstream_name="n"
    )
    world = limited(World(whole(ANSWER), fallbacks=[other]), requests=1, tokens=1000)
    world.upstream.answers.append(UpstreamUnreachable("x"))
    async with world.running():
        assert (await world.call(model="fast")).status == 200
    assert world.trace.attempts == 2
    assert left(world, 1000) == 1000 - USED


async def test_input_that_never_fits_is_refused_for_good():
    world = limited(answering(), tokens=10)
    async with world.running():
        refused = await world.call(messages=[{"role": "user", "content": "x" * 400}])
    assert refused.status == 429
    assert refused.header("x-should-retry") == "false"
    assert refused.header("retry-after") is None
    assert "10 tokens a minute" in refused.received.decode()
