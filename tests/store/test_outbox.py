"""Every message reaches its webhook at least once, by one sender at a time, or is given up."""

import json
from collections import Counter

import anyio
import pytest

from gateway.core.delivery import (
    SCHEDULE_S,
    Answer,
    Delivered,
    Rejected,
    Unanswered,
    WebhookName,
)
from gateway.core.secret import Secret
from gateway.jobs.deliver import Delivery
from gateway.remote.webhooks import ANSWER_S, Receiver
from gateway.store import outbox
from gateway.store.database import Database, connect
from gateway.store.outbox import CLAIM_S, OutboxStore
from tests.store.made import MINT
from tests.waiting import eventually

OPS, PAGER = WebhookName("ops"), WebhookName("pager")
BODY = '{"type": "budget.threshold"}'


@pytest.fixture
def store(database: Database) -> OutboxStore:
    return OutboxStore(database)


async def put(database: Database, count: int = 1, *webhooks: WebhookName) -> list[str]:
    ids = [MINT.id() for _ in range(count)]
    async with database.transaction() as connection:
        await outbox.put(connection, [(one, BODY) for one in ids], webhooks or (OPS,))
    return ids


async def pass_time(database: Database, seconds: float) -> None:
    """Let everything in the outbox be so much older."""
    await database.execute(
        """
        UPDATE outbox SET due_at = due_at - $1 * interval '1 second',
            claimed_until = claimed_until - $1 * interval '1 second',
            made_at = made_at - $1 * interval '1 second',
            ended_at = ended_at - $1 * interval '1 second'""",
        seconds,
    )


async def states(database: Database) -> dict[str, tuple[str, int, str | None]]:
    rows = await database.fetch("SELECT * FROM outbox")
    return {str(row["message_id"]): (row["state"], row["attempts"], row["reason"]) for row in rows}


class Told:
    """A witness, and a sender that answers as it is told and notes what it was given."""

    def __init__(self, *answers: Answer) -> None:
        self.events: list[tuple[str, int, str]] = []
        self.sent: list[tuple[str, str]] = []
        self.answers = list(answers)

    async def send(self, receiver: Receiver, message: str, body: str) -> Answer:
        self.sent.append((receiver.name, message))
        await anyio.lowlevel.checkpoint()
        return self.answers.pop(0) if self.answers else Delivered()

    def webhook_delivered(self, webhook: str, message: str, attempt: int) -> None:
        self.events.append(("delivered", attempt, ""))

    def webhook_failed(self, webhook: str, message: str, attempt: int, reason: str) -> None:
        self.events.append(("failed", attempt, reason))

    def webhook_given_up(self, webhook: str, message: str, attempt: int, reason: str) -> None:
        self.events.append(("given_up", attempt, reason))


def receiver(name: WebhookName) -> Receiver:
    return Receiver(name, "http://127.0.0.1:1/", Secret("whsec_"))


async def deliver(store: OutboxStore, told: Told, *names: WebhookName) -> None:
    """Do one round, to its end."""
    async with anyio.create_task_group() as group:
        await delivery(store, told, group, *names).run()


def delivery(
    store: OutboxStore, told: Told, group: anyio.abc.TaskGroup, *names: WebhookName
) -> Delivery:
    return Delivery(
        outbox=store,
        sender=told,
        receivers=lambda: [receiver(name) for name in names or (OPS,)],
        chance=lambda: 0.5,
        witness=told,
        group=group,
    )


async def test_messages_are_claimed_in_their_order_and_each_by_one(
    database: Database, store: OutboxStore
):
    ids = await put(database, 3)
    claimed = [await store.claim(OPS) for _ in range(4)]
    assert [one and (one.id, one.attempt, one.body) for one in claimed] == [
        *((id_, 1, BODY) for id_ in ids),
        None,
    ]


async def test_a_webhook_gets_its_own_messages_alone(database: Database, store: OutboxStore):
    await put(database, 1, PAGER)
    assert await store.claim(OPS) is None
    assert await store.claim(PAGER) is not None


async def test_many_senders_at_once_send_each_message_once(dsn: str, database: Database):
    ids = await put(database, 60)
    sent: list[str] = []

    async def work(other: Database) -> None:
        store = OutboxStore(other)
        while message := await store.claim(OPS):
            sent.append(message.id)
            await store.delivered(message)

    async with connect(dsn, size=6) as other, anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(work, other)
    assert Counter(sent) == Counter(ids)
    assert {state for state, _, _ in (await states(database)).values()} == {"delivered"}


async def test_a_sender_that_dies_is_replaced_and_the_message_keeps_its_id(
    database: Database, store: OutboxStore
):
    [id_] = await put(database)
    assert await store.claim(OPS) is not None
    assert await store.claim(OPS) is None, "it may still be at work"
    await pass_time(database, CLAIM_S)
    again = await store.claim(OPS)
    assert again is not None
    assert (again.id, again.attempt) == (id_, 2)


