"""Owns a hold from the moment it is made until it is ended, whatever happens in between.

One `try … finally` settles, in memory and without an await, so no cancellation can come between.
Whoever ends a call early, its client, the kill switch, the deadline, records the ending first and
cancels after, so the ending that counts is the one that came first.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Final

import anyio
import msgspec

from gateway.core.calls import Timeouts
from gateway.core.events import Broken
from gateway.core.ids import TraceId
from gateway.core.limits import Target
from gateway.core.meter import Meter, Owed
from gateway.core.outcome import (
    CapReached,
    ClientGone,
    Completed,
    Ending,
    ProviderBroken,
    ProviderError,
    ProviderLost,
    ProviderUnreachable,
    ShutDown,
    TimedOut,
    falls_back,
)
from gateway.core.refusal import Refused
from gateway.errors import UpstreamFailed, UpstreamTimedOut, UpstreamUnreachable
from gateway.exchange import advice, heads, news, quoting
from gateway.exchange.cutting import Cuttable
from gateway.exchange.ports import Client, Response, Upstream
from gateway.exchange.switchboard import Running, Switchboard
from gateway.providers.adapter import (
    Dialect,
    Headers,
    Piece,
    PreparedRequest,
    StreamReader,
    Wanted,
)

MOST_WHOLE_BYTES: Final = 32 * 1024 * 1024
MOST_ERROR_BYTES: Final = 256 * 1024
_TELL_S: Final = 1.0
"""How long a cut stream's client may take to accept the news before its connection is closed."""
_DRAIN_S: Final = 0.5


class Withheld(msgspec.Struct, frozen=True):
    """A provider's error that the client is told of only if nobody else answers."""

    status: int
    headers: Headers
    body: bytes


def _never(ending: Ending) -> bool:
    del ending
    return False


class Owned(msgspec.Struct, eq=False, kw_only=True):
    """One attempt of a call under way: who it is, what was held for it, and how it went."""

    trace: TraceId
    target: Target
    wanted: Wanted
    dialect: Dialect
    meter: Meter
    hides_usage: bool
    timeouts: Timeouts
    secrets: Sequence[bytes]
    """What an error answer must never quote: the provider's key."""
    told: Callable[["Owned"], Headers]
    """Our own response headers; once there is an ending the cost is known and among them."""
    monotonic: Callable[[], float]
    withholds: bool = False
    """Whether another model can be tried, so that a failure of this one is not told at once."""
    may_repeat: Callable[[Ending], bool] = _never
    """Whether this model may be tried again after an ending that the client saw nothing of."""
    when_answered: Callable[[], None] | None = None
    """Called when an answer begins that is no error."""
    error_headers: Headers = ()
    """Of the provider's error answer, if it gave one."""
    withheld: Withheld | None = None
    block: Cuttable | None = None
    reader: StreamReader | None = None
    """What reads the stream, once the provider began one."""
    is_told: bool = False
    """Whether a stream's client got an error of ours for the provider's own: nothing may follow it."""
    ending: Ending | None = None
    status: int | None = None
    answered_at: float | None = None
    upstream_ended_at: float | None = None
    failure: UpstreamFailed | None = None
    account: Owed | None = None

    @property
    def may_fall_back(self) -> bool:
        """Whether another attempt may answer in the place of this one, which failed unseen.

        That may cease to be so while this one ends, as where a provider's other keys begin to rest.
        """
        if self.ending is None or not self.is_failed_unseen:
            return False
        return self.withholds or self.may_repeat(self.ending)

    @property
    def is_failed_unseen(self) -> bool:
        """Whether the provider failed, and the client was told nothing yet."""
        return self.status is None and self.ending is not None and falls_back(self.ending)

    def owed(self) -> Owed:
        """Return what the call owes, ended as it is; worked out once."""
        if self.account is None:
            self.account = self.meter.owed(self.ending or ShutDown())
        return self.account

    def end(self, ending: Ending) -> None:
        """Record how the call ended, if nothing ended it before."""
        if self.ending is None:
            self.ending = ending

    def cut(self, ending: Ending) -> None:
        """End the call from outside, and stop whatever it waits for."""
        self.end(ending)
        if self.block is not None:
            self.block.cut()


