"""Every way in which a call can end: what its client gets, and what it is settled for."""

import time

import anyio
import pytest
from msgspec import structs

from gateway.core.limits import Kill, KillScope, Limits
from gateway.core.outcome import Outcome
from gateway.core.traces import Basis
from gateway.errors import GatewayError, UpstreamLost, UpstreamTimedOut, UpstreamUnreachable
from tests.fakes import START, FakeClient, FakeResponse
from tests.unit.exchange.world import (
    ANSWER,
    DONE,
    EVENTS,
    FINISH,
    JSON,
    KEY,
    MODEL,
    MONTH,
    REPORTED,
    USAGE,
    World,
    chunk,
    stream,
    whole,
)
from tests.waiting import eventually

AWS_JSON = [(b"content-type", b"application/x-amz-json-1.1")]
KILL = Kill(
    id="k1",  # type: ignore[arg-type]
    scope=KillScope.ALL,
    scope_id="",
    project=None,
    reason="test",
    by="ada",
    at=START,
)


async def test_a_streams_bytes_pass_unchanged_but_for_the_usage_that_was_added():
    world = World(stream(chunk("hel"), chunk("lo"), FINISH, USAGE, DONE))
    async with world.running():
        client = await world.call(stream=True)
    assert client.received == chunk("hel") + chunk("lo") + FINISH + DONE
    assert client.is_ended
    assert world.trace.outcome is Outcome.COMPLETED
    assert (world.trace.cost_nusd, world.trace.cost_basis) == (REPORTED, Basis.REPORTED)
    assert world.ledger.spent[MONTH] == REPORTED
    assert world.ledger.leased[MONTH] == 0


async def test_a_client_that_asked_for_usage_gets_it():
    world = World(stream(chunk("a"), FINISH, USAGE, DONE))
    async with world.running():
        client = await world.call(stream=True, stream_options={"include_usage": True})
    assert client.received == chunk("a") + FINISH + USAGE + DONE


async def test_a_whole_answer_passes_byte_for_byte_and_tells_its_cost():
    world = World(whole())
    async with world.running():
        client = await world.call()
    assert client.received == ANSWER
    assert client.header("x-gateway-cost-usd") == "0.000011"
    assert client.header("x-gateway-model") == "stub/m"
    assert world.trace.cost_nusd == REPORTED


async def test_a_kill_switch_cuts_a_running_stream_with_an_error_and_no_end():
    never = anyio.Event()
    world = World(stream(chunk("one two three"), never))
    client = FakeClient()
    async with world.running(), anyio.create_task_group() as group:
        group.start_soon(lambda: world.call(client, stream=True))
        await world.until_running()
        client_has = anyio.Event()
        client.on_send = lambda data: client_has.set()
        if not client.received:
            await client_has.wait()
        assert world.board.apply(structs.replace(world.board.limits, kills=(KILL,))) == {"k1": 1}
    assert client.received.startswith(chunk("one two three"))
    assert b'"code":"kill_switch"' in client.received.replace(b": ", b":")
    assert b"[DONE]" not in client.received
    assert world.trace.outcome is Outcome.KILLED
    assert world.trace.cost_basis is Basis.METERED
    assert world.trace.output_tokens == 4
    assert world.upstream.answer.is_closed


async def test_a_kill_switch_that_came_while_a_call_was_prepared_stops_it_unsent():
    world = World(stream(chunk("x"), DONE))
    world.ledger.gate = anyio.Event()
    client = FakeClient()
    async with world.running(), anyio.create_task_group() as group:
        group.start_soon(lambda: world.call(client, stream=True))
        await eventually(lambda: world.ledger.asked > 0)
        world.board.apply(structs.replace(world.board.limits, kills=(KILL,)))
        world.ledger.gate.set()
    assert client.status == 403
    assert not world.upstream.requests
    assert world.trace.outcome is Outcome.KILLED
    assert world.trace.cost_nusd == 0


async def test_a_client_that_leaves_closes_the_provider_and_pays_for_what_was_shown():
    world = World(stream(chunk("one two three"), anyio.Event()))
    client = FakeClient()
    client.on_send = lambda data: client.left.set()
    async with world.running():
        with anyio.fail_after(5):
            await world.call(client, stream=True)
    assert world.upstream.answer.is_closed
    assert world.trace.outcome is Outcome.CLIENT_GONE
    assert world.trace.output_tokens == 4
    assert world.ledger.spent[MONTH] == world.trace.cost_nusd > 0


