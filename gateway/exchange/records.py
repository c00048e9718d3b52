"""From a call's end to the one row of metadata that is kept of it."""

from gateway.core.meter import Owed
from gateway.core.money import ZERO, NanoDollars
from gateway.core.outcome import Ending, Outcome, ShutDown, code, outcome
from gateway.core.refusal import Refused
from gateway.core.traces import Basis, FailedAttempt, Trace, least_certain
from gateway.exchange.answers import overhead_s
from gateway.exchange.controls import NO_CONTROLS
from gateway.exchange.progress import Progress
from gateway.exchange.relay import Owned
from gateway.providers.adapter import STATUS

CLIENT_CLOSED = 499
"""The status of a call whose client left before it was told one (as nginx writes it)."""


def refused(progress: Progress, refusal: Refused, now: float, price_version: str) -> Trace:
    """Return the trace of a call that was refused to a known caller: nothing was held or sent.

    The name that a client asked for is kept only where it named a model: any other is its text.
    """
    wanted = getattr(progress, "wanted", None)
    model = getattr(progress, "model", None)
    controls = getattr(progress, "controls", NO_CONTROLS)
    took_s = now - progress.started.monotonic
    return Trace(
        id=progress.trace,
        at=progress.started.utc,
        token=progress.caller.token,
        project=progress.caller.project,
        run=controls.run,
        dialect=progress.call.dialect.name,
        endpoint=progress.call.path.endpoint.value,
        model_asked=wanted.asked.model if wanted is not None and model is not None else "",
        model=model.name if model is not None else None,
        provider=model.provider if model is not None else None,
        stream=wanted is not None and wanted.asked.stream,
        status=STATUS[refusal.code],
        outcome=Outcome.REFUSED,
        code=refusal.code,
        price_version=price_version,
        latency_ms=_ms(took_s),
        overhead_ms=_ms(took_s),
        bound_nusd=progress.offer.bound.amount if hasattr(progress, "offer") else ZERO,
        labels=controls.labels,
    )


def failed(progress: Progress, owned: Owned) -> FailedAttempt:
    """Return what an attempt came to that failed before its client saw anything of it."""
    owed = owned.owed()
    return FailedAttempt(
        model=progress.model.name,
        provider=progress.model.provider,
        outcome=outcome(owned.ending or ShutDown()),
        cost_nusd=owed.amount,
        cost_basis=owed.basis,
        bound_nusd=progress.offer.bound.amount,
        took_s=max(0.0, (owned.upstream_ended_at or progress.sent_at) - progress.sent_at),
    )


def ended(progress: Progress, owned: Owned, now: float, price_version: str) -> Trace:
    """Return the trace of a call that was held for, with what it owes."""
    ending: Ending = owned.ending or ShutDown()
    owed = owned.owed()
    started = progress.started.monotonic
    first = owned.answered_at
    return Trace(
        id=progress.trace,
        at=progress.started.utc,
        token=progress.caller.token,
        project=progress.caller.project,
        run=progress.controls.run,
        dialect=progress.call.dialect.name,
        endpoint=progress.call.path.endpoint.value,
        model_asked=progress.wanted.asked.model,
        model=progress.model.name,
        provider=progress.model.provider,
        stream=progress.wanted.asked.stream,
        status=owned.status or CLIENT_CLOSED,
        outcome=outcome(ending),
        code=code(ending),
        price_version=price_version,
        latency_ms=_ms(now - started),
        overhead_ms=_ms(overhead_s(progress, owned, now)),
        first_byte_ms=None if first is None else _ms(first - started),
        input_tokens=owed.input_tokens,
        cached_tokens=owed.cached_tokens,
        cache_write_tokens=owed.cache_write_tokens,
        output_tokens=owed.output_tokens,
        reasoning_tokens=owed.reasoning_tokens,
        cost_nusd=NanoDollars(progress.earlier_nusd + owed.amount),
        cost_basis=_basis(progress, owed),
        bound_nusd=NanoDollars(progress.earlier_bound_nusd + progress.offer.bound.amount),
        attempts=len(progress.earlier) + 1,
        labels=progress.controls.labels,
    )


def _basis(progress: Progress, owed: Owed) -> Basis:
    """Return what the sum of all attempts rests on; those that cost nothing take nothing from it."""
    if not progress.earlier_nusd:
        return owed.basis
    paid = [attempt.cost_basis for attempt in progress.earlier if attempt.cost_nusd]
    return least_certain([*paid, owed.basis])


def _ms(seconds: float) -> float:
    """Return milliseconds to the microsecond, which is what the clock is good for."""
    return round(seconds * 1000, 3)
