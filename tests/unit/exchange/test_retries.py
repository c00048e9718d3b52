"""An attempt that is made again with the same model: when, with which key, and what it costs."""

from collections import Counter
from collections.abc import Callable

import anyio
import pytest
from hypothesis import given, strategies as st
from msgspec import structs

from gateway.core.budget import BudgetKey, Scope, Window
from gateway.core.ids import ModelName, Provider
from gateway.core.limits import KillScope
from gateway.core.outcome import Outcome
from gateway.core.secret import Secret
from gateway.core.traces import Basis
from gateway.errors import GatewayError, UpstreamLost, UpstreamTimedOut, UpstreamUnreachable
from gateway.exchange.fallbacks import MOST_KEYS
from tests.fakes import FakeClient, FakeResponse
from tests.unit.exchange.test_fallbacks import ERROR, ERROR_EVENT, R1, RUN, heard, kill, tried
from tests.unit.exchange.world import (
    DONE,
    FINISH,
    JSON,
    MODEL,
    MONTH,
    REPORTED,
    TERMS,
    USAGE,
    World,
    chunk,
    refusing,
    stream,
    whole,
)
from tests.waiting import eventually

SECOND = structs.replace(
    MODEL, name=ModelName("other/n"), provider=Provider("other"), upstream_name="n"
)
SECRETS = tuple(f"sk-key-number-{number}" for number in range(6))
Answer = FakeResponse | GatewayError | anyio.Event


def again(*answers: Answer, retries: int = 1, keys: int = 0, **more: object) -> World:
    """A world whose provider answers so, then well, and may be tried so often again."""
    terms = structs.replace(TERMS, retries=retries)
    if keys:
        terms = structs.replace(terms, keys=tuple(map(Secret, SECRETS[:keys])))
    world = World(whole(), terms={"stub": terms}, **more)  # type: ignore[arg-type]
    world.upstream.answers.extend(answers)
    return world


def error(status: int, *headers: tuple[bytes, bytes]) -> FakeResponse:
    return FakeResponse(status, [*JSON, *headers], [ERROR])


def sent_keys(world: World) -> list[str]:
    return [
        dict(request.headers)[b"authorization"].decode().removeprefix("Bearer ")
        for request in world.upstream.requests
    ]


def is_settled(world: World) -> bool:
    """Whether no money is held and no place is taken."""
    doors = world.pipeline.standing.doors.values()
    return (
        all(door.room.taken == 0 for door in doors)
        and all(lease.held == 0 for lease in world.purse._leases._leases.values())
        and world.board.running == 0
    )


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    "failure",
    [
        lambda: UpstreamUnreachable("x"),
        *(lambda s=status: error(s) for status in (429, 500, 502, 503, 504, 529)),
    ],
)
async def test_what_cost_nothing_is_tried_again_and_costs_nothing(
    failure: Callable[[], Answer], streams: bool
):
    world = again(failure(), failure(), retries=2)
    world.upstream.answer = stream(chunk("hi"), FINISH, USAGE, DONE) if streams else whole()
    async with world.running():
        client = await world.call(stream=streams)
    assert client.status == 200
    assert b"error" not in client.received
    assert tried(world) == ["stub", "stub", "stub"]
    trace = world.trace
    assert (trace.attempts, trace.outcome) == (3, Outcome.COMPLETED)
    assert (trace.cost_nusd, trace.cost_basis) == (REPORTED, Basis.REPORTED)
    assert world.ledger.spent[MONTH] == REPORTED
    assert world.ledger.leased[MONTH] == 0
    assert len(heard(world, "attempt_failed")) == 2
    assert is_settled(world)