async def test_a_client_that_leaves_while_it_reads_slowly_is_noticed():
    world = World(stream(*[chunk("word")] * 50, DONE))
    client = FakeClient()
    client.can_receive = anyio.Event()
    async with world.running(), anyio.create_task_group() as group:
        group.start_soon(lambda: world.call(client, stream=True))
        await world.until_running()
        client.left.set()
    assert world.trace.outcome is Outcome.CLIENT_GONE
    assert world.upstream.answer.reads <= 2


async def test_a_client_that_leaves_before_any_answer_pays_the_bound():
    world = World(anyio.Event())
    client = FakeClient()
    async with world.running(), anyio.create_task_group() as group:
        group.start_soon(lambda: world.call(client, stream=True))
        await eventually(lambda: len(world.upstream.requests) > 0)
        client.left.set()
    assert world.trace.cost_basis is Basis.BOUND
    assert world.trace.cost_nusd == world.trace.bound_nusd


async def test_a_client_that_leaves_while_we_connect_pays_nothing():
    world = World(whole())
    world.upstream.connects = anyio.Event()
    client = FakeClient()
    async with world.running(), anyio.create_task_group() as group:
        group.start_soon(lambda: world.call(client))
        await eventually(lambda: len(world.upstream.requests) > 0)
        client.left.set()
    assert world.trace.outcome is Outcome.CLIENT_GONE
    assert (world.trace.cost_nusd, world.trace.cost_basis) == (0, Basis.NONE)


@pytest.mark.parametrize(
    ("failure", "outcome", "status", "basis"),
    [
        (UpstreamUnreachable("x"), Outcome.PROVIDER_LOST, 502, Basis.NONE),
        (UpstreamLost("x"), Outcome.PROVIDER_LOST, 502, Basis.BOUND),
        (UpstreamTimedOut("x"), Outcome.TIMED_OUT, 504, Basis.BOUND),
    ],
)
async def test_a_provider_that_never_answers_is_charged_unless_it_was_never_reached(
    failure: GatewayError, outcome: Outcome, status: int, basis: Basis
):
    world = World(failure)
    async with world.running():
        client = await world.call()
    assert client.status == status
    assert world.trace.outcome is outcome
    assert world.trace.cost_basis is basis
    assert ("upstream_failed", type(failure).__name__) in world.witness.heard


@pytest.mark.parametrize("failure", [UpstreamLost("x"), UpstreamTimedOut("x")])
async def test_a_provider_that_breaks_off_ends_the_stream_with_an_error(failure: GatewayError):
    world = World(stream(chunk("one two three"), failure))
    async with world.running():
        client = await world.call(stream=True)
    assert client.received.startswith(chunk("one two three"))
    assert b'"error"' in client.received
    assert b"[DONE]" not in client.received
    assert client.is_ended
    assert world.trace.cost_basis is Basis.METERED
    assert world.trace.output_tokens == 4


async def test_a_body_that_ends_without_its_end_is_not_passed_off_as_complete():
    world = World(stream(chunk("one two")))
    async with world.running():
        client = await world.call(stream=True)
    assert b'"error"' in client.received
    assert world.trace.outcome is Outcome.PROVIDER_LOST


async def test_a_provider_that_sends_more_than_was_held_is_cut():
    text = " ".join(["word"] * 40)
    world = World(stream(*[chunk(text)] * 10, DONE))
    async with world.running():
        client = await world.call(stream=True, max_tokens=50)
    assert b'"error"' in client.received
    assert world.trace.outcome is Outcome.CAP_REACHED
    assert world.trace.cost_nusd >= world.trace.bound_nusd
    assert client.received.count(b"word word") < 200


async def test_the_total_time_is_bounded():
    world = World(stream(chunk("one"), anyio.Event()), total_s=0.05)
    async with world.running():
        with anyio.fail_after(5):
            client = await world.call(stream=True)
    assert world.trace.outcome is Outcome.TIMED_OUT
    assert b"upstream_timeout" in client.received


