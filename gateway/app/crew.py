"""The workers of one gateway: started, listened to, started anew when they die, and drained.

A worker that dies is replaced after a pause that grows with its deaths. As long as another one serves
it is tried for ever; where none does, and none can start, the gateway has to end with the reason.
"""

import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from signal import SIGHUP
from typing import Final, assert_never

import anyio
from anyio.abc import Process, TaskGroup

from gateway.app.line import (
    Ask,
    Assignment,
    Cut,
    Drain,
    Failed,
    Line,
    Order,
    Report,
    Serving,
    Told,
    to_worker,
)
from gateway.core.ids import ReplicaId
from gateway.errors import GatewayError
from gateway.store.embedded import exit_words
from gateway.telemetry import Telemetry
from gateway.telemetry.merging import Family, Tally

COMMAND: Final = (sys.executable, "-P", "-m", "gateway.app.worker")
"""Nothing else is on it: whoever lists processes sees no address and no secret."""
PAUSES_S: Final = (0.1, 0.5, 2.0, 5.0)
"""Before the start after the first, second, … death within `DEATHS_S`."""
DEATHS_S: Final = 60.0
ASK_EVERY_S: Final = 2.0
"""What a worker counted for so long is lost to the metrics when it is killed; the ledger has it."""
_ANSWER_S: Final = 2.0
MOST_SILENCES: Final = 10
"""Questions in a row that a worker may leave unanswered, some 40 s, before it is killed as hung.

A count and no clock: a machine that was paused has every worker silent once.
"""
_GONE_S: Final = 10.0
_SILENT: Final = (False, "silent")


def pause_after(deaths: Sequence[float], failures: int, *, is_any_serving: bool) -> float | None:
    """Return how many seconds to wait before a worker's next start, or None: give up.

    `deaths` are instants in seconds, the last one now; `failures` of them, the last ones, came before
    it served.
    """
    recent = sum(1 for instant in deaths if deaths[-1] - instant < DEATHS_S)
    if failures > len(PAUSES_S) and not is_any_serving:
        return None
    return PAUSES_S[min(recent, len(PAUSES_S)) - 1]


class Worker:
    """One process, as long as it lives."""

    def __init__(self, process: Process, line: Line[Report]) -> None:
        self.process = process
        self.line = line
        self.is_serving = False
        self.replica: ReplicaId | None = None
        self.last_words = ""
        self.readiness = (False, "starting")
        self.silences = 0
        self._questions = count(1)
        self._answered = 0
        self._is_told = anyio.Event()

    @property
    def is_silent(self) -> bool:
        """Whether it serves, and left the last question unanswered."""
        return self.is_serving and self.readiness == _SILENT

    async def ask(self) -> None:
        """Ask how it goes; return when it has answered, or has not in time."""
        question = next(self._questions)
        await self.line.send(Ask(question))
        with anyio.move_on_after(_ANSWER_S) as waiting:
            while self._answered < question:
                await self._is_told.wait()
        if waiting.cancelled_caught:
            self.readiness = _SILENT

    def told(self, said: Told) -> None:
        """Note its answer."""
        self.readiness = (said.is_ready, said.reason)
        self._answered = max(self._answered, said.question)
        self._is_told.set()
        self._is_told = anyio.Event()


