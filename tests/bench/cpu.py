"""User and system CPU of processes, as the kernel accounts it (proc(5), `stat`), and where they run."""

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")
"""The resolution, 10 ms on Linux: a measurement takes seconds."""


@dataclass(frozen=True, slots=True)
class Process:
    """What one process has used, in microseconds."""

    pid: int
    parent: int
    own: float
    """All of its threads, those that have ended too."""
    ended: float
    """Its children that have ended, and theirs."""


def own(pid: int) -> float:
    """Return what a process itself has used."""
    return _read(pid).own


def descendants(pid: int) -> float:
    """Return what everything that a process has started used, whether it still runs or not."""
    below = _below(pid, _all())
    return _read(pid).ended + sum(process.own + process.ended for process in below)


def cores() -> tuple[int, int]:
    """Return a core for what is measured and one for all else; the same where there is but one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def pin(pid: int, core: int, *, others: int) -> None:
    """Keep a process on one core and all that it has started on another; what comes later inherits it."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})
    for process in _below(pid, _all()):
        os.sched_setaffinity(process.pid, {others})


def _below(pid: int, processes: list[Process]) -> list[Process]:
    children = defaultdict(list)
    for process in processes:
        children[process.parent].append(process)
    found = list(children[pid])
    for process in found:
        found.extend(children[process.pid])
    return found


def _all() -> list[Process]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                found.append(_read(int(folder.name)))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended since
    return found


def _read(pid: int) -> Process:
    # The name, in brackets, may hold spaces and brackets; state is the first field after it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, ended_user, ended_system = (int(field) * TICK_US for field in fields[11:15])
    return Process(pid, int(fields[1]), user + system, ended_user + ended_system)
