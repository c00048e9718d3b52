"""Sends calls that are held for: one attempt, and where it fails unseen by the client, the next.

Each attempt has a hold of its own and is charged when it ends, before anything is awaited. A call
leaves one trace, whatever ends it: while an attempt runs, between two of them, or after the last.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol, assert_never

from msgspec import structs

from gateway.core import limits as deciding
from gateway.core.calls import Timeouts
from gateway.core.health import Closed, Opened
from gateway.core.ids import Provider, TraceId
from gateway.core.meter import Meter
from gateway.core.money import ZERO, NanoDollars
from gateway.core.outcome import ShutDown
from gateway.core.traces import FailedAttempt, Trace
from gateway.exchange import advice, answers, doors, records
from gateway.exchange.doors import Rested
from gateway.exchange.fallbacks import Fallbacks
from gateway.exchange.holding import Holding
from gateway.exchange.ports import Clock, Counter
from gateway.exchange.progress import Progress
from gateway.exchange.purse import Purse
from gateway.exchange.relay import Owned, Relay
from gateway.exchange.switchboard import Switchboard
from gateway.providers.adapter import Adapter, Change, Headers, PreparedRequest, Wanted


class Reporter(Protocol):
    """Who hears how calls went that were sent."""

    def call_ended(self, trace: Trace, earlier_nusd: NanoDollars = ZERO) -> None:
        """One call of a known caller ended, or was refused.

        `earlier_nusd` of its cost is of attempts that were reported as failed.
        """
        ...

    def attempt_failed(self, attempt: FailedAttempt, trace: TraceId) -> None:
        """An attempt failed, and the call goes on with another one."""
        ...

    def overshoot(self, nusd: int, trace: TraceId) -> None:
        """A provider billed so much more than the bound that it was given."""
        ...

    def upstream_failed(self, provider: Provider, kind: str, trace: TraceId) -> None:
        """A provider did not answer as HTTP."""
        ...

    def circuit_opened(self, provider: Provider, failures: int, wait_s: float) -> None:
        """A provider failed so often in a row that it is not asked for a while."""
        ...

    def circuit_closed(self, provider: Provider) -> None:
        """A provider that was not asked answers again."""
        ...

    def key_rests(self, provider: Provider, key: int, status: int, seconds: float) -> None:
        """One of a provider's keys, by its index, was refused with this status and rests."""
        ...

    def stream_opened(self) -> None:
        """A stream began."""
        ...

    def stream_closed(self) -> None:
        """A stream ended, however it did."""
        ...


