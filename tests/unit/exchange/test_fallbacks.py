"""A call whose model fails: who is tried next, what each attempt is charged, and that it ends once."""

from collections import Counter
from collections.abc import Callable

import anyio
import msgspec
import pytest
from hypothesis import given, strategies as st
from msgspec import structs

from gateway.core.budget import BudgetKey, Scope, Window
from gateway.core.ids import ModelName, Provider
from gateway.core.limits import Kill, KillScope, OnExcess
from gateway.core.money import NanoDollars
from gateway.core.outcome import Outcome
from gateway.core.pricing import DEFAULT_TIER, Schedule
from gateway.core.traces import Basis, FailedAttempt
from gateway.errors import (
    GatewayError,
    LedgerUnavailable,
    UpstreamLost,
    UpstreamTimedOut,
    UpstreamUnreachable,
)
from tests.fakes import START, FakeClient, FakeResponse
from tests.unit.exchange.world import (
    ANSWER,
    CALLER,
    DOLLAR,
    DONE,
    FINISH,
    MODEL,
    MONTH,
    RATES,
    REPORTED,
    TOKEN,
    USAGE,
    World,
    chunk,
    refusing,
    stream,
    whole,
)
from tests.waiting import eventually

R1 = [(b"x-gateway-run", b"r1")]
RUN = BudgetKey(Scope.RUN, "p1/r1", Window.TOTAL, "")
DEARER = structs.replace(
    RATES, input=3 * DOLLAR, cached_input=3 * DOLLAR, cache_write=3 * DOLLAR, output=6 * DOLLAR
)
SECOND = structs.replace(
    MODEL,
    name=ModelName("other/n"),
    provider=Provider("other"),
    upstream_name="n",
    tiers={DEFAULT_TIER: Schedule(DEARER)},
)
THIRD = structs.replace(
    MODEL, name=ModelName("last/o"), provider=Provider("last"), upstream_name="o"
)
ERROR = b'{"error":{"message":"as the script says"}}'
ERROR_EVENT = b'data: {"error":{"message":"overloaded"}}\n\n'


def kill(scope: KillScope, scope_id: str = "") -> Kill:
    return Kill(
        id="k1",  # type: ignore[arg-type]
        scope=scope,
        scope_id=scope_id,
        project=None,
        reason="test",
        by="ada",
        at=START,
    )


def failing(*answers: FakeResponse | GatewayError | anyio.Event, **more: object) -> World:
    """A world whose providers answer so, one after the other, and then well."""
    world = World(whole(), **{"fallbacks": [SECOND, THIRD], **more})  # type: ignore[arg-type]
    world.upstream.answers.extend(answers)
    return world


def tried(world: World) -> list[str]:
    """The hosts that were asked, in order."""
    return [request.host.partition(".")[0] for request in world.upstream.requests]


def heard(world: World, name: str) -> list[object]:
    return [what for event, what in world.witness.heard if event == name]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("failure", "basis"),
    [
        (lambda: UpstreamUnreachable("x"), Basis.NONE),
        (lambda: UpstreamLost("x"), Basis.BOUND),
        (lambda: UpstreamTimedOut("x"), Basis.BOUND),
        (lambda: whole(ERROR, 429), Basis.NONE),
        (lambda: whole(ERROR, 500), Basis.NONE),
        (lambda: whole(ERROR, 401), Basis.NONE),
        (lambda: whole(ERROR, 404), Basis.NONE),
        (lambda: whole(b"", 204), Basis.BOUND),
        (lambda: whole(ERROR), Basis.NONE),
        (lambda: whole(b"no answer"), Basis.BOUND),
    ],
)
async def test_the_next_model_answers_and_each_attempt_is_charged_for_itself(
    failure: object, basis: Basis, streams: bool
):
    world = failing(failure())  # type: ignore[operator]
    world.upstream.answer = stream(chunk("hi"), FINISH, USAGE, DONE) if streams else whole()
    async with world.running():
        client = await world.call(model="fast", stream=streams)
    assert client.status == 200
    assert b"error" not in client.received
    assert client.header("x-gateway-model") == "other/n"
    assert tried(world) == ["stub", "other"]
    (first,) = heard(world, "attempt_failed")
    assert isinstance(first, FailedAttempt)
    assert (first.model, first.cost_basis) == ("stub/m", basis)
    assert first.cost_nusd == (first.bound_nusd if basis is Basis.BOUND else 0)
    trace = world.trace
    assert (trace.model, trace.provider, trace.attempts) == ("other/n", "other", 2)
    assert (trace.model_asked, trace.outcome, trace.status) == ("fast", Outcome.COMPLETED, 200)
    assert trace.cost_nusd == first.cost_nusd + 3 * REPORTED
    assert trace.cost_basis is (Basis.BOUND if first.cost_nusd else Basis.REPORTED)
    assert trace.bound_nusd > 3 * first.bound_nusd
    assert world.ledger.spent[MONTH] == trace.cost_nusd
    assert world.ledger.leased[MONTH] == 0


