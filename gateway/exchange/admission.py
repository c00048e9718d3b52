"""Whom a call is for, and whether it may go there: decided from memory, anew for each attempt."""

from gateway.core import limits as deciding
from gateway.core.limits import Limits, Target
from gateway.core.pricing import Model
from gateway.core.refusal import Refused
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