class Sender:
    """Sends calls, attempt by attempt."""

    def __init__(  # noqa: PLR0913  # the ports, each by name
        self,
        *,
        counter: Counter,
        clock: Clock,
        board: Switchboard,
        purse: Purse,
        holding: Holding,
        relay: Relay,
        reporter: Reporter,
        chance: Callable[[], float],
        is_stopping: Callable[[], bool],
    ) -> None:
        """Make no further attempt of a call while `is_stopping`. `chance` gives from 0 to 1."""
        self._counter = counter
        self._clock = clock
        self._purse = purse
        self._relay = relay
        self._reporter = reporter
        self._fallbacks = Fallbacks(
            board=board, holding=holding, clock=clock, chance=chance, is_stopping=is_stopping
        )

    async def send(self, progress: Progress) -> None:
        """Send a call that is held for, and settle each of its attempts however it ends."""
        is_stream = progress.wanted.asked.stream
        if is_stream:
            self._reporter.stream_opened()
        owned = self._owned(progress)
        try:
            await self._attempt(progress, owned)
            while owned.may_fall_back:
                following = await self._following(progress, owned)
                if following is None:
                    await self._relay.tell(owned, progress.client)
                    break
                progress, owned = following, self._owned(following)
                await self._attempt(progress, owned)
        finally:
            self._record(progress, owned)
            if is_stream:
                self._reporter.stream_closed()

    async def _attempt(self, progress: Progress, owned: Owned) -> None:
        try:
            await self._relay.run(owned, self._request(progress), progress.client)
        finally:
            owned.end(ShutDown())
            self._charge(progress, owned)
            self._leave(progress, owned)

    async def _following(self, progress: Progress, owned: Owned) -> Progress | None:
        failed = records.failed(progress, owned)
        following = await self._fallbacks.next(progress, failed, owned)
        if following is not None:
            self._reporter.attempt_failed(failed, progress.trace)
        return following

    def _charge(self, progress: Progress, owned: Owned) -> None:
        owed, held = owned.owed().amount, progress.offer.bound.amount
        self._purse.charge(progress.hold, owed)
        if progress.taken is not None:
            progress.taken.use(owned.owed())
        if owed > held:
            self._reporter.overshoot(owed - held, progress.trace)
        if owned.failure is not None:
            kind = type(owned.failure).__name__
            self._reporter.upstream_failed(progress.model.provider, kind, progress.trace)

    def _record(self, progress: Progress, owned: Owned) -> None:
        trace = records.ended(
            progress, owned, self._clock.monotonic(), progress.standing.directory.book.version
        )
        self._purse.record(trace)
        self._reporter.call_ended(trace, progress.earlier_nusd)

    def _owned(self, progress: Progress) -> Owned:
        wanted, model = progress.wanted, progress.model
        adapter = progress.standing.adapters[model.provider]
        key, is_probe = progress.entry.key, progress.entry.is_probe
        return Owned(
            trace=progress.trace,
            target=progress.target,
            wanted=wanted,
            dialect=progress.call.dialect,
            meter=Meter(
                model,
                wanted.asked,
                progress.offer.bound,
                self._counter.count,
                partial(progress.standing.directory.sibling, model),
                believes_bill=adapter.states_cost,
            ),
            hides_usage=_adds_usage(wanted, adapter),
            timeouts=self._timeouts(progress),
            secrets=() if key is None else (key.reveal().encode(),),
            told=partial(self._told, progress),
            monotonic=self._clock.monotonic,
            withholds=bool(progress.fallbacks),
            may_repeat=partial(self._fallbacks.may_repeat, progress),
            when_answered=partial(self._when_answered, progress) if is_probe else None,
        )

    def _leave(self, progress: Progress, owned: Owned) -> None:
        if owned.error_headers:
            progress.entry.advice = advice.read(owned.error_headers, self._clock.now().utc)
        for change in progress.entry.leave(self._clock.monotonic(), owned.ending):
            self._tell(progress.model.provider, change)

    def _when_answered(self, progress: Progress) -> None:
        """Note that a provider that is being tried answers."""
        change = progress.entry.answered()
        if change is not None:
            self._tell(progress.model.provider, change)

    def _tell(self, provider: Provider, change: doors.Change) -> None:
        match change:
            case Opened(failures, wait_s):
                self._reporter.circuit_opened(provider, failures, wait_s)
            case Closed():
                self._reporter.circuit_closed(provider)
            case Rested(key, status, seconds):
                self._reporter.key_rests(provider, key, status, seconds)
            case _:
                assert_never(change)

    def _timeouts(self, progress: Progress) -> Timeouts:
        """Return a provider's time-outs, and no more time in all than is left of the call's."""
        own = progress.standing.timeouts[progress.model.provider]
        if not progress.earlier:
            return own
        left_s = progress.ends_at - self._clock.monotonic()
        return structs.replace(own, total_s=max(0.0, min(own.total_s, left_s)))

    def _told(self, progress: Progress, owned: Owned) -> Headers:
        remaining = self._remaining(progress)
        return answers.headers(progress, owned, remaining, self._clock.monotonic())

    def _request(self, progress: Progress) -> PreparedRequest:
        wanted, model = progress.wanted, progress.model
        adapter = progress.standing.adapters[model.provider]
        progress.sent_at = self._clock.monotonic()
        key = progress.entry.key
        change = Change(
            model=model.upstream_name,
            output_tokens=progress.offer.ceiling,
            ceiling_field=adapter.host.ceiling_field,
            reports_usage=_adds_usage(wanted, adapter),
            names_tier=adapter.host.has_tiers,
        )
        return adapter.host.request(
            wanted,
            progress.call.dialect.write(wanted, change),
            model=model.upstream_name,
            key=None if key is None else key.reveal(),
            passed=progress.call.passed,
        )

    def _remaining(self, progress: Progress) -> int | None:
        if progress.run is None:
            return None
        return self._purse.remaining(deciding.run_budget(progress.run))


def _adds_usage(wanted: Wanted, adapter: Adapter) -> bool:
    """Return whether the stream must be asked for its usage, which the client did not want."""
    return wanted.asked.stream and adapter.host.reports_usage and not wanted.wants_usage
