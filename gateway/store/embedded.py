"""The PostgreSQL that runs when no other is configured: started, watched, stopped by the gateway.

For a trial, a test or one machine; production has its own PostgreSQL. It trades nothing of
durability for that: fsync is on, and no process of it is ever killed by us. It refuses to delete,
move or upgrade a database.

The server is a direct child in a session of its own, so that a ctrl-C in the terminal reaches the
gateway alone, which stops it last. Should the gateway die, however it dies, the kernel sends the
server SIGINT, its fast and clean shutdown. Linux only: other systems have no such promise.
"""

import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from signal import SIGINT, SIGQUIT
from types import TracebackType
from typing import Final, Self

import anyio
import asyncpg

from gateway.errors import StateBusy, StateUnusable
from gateway.store import cluster as clusters
from gateway.store.cluster import Cluster
from gateway.store.server_user import ENVIRONMENT, ending_with_parent
from gateway.store.state_folder import ELSEWHERE, StateLock, open_folder

READY_SECONDS: Final = 60.0
"""A start may have to replay the log of a crash."""
FAST_STOP_SECONDS: Final = 30.0
IMMEDIATE_STOP_SECONDS: Final = 10.0
PREDECESSOR_SECONDS: Final = 35.0
ANSWER_SECONDS: Final = 5.0
READY_STEP_SECONDS: Final = 0.005
WATCH_STEP_SECONDS: Final = 0.05
PAUSES_SECONDS: Final = (0.1, 0.5, 2.0, 5.0)
"""Before the restart after the first, second, … death within `DEATHS_SECONDS`."""
DEATHS_SECONDS: Final = 60.0


class ServerDied(Exception):
    """The server ended while it was being started."""


