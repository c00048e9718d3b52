"""Calls to providers that fail or are full: who is asked instead, who is refused, who tries again."""

from collections import Counter
from collections.abc import Callable

import anyio
import pytest
from msgspec import structs

from gateway.core.budget import BudgetKey, Scope, Window
from gateway.core.health import Circuit
from gateway.core.ids import ModelName, Provider
from gateway.core.limits import KillScope
from gateway.core.outcome import Outcome
from gateway.core.refusal import Code
from gateway.errors import LedgerUnavailable, UpstreamUnreachable
from gateway.exchange.doors import Door, Terms
from tests.fakes import FakeClient
from tests.unit.exchange.test_fallbacks import (
    SECOND,
    between,
    heard,
    kill,
    tried,
    waiting_for_the_second_hold,
)
from tests.unit.exchange.test_retries import error, is_settled
from tests.unit.exchange.world import (
    CALLER,
    DONE,
    FINISH,
    MODEL,
    MONTH,
    REPORTED,
    TERMS,
    TOKEN,
    USAGE,
    World,
    chunk,
    refusing,
    stream,
    whole,
)
from tests.waiting import eventually

OTHER = structs.replace(
    MODEL, name=ModelName("other/n"), provider=Provider("other"), upstream_name="n"
)
LAST = structs.replace(
    MODEL, name=ModelName("last/o"), provider=Provider("last"), upstream_name="o"
)
CIRCUIT = structs.replace(TERMS, circuit=Circuit(2, 10.0))
ONE = structs.replace(TERMS, most_at_once=1)


def world_of(terms: Terms = CIRCUIT, **more: object) -> World:
    """A world in which these are the terms of `stub`, and everybody answers well."""
    world = World(whole(), terms={"stub": terms}, **more)  # type: ignore[arg-type]
    world.upstream.answer = whole
    return world


async def opened(**more: object) -> World:
    """A world whose circuit has just opened, by two calls to `stub/m` itself."""
    world = world_of(**more)
    world.upstream.answers.extend([error(500), UpstreamUnreachable("x")])
    async with world.running():
        for _ in range(2):
            await world.call()
    assert heard(world, "circuit_opened") == [("stub", 2, 10.0)]
    world.upstream.requests.clear()
    world.witness.heard.clear()
    return world


def run(number: int) -> list[tuple[bytes, bytes]]:
    return [(b"x-gateway-run", b"r%d" % number)]


async def test_a_provider_that_fails_is_not_asked_and_nothing_is_held():
    world = await opened()
    world.clock.advance(2.5)
    grants = world.ledger.grants
    async with world.running():
        client = await world.call(headers=run(1))
    assert client.status == 502
    assert b"stub has failed 2 times in a row; it is tried again in 8 s." in client.received
    assert client.header("retry-after") == "8"
    assert not world.upstream.requests
    assert world.ledger.grants == grants
    assert not world.runs.runs, "no run is opened for it"
    trace = world.trace
    assert (trace.outcome, trace.code, trace.attempts) == (
        Outcome.REFUSED,
        Code.UPSTREAM_ERROR,
        0,
    )
    assert (trace.provider, trace.cost_nusd) == ("stub", 0)


async def test_it_is_tried_by_one_call_and_asked_by_all_when_that_is_answered():
    world = await opened()
    world.clock.advance(10.0)
    gate = anyio.Event()
    world.upstream.answers.append(stream(gate, chunk("hi"), gate, FINISH, USAGE, DONE))
    clients = [FakeClient() for _ in range(3)]
    async with world.running(), anyio.create_task_group() as group:
        group.start_soon(lambda: world.call(clients[0], stream=True))
        await eventually(lambda: len(world.upstream.requests) == 1)
        await world.call(clients[1])
        gate.set()
        await eventually(lambda: bool(heard(world, "circuit_closed")))
        await world.call(clients[2])
    assert [client.status for client in clients] == [200, 200, 200]


async def test_while_it_is_tried_everybody_else_is_refused_at_once():
    world = await opened()
    world.clock.advance(10.0)
    world.upstream.connects = anyio.Event()
    clients = [FakeClient() for _ in range(3)]
    async with world.running(), anyio.create_task_group() as group:
        group.start_soon(lambda: world.call(clients[0]))
        await eventually(lambda: len(world.upstream.requests) == 1)
        await world.call(clients[1])
        assert clients[1].status == 502
        world.upstream.connects.set()
        await eventually(lambda: clients[0].is_ended)
        await world.call(clients[2])
    assert [client.status for client in clients] == [200, 502, 200]
    assert heard(world, "circuit_closed") == ["stub"]
    assert len(world.upstream.requests) == 2


