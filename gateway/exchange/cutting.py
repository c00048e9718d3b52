"""A block of one task that others may cut, or its deadline.

What `anyio.CancelScope` does, for the one place where its generality costs each call a tenth of all it
costs. The rule that makes it safe is the same: a cut ends this block and nothing around it, and a
cancellation from outside goes on (see `asyncio.timeouts` of Python 3.11, which counts alike).
"""

import asyncio
from types import TracebackType
from typing import Self


class Cuttable:
    """One block, entered once. Whoever cuts it has said why before."""

    __slots__ = ("_cancelling", "_is_cut", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        """Be cut after so many seconds at the latest."""
        self._seconds = seconds
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._cancelling = 0
        self._is_cut = False

    def __enter__(self) -> Self:
        """Begin, in the task that is to be cut."""
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task(loop)
        if self._task is None:
            raise RuntimeError("only a task can be cut")
        self._cancelling = self._task.cancelling()
        self._timer = loop.call_later(self._seconds, self.cut)
        return self

    def cut(self) -> None:
        """Cancel what the block waits for. The block's own task must not call it: it can just return."""
        if self._task is not None and not self._is_cut:
            self._is_cut = True
            self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """End: a cancellation that is the cut's own ends here."""
        task, self._task = self._task, None
        if self._timer is not None:
            self._timer.cancel()
        if task is None or not self._is_cut:
            return False
        is_ours_alone = task.uncancel() <= self._cancelling
        return is_ours_alone and kind is asyncio.CancelledError
