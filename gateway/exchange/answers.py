"""Answers of the gateway's own: its headers on every answer, estimates, listings, refusals."""

from gateway.core.money import to_usd
from gateway.core.refusal import Refused
from gateway.exchange import news
from gateway.exchange.ports import Client
from gateway.exchange.progress import Progress
from gateway.exchange.relay import Owned
from gateway.providers.adapter import Headers


def headers(progress: Progress, owned: Owned, remaining: int | None, now: float) -> Headers:
    """Return our response headers; once the call has an ending, its cost is known and among them.

    Estimate and cost are of all attempts together, so that the one is never below the other.
    """
    pairs = [
        (b"x-gateway-trace", progress.trace.encode()),
        (b"x-gateway-model", progress.model.name.encode()),
        (
            b"x-gateway-estimate-usd",
            to_usd(progress.earlier_bound_nusd + progress.offer.bound.amount).encode(),
        ),
        (b"x-gateway-overhead-ms", b"%.3f" % (overhead_s(progress, owned, now) * 1000)),
    ]
    if progress.run is not None:
        pairs.append((b"x-gateway-run", progress.run.name.encode()))
    if progress.offer.ceiling not in {None, progress.wanted.asked.output_tokens}:
        pairs.append((b"x-gateway-output-tokens", b"%d" % progress.offer.ceiling))
    is_ended = owned.ending is not None
    cost = owned.owed().amount if is_ended else 0
    if is_ended:
        pairs.append((b"x-gateway-cost-usd", to_usd(progress.earlier_nusd + cost).encode()))
    if remaining is not None:
        is_charged = not progress.hold.is_held
        left = remaining + progress.hold.amount - cost if is_ended and not is_charged else remaining
        pairs.append((b"x-gateway-run-remaining-usd", to_usd(max(0, left)).encode()))
    return pairs


def overhead_s(progress: Progress, owned: Owned, now: float) -> float:
    """Return the time spent in the gateway: before the request went up, and after the last byte.

    Where there were several attempts, what is between them is the gateway's too.
    """
    before = progress.sent_at - progress.started.monotonic - progress.earlier_s
    last = owned.upstream_ended_at or owned.answered_at
    return before + (now - last if last is not None else 0.0)


async def send_json(progress: Progress, body: bytes) -> None:
    """Answer 200 with a JSON body."""
    pairs = [(b"content-type", b"application/json"), (b"x-gateway-trace", progress.trace.encode())]
    await _send(progress.client, 200, pairs, body)


async def send_refusal(progress: Progress, refused: Refused, allow: bytes | None = None) -> None:
    """Answer with a refusal in the caller's dialect; `allow` is the method that its path takes."""
    answer = progress.call.dialect.refusal(news.of_call(refused, progress.trace))
    pairs = [
        *answer.headers,
        (b"x-gateway-trace", progress.trace.encode()),
        *news.named(progress.trace),
    ]
    if allow is not None:
        pairs.append((b"allow", allow))
    await _send(progress.client, answer.status, pairs, answer.body)


async def _send(client: Client, status: int, pairs: Headers, body: bytes) -> None:
    await client.start(status, [*pairs, (b"content-length", b"%d" % len(body))])
    await client.send(body, more=False)