@pytest.mark.parametrize(
    "failure",
    [
        lambda: UpstreamLost("x"),
        lambda: UpstreamTimedOut("x"),
        lambda: whole(b"no answer"),
        lambda: whole(b"", 204),
        lambda: stream(chunk("one two"), UpstreamLost("x")),
        lambda: stream(ERROR_EVENT, DONE),
        *(lambda s=status: error(s) for status in (302, 400, 401, 403, 404, 408, 422, 501)),
        lambda: error(503, (b"x-should-retry", b"false")),
        lambda: error(429, (b"retry-after", b"3.5")),
        lambda: error(429, (b"retry-after", b"Wed, 25 Nov 2026 12:01:00 GMT")),
    ],
)
async def test_nothing_else_is(failure: Callable[[], Answer]):
    world = again(failure(), retries=5)
    async with world.running():
        client = await world.call(stream=True)
    assert client.is_ended
    assert tried(world) == ["stub"]
    assert world.trace.attempts == 1


async def test_an_error_event_comes_through_whole_where_only_retries_could_follow():
    world = again(stream(ERROR_EVENT, DONE))
    async with world.running():
        client = await world.call(stream=True)
    assert client.received == ERROR_EVENT + DONE


async def test_when_the_retries_are_used_up_the_last_error_is_passed_on():
    world = again(error(500), error(503), error(529, (b"retry-after", b"9")), retries=2)
    async with world.running():
        client = await world.call()
    assert (client.status, client.received) == (529, ERROR)
    assert client.header("retry-after") == "9"
    assert (world.trace.attempts, world.trace.cost_nusd) == (3, 0)
    assert world.ledger.spent[MONTH] == 0


async def test_retries_come_before_fallbacks_and_are_each_models_own():
    terms = structs.replace(TERMS, retries=1)
    world = World(whole(), fallbacks=[SECOND], terms={"stub": terms, "other": terms})
    world.upstream.answers.extend(error(500) for _ in range(3))
    async with world.running():
        client = await world.call(model="fast")
    assert client.status == 200
    assert tried(world) == ["stub", "stub", "other", "other"]
    assert world.trace.attempts == 4


async def test_a_fallback_follows_where_the_same_model_must_not():
    world = again(UpstreamLost("x"), fallbacks=[SECOND])
    async with world.running():
        await world.call(model="fast")
    assert tried(world) == ["stub", "other"]


async def test_what_an_attempt_gave_back_is_there_for_the_next():
    """A cap for one attempt at a time."""
    world = again(error(500), error(500), retries=2, caps={MONTH: None, RUN: 900_000})
    async with world.running():
        client = await world.call(headers=R1)
    assert client.status == 200
    assert 2 * world.trace.bound_nusd > 3 * 900_000
    assert world.ledger.spent[RUN] == REPORTED


async def test_a_gateway_that_drains_tries_nothing_again():
    world = again(error(500))
    world.upstream.connects = anyio.Event()
    client = FakeClient()
    async with world.running(), anyio.create_task_group() as group:
        group.start_soon(lambda: world.call(client))
        await eventually(lambda: len(world.upstream.requests) == 1)
        world.pipeline.is_draining = True
        world.upstream.connects.set()
    assert (client.status, client.received) == (500, ERROR)
    assert tried(world) == ["stub"]


async def test_a_pause_that_would_outlast_the_call_is_not_begun():
    world = again(error(503, (b"retry-after", b"3")), total_s=2.0)
    async with world.running():
        with anyio.fail_after(1):
            client = await world.call()
    assert client.status == 503
    assert tried(world) == ["stub"]


async def test_after_its_pause_a_call_goes_on_and_that_was_no_overhead():
    answer = error(503, (b"retry-after-ms", b"100"))
    world = again(answer)
    client = FakeClient()
    async with world.running(), anyio.create_task_group() as group:
        group.start_soon(lambda: world.call(client))
        await in_the_pause(world, answer)
        world.clock.advance(0.1)
    assert client.status == 200
    assert tried(world) == ["stub", "stub"]
    assert (world.trace.latency_ms, world.trace.overhead_ms) == (100.0, 0.0)


def pausing(**more: object) -> tuple[World, FakeResponse]:
    """A world in which a call pauses for seconds, unless it is ended."""
    answer = error(503, (b"retry-after", b"3"))
    return again(answer, **more), answer