async def test_a_shut_down_cuts_what_still_runs_with_an_error():
    world = World(stream(chunk("one"), anyio.Event()))
    client = FakeClient()
    async with world.running(), anyio.create_task_group() as group:
        group.start_soon(lambda: world.call(client, stream=True))
        await eventually(lambda: client.received != b"")
        assert world.board.shut_down() == 1
    assert b"draining" in client.received
    assert world.trace.outcome is Outcome.SHUT_DOWN


async def test_a_call_whose_task_is_cancelled_is_settled_all_the_same():
    world = World(stream(chunk("one"), anyio.Event()))
    async with world.running():
        with anyio.move_on_after(0.05):
            await world.call(stream=True)
    assert world.trace.outcome is Outcome.SHUT_DOWN
    assert world.ledger.spent[MONTH] == world.trace.cost_nusd > 0
    assert world.board.running == 0


@pytest.mark.parametrize("turns", range(1, 40))
async def test_a_cancellation_at_any_await_loses_no_money(turns: int):
    """Cancelled at each turn of the loop in its life, a call is settled once, or was never held."""
    world = World(stream(chunk("one"), chunk("two"), FINISH, USAGE, DONE))
    async with world.running():
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: world.call(stream=True))
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                scope.cancel()
    held = len(world.traces)
    assert held <= 1
    assert world.ledger.leased[MONTH] == 0
    assert world.ledger.spent[MONTH] == sum(trace.cost_nusd for trace in world.traces)
    if world.upstream.sent:
        assert held == 1
        assert world.trace.cost_nusd > 0


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (whole(b'{"error":{"message":"slow down"}}', 429), 429),
        (whole(b'{"error":{"message":"bad field"}}', 400), 400),
        (whole(b'{"error":{"message":"no such key"}}', 401), 502),
        (whole(b'{"error":{"message":"pay first"}}', 402), 502),
        (whole(b'{"error":{"message":"not yours"}}', 403), 502),
        (FakeResponse(429, AWS_JSON, [b'{"message":"Too many requests"}']), 429),
        (whole(b"", 500), 502),
        (FakeResponse(500, [(b"content-type", b"text/html")], [b"<html>"]), 502),
        (FakeResponse(302, [(b"location", b"http://x")], [b""]), 502),
        (whole(f'{{"error":{{"message":"key {KEY} is bad"}}}}'.encode(), 400), 502),
    ],
)
async def test_an_error_answer_costs_nothing_and_passes_unless_it_is_about_our_key(
    answer: FakeResponse, status: int
):
    world = World(answer)
    async with world.running():
        client = await world.call()
    assert client.status == status
    named = world.trace.id if client.header("x-request-id") else None
    assert named is not None or status != 502
    assert (client.header("x-request-id"), client.header("request-id")) == (named, named)
    assert KEY.encode() not in client.received
    assert world.trace.cost_nusd == 0
    assert world.trace.outcome is Outcome.PROVIDER_ERROR


async def test_an_error_answer_that_quotes_the_prompt_is_replaced():
    secret = "a very private prompt that must not come back in an error"
    body = f'{{"error":{{"message":"can not parse: {secret}"}}}}'.encode()
    world = World(whole(body, 400))
    async with world.running():
        client = await world.call(messages=[{"role": "user", "content": secret}])
    assert client.status == 400
    assert secret.encode() not in client.received


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (400, 400),
        (404, 404),
        (408, 502),
        (409, 502),
        (413, 413),
        (422, 400),
        (429, 429),
        (503, 502),
    ],
)
async def test_what_stands_for_an_error_is_of_its_kind(status: int, told: int):
    headers = [(b"content-type", b"text/html"), (b"retry-after", b"7")]
    world = World(FakeResponse(status, headers, [b"<html>"]))
    async with world.running():
        client = await world.call()
    assert client.status == told
    assert client.header("retry-after") == ("7" if told in {429, 502} else None)
    assert world.trace.status == told
    assert world.trace.cost_nusd == 0


async def test_a_long_request_keeps_the_kind_of_its_error():
    world = World(whole(b'{"error":{"message":"context_length_exceeded"}}', 400))
    async with world.running():
        client = await world.call(messages=[{"role": "user", "content": "x" * 300_000}])
    assert client.status == 400
    assert b"context_length" not in client.received


async def test_an_error_inside_a_successful_answer_is_a_real_error():
    world = World(whole(b'{"error":{"message":"overloaded","type":"server_error"}}'))
    async with world.running():
        client = await world.call(stream=True)
    assert client.status == 502
    assert world.trace.cost_nusd == 0