async def test_headers_tell_the_sums_and_what_is_left_of_the_run():
    world = failing(UpstreamLost("x"), caps={MONTH: None, RUN: DOLLAR})
    async with world.running():
        client = await world.call(headers=R1, model="fast")
    cost, bound = world.trace.cost_nusd, world.trace.bound_nusd
    assert client.header("x-gateway-cost-usd") == f"{cost / 10**9:.6f}"
    assert client.header("x-gateway-estimate-usd") == f"{bound / 10**9:.6f}"
    assert client.header("x-gateway-run-remaining-usd") == f"{(DOLLAR - cost) / 10**9:.6f}"


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_the_clients_own_mistake_is_not_tried_elsewhere(status: int):
    world = failing(whole(ERROR, status))
    async with world.running():
        client = await world.call(model="fast")
    assert (client.status, client.received) == (status, ERROR)
    assert tried(world) == ["stub"]


async def test_a_model_that_is_named_itself_has_no_fallbacks():
    world = failing(whole(ERROR, 500))
    async with world.running():
        client = await world.call(model="stub/m")
    assert client.status == 500
    assert tried(world) == ["stub"]


async def test_when_all_fail_the_last_ones_error_is_passed_on():
    world = failing(UpstreamUnreachable("x"), whole(ERROR, 500), whole(b'{"error":{"a":1}}', 429))
    async with world.running():
        client = await world.call(model="fast")
    assert (client.status, client.received) == (429, b'{"error":{"a":1}}')
    assert tried(world) == ["stub", "other", "last"]
    assert (world.trace.attempts, world.trace.model) == (3, "last/o")
    assert (world.trace.cost_nusd, world.trace.cost_basis) == (0, Basis.NONE)


async def test_a_stream_that_the_client_has_seen_a_byte_of_is_not_begun_again():
    world = failing(stream(chunk("one two three"), UpstreamLost("x")))
    async with world.running():
        client = await world.call(model="fast", stream=True)
    assert client.received.startswith(chunk("one two three"))
    assert tried(world) == ["stub"]
    assert world.trace.outcome is Outcome.PROVIDER_LOST


async def test_an_error_event_before_anything_else_lets_another_answer():
    world = failing(stream(ERROR_EVENT, DONE))
    world.upstream.answer = stream(chunk("hi"), FINISH, USAGE, DONE)
    async with world.running():
        client = await world.call(model="fast", stream=True)
    assert client.received == chunk("hi") + FINISH + DONE
    assert world.trace.cost_nusd == 3 * REPORTED


async def test_an_error_event_is_passed_on_where_nobody_else_can_answer():
    world = failing(stream(ERROR_EVENT, DONE))
    world.pipeline.is_draining = False
    client = FakeClient()
    world.board.apply(
        structs.replace(world.board.limits, kills=(kill(KillScope.MODEL, "other/n"),))
    )
    world.upstream.answers.append(stream(ERROR_EVENT, DONE))
    async with world.running():
        await world.call(client, model="fast", stream=True)
    assert tried(world) == ["stub", "last"], "the killed one is passed over"
    assert (client.status, client.received) == (200, ERROR_EVENT + DONE)
    assert world.trace.outcome is Outcome.PROVIDER_ERROR


