"""Estimates for whoever manages: the stages of a call, without its caller's rights or connection."""

from collections.abc import Callable

from msgspec import structs

from gateway.core.limits import CALL_SCOPE
from gateway.core.refusal import Refused
from gateway.exchange.estimates import Estimate
from gateway.exchange.pipeline import Pipeline
from gateway.exchange.progress import Call
from gateway.providers.adapter import Headers
from gateway.web.services import Quote


async def estimate(pipeline: Pipeline, quote: Quote) -> Estimate | Refused:
    """Estimate a call for someone who manages: they need not be allowed to make it."""
    caller = structs.replace(quote.caller, scopes=quote.caller.scopes | {CALL_SCOPE})
    call = Call(
        path=quote.path,
        dialect=quote.dialect,
        secret=None,
        headers=[*quote.headers, (b"x-gateway-dry-run", b"true")],
        passed=(),
    )
    return await pipeline.quote(call, caller, _Offline(quote.body))


class _Offline:
    """A client that has nothing but a body: whoever asks for an estimate."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def body(self) -> bytes | Refused:
        return self._body

    async def start(self, status: int, headers: Headers) -> None:
        del status, headers
        raise AssertionError("an estimate answers nobody")

    async def send(self, data: bytes, *, more: bool) -> None:
        del data, more
        raise AssertionError("an estimate answers nobody")

    def when_gone(self, leave: Callable[[], None]) -> None:
        del leave
        raise AssertionError("an estimate waits for nobody")