async def test_a_sender_that_was_taken_for_dead_decides_nothing_but_a_delivery(
    database: Database, store: OutboxStore
):
    [id_] = await put(database)
    late = await store.claim(OPS)
    await pass_time(database, CLAIM_S)
    assert late is not None
    assert await store.claim(OPS) is not None
    await store.give_up(late, "status 410")
    await store.again(late, "status 500", 900.0)
    assert (await states(database))[id_] == ("waiting", 2, None)
    await store.delivered(late)
    assert (await states(database))[id_] == ("delivered", 2, None)


async def test_what_fails_waits_by_the_schedule_and_is_given_up_at_its_end(
    database: Database, store: OutboxStore
):
    [id_] = await put(database)
    told = Told(*(Rejected(503) for _ in range(20)))
    for attempt, pause_s in enumerate(SCHEDULE_S, start=1):
        await deliver(store, told)
        assert (await states(database))[id_] == ("waiting", attempt, "status 503")
        await pass_time(database, pause_s - 3)
        await deliver(store, told)
        assert len(told.sent) == attempt, "not before its time"
        await pass_time(database, 3)
    await deliver(store, told)
    assert (await states(database))[id_] == ("failed", 10, "status 503")
    await pass_time(database, 10**6)
    await deliver(store, told)
    assert told.events == [
        *(("failed", n, "status 503") for n in range(1, 10)),
        ("given_up", 10, "status 503"),
    ]
    assert set(told.sent) == {(OPS, id_)}


async def test_a_receiver_that_comes_back_gets_the_same_message(
    database: Database, store: OutboxStore
):
    [id_] = await put(database)
    told = Told(Unanswered("unreachable"), Delivered())
    await deliver(store, told)
    await pass_time(database, 5)
    await deliver(store, told)
    assert told.sent == [(OPS, id_)] * 2
    assert told.events == [("failed", 1, "unreachable"), ("delivered", 2, "")]
    assert (await states(database))[id_] == ("delivered", 2, None)


async def test_gone_is_not_asked_again(database: Database, store: OutboxStore):
    [id_] = await put(database)
    told = Told(Rejected(410))
    await deliver(store, told)
    assert (await states(database))[id_] == ("failed", 1, "status 410")
    assert told.events == [("given_up", 1, "status 410")]


async def test_a_silent_receiver_holds_up_no_other(database: Database, store: OutboxStore):
    await put(database, 2, OPS, PAGER)
    told = Told()
    is_open = anyio.Event()

    class Slow(Told):
        async def send(self, receiver: Receiver, message: str, body: str) -> Answer:
            if receiver.name == OPS:
                await is_open.wait()
            return await told.send(receiver, message, body)

    slow = Slow()
    async with anyio.create_task_group() as group:
        job = delivery(store, slow, group, OPS, PAGER)
        await job.run()
        await eventually(lambda: len(told.sent) == 2)
        assert {name for name, _ in told.sent} == {PAGER}
        await job.run()
        is_open.set()
    assert Counter(name for name, _ in told.sent) == {OPS: 2, PAGER: 2}


async def test_a_database_that_is_away_ends_a_round_and_no_more(dsn: str):
    told = Told()
    async with connect(dsn, size=1) as other:
        store = OutboxStore(other)
        await put(other)
        await other.execute(
            "ALTER DATABASE "
            + dsn.partition("@/")[2].partition("?")[0]
            + " SET default_transaction_read_only = on"
        )
        async with connect(dsn, size=1) as locked:
            await deliver(OutboxStore(locked), told)
        assert told.sent == []
        await deliver(store, told)
    assert len(told.sent) == 1


async def test_what_no_gateway_could_send_expires_and_what_ended_is_removed(
    database: Database, store: OutboxStore
):
    [id_] = await put(database)
    told = Told()
    async with anyio.create_task_group() as group:
        job = delivery(store, told, group)
        await pass_time(database, 6 * 86_400)
        await job.tidy()
        assert told.events == []
        await pass_time(database, 86_400)
        await job.tidy()
        assert told.events == [("given_up", 0, "expired")]
        assert (await states(database))[id_] == ("failed", 0, "expired")
        await pass_time(database, 31 * 86_400)
        await job.tidy()
    assert await states(database) == {}


async def test_a_claim_finds_its_message_by_the_index(database: Database):
    await database.execute(
        """
        INSERT INTO outbox (message_id, webhook, body, state, ended_at)
        SELECT gen_random_uuid(), 'ops', '{}', 'delivered', now() FROM generate_series(1, 20000)"""
    )
    await put(database)
    await database.execute("ANALYZE outbox")
    plan = await database.fetch_value(f"EXPLAIN (FORMAT JSON) {outbox.CLAIM}", OPS, 30.0)
    assert "Seq Scan" not in json.dumps(plan)
    assert "outbox_waiting" in json.dumps(plan)


def test_a_claim_outlasts_the_wait_for_an_answer():
    assert CLAIM_S >= ANSWER_S + 10
