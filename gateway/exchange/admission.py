"""Whom a call is for, and whether it may go there: decided from memory, anew for each attempt."""

from gateway.core import limits as deciding, rates
from gateway.core.ids import Provider
from gateway.core.limits import Limits, Target
from gateway.core.pricing import Model
from gateway.core.refusal import Refused
from gateway.exchange.pacing import Pacing
from gateway.exchange.ports import Clock
from gateway.exchange.progress import Progress


def aim(progress: Progress, model: Model) -> None:
    """Note which model a call is for now."""
    progress.model = model
    progress.target = Target(
        token=progress.caller.token,
        project=progress.caller.project,
        run=progress.controls.run,
        model=model.name,
        provider=model.provider,
    )


def is_open(progress: Progress, provider: Provider, now: float) -> bool:
    """Return whether a provider can be asked now, as far as this replica knows."""
    return progress.standing.doors[provider].admits(now)


def admit(progress: Progress, limits: Limits) -> Refused | None:
    """Admit a call to its model, under the lowest ceiling that is known by now; or refuse it."""
    ceiling = progress.controls.output_ceiling
    if progress.run is not None:
        ceiling = deciding.lowest(progress.run.output_ceiling, ceiling)
    verdict = deciding.admit(
        progress.target, progress.wanted.asked, progress.caller, limits, ceiling
    )
    if isinstance(verdict, Refused):
        return verdict
    progress.admitted = verdict
    return None


def pace(progress: Progress, pacing: Pacing) -> Refused | None:
    """Count an admitted call against its token's rate limits, or say when it may come again."""
    limits = progress.caller.rate_limits
    if limits is None:
        return None
    size = rates.size(progress.wanted.asked, progress.admitted.ceiling)
    taken = pacing.take(progress.caller.token, limits, size)
    if isinstance(taken, Refused):
        return taken
    progress.taken = taken
    return None


def enter(progress: Progress, now: float) -> Refused | None:
    """Take a place at the provider of a call's model, to be left once; or say why there is none."""
    entered = progress.standing.doors[progress.model.provider].enter(now, progress.tried)
    if isinstance(entered, Refused):
        return entered
    progress.entry = entered
    return None


def enter_any(progress: Progress, limits: Limits, now: float) -> Refused | None:
    """Take a place for an admitted call at its model, or at the first of its fallbacks that has one."""
    refused = enter(progress, now)
    if refused is None:
        return None
    model, fallbacks = progress.model, progress.fallbacks
    for index, other in enumerate(fallbacks):
        aim(progress, other)
        progress.fallbacks = fallbacks[index + 1 :]
        if admit(progress, limits) is None and enter(progress, now) is None:
            return None
    aim(progress, model)
    return refused


def leave(progress: Progress, clock: Clock) -> None:
    """Leave the place of a call that was not sent, if it has one."""
    if hasattr(progress, "entry") and not progress.entry.has_left:
        progress.entry.leave(clock.monotonic())
