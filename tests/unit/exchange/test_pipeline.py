"""From a request to a refusal, an estimate or a call: the stages, in their order."""

from decimal import Decimal

import anyio
import msgspec
import pytest
from msgspec import structs

from gateway.core.budget import BudgetKey, Scope, Window
from gateway.core.ids import ModelName, Provider
from gateway.core.limits import Limits
from gateway.core.money import NanoDollars
from gateway.core.outcome import Outcome
from gateway.core.pricing import Vocabulary
from gateway.core.refusal import Code, Refused
from gateway.errors import LedgerUnavailable
from tests.fakes import FakeClient
from tests.unit.exchange.world import (
    CALLER,
    DOLLAR,
    MODEL,
    MONTH,
    TOKEN,
    World,
    call,
    refusing,
    whole,
)

RUN = BudgetKey(Scope.RUN, "p1/r1", Window.TOTAL, "")
R1 = [(b"x-gateway-run", b"r1")]


def code(client: FakeClient) -> str:
    error: dict[str, str] = msgspec.json.decode(client.received)["error"]
    return error["code"]


@pytest.mark.parametrize("secret", [None, "wrong"])
async def test_a_call_without_a_good_token_is_refused_and_leaves_no_trace(secret: str | None):
    world = World(whole())
    client = await world.call(secret=secret)
    assert (client.status, code(client)) == (401, "token_invalid")
    assert world.witness.heard == [("refused", Code.TOKEN_INVALID)]


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        ({"model": "stub/m", "max_tokens": -1}, 400, "invalid_request"),
        ({"model": "stub/other"}, 400, "price_unknown"),
        ({"model": "other"}, 404, "model_not_found"),
        ({"model": "stub/m", "n": 0}, 400, "invalid_request"),
    ],
)
async def test_a_bad_request_holds_nothing_sends_nothing_and_is_traced(
    body: dict[str, object], status: int, expected: str
):
    world = World(whole())
    async with world.running():
        client = await world.call(headers=R1, **body)
    assert (client.status, code(client)) == (status, expected)
    assert not world.upstream.requests
    assert world.ledger.grants == 0
    assert not world.runs.runs
    assert world.trace.outcome is Outcome.REFUSED
    assert world.trace.code == expected
    assert client.header("x-request-id") == world.trace.id


async def test_the_name_a_client_asked_for_is_kept_only_where_it_names_a_model():
    world = World(whole())
    await world.call(model="a secret text")
    assert world.trace.model_asked == ""


async def test_a_run_is_opened_with_its_cap_and_its_money_is_held():
    world = World(whole(), caps={MONTH: None, RUN: DOLLAR})
    async with world.running():
        client = await world.call(headers=[*R1, (b"x-gateway-run-cap-usd", b"1")])
    assert world.runs.caps == {"p1/r1": DOLLAR}
    assert world.ledger.spent[RUN] == world.trace.cost_nusd
    assert client.header("x-gateway-run") == "r1"
    assert client.header("x-gateway-run-remaining-usd") == "0.999989"


async def test_a_closed_run_is_refused():
    world = World(whole())
    async with world.running():
        await world.call(headers=R1)
        run = world.runs.runs["p1", "r1"]
        world.runs.runs["p1", "r1"] = structs.replace(run, is_open=False)
        client = await world.call(headers=R1)
    assert (client.status, code(client)) == (402, "run_cap_exceeded")
    assert "closed" in client.received.decode()


async def test_a_workspace_may_require_a_run():
    world = World(whole(), limits=Limits(output_ceiling=10, require_run=True))
    client = await world.call()
    assert (client.status, code(client)) == (400, "run_required")


async def test_a_call_that_does_not_fit_is_refused_with_the_numbers():
    world = World(whole(), caps={MONTH: 1000}, limits=refusing())
    async with world.running():
        client = await world.call()
    assert (client.status, code(client)) == (402, "month_budget_exceeded")
    assert "$0.000001 of its $0.000001" in client.received.decode()
    assert client.header("x-should-retry") == "false"


async def test_the_rest_of_a_cap_buys_fewer_output_tokens_where_clamping_is_allowed():
    unknown = structs.replace(MODEL, vocabulary=Vocabulary.UNKNOWN)
    world = World(whole(), caps={MONTH: 850_000}, model=unknown)
    async with world.running():
        client = await world.call()
    assert client.status == 200
    tokens = int(client.header("x-gateway-output-tokens") or 0)
    assert 1 <= tokens < 100
    assert world.sent()["max_tokens"] == tokens
    assert 848_000 < world.trace.bound_nusd <= 850_000


