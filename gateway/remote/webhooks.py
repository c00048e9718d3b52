"""Signed calls out, by Standard Webhooks: one message to one receiver, and what it answered.

The transport is used without a client of httpx above it: no redirect is followed, no cookie kept, no
proxy asked, and of the answer only its head is read. The address is told to nobody, since the paths of
some receivers are secrets.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import anyio
import httpx
import msgspec
from standardwebhooks import Webhook

from gateway.core.delivery import Answer, Delivered, Rejected, Unanswered, WebhookName
from gateway.core.secret import Secret
from gateway.remote.http1 import Http1Client, PoolLimits
from gateway.remote.transport import Http1Transport

ANSWER_S: Final = 15.0
"""A receiver may take so long, the connection included (the standard advises 15 to 30 s)."""
_MOST_DIGITS: Final = 9


class Receiver(msgspec.Struct, frozen=True):
    """Where a webhook's messages go, and what signs them (`whsec_…`)."""

    name: WebhookName
    url: str
    secret: Secret


class Webhooks:
    """Sends messages; made by `connect`."""

    def __init__(
        self, transport: httpx.AsyncBaseTransport, now: Callable[[], datetime], version: str
    ) -> None:
        self._transport = transport
        self._now = now
        self._agent = f"reasonrank-gateway/{version}"

    async def send(self, receiver: Receiver, message: str, body: str) -> Answer:
        """Send a message, by its id, and return the receiver's answer; nothing is raised for it."""
        now = self._now()
        signature = Webhook(receiver.secret.reveal()).sign(message, now, body)
        headers = {
            "content-type": "application/json",
            "user-agent": self._agent,
            "webhook-id": message,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signature,
        }
        try:
            with anyio.fail_after(ANSWER_S):
                return await self._post(receiver.url, headers, body)
        except (httpx.TimeoutException, TimeoutError):
            return Unanswered("timed_out")
        except httpx.ConnectError:
            return Unanswered("unreachable")
        except httpx.TransportError:
            return Unanswered("broke_off")
        except (httpx.InvalidURL, UnicodeError):  # a host that IDNA refuses is the latter
            return Unanswered("bad_url")

    async def _post(self, url: str, headers: dict[str, str], body: str) -> Answer:
        patience = {"timeout": {"connect": ANSWER_S, "read": ANSWER_S}}
        request = httpx.Request(
            "POST", url, headers=headers, content=body.encode(), extensions=patience
        )
        response = await self._transport.handle_async_request(request)
        await response.aclose()
        if response.is_success:
            return Delivered()
        pause_s = _retry_after_s(response.headers.get("retry-after", ""), self._now())
        return Rejected(response.status_code, pause_s)


@asynccontextmanager
async def connect(now: Callable[[], datetime], version: str) -> AsyncIterator[Webhooks]:
    """Open a client for a block; `now` is aware UTC. Whom to trust over TLS the system says."""
    own = Http1Client(ssl_context=None, limits=PoolLimits(per_origin=4))
    async with Http1Transport(own, closes_client=True) as transport:
        yield Webhooks(transport, now, version)


def _retry_after_s(text: str, now: datetime) -> float | None:
    """Return the pause that a `retry-after` asks for, seconds or a date (RFC 9110 §10.2.3)."""
    if text.isascii() and text.isdigit():
        return float(text[:_MOST_DIGITS])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())
