"""Several gateways on one database: they share caps to the last call that fits, and refuse no other."""

import contextlib
import secrets
from collections.abc import Iterator
from decimal import Decimal

import anyio
import openai
import pytest

from tests.process.conversation import HELLO
from tests.process.databases import external
from tests.process.gateway_process import Gateway
from tests.process.standins import Scripted, wait_until
from tests.process.test_caps import CALL_USD, OUTPUT_USD, TOKENS, call, config, told


@pytest.fixture(scope="module")
def three(scripted_session: Scripted) -> Iterator[list[Gateway]]:
    with external() as database, contextlib.ExitStack() as stack:
        shared = {"GATEWAY_TOKEN_PEPPER": secrets.token_hex(32)}
        whole = {**config(scripted_session), "database": database.fresh()}
        made: list[Gateway] = []
        for _ in range(3):
            gateway = Gateway(whole, environment=shared)
            stack.callback(gateway.remove)
            if made:  # the first to start has shown the first token
                gateway.client_token = made[0].client_token
            gateway.start()
            made.append(gateway)
        yield made
        for gateway in made:
            assert gateway.stop() == 0


async def test_a_cap_is_spent_to_its_last_call_wherever_the_calls_come(
    three: list[Gateway], scripted: Scripted
):
    """One after the other, each at another replica: what the one before left idle is asked for."""
    scripted.script(tokens=TOKENS)
    cap = 7 * CALL_USD + CALL_USD / 2
    clients = [gateway.async_sdk() for gateway in three]
    outcomes = [
        await call(clients[number % 3], "in-turn", str(cap), streams=False) for number in range(10)
    ]
    for client in clients:
        await client.close()
    assert outcomes == ["served"] * 7 + ["run_cap_exceeded"] * 3
    assert len(scripted.settled(7)) == 7


async def test_many_calls_at_once_at_three_replicas_spend_at_most_the_cap_and_nearly_all_of_it(
    three: list[Gateway], scripted: Scripted
):
    scripted.script(tokens=TOKENS, tokens_per_chunk=50)
    cap = 20 * CALL_USD + CALL_USD / 2
    outcomes: list[str] = []
    clients = [gateway.async_sdk(timeout=60) for gateway in three]

    async def one(client: openai.AsyncOpenAI) -> None:
        outcomes.append(await call(client, "at-once", str(cap), streams=True))

    async with anyio.create_task_group() as group:
        for number in range(120):
            group.start_soon(one, clients[number % 3])
    # What the last of them left in parts is put together for the next.
    outcomes.append(await call(clients[0], "at-once", str(cap), streams=True))
    for client in clients:
        await client.close()
    assert set(outcomes) == {"served", "run_cap_exceeded"}
    count = outcomes.count("served")
    produced = sum(each["completion_tokens"] for each in scripted.settled(count))
    assert cap - CALL_USD < produced * OUTPUT_USD / 10**6 <= cap


def test_a_cap_that_is_lowered_at_one_replica_holds_at_the_others(
    three: list[Gateway], scripted: Scripted
):
    scripted.script(tokens=5)
    first, second, _ = three
    with second.sdk() as client:
        client.chat.completions.create(model="stub/m", messages=HELLO, max_tokens=TOKENS)
        told(first, "budgets", "put", "workspace", "--cap-usd", "0.0001")
        try:
            wait_until(lambda: code(client) == "month_budget_exceeded", "the cap holds there too")
        finally:
            told(first, "budgets", "delete", "workspace")
        client.chat.completions.create(model="stub/m", messages=HELLO, max_tokens=TOKENS)


def test_every_replica_acknowledges_a_kill_switch(three: list[Gateway]):
    thrown = told(three[1], "kill", "--project", "nobody", "--reason", "a drill")
    told(three[2], "unkill", thrown["id"])
    assert (thrown["replicas"], thrown["acknowledged"], thrown["late"]) == (3, 3, [])


def test_idle_replicas_hold_nothing(three: list[Gateway]):
    def held() -> Decimal:
        return sum((Decimal(each["held_usd"]) for each in told_spend(three[0])), Decimal(0))

    wait_until(lambda: held() == 0, "every lease went back")


def code(client: openai.OpenAI) -> str | None:
    """Call, and return the code of the refusal; None where the call was served."""
    try:
        client.chat.completions.create(model="stub/m", messages=HELLO, max_tokens=TOKENS)
    except openai.APIStatusError as error:
        return error.code
    return None


def told_spend(gateway: Gateway) -> list[dict[str, str]]:
    answer = gateway.admin("GET", "/spend").raise_for_status().json()
    budgets: list[dict[str, str]] = answer["data"] if isinstance(answer, dict) else answer
    return budgets
