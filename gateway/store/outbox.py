"""Messages to webhooks, kept until they are delivered or given up.

A message is put here in the transaction that makes it due, so none is lost and none made twice. It is
sent at least once: a sender claims it for a while and counts the attempt before it sends; when the
sender dies the claim runs out and another takes over, with the same id, by which a receiver knows it.
Times are the database's own, so that the clocks of several hosts need not agree.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

import msgspec

from gateway.core.delivery import WebhookName
from gateway.store.database import Connection, Database, Record

CLAIM_S: Final = 30.0
"""How long a message is a sender's own: longer than a webhook may take to answer."""
EXPIRES_AFTER: Final = timedelta(days=7)
"""Longer than the schedule of attempts, for what no gateway could send (its webhook is configured no more)."""
KEPT_FOR: Final = timedelta(days=30)

PUT: Final = "INSERT INTO outbox (message_id, webhook, body) VALUES ($1, $2, $3)"
CLAIM: Final = """
UPDATE outbox SET attempts = attempts + 1, claimed_until = now() + $2 * interval '1 second'
WHERE (message_id, webhook) = (
    SELECT message_id, webhook FROM outbox
    WHERE state = 'waiting' AND webhook = $1 AND due_at <= now()
          AND (claimed_until IS NULL OR claimed_until <= now())
    ORDER BY due_at, seq LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING message_id, body, attempts"""
DELIVERED: Final = """
UPDATE outbox SET state = 'delivered', ended_at = now(), claimed_until = NULL, reason = NULL
WHERE message_id = $1 AND webhook = $2 AND state = 'waiting'"""
AGAIN: Final = """
UPDATE outbox SET due_at = now() + $4 * interval '1 second', claimed_until = NULL, reason = $5
WHERE message_id = $1 AND webhook = $2 AND state = 'waiting' AND attempts = $3"""
GIVE_UP: Final = """
UPDATE outbox SET state = 'failed', ended_at = now(), claimed_until = NULL, reason = $4
WHERE message_id = $1 AND webhook = $2 AND state = 'waiting' AND attempts = $3"""
EXPIRE: Final = """
UPDATE outbox SET state = 'failed', ended_at = now(), claimed_until = NULL, reason = 'expired'
WHERE state = 'waiting' AND made_at < now() - $1::interval
RETURNING message_id, webhook, body, attempts"""
REMOVE: Final = "DELETE FROM outbox WHERE ended_at < now() - $1::interval"


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A message that one sender has for `CLAIM_S`. `attempt` is 1 the first time it is sent."""

    id: str
    webhook: WebhookName
    body: str
    attempt: int


class OutboxStore:
    """The outbox of one database. Every method raises LedgerUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, webhook: WebhookName) -> Claimed | None:
        """Return the message to a webhook that is due longest and that nobody sends, if there is one."""
        row = await self._database.fetch_row(CLAIM, webhook, CLAIM_S)
        return None if row is None else _claimed(row, webhook)

    async def delivered(self, message: Claimed) -> None:
        """Say that the receiver has a message; true whoever has claimed it since."""
        await self._database.execute(DELIVERED, message.id, message.webhook)

    async def again(self, message: Claimed, reason: str, pause_s: float) -> None:
        """Let a message wait for so long, unless another sender has claimed it since."""
        await self._database.execute(
            AGAIN, message.id, message.webhook, message.attempt, pause_s, reason
        )

    async def give_up(self, message: Claimed, reason: str) -> None:
        """Send a message no more, unless another sender has claimed it since."""
        await self._database.execute(GIVE_UP, message.id, message.webhook, message.attempt, reason)

    async def tidy(self) -> list[Claimed]:
        """Give up what has waited too long, and return it; remove what ended long ago."""
        await self._database.execute(REMOVE, KEPT_FOR)
        expired = await self._database.fetch(EXPIRE, EXPIRES_AFTER)
        return [_claimed(row, WebhookName(row["webhook"])) for row in expired]


async def put(
    connection: Connection, messages: Iterable[tuple[str, str]], webhooks: Iterable[WebhookName]
) -> None:
    """Put messages, each an id and a body, for each of some webhooks, due now and in their order."""
    names = list(webhooks)
    await connection.executemany(
        PUT, [(message, name, body) for message, body in messages for name in names]
    )


def _claimed(row: Record, webhook: WebhookName) -> Claimed:
    return Claimed(
        id=str(row["message_id"]), webhook=webhook, body=row["body"], attempt=row["attempts"]
    )