@pytest.mark.parametrize(
    ("scope", "scope_id", "hosts"),
    [
        (KillScope.MODEL, "other/n", ["stub", "last"]),
        (KillScope.PROVIDER, "other", ["stub", "last"]),
        (KillScope.PROJECT, "p1", ["stub"]),
    ],
)
async def test_a_kill_switch_stops_attempts_that_were_not_made_yet(
    scope: KillScope, scope_id: str, hosts: list[str]
):
    gate = anyio.Event()
    world = failing(stream(gate, UpstreamLost("x")))
    world.upstream.answer = stream(chunk("hi"), FINISH, USAGE, DONE)
    client = FakeClient()
    async with world.running(), anyio.create_task_group() as group:
        group.start_soon(lambda: world.call(client, model="fast", stream=True))
        await world.until_running()
        await eventually(lambda: len(world.upstream.requests) == 1)
        world.board.apply(structs.replace(world.board.limits, kills=(kill(scope, scope_id),)))
        gate.set()
    assert tried(world) == hosts
    if hosts == ["stub"]:
        assert client.status == 403
        assert world.trace.outcome is Outcome.KILLED
    else:
        assert world.trace.outcome is Outcome.COMPLETED


async def test_a_model_that_the_token_may_not_use_is_passed_over():
    world = failing(UpstreamLost("x"))
    allowed = frozenset({MODEL.name, THIRD.name})
    world.callers._callers = {TOKEN: structs.replace(CALLER, models=allowed)}
    async with world.running():
        await world.call(model="fast")
    assert tried(world) == ["stub", "last"]


async def test_a_call_that_our_own_limits_refuse_is_not_tried_elsewhere():
    world = failing(caps={MONTH: None, RUN: 1000}, limits=refusing())
    async with world.running():
        client = await world.call(headers=R1, model="fast")
    assert client.status == 402
    assert not world.upstream.requests


async def test_an_attempt_that_no_longer_fits_is_passed_over_and_the_error_passed_on():
    """The first may have been billed; the rest of the run's cap does not hold a second."""
    world = failing(UpstreamTimedOut("x"), caps={MONTH: None, RUN: 900_000}, limits=refusing())
    async with world.running():
        client = await world.call(headers=R1, model="fast")
    assert client.status == 504
    assert tried(world) == ["stub"]
    assert world.trace.attempts == 1
    assert world.ledger.spent[RUN] == world.trace.cost_nusd == world.trace.bound_nusd


async def test_what_the_first_attempt_gave_back_is_there_for_the_second():
    """A cap for one attempt at a time: an error answer costs nothing, so the next one fits."""
    cap = 900_000
    world = failing(whole(ERROR, 500), caps={MONTH: None, RUN: cap}, limits=refusing())
    async with world.running():
        client = await world.call(headers=R1, model="fast", max_tokens=50)
    assert client.status == 200
    assert tried(world) == ["stub", "last"], "the second is too dear for the cap"
    assert 2 * (world.trace.bound_nusd - REPORTED) > cap
    assert world.ledger.spent[RUN] == world.trace.cost_nusd <= cap


async def test_each_attempt_falls_under_its_own_models_budget():
    first = BudgetKey(Scope.MODEL, "stub/m", Window.TOTAL, "")
    second = BudgetKey(Scope.MODEL, "other/n", Window.TOTAL, "")
    caps = {(Scope.MODEL, key.scope_id): (Window.TOTAL,) for key in (first, second)}
    limits = structs.replace(refusing(), caps=caps)
    world = failing(
        UpstreamLost("x"), limits=limits, caps={MONTH: None, first: DOLLAR, second: DOLLAR}
    )
    async with world.running():
        await world.call(model="fast")
    (attempt,) = heard(world, "attempt_failed")
    assert isinstance(attempt, FailedAttempt)
    assert world.ledger.spent[first] == attempt.cost_nusd
    assert world.ledger.spent[second] == 3 * REPORTED
    assert world.ledger.spent[MONTH] == attempt.cost_nusd + 3 * REPORTED


async def test_a_ledger_that_is_lost_between_attempts_ends_the_call_with_the_providers_error():
    world = between(fallbacks=[SECOND])
    client = FakeClient()
    async with world.running(), anyio.create_task_group() as group:
        group.start_soon(lambda: world.call(client, model="fast"))
        await waiting_for_the_second_hold(world)
        world.ledger.failure = LedgerUnavailable("gone")
        world.ledger.gate.set()
        await eventually(lambda: client.is_ended)
        world.ledger.failure = None
    assert (client.status, client.received) == (500, ERROR)
    assert tried(world) == ["stub"]
    assert len(world.traces) == 1
    assert world.ledger.leased[MONTH] == 0


