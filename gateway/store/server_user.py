"""Who the embedded PostgreSQL runs as, and running things as that user.

PostgreSQL refuses to run as root, so a gateway that is root becomes `postgres`, else `nobody`, for
it. Everything inside the server's own folders is then done *as* that user: a root process that
wrote there could be led elsewhere by a symbolic link. Nothing is ever run through a shell line
built from a value.
"""

import ctypes
import os
import pwd
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from gateway.errors import StateUnusable

ENVIRONMENT: Final[Mapping[str, str]] = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
"""All that the server and its tools see: no PG* variable, no key of a provider."""
UNPRIVILEGED: Final = ("postgres", "nobody")
PR_SET_PDEATHSIG: Final = 1
"""Linux, <sys/prctl.h>, prctl(2): the signal a process gets when the thread that made it ends."""


class ServerUser(msgspec.Struct, frozen=True):
    """A user with a passwd entry; `is_dropped` when this process is root and becomes it."""

    name: str
    uid: int
    gid: int
    is_dropped: bool

    @property
    def identity(self) -> tuple[int | None, int | None, list[int] | None]:
        """Return `user`, `group`, `extra_groups` for `subprocess`; None where nothing changes."""
        return (self.uid, self.gid, []) if self.is_dropped else (None, None, None)

    def run(
        self, *command: str | Path, given: bytes = b"", at: Path = Path("/")
    ) -> subprocess.CompletedProcess[bytes]:
        """Run `command` as this user in folder `at` with `given` as its input, and wait for it.

        Raises OSError when it can't be started, such as PermissionError for a program that this
        user can't reach. The command ends with this process.
        """
        uid, gid, groups = self.identity
        return subprocess.run(  # noqa: S603 - our own programs and paths, no shell
            [os.fspath(part) for part in command],
            input=given,
            capture_output=True,
            check=False,
            cwd=at,
            env=ENVIRONMENT,
            user=uid,
            group=gid,
            extra_groups=groups,
            preexec_fn=ending_with_parent(signal.SIGTERM),
        )

    def can_enter(self, folder: Path) -> bool:
        """Return whether this user may pass through `folder`, by asking the kernel as that user."""
        return self.run("/bin/sh", "-c", 'test -x "$1"', "sh", folder).returncode == 0


def server_user(wanted: str | None, owner_uid: int | None) -> ServerUser:
    """Return who the server runs as: this process's user, or a lesser one when that is root.

    `owner_uid` owns the database's folder, when there is one, and then decides: a server can't
    use another's files. `wanted` is the operator's choice for root. Raises StateUnusable.
    """
    us = os.geteuid()
    if us != 0:
        return _own_user(us, owner_uid)
    entry = _entry(wanted, owner_uid)
    if entry.pw_uid == 0:
        message = "PostgreSQL refuses to run as root: name another user for it"
        raise StateUnusable(message)
    return ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid, is_dropped=True)


def own_name() -> str:
    """Return the name of this process's user, as the server sees it at the end of its socket."""
    return pwd.getpwuid(os.geteuid()).pw_name


def ending_with_parent(signal_number: int) -> Callable[[], None]:
    """Return what a new child calls so that it gets `signal_number` when its parent is gone.

    To be used as `preexec_fn`, that is after the change of user, which clears the setting. It is
    tied to the *thread* that starts the child (prctl(2)): that thread must live as long as the
    child. Python minds its own locks at a fork, and nothing here takes another, so that threads
    elsewhere do no harm.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # loaded before the fork
    parent = os.getpid()

    def in_child() -> None:
        if prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0) != 0 or os.getppid() != parent:
            os._exit(1)

    return in_child


def last_words(output: bytes, *, lines: int = 3) -> str:
    """Return the last `lines` of some program's output as one line."""
    kept = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    return " | ".join(kept[-lines:]) or "it said nothing"


def _own_user(uid: int, owner_uid: int | None) -> ServerUser:
    if owner_uid not in {None, uid}:
        message = f"the database belongs to uid {owner_uid}, not to uid {uid}: start as that user"
        raise StateUnusable(message)
    try:
        entry = pwd.getpwuid(uid)
    except KeyError as error:
        message = (
            f"uid {uid} has no entry in the user database, which the embedded PostgreSQL needs"
        )
        raise StateUnusable(
            f"{message}: add one, or set `database` to a postgresql:// URL"
        ) from error
    return ServerUser(entry.pw_name, uid, os.getegid(), is_dropped=False)


def _entry(wanted: str | None, owner_uid: int | None) -> pwd.struct_passwd:
    """Return whom root becomes."""
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    owner = next((entry for entry in known.values() if entry.pw_uid == owner_uid), None)
    if owner_uid is not None and owner is None:
        message = (
            f"the database belongs to uid {owner_uid}, which has no entry in the user database"
        )
        raise StateUnusable(message)
    if owner is not None:
        if wanted not in {None, owner.pw_name}:
            raise StateUnusable(f"the database belongs to user {owner.pw_name}, not to {wanted}")
        return owner
    names = UNPRIVILEGED if wanted is None else (wanted,)
    chosen = next((known[name] for name in names if name in known), None)
    if chosen is None:
        raise StateUnusable(
            f"no user {' or '.join(names)} to run PostgreSQL as: name one that exists"
        )
    return chosen