class Crew:
    """So many workers, from `begin` until the task group they were begun in is left."""

    def __init__(
        self,
        assignments: Sequence[Assignment],
        telemetry: Telemetry,
        bury: Callable[[ReplicaId], Awaitable[None]],
    ) -> None:
        """`bury` is awaited with the replica of each worker that has ended, before the next starts."""
        self.size = len(assignments)
        self._assignments = assignments
        self._telemetry = telemetry
        self._bury = bury
        self._tally = Tally()
        self._workers: dict[int, Worker] = {}
        self._serving = {assigned.number: anyio.Event() for assigned in assignments}
        self._is_begun = False
        self._drained = anyio.Event()

    def is_draining(self) -> bool:
        """Tell whether the workers were told to end."""
        return self._drained.is_set()

    async def begin(self, group: TaskGroup) -> None:
        """Start the workers; return when all serve. `group` ends when all have been drained.

        Raises GatewayError, out of `group`, when one can't start.
        """
        for assigned in self._assignments:
            group.start_soon(self._man, assigned)
        for serving in self._serving.values():
            await serving.wait()
        self._is_begun = True

    async def drain(self) -> None:
        """Have every worker admit nothing more, and end; none is started any more."""
        self._drained.set()
        await self._order(Drain())

    async def cut(self) -> None:
        """Have every worker wait no longer."""
        await self._order(Cut())

    def kill(self) -> None:
        """End those that do not end: what they had leased will count as spent."""
        for worker in self._workers.values():
            worker.process.kill()

    def reload(self) -> None:
        """Have every worker read its configuration again."""
        for worker in self._workers.values():
            if worker.is_serving:
                worker.process.send_signal(SIGHUP)

    async def ready(self) -> list[tuple[bool, str]]:
        """Ask every worker that serves whether calls may be admitted, and why."""
        await self._ask()
        return [worker.readiness for worker in self._workers.values()]

    async def figures(self) -> list[Family]:
        """Return what the workers count, those that have ended included."""
        await self._ask()
        return self._tally.merged()

    async def follow(self) -> None:
        """Ask now and then, so that little is lost of what a killed worker had counted.

        One that never answers holds its share of the port's connections: it is killed, and replaced.
        """
        while True:
            await anyio.sleep(ASK_EVERY_S)
            await self._ask()
            for worker in self._workers.values():
                worker.silences = worker.silences + 1 if worker.is_silent else 0
                if worker.silences >= MOST_SILENCES:
                    worker.last_words = "it hung, and was killed"
                    worker.process.kill()

    async def _ask(self) -> None:
        async with anyio.create_task_group() as group:
            for worker in self._workers.values():
                if worker.is_serving:
                    group.start_soon(worker.ask)

    async def _order(self, order: Order) -> None:
        for worker in tuple(self._workers.values()):
            await worker.line.send(order)

    async def _man(self, assigned: Assignment) -> None:
        """Have one worker after another in one place, until drained."""
        deaths: list[float] = []
        failures = 0
        while not self.is_draining():
            ended = await self._employ(assigned)
            if ended.replica is not None:
                await self._bury(ended.replica)
            if self.is_draining():
                return
            deaths.append(anyio.current_time())
            failures = 0 if ended.is_serving else failures + 1
            pause_s = self._pause(deaths, failures)
            words = ended.last_words or exit_words(ended.process.returncode or 0)
            if pause_s is None:
                raise GatewayError(ended.last_words or f"a worker can't start ({words})")
            self._telemetry.worker_ended(assigned.number, ended.process.pid, words, pause_s)
            with anyio.move_on_after(pause_s):
                await self._drained.wait()

    def _pause(self, deaths: Sequence[float], failures: int) -> float | None:
        """Return the pause before the next start; at the very start, nothing is tried twice."""
        if failures and not self._is_begun:
            return None
        is_any_serving = any(worker.is_serving for worker in self._workers.values())
        return pause_after(deaths, failures, is_any_serving=is_any_serving)

    async def _employ(self, assigned: Assignment) -> Worker:
        """Start a worker, listen to it, and return it when it has ended."""
        worker = await _start(assigned)
        self._workers[assigned.number] = worker
        try:
            if self.is_draining():
                await worker.line.send(Drain())
            await self._listen(assigned.number, worker)
            await _ended(worker)
        except anyio.get_cancelled_exc_class():
            await _dismiss(worker)
            raise
        finally:
            del self._workers[assigned.number]
            self._tally.ended(worker)
        return worker

    async def _listen(self, number: int, worker: Worker) -> None:
        while (report := await worker.line.receive()) is not None:
            match report:
                case Serving(replica):
                    worker.replica = replica
                    worker.is_serving = True
                    self._serving[number].set()
                case Failed(words):
                    worker.last_words = words
                case Told():
                    self._tally.told(worker, report.families)
                    worker.told(report)
                case _:
                    assert_never(report)


async def _start(assigned: Assignment) -> Worker:
    """Start a process with a line to us, in a session of its own: a ctrl-C is for us alone."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = await anyio.open_process(
            COMMAND, stdin=theirs.fileno(), stdout=None, stderr=None, start_new_session=True
        )
    line = await to_worker(ours)
    await line.send(assigned)
    return Worker(process, line)


async def _ended(worker: Worker) -> None:
    """Wait for the end of a worker that has hung up."""
    with anyio.move_on_after(_GONE_S):
        await worker.process.wait()
    if worker.process.returncode is None:
        worker.process.kill()
        await worker.process.wait()
    await worker.line.aclose()


async def _dismiss(worker: Worker) -> None:
    """End a worker because we end: its calls are cut and settled, if it still can."""
    with anyio.CancelScope(shield=True):
        await worker.line.send(Cut())
        with anyio.move_on_after(_GONE_S):
            while await worker.line.receive() is not None:
                pass
        await _ended(worker)