async def test_a_gateway_that_drains_makes_no_further_attempt():
    world = failing(whole(ERROR, 500))
    world.upstream.connects = anyio.Event()
    client = FakeClient()
    async with world.running(), anyio.create_task_group() as group:
        group.start_soon(lambda: world.call(client, model="fast"))
        await eventually(lambda: len(world.upstream.requests) == 1)
        world.pipeline.is_draining = True
        world.upstream.connects.set()
    assert (client.status, client.received) == (500, ERROR)
    assert tried(world) == ["stub"]


async def test_the_time_for_the_whole_call_is_not_begun_again():
    world = failing(anyio.Event(), total_s=0.05)
    async with world.running():
        with anyio.fail_after(5):
            client = await world.call(model="fast")
    assert client.status == 504
    assert tried(world) == ["stub"]


async def test_an_attempt_has_only_the_time_that_is_left_of_the_call():
    gate = anyio.Event()
    world = failing(stream(gate, UpstreamLost("x")), anyio.Event(), total_s=10.0)
    client = FakeClient()
    async with world.running(), anyio.create_task_group() as group:
        group.start_soon(lambda: world.call(client, model="fast", stream=True))
        await eventually(lambda: len(world.upstream.requests) == 1)
        world.clock.advance(9.95)
        gate.set()
        with anyio.fail_after(5):
            await eventually(lambda: client.is_ended)
    assert client.status == 504
    assert tried(world) == ["stub", "other"]
    (first,) = heard(world, "attempt_failed")
    assert isinstance(first, FailedAttempt)
    trace = world.trace
    assert trace.cost_nusd - first.cost_nusd == trace.bound_nusd - first.bound_nusd > 0
    assert trace.cost_basis is Basis.BOUND


async def test_no_attempt_is_begun_when_the_time_is_up():
    gate = anyio.Event()
    world = failing(stream(gate, UpstreamLost("x")), total_s=10.0)
    client = FakeClient()
    async with world.running(), anyio.create_task_group() as group:
        group.start_soon(lambda: world.call(client, model="fast", stream=True))
        await eventually(lambda: len(world.upstream.requests) == 1)
        world.clock.advance(10.0)
        gate.set()
    assert client.status == 502
    assert tried(world) == ["stub"]


def between(**more: object) -> World:
    """A world in which the second attempt has to ask for money, and waits for it."""
    of_second = BudgetKey(Scope.MODEL, "other/n", Window.TOTAL, "")
    limits = structs.replace(refusing(), caps={(Scope.MODEL, "other/n"): (Window.TOTAL,)})
    world = failing(whole(ERROR, 500), limits=limits, caps={MONTH: None, of_second: DOLLAR}, **more)
    world.upstream.connects = anyio.Event()
    return world


async def test_the_time_of_all_attempts_is_counted_from_the_first():
    gates = [anyio.Event(), anyio.Event()]
    world = failing(*(stream(gate, UpstreamLost("x")) for gate in gates), total_s=10.0)
    async with world.running(), anyio.create_task_group() as group:
        group.start_soon(lambda: world.call(model="fast", stream=True))
        for count, gate in enumerate(gates, start=1):
            await eventually(lambda count=count: len(world.upstream.requests) == count)
            world.clock.advance(6.0)
            gate.set()
    assert tried(world) == ["stub", "other"], "12 of 10 seconds are gone"


async def test_what_is_left_of_a_run_is_told_with_an_error_that_was_kept_back():
    world = World(
        whole(ERROR, 500),
        caps={MONTH: None, RUN: 900_000},
        limits=refusing(),
        fallbacks=[SECOND],
    )
    async with world.running():
        client = await world.call(headers=R1, model="fast")
    assert tried(world) == ["stub"]
    assert client.header("x-gateway-run-remaining-usd") == "0.0009"


async def waiting_for_the_second_hold(world: World) -> None:
    """Return when the first attempt has failed and the second asks for money."""
    await eventually(lambda: len(world.upstream.requests) == 1)
    world.ledger.gate = anyio.Event()
    assert world.upstream.connects is not None
    world.upstream.connects.set()
    await eventually(lambda: world.board.running == 0)
    await eventually(lambda: world.purse._flusher.is_granting)