async def test_a_try_that_fails_is_not_repeated_for_twice_as_long():
    world = world_of(structs.replace(TERMS, circuit=Circuit(1, 4.0)))
    world.upstream.answers.extend([error(500), error(529)])
    async with world.running():
        assert (await world.call()).status == 500
        world.clock.advance(4.0)
        assert (await world.call()).status == 529
        world.clock.advance(7.5)
        assert (await world.call()).header("retry-after") == "1"
        world.clock.advance(0.5)
        assert (await world.call()).status == 200
    assert heard(world, "circuit_opened") == [("stub", 1, 4.0), ("stub", 2, 8.0)]
    assert len(world.upstream.requests) == 3


async def test_a_stream_that_breaks_after_its_answer_began_opens_it_again():
    world = await opened()
    world.clock.advance(10.0)
    world.upstream.answers.append(stream(chunk("hi")))
    async with world.running():
        await world.call(stream=True)
        client = await world.call()
    assert [name for name in world.witness.names() if name.startswith("circuit")] == [
        "circuit_closed",
        "circuit_opened",
    ]
    assert client.status == 502


async def test_a_client_error_says_that_it_works():
    world = await opened()
    world.clock.advance(10.0)
    world.upstream.answers.append(error(400))
    async with world.running():
        assert (await world.call()).status == 400
        assert (await world.call()).status == 200


@pytest.mark.parametrize("ends", ["unheld", "cancelled", "left", "killed"])
async def test_a_try_that_tells_nothing_lets_the_next_call_try(ends: str):
    of_run = BudgetKey(Scope.RUN, "p1/r1", Window.TOTAL, "")
    world = await opened(caps={MONTH: None, of_run: 10}, limits=refusing())
    world.clock.advance(10.0)
    client = FakeClient()
    async with world.running():
        if ends == "unheld":
            assert (await world.call(headers=run(1))).status == 402
        else:
            world.upstream.connects = anyio.Event()
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: world.call(client))
                await eventually(lambda: len(world.upstream.requests) == 1)
                match ends:
                    case "cancelled":
                        group.cancel_scope.cancel()
                    case "left":
                        client.left.set()
                    case _:
                        kills = (kill(KillScope.ALL),)
                        world.board.apply(structs.replace(world.board.limits, kills=kills))
            world.board.apply(structs.replace(world.board.limits, kills=()))
            world.upstream.connects = None
        assert (await world.call()).status == 200
    assert heard(world, "circuit_closed") == ["stub"]
    assert is_settled(world)


async def homes(world: World, *numbers: int) -> list[str]:
    """Who serves these runs, in order."""
    world.upstream.requests.clear()
    for number in numbers:
        assert (await world.call(headers=run(number), model="fast")).status == 200
    return tried(world)


async def test_runs_move_from_a_target_that_fails_and_come_back():
    world = world_of(targets=[OTHER])
    async with world.running():
        before = await homes(world, *range(12))
        assert set(before) == {"stub", "other"}
        world.upstream.answers.extend([error(500), error(500)])
        for _ in range(2):
            await world.call()
        assert await homes(world, *range(12)) == 12 * ["other"]
        world.clock.advance(10.0)
        assert await homes(world, *range(12)) == before


async def test_where_all_targets_fail_it_fails_fast():
    world = World(whole(), targets=[OTHER], terms={"stub": CIRCUIT, "other": CIRCUIT})
    world.upstream.answers.extend(error(503) for _ in range(4))
    async with world.running():
        for model in ("stub/m", "other/n"):
            for _ in range(2):
                await world.call(model=model)
        world.upstream.requests.clear()
        clients = [await world.call(headers=run(number), model="fast") for number in range(6)]
    assert {client.status for client in clients} == {502}
    assert not world.upstream.requests


async def test_a_call_begins_with_a_fallback_where_its_model_is_not_asked():
    world = await opened(fallbacks=[OTHER, LAST])
    async with world.running():
        client = await world.call(model="fast")
    assert client.status == 200
    assert client.header("x-gateway-model") == "other/n"
    assert tried(world) == ["other"]
    trace = world.trace
    assert (trace.attempts, trace.model, trace.cost_nusd) == (1, "other/n", REPORTED)
    assert not heard(world, "attempt_failed")


async def test_the_fallbacks_after_that_one_are_left_to_it():
    world = await opened(fallbacks=[OTHER, LAST])
    world.upstream.answers.append(error(500))
    async with world.running():
        await world.call(model="fast")
    assert tried(world) == ["other", "last"]
    assert world.trace.attempts == 2


async def test_a_fallback_that_may_not_be_made_is_not_begun_with():
    world = await opened(fallbacks=[OTHER, LAST])
    allowed = frozenset({MODEL.name, LAST.name})
    world.callers._callers = {TOKEN: structs.replace(CALLER, models=allowed)}
    async with world.running():
        await world.call(model="fast")
    assert tried(world) == ["last"]


async def test_a_fallback_that_fails_is_passed_over():
    world = World(whole(), fallbacks=[OTHER, LAST], terms={"other": CIRCUIT})
    world.upstream.answers.extend(error(500) for _ in range(3))
    async with world.running():
        for _ in range(2):
            await world.call(model="other/n")
        world.upstream.requests.clear()
        client = await world.call(model="fast")
    assert client.status == 200
    assert tried(world) == ["stub", "last"]