class EmbeddedPostgres:
    """The database of one state folder, from `start` to `stop`.

    To be started from the main thread: the kernel ties the server's life to the thread that made
    it. `report` gets a line for a human whenever something happens. `settings` are for tests.
    """

    def __init__(
        self,
        folder: Path,
        *,
        report: Callable[[str], None],
        user: str | None = None,
        elsewhere: Path = ELSEWHERE,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Only remember; `user` is whom root becomes for it, else `postgres` or `nobody`."""
        self._folder = folder
        self._report = report
        self._user = user
        self._elsewhere = elsewhere
        self._settings = settings or {}
        self._lock: StateLock | None = None
        self._cluster: Cluster | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """Return the URL of the running server's socket, for asyncpg."""
        return self._started.dsn

    @property
    def pid(self) -> int | None:
        """Return the server's process id while it runs."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Take the folder, make the database if there is none, and return when it answers.

        Raises StateBusy when another gateway has the folder, StateUnusable for all else.
        """
        _require_main_thread()
        folder = open_folder(self._folder)
        self._lock = StateLock(folder)
        try:
            began = anyio.current_time()
            self._cluster = await anyio.to_thread.run_sync(
                clusters.prepare, folder, self._user, self._elsewhere
            )
            await self._launch()
        except ServerDied as error:
            await self.stop()
            message = f"the embedded PostgreSQL ended while starting: {self._started.last_log()}"
            raise StateUnusable(message) from error
        except BaseException:
            await self.stop()
            raise
        self._report_start(anyio.current_time() - began)

    async def stop(self) -> None:
        """Shut the server down and give the folder back; at most 40 s, also when cancelled.

        Whoever uses the database must have let go of it, and `watch` must have ended, before.
        Never kills: a server that doesn't stop is reported and left to recover by itself.
        """
        process, self._process = self._process, None
        with anyio.CancelScope(shield=True):
            if process is not None and not await _stopped(process):
                self._report(f"the embedded PostgreSQL (process {process.pid}) did not stop")
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    async def watch(self) -> None:
        """Restart the server whenever it ends, until `stop` or cancelled.

        Raises StateUnusable with the last lines of its log at the fifth death within a minute.
        """
        deaths: list[float] = []
        while (process := self._process) is not None:
            if process.poll() is None:
                await anyio.sleep(WATCH_STEP_SECONDS)
                continue
            deaths.append(anyio.current_time())
            await self._restart(process.returncode, pause_after(deaths))

    async def __aenter__(self) -> Self:
        """Start it."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        await self.stop()

    @property
    def _started(self) -> Cluster:
        if self._cluster is None:
            message = "the embedded PostgreSQL has not been started"
            raise RuntimeError(message)
        return self._cluster

    async def _restart(self, exit_code: int, pause: float | None) -> None:
        what = f"the embedded PostgreSQL ended ({exit_words(exit_code)})"
        if pause is None:
            raise StateUnusable(f"{what} again and again: {self._started.last_log()}")
        self._report(f"{what}; starting it again in {pause:g} s")
        await anyio.sleep(pause)
        if self._process is None:  # stopped meanwhile
            return
        try:
            await self._launch()
        except ServerDied:
            return  # `watch` finds it dead and counts it
        self._report("the embedded PostgreSQL runs again")

    async def _launch(self) -> None:
        """Start the server and return when it answers; raises ServerDied, StateUnusable."""
        await _predecessor_gone(self._started)
        self._process = process = _spawned(self._started, self._settings)
        with anyio.move_on_after(READY_SECONDS):
            while not await _answers(self._started.dsn):
                if process.poll() is not None:
                    raise ServerDied
                await anyio.sleep(READY_STEP_SECONDS)
            return
        message = f"the embedded PostgreSQL did not answer within {READY_SECONDS:g} s"
        raise StateUnusable(f"{message}: {self._started.last_log()}")

    def _report_start(self, seconds: float) -> None:
        cluster = self._started
        room = cluster.log.parent
        version = f"embedded PostgreSQL {cluster.binaries.version} ready in {seconds:.2f} s"
        self._report(f"{version}, as user {cluster.user.name}, in {room}")


def pause_after(deaths: Sequence[float]) -> float | None:
    """Return how many seconds to wait before the next start, or None: give up.

    `deaths` are instants on one clock, in seconds, the last one now. Only those of the last
    minute count.
    """
    recent = sum(1 for instant in deaths if deaths[-1] - instant < DEATHS_SECONDS)
    return PAUSES_SECONDS[recent - 1] if recent <= len(PAUSES_SECONDS) else None


def exit_words(code: int) -> str:
    """Return what a `Popen.returncode` says."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _require_main_thread() -> None:
    if sys.platform != "linux":
        message = (
            "the embedded PostgreSQL runs on Linux only: set `database` to a postgresql:// URL"
        )
        raise StateUnusable(message)
    if threading.current_thread() is not threading.main_thread():
        message = "the embedded PostgreSQL must be started from the main thread"
        raise RuntimeError(message)


def _spawned(cluster: Cluster, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the server as our child: own session, no input, its log as output."""
    uid, gid, groups = cluster.user.identity
    with open(cluster.open_log(), "ab", buffering=0) as log:  # noqa: PTH123 - a descriptor
        try:
            return subprocess.Popen(  # noqa: S603 - our own programs and paths, no shell
                cluster.command(settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=ENVIRONMENT,
                user=uid,
                group=gid,
                extra_groups=groups,
                start_new_session=True,
                preexec_fn=ending_with_parent(SIGINT),  # noqa: PLW1509 - see there
            )
        except OSError as error:
            raise StateUnusable(f"PostgreSQL could not be started: {error.strerror}") from error


async def _answers(dsn: str) -> bool:
    """Return whether a query over the socket is answered."""
    try:
        connection = await asyncpg.connect(dsn, timeout=ANSWER_SECONDS)
        try:
            await connection.execute("SELECT 1")
        finally:
            connection.terminate()
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        message = f"the embedded PostgreSQL refuses its own gateway: {error.args[0]}"
        raise StateUnusable(message) from error
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False  # no socket yet, starting, recovering, or ending again
    return True


async def _predecessor_gone(cluster: Cluster) -> None:
    """Wait for the server of a gateway that was killed to finish its own shutdown."""
    if not await _comes_true(lambda: cluster.living_server() is None, PREDECESSOR_SECONDS):
        message = f"a PostgreSQL server left by another gateway still runs on {cluster.data}"
        advice = f"wait, or stop process {cluster.living_server()} with SIGINT, never with SIGKILL"
        raise StateBusy(f"{message}: {advice}")


async def _stopped(process: subprocess.Popen[bytes]) -> bool:
    """Stop the server, fast, else at once (SIGQUIT: it recovers later); return whether it ended."""
    for number, seconds in ((SIGINT, FAST_STOP_SECONDS), (SIGQUIT, IMMEDIATE_STOP_SECONDS)):
        if process.poll() is None:
            process.send_signal(number)
        if await _comes_true(lambda: process.poll() is not None, seconds):
            return True
    return False


async def _comes_true(claim: Callable[[], bool], seconds: float) -> bool:
    """Return whether `claim` came true within `seconds`. The kernel wakes nobody for these."""
    with anyio.move_on_after(seconds):
        while not claim():  # noqa: ASYNC110
            await anyio.sleep(READY_STEP_SECONDS)
        return True
    return False