async def in_the_pause(world: World, answer: FakeResponse) -> None:
    await eventually(lambda: answer.is_closed and world.board.running == 1)
    assert all(lease.held == 0 for lease in world.purse._leases._leases.values())


@pytest.mark.parametrize(
    ("cut", "status", "outcome"),
    [
        (lambda world, client: client.left.set(), None, Outcome.CLIENT_GONE),
        (lambda world, client: world.board.shut_down(), 503, Outcome.SHUT_DOWN),
        (
            lambda world, client: world.board.apply(
                structs.replace(world.board.limits, kills=(kill(KillScope.MODEL, "stub/m"),))
            ),
            403,
            Outcome.KILLED,
        ),
    ],
)
@pytest.mark.parametrize("fallbacks", [[], [SECOND]])
async def test_whoever_ends_a_call_in_its_pause_ends_it_at_once(
    cut: Callable[[World, FakeClient], None],
    status: int | None,
    outcome: Outcome,
    fallbacks: list[object],
):
    world, answer = pausing(fallbacks=fallbacks)
    client = FakeClient()
    async with world.running():
        with anyio.fail_after(2):
            async with anyio.create_task_group() as group:
                name = "fast" if fallbacks else "stub/m"
                group.start_soon(lambda: world.call(client, model=name))
                await in_the_pause(world, answer)
                cut(world, client)
    assert client.status == status
    assert tried(world) == ["stub"]
    trace = world.trace
    assert (trace.outcome, trace.attempts, trace.cost_nusd) == (outcome, 1, 0)
    assert world.ledger.leased[MONTH] == world.ledger.spent[MONTH] == 0
    assert is_settled(world)


async def test_a_call_cancelled_in_its_pause_is_traced_and_holds_nothing():
    world, answer = pausing()
    async with world.running(), anyio.create_task_group() as group:
        group.start_soon(world.call)
        await in_the_pause(world, answer)
        group.cancel_scope.cancel()
    assert world.trace.attempts == 1
    assert world.ledger.leased[MONTH] == world.ledger.spent[MONTH] == 0
    assert is_settled(world)


async def test_a_key_that_is_refused_lets_another_answer_at_once():
    world = again(error(401), retries=0, keys=2)
    world.upstream.answer = whole
    async with world.running():
        client = await world.call()
        await world.call()
    assert client.status == 200
    assert sent_keys(world) == [SECRETS[0], SECRETS[1], SECRETS[1]]
    assert heard(world, "key_rests") == [("stub", 0, 401, 60.0)]
    assert [trace.attempts for trace in world.traces] == [2, 1]
    assert world.ledger.spent[MONTH] == 2 * REPORTED


async def test_a_key_that_was_used_too_often_is_not_waited_for_where_there_is_another():
    world = again(error(429, (b"retry-after", b"30")), retries=0, keys=2)
    async with world.running():
        with anyio.fail_after(2):
            client = await world.call()
    assert client.status == 200
    assert sent_keys(world) == list(SECRETS[:2])
    assert heard(world, "key_rests") == [("stub", 0, 429, 30.0)]


async def test_a_retry_takes_another_key_as_well():
    world = again(error(500), keys=3)
    async with world.running():
        await world.call()
    assert sent_keys(world) == list(SECRETS[:2])
    assert not heard(world, "key_rests")


@pytest.mark.parametrize(("keys", "attempts"), [(2, 2), (6, MOST_KEYS)])
async def test_a_call_does_not_try_keys_for_ever(keys: int, attempts: int):
    world = again(*(error(403) for _ in range(9)), retries=0, keys=keys)
    async with world.running():
        client = await world.call()
    assert client.status == 502
    assert b"refused the gateway's own key" in client.received
    assert world.trace.attempts == attempts
    assert sent_keys(world) == list(SECRETS[:attempts])
    assert world.ledger.spent[MONTH] == 0


async def test_where_every_key_rests_the_one_that_is_ready_first_is_used():
    answers = [error(401), error(429, (b"retry-after", b"2"))]
    world = again(*answers, retries=0, keys=2)
    async with world.running():
        await world.call()
        client = await world.call()
    assert client.status == 200
    assert sent_keys(world) == [SECRETS[0], SECRETS[1], SECRETS[1]]


