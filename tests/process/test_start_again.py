"""A gateway that is killed, stopped, told anew or robbed of its database, and what it then knows."""

import asyncio
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from signal import SIGHUP, SIGINT, SIGTERM
from typing import Any

import httpx
import openai
import pytest

from tests.process import standins
from tests.process.conversation import HELLO, said
from tests.process.databases import Database, external
from tests.process.gateway_process import Gateway
from tests.process.observing import (
    PRICE,
    amounts,
    cost,
    month,
    month_at_rest,
    provider,
    run_at_rest,
    running,
    trace,
    traces,
)
from tests.process.standins import Scripted, wait_until

MODEL = "mock/model"
SLOW = "mock/slow"
GRACE_S = 2


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Scripted]:
    with standins.scripted(key="sk-of-the-provider") as made:
        yield made


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with external() as made:
        yield made


@pytest.fixture
def settings(stand_in: Scripted, database: Database) -> dict[str, Any]:
    """A configuration on a database of its own; the provider's account and scripts are empty."""
    stand_in.reset()
    prices = dict.fromkeys((MODEL, SLOW), PRICE)
    return {
        "database": database.fresh(),
        "providers": {"mock": provider(stand_in)},
        "prices": prices,
    }


def test_a_killed_gateway_keeps_what_was_spent_and_holds_what_was_not_settled(
    stand_in: Scripted, settings: dict[str, Any]
) -> None:
    stand_in.script("slow", ending="hang")
    run = {"x-gateway-run": "before-the-kill"}
    with running({**settings, "database": "embedded"}) as gateway, gateway.sdk() as client:
        create = client.chat.completions.create
        raw = client.chat.completions.with_raw_response.create(
            model=MODEL, messages=HELLO, extra_headers=run
        )
        spent = Decimal(trace(gateway, raw.headers["x-gateway-trace"])["cost_usd"])
        run_at_rest(gateway, "before-the-kill")
        order = {"scope": "model", "id": MODEL, "reason": "a test"}
        gateway.admin("POST", "/kill", json=order).raise_for_status()
        with create(model=SLOW, messages=HELLO, stream=True, extra_headers=run) as stream:
            next(stream)
            held = Decimal(stream.response.headers["x-gateway-estimate-usd"])
            gateway.kill()
        gateway.start()
        assert gateway.banner("Client token") is None, "a token is shown once"
        found = amounts(gateway.admin("GET", "/runs/before-the-kill").json())
        assert found["spent_usd"] == spent
        assert found["unsettled_usd"] >= held > 0
        assert found["left_usd"] == found["cap_usd"] - spent - found["unsettled_usd"]
        assert month(gateway)["unsettled_usd"] >= held
        assert [one["event"] for one in gateway.log()].count("replica_reclaimed") == 1
        with pytest.raises(openai.PermissionDeniedError) as caught:
            create(model=MODEL, messages=HELLO)
        assert caught.value.code == "kill_switch"
        stand_in.reset()
        assert create(model=SLOW, messages=HELLO).choices