async def test_a_client_that_leaves_between_attempts_has_nothing_more_sent():
    world = between()
    client = FakeClient()
    async with world.running(), anyio.create_task_group() as group:
        group.start_soon(lambda: world.call(client, model="fast"))
        await waiting_for_the_second_hold(world)
        client.left.set()
        world.ledger.gate.set()
    assert tried(world) == ["stub"]
    assert world.trace.outcome is Outcome.CLIENT_GONE
    assert (world.trace.cost_nusd, world.trace.attempts) == (0, 2)
    assert world.ledger.leased[MONTH] == 0


async def test_a_kill_switch_between_attempts_stops_the_next_unsent():
    world = between()
    client = FakeClient()
    async with world.running(), anyio.create_task_group() as group:
        group.start_soon(lambda: world.call(client, model="fast"))
        await waiting_for_the_second_hold(world)
        world.board.apply(structs.replace(world.board.limits, kills=(kill(KillScope.ALL),)))
        world.ledger.gate.set()
    assert client.status == 403
    assert tried(world) == ["stub"]
    assert world.trace.outcome is Outcome.KILLED
    assert world.ledger.leased[MONTH] == 0


async def test_a_shut_down_between_attempts_stops_the_next_unsent():
    world = between()
    client = FakeClient()
    async with world.running(), anyio.create_task_group() as group:
        group.start_soon(lambda: world.call(client, model="fast"))
        await waiting_for_the_second_hold(world)
        assert world.board.shut_down() == 0
        world.ledger.gate.set()
    assert client.status == 503
    assert tried(world) == ["stub"]
    assert world.trace.outcome is Outcome.SHUT_DOWN
    assert world.ledger.leased[MONTH] == 0


async def test_a_call_cancelled_between_attempts_is_traced_and_holds_nothing():
    world = between()
    client = FakeClient()
    async with world.running():
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: world.call(client, model="fast"))
            await waiting_for_the_second_hold(world)
            group.cancel_scope.cancel()
        world.ledger.gate.set()
    assert world.trace.attempts == 1
    assert world.trace.cost_nusd == 0
    assert world.ledger.leased[MONTH] == world.ledger.spent[MONTH] == 0
    assert world.board.running == 0


async def test_a_purse_that_stops_between_attempts_leaves_the_providers_error():
    world = between()
    client = FakeClient()
    async with anyio.create_task_group() as group:
        group.start_soon(world.purse.run)
        group.start_soon(lambda: world.call(client, model="fast"), name="call")
        await waiting_for_the_second_hold(world)
        world.purse._fail(
            [*world.purse._waiting, *world.purse._put_off], LedgerUnavailable("the gateway stops")
        )
        group.cancel_scope.cancel()
    world.ledger.gate.set()
    await world.purse.drain()
    assert len(world.traces) == 1
    assert world.ledger.leased[MONTH] == 0


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    "failure",
    [
        lambda: whole(ERROR, 500),
        lambda: UpstreamLost("x"),
        lambda: UpstreamUnreachable("x"),
        lambda: stream(ERROR_EVENT),
    ],
)
async def test_a_cancellation_at_any_await_settles_each_attempt_once(
    failure: object, streams: bool
):
    """Cancelled at each turn of the loop until it ends by itself, it never loses or leaks money."""
    ended = Counter[int]()
    for turns in range(1, 90):
        world = failing(failure(), failure())  # type: ignore[operator]
        world.upstream.answer = stream(chunk("one"), FINISH, USAGE, DONE) if streams else whole()
        client = FakeClient()
        async with world.running(), anyio.create_task_group() as group:
            group.start_soon(lambda c=client, w=world: w.call(c, model="fast", stream=streams))
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        assert world.ledger.leased[MONTH] == 0, turns
        assert all(lease.held == 0 for lease in world.purse._leases._leases.values()), turns
        assert len(world.traces) <= 1
        assert world.ledger.spent[MONTH] == sum(trace.cost_nusd for trace in world.traces)
        if world.upstream.sent:
            assert world.trace.attempts >= len(world.upstream.requests)
        ended[world.traces[0].attempts if world.traces else 0] += 1
        if client.is_ended:
            break
    assert set(ended) == {0, 1, 2, 3}, "it was cancelled before, in, and after every attempt"