async def test_an_error_event_of_the_provider_passes_and_ends_the_stream():
    error = b'data: {"error":{"message":"overloaded"}}\n\n'
    world = World(stream(chunk("one"), error))
    async with world.running():
        client = await world.call(stream=True)
    assert client.received == chunk("one") + error
    assert world.trace.outcome is Outcome.PROVIDER_ERROR
    assert world.trace.cost_basis is Basis.METERED


@pytest.mark.parametrize("is_one_read", [True, False])
@pytest.mark.parametrize("last", [DONE, chunk("word " * 2000)])
async def test_nothing_follows_an_error_of_ours_in_the_place_of_the_providers(
    last: bytes, is_one_read: bool
):
    """Not what would end the stream as if it were complete, nor a second error."""
    error = b'data: {"error":{"message":"bad key %s"}}\n\n' % KEY.encode()
    sent = [chunk("one"), error, chunk("two"), last]
    world = World(stream(b"".join(sent)) if is_one_read else stream(*sent))
    async with world.running():
        client = await world.call(stream=True, max_tokens=50)
    assert client.received.startswith(chunk("one") + b'data: {"error":')
    assert client.received.count(b"data: ") == 2
    assert KEY.encode() not in client.received


@pytest.mark.parametrize("body", [b"", b"not json", b"[1]"])
async def test_a_success_that_is_no_answer_is_an_error_and_is_charged(body: bytes):
    world = World(FakeResponse(200, JSON, [body] if body else []))
    async with world.running():
        client = await world.call()
    assert client.status == 502
    assert client.header("x-request-id") == client.header("request-id") == world.trace.id
    assert world.trace.cost_basis is Basis.BOUND


async def test_a_stream_that_was_never_held_for_is_never_sent():
    world = World(stream(DONE), caps={MONTH: 1})
    async with world.running():
        client = await world.call(stream=True)
    assert client.status == 402
    assert not world.upstream.requests


async def test_cookies_and_other_names_of_the_provider_stay_here():
    headers = [
        *EVENTS,
        (b"set-cookie", b"a=b"),
        (b"openai-organization", b"org"),
        (b"x-request-id", b"r"),
    ]
    world = World(FakeResponse(200, headers, [chunk("a"), DONE]))
    async with world.running():
        client = await world.call(stream=True)
    assert client.header("set-cookie") is None
    assert client.header("openai-organization") is None
    assert client.header("x-request-id") == "r"
    assert client.header("cache-control") == "no-cache"


async def test_limits_that_change_leave_running_calls_alone():
    world = World(whole())
    world.board.apply(Limits(output_ceiling=5))
    async with world.running():
        await world.call()
    assert world.sent()["max_tokens"] == 5


async def test_a_thinking_model_is_charged_its_bound_when_cut():
    world = World(
        stream(chunk("one"), UpstreamLost("x")),
        model=structs.replace(MODEL, hidden_reasoning=True),
    )
    async with world.running():
        await world.call(stream=True)
    assert world.trace.cost_basis is Basis.BOUND


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("status", [201, 202, 204, 206])
async def test_a_success_that_is_no_answer_of_the_api_is_charged_and_not_passed_on(
    status: int, streams: bool
):
    world = World(whole(status=status))
    async with world.running():
        client = await world.call(stream=streams)
    assert client.status == 502
    assert world.trace.cost_nusd == world.trace.bound_nusd > 0


async def test_an_answer_that_is_no_stream_where_one_was_asked_is_charged_though_it_is_empty():
    """It may have thought unseen, and it is no error."""
    body = b'{"choices":[{"index":0,"message":{"content":""},"finish_reason":"length"}]}'
    world = World(whole(body))
    async with world.running():
        client = await world.call(stream=True)
    assert client.status == 502
    assert world.trace.cost_nusd > 0


async def test_an_error_too_large_to_compare_with_the_request_is_replaced_at_once():
    """Looking for one text in the other took 17 seconds of the event loop."""
    text = "a" * 200_000
    world = World(whole(b'{"error":{"message":"' + b"ab" * 100_000 + b'"}}', status=400))
    began = time.perf_counter()
    async with world.running():
        client = await world.call(messages=[{"role": "user", "content": text}])
    assert time.perf_counter() - began < 2
    assert b"abab" not in client.received
    assert world.trace.cost_nusd == 0
