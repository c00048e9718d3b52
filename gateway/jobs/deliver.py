"""Sends what waits in the outbox, to each webhook in turn and independently of the others.

A round starts one sender for each webhook that has none at work. A sender goes on until nothing is
due; one message at a time, so that messages mostly arrive in the order in which they were made.
"""

from collections.abc import Callable, Iterable
from typing import Protocol, assert_never

from anyio.abc import TaskGroup

from gateway.core.delivery import Again, Answer, Done, GivenUp, WebhookName, following
from gateway.errors import LedgerUnavailable
from gateway.remote.webhooks import Receiver
from gateway.store.outbox import Claimed, OutboxStore


class Sender(Protocol):
    """What sends a message."""

    async def send(self, receiver: Receiver, message: str, body: str) -> Answer:
        """Send a message and return what came of it; raises nothing."""
        ...


class Witness(Protocol):
    """Who is told of deliveries. `webhook` is the name in the configuration."""

    def webhook_delivered(self, webhook: str, message: str, attempt: int) -> None:
        """A receiver has a message."""
        ...

    def webhook_failed(self, webhook: str, message: str, attempt: int, reason: str) -> None:
        """An attempt failed; there will be another."""
        ...

    def webhook_given_up(self, webhook: str, message: str, attempt: int, reason: str) -> None:
        """A message is not sent again."""
        ...


class Delivery:
    """The job, and which webhooks have a sender at work in this process."""

    def __init__(
        self,
        *,
        outbox: OutboxStore,
        sender: Sender,
        receivers: Callable[[], Iterable[Receiver]],
        chance: Callable[[], float],
        witness: Witness,
        group: TaskGroup,
    ) -> None:
        """Senders run in `group`. `receivers` may change; `chance` gives numbers in [0, 1)."""
        self._outbox = outbox
        self._sender = sender
        self._receivers = receivers
        self._chance = chance
        self._witness = witness
        self._group = group
        self._busy: set[WebhookName] = set()

    async def run(self) -> None:
        """Start a sender for each webhook that has none."""
        for receiver in self._receivers():
            if receiver.name not in self._busy:
                self._busy.add(receiver.name)
                self._group.start_soon(self._serve, receiver)

    async def tidy(self) -> None:
        """Give up what has waited for too long, and remove what ended long ago."""
        for old in await self._outbox.tidy():
            self._witness.webhook_given_up(old.webhook, old.id, old.attempt, "expired")

    async def _serve(self, receiver: Receiver) -> None:
        try:
            while message := await self._outbox.claim(receiver.name):
                answer = await self._sender.send(receiver, message.id, message.body)
                await self._note(message, answer)
        except LedgerUnavailable:
            pass  # the claim runs out, and the message is due again
        finally:
            self._busy.discard(receiver.name)

    async def _note(self, message: Claimed, answer: Answer) -> None:
        told = (message.webhook, message.id, message.attempt)
        match following(message.attempt, answer, self._chance()):
            case Done():
                await self._outbox.delivered(message)
                self._witness.webhook_delivered(*told)
            case Again(reason, pause_s):
                await self._outbox.again(message, reason, pause_s)
                self._witness.webhook_failed(*told, reason)
            case GivenUp(reason):
                await self._outbox.give_up(message, reason)
                self._witness.webhook_given_up(*told, reason)
            case step:
                assert_never(step)
