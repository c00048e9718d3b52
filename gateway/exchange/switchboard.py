"""The limits that hold now, and the calls that run under them.

Both are in one place because of the kill switch: to apply one is to refuse matching calls from this
turn of the event loop on, and to cut those that run, with no call in between.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from gateway.core.ids import KillId
from gateway.core.limits import Kill, Limits, Target, is_killed, killed, killing
from gateway.core.outcome import Ending, Killed, ShutDown
from gateway.core.refusal import Code, Refused

STOPPING: Final = Refused(Code.DRAINING, "The gateway stops; send the call again.", retry_after_s=1)
"""What a call is told that comes too late, or runs for too long, when the gateway stops."""


class Running(msgspec.Struct, frozen=True, eq=False):
    """A call that is under way. `cut` records its ending, then cancels it; it may be called twice."""

    target: Target
    is_stream: bool
    cut: Callable[[Ending], None]


class Switchboard:
    """Replaced limits and running calls. Nothing here awaits."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._running: set[Running] = set()
        self._is_shut_down = False

    def apply(self, limits: Limits) -> dict[KillId, int]:
        """Put new limits in force; return how many running calls each new kill switch cut."""
        known = {kill.id for kill in self.limits.kills}
        self.limits = limits
        return {kill.id: self._cut(kill) for kill in limits.kills if kill.id not in known}

    def begin(self, running: Running) -> None:
        """Note that a call runs; it is cut at once if a kill switch or the end came meanwhile."""
        self._running.add(running)
        if self._is_shut_down:
            running.cut(ShutDown())
        kill = killing(self.limits.kills, running.target)
        if kill is not None:
            running.cut(Killed(killed(kill)))

    def end(self, running: Running) -> None:
        """Note that a call has ended."""
        self._running.discard(running)

    def shut_down(self) -> int:
        """Cut every running call, and each that begins after; return how many there were."""
        self._is_shut_down = True
        for running in tuple(self._running):
            running.cut(ShutDown())
        return len(self._running)

    @property
    def running(self) -> int:
        """How many calls run."""
        return len(self._running)

    def _cut(self, kill: Kill) -> int:
        matching = [call for call in self._running if is_killed(kill, call.target)]
        for call in matching:
            call.cut(Killed(killed(kill)))
        return len(matching)