async def test_a_request_is_clamped_to_the_smallest_of_several_caps():
    limits = Limits(output_ceiling=100, request_cap=NanoDollars(600_000))
    world = World(whole(), limits=limits, caps={MONTH: 550_000, RUN: 500_000})
    async with world.running():
        client = await world.call(headers=R1)
    assert client.status == 200
    allowed = world.sent()["max_tokens"]
    assert isinstance(allowed, int)
    assert 0 < allowed < 100
    assert 498_000 < world.trace.bound_nusd <= 500_000


async def test_tokens_are_counted_where_bytes_do_not_fit():
    text = "word " * 400
    world = World(whole(), caps={MONTH: 1_150_000}, limits=refusing())
    async with world.running():
        client = await world.call(messages=[{"role": "user", "content": text}], max_tokens=10)
    assert client.status == 200
    assert world.trace.bound_nusd < 1_150_000


async def test_a_request_above_its_own_cap_is_refused():
    world = World(whole(), limits=refusing(request_cap=NanoDollars(1000)))
    async with world.running():
        client = await world.call()
    assert (client.status, code(client)) == (402, "request_cap_exceeded")
    assert world.ledger.grants == 0


async def test_the_ceiling_is_written_into_the_request_and_told():
    world = World(whole())
    async with world.running():
        client = await world.call(max_tokens=5000)
    assert world.sent()["max_tokens"] == 100
    assert client.header("x-gateway-output-tokens") == "100"


async def test_a_request_within_its_ceiling_is_sent_as_it_came():
    world = World(whole())
    async with world.running():
        client = await world.call(max_tokens=7, temperature=0.5, custom={"a": [1]})
    sent = world.sent()
    assert sent["max_tokens"] == 7
    assert sent["custom"] == {"a": [1]}
    assert sent["model"] == "m"
    assert client.header("x-gateway-output-tokens") is None


async def test_the_providers_key_goes_up_and_the_clients_does_not():
    world = World(whole())
    async with world.running():
        await world.call()
    (request,) = world.upstream.requests
    headers = b"\n".join(b": ".join(pair) for pair in request.headers)
    assert b"sk-provider-key" in headers
    assert TOKEN.encode() not in headers
    assert b"x-gateway" not in headers


async def test_a_dry_run_answers_with_the_estimate_and_touches_nothing():
    world = World(whole(), caps={MONTH: 1000})
    client = await world.call(headers=[*R1, (b"x-gateway-dry-run", b"true")])
    estimate = msgspec.json.decode(client.received)
    assert estimate["admitted"] is False
    assert estimate["refusals"] == [
        {"code": "month_budget_exceeded", "budget": "workspace month", "left_usd": "0.000001"}
    ]
    assert not world.upstream.requests
    assert not world.runs.runs
    assert world.ledger.grants == 0


async def test_a_dry_run_that_fits_says_so():
    world = World(whole())
    client = await world.call(headers=[(b"x-gateway-dry-run", b"true")])
    estimate = msgspec.json.decode(client.received)
    assert estimate["admitted"] is True
    assert estimate["model"] == "stub/m"
    assert estimate["output_tokens_bound"] == 100


async def test_a_dry_run_offers_what_the_call_itself_would_be_offered():
    unknown = structs.replace(MODEL, vocabulary=Vocabulary.UNKNOWN)
    world = World(whole(), caps={MONTH: 850_000}, model=unknown)
    client = await world.call(headers=[(b"x-gateway-dry-run", b"true")])
    estimate = msgspec.json.decode(client.received)
    assert estimate["admitted"] is True
    async with world.running():
        answered = await world.call()
    assert estimate["output_tokens_bound"] == int(answered.header("x-gateway-output-tokens") or 0)
    assert Decimal(estimate["bound_usd"]) * DOLLAR == world.trace.bound_nusd


async def test_a_dry_run_leaves_the_run_that_is_opened_next_its_cap():
    """Both in one second and of one target, and yet not of the same budgets."""
    world = World(whole(), caps={MONTH: None, RUN: 1}, limits=refusing())
    async with world.running():
        await world.call(headers=[*R1, (b"x-gateway-dry-run", b"true")])
        client = await world.call(headers=R1)
    assert (client.status, code(client)) == (402, "run_cap_exceeded")