class Relay:
    """Passes answers on, byte for byte, and ends them."""

    def __init__(self, upstream: Upstream, board: Switchboard) -> None:
        self._upstream = upstream
        self._board = board

    async def run(self, owned: Owned, request: PreparedRequest, client: Client) -> None:
        """Send a request, pass its answer on, and leave `owned.ending` set, whatever happens.

        Where another model may answer, the client was told nothing: that, or `tell`, is up to the caller.
        """
        running = Running(owned.target, owned.wanted.asked.stream, owned.cut)
        try:
            self._board.begin(running)
            client.when_gone(partial(owned.cut, ClientGone()))
            with Cuttable(owned.timeouts.total_s) as owned.block:
                if owned.ending is None:
                    owned.end(await self._exchange(owned, request, client))
            owned.end(TimedOut(is_total=True))  # nobody else ended it, so its deadline did
        finally:
            owned.end(ShutDown())
            self._board.end(running)
        if not isinstance(owned.ending, Completed) and not owned.may_fall_back:
            await self.tell(owned, client)

    async def tell(self, owned: Owned, client: Client) -> None:
        """Tell the client why its call ended early; a stream is never ended as if it were complete."""
        withheld = owned.withheld if owned.is_failed_unseen else None
        refused = None if withheld is not None else _news(owned)
        if withheld is None and refused is None:
            return
        with anyio.move_on_after(_TELL_S, shield=True):
            if withheld is not None:
                await _deliver(owned, client, withheld)
            elif refused is not None and owned.status is None:
                await _refuse(owned, client, refused)
            elif refused is not None and owned.reader is not None:
                news_of_it = (
                    b"" if owned.is_told else owned.reader.cut(news.of_call(refused, owned.trace))
                )
                await client.send(news_of_it, more=False)

    async def _exchange(self, owned: Owned, request: PreparedRequest, client: Client) -> Ending:
        try:
            response = await self._upstream.open(request, owned.timeouts, owned.meter.sent)
            async with aclosing(response):
                owned.answered_at = owned.monotonic()
                return await _pass(owned, response, client)
        except UpstreamFailed as error:
            owned.failure = error if owned.ending is None else None
            return _failure(error)
        finally:
            owned.upstream_ended_at = owned.upstream_ended_at or owned.monotonic()


def _failure(error: UpstreamFailed) -> Ending:
    match error:
        case UpstreamUnreachable():
            return ProviderUnreachable()
        case UpstreamTimedOut():
            return TimedOut()
        case _:
            return ProviderLost()


async def _pass(owned: Owned, response: Response, client: Client) -> Ending:
    """Pass an answer on according to what it is: an error, a stream, or one body.

    Another success than 200 is no answer of any API here, and no error either: it may be billed.
    """
    if 200 < response.status < 300:
        return ProviderLost()
    if response.status != 200:
        return await _pass_error(owned, response, client)
    if owned.when_answered is not None:
        owned.when_answered()
    is_asked = owned.wanted.asked.stream
    streams = is_asked and heads.media_type(response.headers) == owned.wanted.stream_type
    owned.meter.answered(streams=streams)
    if streams:
        return await _pass_stream(owned, response, client)
    return await _pass_whole(owned, response, client)


async def _pass_stream(owned: Owned, response: Response, client: Client) -> Ending:
    reader = owned.reader = owned.dialect.stream(owned.wanted, hides_usage=owned.hides_usage)
    is_open = True
    while is_open and not owned.meter.is_finished:
        data = await response.read()
        is_open = bool(data)
        pieces = reader.feed(data) if is_open else reader.end()
        if not await _relay(owned, pieces, response, client):
            return CapReached()
        # A cancellation is not delivered to a task that always finds more to read.
        if owned.ending is not None or owned.withheld is not None:
            return owned.ending or ProviderBroken()
    owned.upstream_ended_at = owned.monotonic()
    if owned.meter.is_broken and owned.status is not None:
        await client.send(b"", more=False)
        return ProviderBroken()
    if not owned.meter.is_finished:
        return ProviderLost()
    await _complete(owned, response, client)
    if is_open:
        await _drain(response)
    return Completed()


async def _complete(owned: Owned, response: Response, client: Client) -> None:
    if owned.status is None:
        await _start(owned, response, client)
    await client.send(b"", more=False)
    owned.end(Completed())


async def _drain(response: Response) -> None:
    """Read what follows a stream's end, so that its connection can be used again."""
    with anyio.move_on_after(_DRAIN_S):
        while await response.read():
            pass


async def _relay(owned: Owned, pieces: Iterable[Piece], response: Response, client: Client) -> bool:
    """Meter some pieces and pass them on; False where more was produced than was held."""
    passed = []
    is_within = True
    for piece in pieces:
        for event in piece.events:
            is_within = owned.meter.feed(event) and is_within
        if not is_within:
            break
        if piece.relay and not owned.is_told:
            passed.append(_unquoted(owned, piece))
    if passed:
        data = passed[0] if len(passed) == 1 else b"".join(passed)
        if owned.status is None:
            if owned.withholds and owned.meter.is_broken:
                owned.withheld = Withheld(200, heads.of_stream(response.headers), data)
                return is_within
            await _start(owned, response, client)
        await client.send(data, more=True)
    return is_within


