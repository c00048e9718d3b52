"""Whoever is to be told that a budget runs out is told once, and in time."""

import asyncio
import secrets
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import asyncpg
import openai
import pytest

from tests.process import databases
from tests.process.conftest import GatewayFactory
from tests.process.conversation import HELLO
from tests.process.databases import Database
from tests.process.gateway_process import Gateway
from tests.process.hooks import SECRET, Receiver, receiving
from tests.process.standins import Scripted, wait_until
from tests.process.test_caps import CALL_USD, TOKENS, config

CAP_USD = CALL_USD * 10 + CALL_USD / 50
"""Ten calls and a bit: the sixth passes a half, the ninth four fifths."""
CANARY = ("project", "canary")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with databases.external() as made:
        yield made


def settings(scripted: Scripted, receiver: Receiver, **more: object) -> dict[str, Any]:
    hook = {"url": receiver.url, "secret": "${HOOK_SECRET}"}
    return {**config(scripted, month_usd=str(CAP_USD)), "webhooks": {"ops": hook}, **more}


ENVIRONMENT = {"HOOK_SECRET": SECRET}


def spend(gateway: Gateway, calls: int) -> None:
    with gateway.sdk() as client:
        for _ in range(calls):
            client.chat.completions.create(model="stub/m", messages=HELLO, max_tokens=TOKENS)


def told(receiver: Receiver, count: int) -> list[int]:
    """Return the per cents that came, in their order, once so many have."""
    wait_until(lambda: len(receiver.messages) >= count, f"{count} messages", seconds=15)
    assert receiver.unsigned == []
    return [message.percent for message in receiver.messages]


def canary(gateway: Gateway, receiver: Receiver) -> None:
    """Make one more message, so that all before it have been looked for, and wait for it."""
    gateway.admin("PUT", "/budgets/workspace/-", json={"window": "month", "cap_usd": "1"})
    made = gateway.admin(
        "POST", "/tokens", json={"name": "canary", "project": CANARY[1], "scopes": ["llm:call"]}
    ).json()
    budget = {"window": "total", "cap_usd": str(CALL_USD * Decimal("1.5"))}
    answer = gateway.admin("PUT", "/budgets/project/canary", json=budget)
    assert answer.is_success, answer.text
    with gateway.sdk(token=made["token"]) as client:
        client.chat.completions.create(model="stub/m", messages=HELLO, max_tokens=TOKENS)
    wait_until(
        lambda: any(message.budget == CANARY for message in receiver.messages),
        "the canary's message",
        seconds=15,
    )


def of_workspace(receiver: Receiver) -> list[int]:
    return [one.percent for one in receiver.messages if one.budget == ("workspace", "")]


def test_a_half_four_fifths_and_the_whole_are_told_once_each_in_order_and_signed(
    gateway_factory: GatewayFactory, scripted: Scripted, receiver: Receiver
):
    scripted.script(tokens=TOKENS)
    gateway = gateway_factory(settings(scripted, receiver), environment=ENVIRONMENT)
    spend(gateway, 6)
    assert told(receiver, 1) == [50]
    spend(gateway, 3)
    assert told(receiver, 2) == [50, 80]
    scripted.script(tokens=TOKENS, extra_billed_tokens=50)
    spend(gateway, 1)
    assert told(receiver, 3) == [50, 80, 100]
    with pytest.raises(openai.APIStatusError):
        spend(gateway, 1)
    last = receiver.messages[-1].content
    assert last["type"] == "budget.threshold"
    data = last["data"]
    assert (data["scope"], data["scope_id"], data["window"]) == ("workspace", "", "month")
    assert Decimal(data["cap_usd"]) == CAP_USD
    assert Decimal(data["spent_usd"]) > CAP_USD, "what was billed beyond the bound shows"
    assert (data["unsettled_usd"], data["left_usd"]) == ("0", "0")
    canary(gateway, receiver)
    assert of_workspace(receiver) == [50, 80, 100]
    ids = {message.id for message in receiver.messages}
    assert len(ids) == len(receiver.messages)
    assert 'gateway_webhooks_total{result="delivered"}' in gateway.metrics()
    written = gateway.stdout() + gateway.stderr()
    assert "webhook_delivered" in written
    assert SECRET not in written
    assert "canary-of-the-query" not in written


def test_a_receiver_that_was_away_gets_its_message_once_it_is_back(
    gateway_factory: GatewayFactory, scripted: Scripted, receiver: Receiver
):
    scripted.script(tokens=TOKENS)
    receiver.close()
    gateway = gateway_factory(settings(scripted, receiver), environment=ENVIRONMENT)
    spend(gateway, 6)

    def failed() -> list[dict[str, Any]]:
        return [line for line in gateway.log() if line["event"] == "webhook_failed"]

    wait_until(lambda: len(failed()) == 1, "a delivery failed", seconds=15)
    receiver.open()
    assert told(receiver, 1) == [50]
    assert receiver.messages[0].id == failed()[0]["message"]
    assert failed()[0]["reason"] == "unreachable"
    canary(gateway, receiver)
    assert of_workspace(receiver) == [50]


def test_of_two_gateways_on_one_database_one_tells(
    gateway_factory: GatewayFactory, scripted: Scripted, receiver: Receiver, database: Database
):
    scripted.script(tokens=TOKENS)
    environment = {**ENVIRONMENT, "GATEWAY_TOKEN_PEPPER": secrets.token_hex(32)}
    said = settings(scripted, receiver, database=database.fresh())
    first = gateway_factory(said, environment=environment)
    second = Gateway(said, environment=environment)
    second.client_token = first.client_token
    try:
        second.start()
        for _ in range(3):
            spend(first, 1)
            spend(second, 1)
        assert told(receiver, 1) == [50]
        spend(second, 3)
        assert told(receiver, 2) == [50, 80]
        canary(second, receiver)
        assert of_workspace(receiver) == [50, 80]
    finally:
        second.remove()


def test_a_gateway_that_dies_while_it_delivers_is_replaced_and_the_id_stays(
    gateway_factory: GatewayFactory, scripted: Scripted, receiver: Receiver, database: Database
):
    scripted.script(tokens=TOKENS)
    dsn = database.fresh()
    gateway = gateway_factory(settings(scripted, receiver, database=dsn), environment=ENVIRONMENT)
    receiver.may_answer.clear()
    spend(gateway, 6)
    wait_until(lambda: receiver.asked == 1, "a delivery has begun", seconds=15)
    gateway.kill()
    receiver.close()
    receiver.open()
    gateway.start()
    id_ = asyncio.run(_let_claims_run_out(dsn))
    assert told(receiver, 1) == [50]
    assert receiver.messages[0].id == id_
    canary(gateway, receiver)
    assert of_workspace(receiver) == [50]


async def _let_claims_run_out(dsn: str) -> str:
    """Let half a minute pass for claims; return the message's id."""
    connection = await asyncpg.connect(dsn)
    try:
        row = await connection.fetchrow(
            "UPDATE outbox SET claimed_until = now() RETURNING message_id, attempts"
        )
    finally:
        await connection.close()
    assert row["attempts"] == 1
    return str(row["message_id"])