async def test_an_unopened_run_is_estimated_at_the_cap_it_would_have():
    world = World(whole(), limits=refusing(run_cap=NanoDollars(10)))
    client = await world.call(headers=[*R1, (b"x-gateway-dry-run", b"true")])
    assert msgspec.json.decode(client.received)["refusals"][0]["code"] == "run_cap_exceeded"


async def test_an_unopened_run_with_a_cap_of_nothing_is_estimated_at_nothing():
    world = World(whole(), limits=refusing(run_cap=NanoDollars(10**12)))
    cap = (b"x-gateway-run-cap-usd", b"0")
    client = await world.call(headers=[*R1, cap, (b"x-gateway-dry-run", b"true")])
    assert msgspec.json.decode(client.received)["refusals"][0]["code"] == "run_cap_exceeded"


async def test_a_ledger_that_is_away_refuses_calls_and_says_when_to_come_back():
    world = World(whole())
    world.ledger.failure = LedgerUnavailable("gone")
    async with world.running():
        client = await world.call()
        world.ledger.failure = None
    assert (client.status, code(client)) == (503, "ledger_unavailable")
    assert client.header("retry-after") == "1"
    assert not world.upstream.requests


async def test_callers_that_cannot_be_looked_up_are_told_so():
    world = World(whole())
    world.callers.failure = LedgerUnavailable("gone")
    client = await world.call()
    assert client.status == 503


async def test_a_gateway_that_drains_refuses_new_calls():
    world = World(whole())
    world.pipeline.is_draining = True
    client = await world.call()
    assert (client.status, code(client)) == (503, "draining")


async def test_a_body_that_could_not_be_read_is_refused():
    world = World(whole())
    client = FakeClient(Refused(Code.BODY_TOO_LARGE, "Too large."))
    await world.pipeline.run(call(), client)
    assert client.status == 413


async def test_the_listing_shows_the_models_that_the_caller_may_use():
    world = World(whole())
    client = FakeClient()
    await world.pipeline.models(call(), client)
    assert [row["id"] for row in msgspec.json.decode(client.received)["data"]] == ["stub/m"]
    stranger = FakeClient()
    await world.pipeline.models(call(secret=None), stranger)
    assert stranger.status == 401


async def test_a_listing_leaves_out_what_the_caller_may_not_use():
    names = {"name": ModelName("other/n"), "provider": Provider("other"), "upstream_name": "n"}
    world = World(whole(), fallbacks=[structs.replace(MODEL, **names)])
    for allowed, shown in (("other/n", ["other/n"]), ("stub/m", ["fast", "stub/m"])):
        caller = structs.replace(CALLER, models=frozenset({ModelName(allowed)}))
        world.callers._callers[TOKEN] = caller
        client = FakeClient()
        await world.pipeline.models(call(), client)
        assert [row["id"] for row in msgspec.json.decode(client.received)["data"]] == shown
    for name in ("other/n", "n"):
        client = FakeClient()
        await world.pipeline.models(call(), client, name)
        assert (client.status, code(client)) == (403, "model_not_allowed")
    client = FakeClient()
    await world.pipeline.models(call(), client, "fast")
    assert client.status == 200


async def test_one_model_is_shown_by_its_name_and_an_unknown_one_is_not_found():
    world = World(whole())
    client = FakeClient()
    await world.pipeline.models(call(), client, "m")
    assert msgspec.json.decode(client.received)["id"] == "stub/m"
    other = FakeClient()
    await world.pipeline.models(call(), other, "nobody")
    assert (other.status, code(other)) == (404, "model_not_found")


async def test_labels_are_kept_with_the_trace():
    world = World(whole())
    async with world.running():
        await world.call(headers=[(b"x-gateway-label", b"team=search")])
    assert world.trace.labels == {"team": "search"}


async def test_a_burst_on_one_small_cap_is_admitted_up_to_it():
    world = World(whole(), caps={MONTH: 3_000_000}, limits=refusing())
    clients: list[FakeClient] = []

    async def one() -> None:
        clients.append(await world.call(max_tokens=100))

    async with world.running(), anyio.create_task_group() as group:
        world.upstream.answer = whole
        for _ in range(50):
            group.start_soon(one)
    admitted = sum(client.status == 200 for client in clients)
    refused = sum(client.status == 402 for client in clients)
    assert admitted + refused == 50
    assert admitted >= 3_000_000 // world.traces[0].bound_nusd
    assert world.ledger.spent[MONTH] <= 3_000_000