def _unquoted(owned: Owned, piece: Piece) -> bytes:
    """Return a piece to pass on: an error event that quotes what it must not becomes one of ours."""
    is_error = owned.meter.is_broken and Broken() in piece.events
    if (
        is_error
        and owned.reader is not None
        and (quoting.names_any(piece.relay, owned.secrets) or _quotes(piece.relay, owned))
    ):
        owned.is_told = True
        refused = news.broken_off(owned.target.provider, owned.trace)
        return owned.reader.cut(news.of_call(refused, owned.trace))
    return piece.relay


async def _start(owned: Owned, response: Response, client: Client) -> None:
    owned.status = 200
    await client.start(200, [*heads.of_stream(response.headers), *owned.told(owned)])


async def _pass_whole(owned: Owned, response: Response, client: Client) -> Ending:
    body = await _read(response, MOST_WHOLE_BYTES)
    owned.upstream_ended_at = owned.monotonic()
    if body is None:
        return ProviderLost()
    events = owned.dialect.whole(owned.wanted, body, response.headers)
    if not events:
        return ProviderLost()
    for event in events:
        owned.meter.feed(event)
    if owned.meter.is_broken:
        return ProviderBroken()
    if owned.wanted.asked.stream:
        return ProviderLost()  # an answer, but not one that the client could read
    owned.end(Completed())
    await _send(owned, client, 200, [*heads.kept(response.headers), *owned.told(owned)], body)
    return Completed()


async def _pass_error(owned: Owned, response: Response, client: Client) -> Ending:
    """Pass an error answer on, unless it is about our own key or quotes what it must not."""
    body = await _read(response, MOST_ERROR_BYTES)
    owned.upstream_ended_at = owned.monotonic()
    status = response.status
    owned.error_headers = response.headers
    names_key = body is not None and quoting.names_any(body, owned.secrets)
    is_json = heads.is_json(response.headers)
    owned.end(ProviderError(status))
    if names_key or news.is_ours(status):
        error = _in_place(owned, news.own_error(status, owned.target.provider, owned.trace))
    elif not body or not is_json or _quotes(body, owned):
        error = _in_place(owned, _provider_error(owned, status))
    else:
        error = Withheld(status, heads.kept(advice.capped(response.headers)), body)
    if owned.may_fall_back:
        owned.withheld = error
    else:
        await _deliver(owned, client, error)
    return ProviderError(status)


def _in_place(owned: Owned, refused: Refused) -> Withheld:
    """Return a refusal as the answer that the client gets in the place of the provider's."""
    answer = owned.dialect.refusal(news.of_call(refused, owned.trace))
    return Withheld(answer.status, [*answer.headers, *news.named(owned.trace)], answer.body)


def _provider_error(owned: Owned, status: int) -> Refused:
    wait_s = advice.wait_s(owned.error_headers)
    return news.error_answer(status, owned.target.provider, owned.trace, wait_s)


def _quotes(body: bytes, owned: Owned) -> bool:
    """Return whether an error quotes the request's own text."""
    fields = owned.wanted.fields.items()
    return quoting.quotes(body, [bytes(raw) for name, raw in fields if name != "model"])


def _news(owned: Owned) -> Refused | None:
    if owned.ending == ProviderBroken() and owned.status is not None:
        return None  # the provider's own error event was passed on
    return news.of(owned.ending, owned.target.provider, owned.trace)


async def _refuse(owned: Owned, client: Client, refused: Refused) -> None:
    await _deliver(owned, client, _in_place(owned, refused))


async def _deliver(owned: Owned, client: Client, error: Withheld) -> None:
    await _send(owned, client, error.status, [*error.headers, *owned.told(owned)], error.body)


async def _send(owned: Owned, client: Client, status: int, headers: Headers, body: bytes) -> None:
    owned.status = status
    await client.start(status, [*headers, (b"content-length", b"%d" % len(body))])
    await client.send(body, more=False)


async def _read(response: Response, most: int) -> bytes | None:
    """Return a whole body; None if it is larger than `most`."""
    parts = []
    size = 0
    while data := await response.read():
        size += len(data)
        if size > most:
            return None
        parts.append(data)
    return b"".join(parts)
