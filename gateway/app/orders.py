"""What a process is told from outside: to drain, and then to wait no longer."""

import signal

import anyio
from anyio.abc import TaskStatus


class Orders:
    """Each is given once, and stands."""

    def __init__(self) -> None:
        self.drain = anyio.Event()
        """Admit nothing more, and end when what runs has ended or the grace is over."""
        self.cut = anyio.Event()
        """The grace is over now."""
        self.is_orphaned = False
        """Whoever started this process is gone: another may want its port."""

    def to_drain(self) -> None:
        """Give the first order; again it says nothing."""
        self.drain.set()

    def to_end(self) -> None:
        """Give the next order: whoever says it a second time has waited enough."""
        (self.cut if self.drain.is_set() else self.drain).set()

    def orphan(self) -> None:
        """Drain, and leave the port at once."""
        self.is_orphaned = True
        self.drain.set()


async def by_signals(
    orders: Orders, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Take SIGTERM and SIGINT for orders, until cancelled: the second ends the grace."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            orders.to_end()