@pytest.mark.parametrize("turns", range(1, 30))
async def test_a_client_that_leaves_at_any_turn_is_charged_for_each_attempt_once(turns: int):
    world = failing(UpstreamLost("x"), whole(ERROR, 500))
    world.upstream.answer = stream(chunk("one"), FINISH, USAGE, DONE)
    client = FakeClient()
    async with world.running(), anyio.create_task_group() as group:
        group.start_soon(lambda: world.call(client, model="fast", stream=True))
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        client.left.set()
    assert world.ledger.leased[MONTH] == 0
    assert world.ledger.spent[MONTH] == world.trace.cost_nusd
    assert world.trace.outcome in {Outcome.CLIENT_GONE, Outcome.COMPLETED}


async def test_an_answer_that_failed_is_not_quoted_when_the_next_succeeds():
    world = failing(whole(ERROR, 500))
    async with world.running():
        client = await world.call(model="fast")
    assert client.received == ANSWER


async def test_an_attempt_is_bounded_by_its_own_context_and_ceiling():
    narrow = structs.replace(SECOND, max_output_tokens=7)
    world = World(whole(), fallbacks=[narrow])
    world.upstream.answers.append(whole(ERROR, 500))
    async with world.running():
        client = await world.call(model="fast")
    first, second = (
        msgspec.json.decode(request.body, type=dict[str, object])
        for request in world.upstream.requests
    )
    assert (first["model"], first["max_tokens"]) == ("m", 100)
    assert (second["model"], second["max_tokens"]) == ("n", 7)
    assert client.header("x-gateway-output-tokens") == "7"


async def test_a_bill_above_the_bound_is_overshoot_of_its_own_attempt():
    usage = b'{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":100000,"total_tokens":100005}}'
    world = failing(UpstreamLost("x"), whole(usage))
    async with world.running():
        await world.call(model="fast")
    (attempt,) = heard(world, "attempt_failed")
    assert isinstance(attempt, FailedAttempt)
    owed = world.trace.cost_nusd - attempt.cost_nusd
    held = world.trace.bound_nusd - attempt.bound_nusd
    assert heard(world, "overshoot") == [NanoDollars(owed - held)]


FAILURES = (
    lambda: UpstreamUnreachable("x"),
    lambda: UpstreamLost("x"),
    lambda: UpstreamTimedOut("x"),
    lambda: whole(ERROR, 500),
    lambda: whole(ERROR, 400),
    lambda: stream(ERROR_EVENT),
    lambda: stream(chunk("one two"), UpstreamLost("x")),
    lambda: stream(chunk("one two"), FINISH, USAGE, DONE),
    whole,
)


@given(
    calls=st.lists(
        st.lists(st.sampled_from(FAILURES), min_size=3, max_size=3), min_size=1, max_size=4
    ),
    cap=st.integers(0, 12_000_000),
    clamps=st.booleans(),
    streams=st.booleans(),
)
async def test_no_sequence_of_attempts_passes_a_cap(
    calls: list[list[Callable[[], FakeResponse | GatewayError]]],
    cap: int,
    clamps: bool,
    streams: bool,
):
    """Calls at once on one run's cap, each with up to three attempts that go as they may."""
    limits = refusing(short_budget=OnExcess.CLAMP if clamps else OnExcess.REFUSE)
    world = World(whole(), caps={MONTH: None, RUN: cap}, limits=limits, fallbacks=[SECOND, THIRD])
    world.upstream.answers.extend(make() for answers in calls for make in answers)
    async with world.running(), anyio.create_task_group() as group:
        for _ in calls:
            group.start_soon(lambda: world.call(headers=R1, model="fast", stream=streams))
    assert len(world.traces) == len(calls)
    assert world.ledger.spent.get(RUN, 0) == sum(trace.cost_nusd for trace in world.traces) <= cap
    assert world.ledger.leased.get(RUN, 0) == 0
    assert sum(trace.attempts for trace in world.traces) == len(world.upstream.requests)
    for trace in world.traces:
        assert trace.cost_nusd <= trace.bound_nusd