async def test_sigterm_lets_streams_end_cuts_those_that_do_not_and_refuses_new_calls(
    stand_in: Scripted, settings: dict[str, Any]
) -> None:
    stand_in.script("model", tokens=10, chunk_after=0.1)
    stand_in.script("slow", ending="hang")
    with running({**settings, "shutdown": {"grace": f"{GRACE_S}s"}}) as gateway:
        async with gateway.async_sdk() as client, asyncio.TaskGroup() as group:
            ending, hanging = [await begun(client, model) for model in (MODEL, SLOW)]
            late = await begin_raw(gateway)
            rest = group.create_task(words(ending))
            cut = group.create_task(error_code(hanging))
            gateway.signal(SIGTERM)
            wait_until(lambda: readiness(gateway) == (503, "draining"), "it says that it drains")
            assert await late() == (503, "draining")
            with pytest.raises(openai.InternalServerError) as caught:
                await client.chat.completions.create(model=MODEL, messages=HELLO)
            refused = caught.value
            assert (refused.status_code, refused.code) == (503, "draining")
            assert refused.response.headers["connection"] == "close"
            assert int(refused.response.headers["retry-after"]) >= 1
        assert (rest.result(), cut.result()) == (10, "draining")
        assert gateway.ended() == 0
        assert [one["event"] for one in gateway.log()][-1] == "stopped"
        gateway.start()
        kept = {one["model"]: one for one in traces(gateway, 2) if one["outcome"] != "refused"}
        now = month(gateway)
    whole = next(one for one in stand_in.seen() if one["model"] == "model")
    assert Decimal(kept[MODEL]["cost_usd"]) == cost(whole["prompt_tokens"], 10)
    assert kept[SLOW]["outcome"] == "shut_down"
    assert now["spent_usd"] == sum(Decimal(one["cost_usd"]) for one in kept.values())
    assert (now["held_usd"], now["unsettled_usd"]) == (0, 0), "no lease was left behind"


async def test_a_kill_switch_can_be_thrown_while_streams_drain(
    stand_in: Scripted, settings: dict[str, Any]
) -> None:
    stand_in.script("slow", ending="hang")
    with running({**settings, "shutdown": {"grace": "5m"}}) as gateway:
        async with gateway.async_sdk() as client, asyncio.TaskGroup() as group:
            cut = group.create_task(error_code(await begun(client, SLOW)))
            gateway.signal(SIGTERM)
            wait_until(lambda: readiness(gateway) == (503, "draining"), "it says that it drains")
            state = gateway.admin("GET", "/status")
            assert state.headers["connection"] == "close"
            assert len(state.json()["replicas"]) == 1
            ended = await asyncio.to_thread(gateway.cli, "kill", "--all", "--json")
            assert ended.returncode == 0, ended.stderr
            thrown = json.loads(ended.stdout)
            assert (thrown["replicas"], thrown["acknowledged"], thrown["streams_cut"]) == (1, 1, 1)
        assert cut.result() == "kill_switch"
        assert gateway.ended() == 0, "the last stream has ended, so the grace is over"


async def test_a_second_signal_cuts_what_the_first_let_go_on(
    stand_in: Scripted, settings: dict[str, Any]
) -> None:
    stand_in.script("slow", ending="hang")
    with running({**settings, "shutdown": {"grace": "5m"}}) as gateway:
        async with gateway.async_sdk() as client, asyncio.TaskGroup() as group:
            cut = group.create_task(error_code(await begun(client, SLOW)))
            gateway.signal(SIGINT)
            wait_until(lambda: readiness(gateway) == (503, "draining"), "it says that it drains")
            gateway.signal(SIGINT)
        assert cut.result() == "draining"
        assert gateway.ended() == 0


Stream = openai.AsyncStream[Any]


async def begun(client: openai.AsyncOpenAI, model: str) -> Stream:
    """Return a stream whose first event has come."""
    stream = await client.chat.completions.create(model=model, messages=HELLO, stream=True)
    await anext(stream)
    return stream


async def words(stream: Stream) -> int:
    return len([chunk async for chunk in stream if said([chunk])])


async def error_code(stream: Stream) -> str | None:
    """Return the code of the error that ends a stream."""
    with pytest.raises(openai.APIError) as caught:
        async for _ in stream:
            pass
    return caught.value.code


async def begin_raw(gateway: Gateway) -> Callable[[], Any]:
    """Send a request but for the end of its head; return what sends the rest and gives the answer.

    A connection that does nothing is closed at once, and one whose request is being answered is
    let be: this one is between.
    """
    body = json.dumps({"model": MODEL, "messages": HELLO}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(gateway.url).port)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {gateway.client_token}\r\ncontent-length: {len(body)}\r\n"
    )
    writer.write(head.encode())
    await writer.drain()

    async def end() -> tuple[int, str]:
        writer.write(b"\r\n" + body)
        answer = await reader.read()
        writer.close()
        top, _, told = answer.partition(b"\r\n\r\n")
        assert b"connection: close" in top
        return int(top.split()[1]), json.loads(told)["error"]["code"]

    return end