async def test_a_call_whose_own_failure_opens_it_is_not_retried_there():
    terms = structs.replace(CIRCUIT, retries=5)
    world = world_of(terms, fallbacks=[OTHER])
    world.upstream.answers.extend(error(500) for _ in range(2))
    async with world.running():
        client = await world.call(model="fast")
    assert client.status == 200
    assert tried(world) == ["stub", "stub", "other"]


async def test_an_estimate_is_made_whether_or_not_it_is_asked():
    world = await opened()
    async with world.running():
        client = await world.call(headers=[(b"x-gateway-dry-run", b"true")])
    assert client.status == 200
    assert is_settled(world)


async def test_what_was_learned_outlives_a_reload():
    world = await opened()
    terms = structs.replace(CIRCUIT, most_at_once=5)
    fresh = {Provider("stub"): Door(Provider("stub"), terms)}
    world.pipeline.standing = structs.replace(world.pipeline.standing, doors=fresh)
    async with world.running():
        assert (await world.call()).status == 502
        moved = structs.replace(terms, base_url="https://moved.test/v1")
        fresh = {Provider("stub"): Door(Provider("stub"), moved)}
        world.pipeline.standing = structs.replace(world.pipeline.standing, doors=fresh)
        assert (await world.call()).status == 200


async def busy(world: World, group: anyio.abc.TaskGroup) -> anyio.Event:
    """Let a call to `stub` run until the event is set."""
    gate = anyio.Event()
    world.upstream.answers.append(stream(chunk("hi"), gate, FINISH, USAGE, DONE))
    group.start_soon(lambda: world.call(stream=True))
    await eventually(lambda: len(world.upstream.requests) == 1)
    return gate


async def test_one_call_too_many_is_refused_and_told_when_to_come_back():
    world = world_of(ONE)
    async with world.running():
        async with anyio.create_task_group() as group:
            gate = await busy(world, group)
            client = await world.call()
            assert (client.status, client.header("retry-after")) == (429, "1")
            assert b"too_many_streams" in client.received
            assert b"stub" in client.received
            assert len(world.upstream.requests) == 1
            gate.set()
        assert (await world.call()).status == 200
    assert [trace.code for trace in world.traces] == [Code.TOO_MANY_STREAMS, None, None]
    assert world.traces[0].attempts == 0


@pytest.mark.parametrize("more", [{"targets": [OTHER]}, {"fallbacks": [OTHER]}])
async def test_one_call_too_many_goes_to_the_next(more: dict[str, object]):
    world = world_of(ONE, **more)
    async with world.running(), anyio.create_task_group() as group:
        gate = await busy(world, group)
        for number in range(6):
            client = await world.call(headers=run(number), model="fast")
            assert client.status == 200
        gate.set()
    assert tried(world) == ["stub", *6 * ["other"]]


async def test_an_attempt_that_failed_leaves_its_place_before_the_next_takes_one():
    world = world_of(structs.replace(ONE, retries=2), fallbacks=[OTHER])
    world.upstream.answers.extend(error(500) for _ in range(3))
    async with world.running():
        await world.call(model="fast")
    assert tried(world) == ["stub", "stub", "stub", "other"]
    assert is_settled(world)


@pytest.mark.parametrize("cancels", [False, True])
async def test_an_attempt_that_can_not_be_held_for_leaves_its_place(*, cancels: bool):
    world = between(fallbacks=[SECOND])
    client = FakeClient()
    async with world.running():
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: world.call(client, model="fast"))
            await waiting_for_the_second_hold(world)
            assert not is_settled(world)
            if cancels:
                group.cancel_scope.cancel()
            else:
                world.ledger.failure = LedgerUnavailable("gone")
                world.ledger.gate.set()
                await eventually(lambda: client.is_ended)
                world.ledger.failure = None
        world.ledger.gate.set()
        assert tried(world) == ["stub"]
        assert is_settled(world)


@pytest.mark.parametrize(
    "answer", [whole, lambda: error(500), lambda: stream(chunk("one"), FINISH)]
)
async def test_a_place_is_given_back_wherever_a_call_is_cancelled(answer: Callable[[], object]):
    ended = Counter[bool]()
    for turns in range(1, 90):
        world = world_of(structs.replace(ONE, circuit=Circuit(1, 0.0), retries=1))
        world.upstream.answer = answer  # type: ignore[assignment]
        client = FakeClient()
        async with world.running():
            async with anyio.create_task_group() as group:
                group.start_soon(lambda c=client, w=world: w.call(c, headers=run(1)))
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
            assert is_settled(world), turns
            world.upstream.answer = whole
            assert (await world.call()).status == 200, turns
        ended[client.is_ended] += 1
        if client.is_ended:
            break
    assert ended[False] > 3
    assert ended[True]