async def test_an_error_that_quotes_the_key_that_was_used_is_replaced():
    quoting = FakeResponse(400, JSON, [b'{"error":"bad key %s"}' % SECRETS[1].encode()])
    world = again(error(401), quoting, retries=0, keys=2)
    async with world.running():
        client = await world.call()
    assert SECRETS[1].encode() not in client.received
    assert client.status == 502


class RestingAll(FakeResponse):
    """An answer while whose end is awaited, other calls find all keys used up."""

    world: World

    async def aclose(self) -> None:
        for key in range(2):
            turns = self.world.pipeline.standing.doors[Provider("stub")].turns
            assert turns is not None
            turns.rest(key, 99.0)
        await super().aclose()


@pytest.mark.parametrize("status", [401, 429])
async def test_an_error_is_told_though_the_keys_that_it_was_kept_back_for_are_gone(status: int):
    answer = RestingAll(status, JSON, [ERROR])
    world = again(answer, retries=0, keys=2)
    answer.world = world
    async with world.running():
        client = await world.call()
    assert client.is_ended
    assert client.status == (502 if status == 401 else 429)
    assert tried(world) == ["stub"]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    "failure", [lambda: error(500), lambda: error(401), lambda: UpstreamUnreachable("x")]
)
async def test_a_cancellation_at_any_await_settles_each_attempt_once(
    failure: Callable[[], Answer], streams: bool
):
    ended = Counter[int]()
    for turns in range(1, 120):
        world = again(failure(), failure(), retries=2, keys=3)
        world.upstream.answer = stream(chunk("one"), FINISH, USAGE, DONE) if streams else whole()
        client = FakeClient()
        async with world.running(), anyio.create_task_group() as group:
            group.start_soon(lambda c=client, w=world: w.call(c, stream=streams))
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        assert world.ledger.leased[MONTH] == 0, turns
        assert is_settled(world), turns
        assert len(world.traces) <= 1
        assert world.ledger.spent[MONTH] == sum(trace.cost_nusd for trace in world.traces)
        ended[world.traces[0].attempts if world.traces else 0] += 1
        if client.is_ended:
            break
    assert set(ended) == {0, 1, 2, 3}, "it was cancelled before, in, and after every attempt"


FAILURES = (
    lambda: UpstreamUnreachable("x"),
    lambda: UpstreamLost("x"),
    lambda: error(500),
    lambda: error(429, (b"retry-after", b"30")),
    lambda: error(401),
    lambda: error(400),
    lambda: stream(chunk("one two"), UpstreamLost("x")),
    lambda: stream(chunk("one two"), FINISH, USAGE, DONE),
    whole,
)


@given(
    calls=st.lists(
        st.lists(st.sampled_from(FAILURES), min_size=4, max_size=4), min_size=1, max_size=4
    ),
    cap=st.integers(0, 6_000_000),
    retries=st.integers(0, 3),
    keys=st.integers(0, 3),
    streams=st.booleans(),
)
async def test_no_sequence_of_attempts_passes_a_cap(
    calls: list[list[Callable[[], Answer]]], cap: int, retries: int, keys: int, streams: bool
):
    budget = BudgetKey(Scope.RUN, "p1/r1", Window.TOTAL, "")
    world = again(
        *(make() for answers in calls for make in answers),
        retries=retries,
        keys=keys,
        caps={MONTH: None, budget: cap},
        limits=refusing(),
        fallbacks=[SECOND],
    )
    async with world.running(), anyio.create_task_group() as group:
        for _ in calls:
            group.start_soon(lambda: world.call(headers=R1, model="fast", stream=streams))
    assert len(world.traces) == len(calls)
    spent = world.ledger.spent.get(budget, 0)
    assert spent == sum(trace.cost_nusd for trace in world.traces) <= cap
    assert world.ledger.leased.get(budget, 0) == 0
    assert sum(trace.attempts for trace in world.traces) == len(world.upstream.requests)
    assert is_settled(world)