def readiness(gateway: Gateway) -> tuple[int, str]:
    try:
        answer = httpx.get(f"{gateway.ops_url}/readyz", timeout=5)
    except httpx.TransportError:
        return 0, ""
    return answer.status_code, answer.text.strip()


def test_sighup_and_a_changed_file_change_a_limit_and_a_bad_file_changes_nothing(
    settings: dict[str, Any],
) -> None:
    with running(settings) as gateway:
        assert ceiling(gateway) == 4096
        gateway.configure({**settings, "limits": {"output_tokens": 7, "month_usd": "9"}})
        gateway.signal(SIGHUP)
        wait_until(lambda: ceiling(gateway) == 7, "the new ceiling is in force", every=0.05)
        wait_until(lambda: month(gateway)["cap_usd"] == 9, "and the new cap", every=0.05)
        reloads = events(gateway, "configuration_reloaded")
        gateway.signal(SIGHUP)
        wait_until(
            lambda: events(gateway, "configuration_reloaded") > reloads, "it was told to read again"
        )
        for number, bad in enumerate(
            (
                {**settings, "limits": {"output_tokens": 0}},
                {**settings, "prices": {"mock/new": {"input": "1"}}},
                {**settings, "ledger": {"lease_ttl": "9s"}},
            ),
            start=1,
        ):
            gateway.configure(bad)
            gateway.signal(SIGHUP)
            is_refused = refusals_are(gateway, number)
            wait_until(is_refused, f"bad file {number} is refused")
            assert ceiling(gateway) == 7
        gateway.configure({**settings, "limits": {"output_tokens": 5}})
        wait_until(lambda: ceiling(gateway) == 5, "a changed file is seen by itself", every=0.05)


def refusals_are(gateway: Gateway, count: int) -> Callable[[], bool]:
    return lambda: events(gateway, "configuration_refused") >= count


def events(gateway: Gateway, name: str) -> int:
    return [one["event"] for one in gateway.log()].count(name)


def ceiling(gateway: Gateway) -> int:
    with gateway.sdk() as client:
        raw = client.chat.completions.with_raw_response.create(
            model=MODEL, messages=HELLO, extra_headers={"x-gateway-dry-run": "true"}
        )
    bound: int = json.loads(raw.text)["output_tokens_bound"]
    return bound


def test_a_database_that_is_gone_is_unavailable_and_comes_back(
    stand_in: Scripted, database: Database, settings: dict[str, Any]
) -> None:
    settings = {**settings, "ledger": {"lease_ttl": "2s"}}
    with running(settings) as gateway, gateway.sdk() as client:
        create = client.chat.completions.create
        assert create(model=MODEL, messages=HELLO).choices
        month_at_rest(gateway)
        database.stop()
        try:
            wait_until(lambda: readiness(gateway)[0] == 503, "it is not ready any more")
            with pytest.raises(openai.InternalServerError) as caught:
                create(model=MODEL, messages=HELLO)
            gateway.configure({**settings, "limits": {"month_usd": "77"}})
            wait_until(lambda: events(gateway, "configuration_reloaded") == 1, "a cap is reloaded")
        finally:
            database.start()
        assert (caught.value.status_code, caught.value.code) == (503, "ledger_unavailable")
        assert int(caught.value.response.headers["retry-after"]) >= 1
        assert len(stand_in.seen()) == 1, "nothing was sent meanwhile"
        wait_until(gateway.is_ready, "it is ready again", seconds=30, every=0.05)
        assert create(model=MODEL, messages=HELLO).choices
        assert len(traces(gateway, 2)) >= 2
        wait_until(lambda: month(gateway)["cap_usd"] == 77, "the database is told the cap")
