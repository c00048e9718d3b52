"""The state folder: where it is, who may enter it, and that one gateway has its database at a time.

    STATE/                 ours, 0700; 0711 when made by root, whose server is another user
      postgres.lock        held with flock(2) for as long as the gateway lives
      postgres/            the room: ours, passable for the server; may be a link (see `open_room`)
        cluster/ run/      the server's, 0700: its data, its socket
        server.log         ours: the server gets it as an open file
        install-VERSION/   ours: a copy of the programs, only where the server can't reach them

A database is never moved and never deleted from here.
"""

import fcntl
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from gateway.errors import ConfigurationInvalid, StateBusy, StateUnusable
from gateway.store.server_user import ServerUser

NAME: Final = "reasonrank-gateway"
LOCK: Final = "postgres.lock"
ROOM: Final = "postgres"
CLUSTER: Final = "cluster"
ELSEWHERE: Final = Path("/var/lib")
"""Where root's database goes when the server's user can't pass through to the state folder."""


def resolve(environ: Mapping[str, str]) -> Path:
    """Return the state folder: `GATEWAY_STATE`, else below `XDG_STATE_HOME`, else below `HOME`.

    An empty variable counts as unset, and a relative `XDG_STATE_HOME` is ignored (XDG Base
    Directory Specification 0.8). Raises ConfigurationInvalid when none of the three is set.
    """
    if chosen := environ.get("GATEWAY_STATE"):
        return Path(chosen)
    if (xdg := environ.get("XDG_STATE_HOME")) and Path(xdg).is_absolute():
        return Path(xdg, NAME)
    if home := environ.get("HOME"):
        return Path(home, ".local", "state", NAME)
    message = "no place for the state: set GATEWAY_STATE to a folder (HOME is not set either)"
    raise ConfigurationInvalid(message)


def open_folder(folder: Path) -> Path:
    """Make the state folder unless it stands, and return its absolute path.

    A new one is for this user alone; root's lets others pass (0711), not look. A standing one
    keeps its mode. Raises StateUnusable when it can't be made, or anybody may write into it.
    """
    absolute = folder.absolute()
    try:
        absolute.parent.mkdir(parents=True, exist_ok=True)
        _make(absolute)
        mode = absolute.stat().st_mode
    except OSError as error:
        raise StateUnusable(f"state folder {absolute}: {error.strerror}") from error
    if not stat.S_ISDIR(mode):
        raise StateUnusable(f"state folder {absolute}: is not a folder")
    if mode & stat.S_IWOTH:
        message = f"state folder {absolute}: every user may write into it; chmod o-w it"
        raise StateUnusable(message)
    return absolute


class StateLock:
    """The right to run the embedded database of one state folder; lost with the process.

    The file is never removed: its lock is what counts, and whoever removed it could remove
    another's. The process id in it only makes the message better.
    """

    def __init__(self, folder: Path) -> None:
        """Lock `folder`, or raise StateBusy."""
        self._file = _open_own(folder / LOCK, os.O_RDWR)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._file, 20, 0).decode(errors="replace").strip() or "unknown"
            self.release()
            message = f"another gateway (process {holder}) already runs on {folder}"
            raise StateBusy(
                f"{message}: stop it, or set GATEWAY_STATE to another folder"
            ) from error
        os.truncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the right back."""
        os.close(self._file)

    def __enter__(self) -> Self:
        """Hold it for a block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release it."""
        self.release()


def database_owner(folder: Path) -> int | None:
    """Return the uid that owns the database in the state folder, or None when there is none yet."""
    try:
        return (folder / ROOM / CLUSTER).lstat().st_uid
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateUnusable(f"{folder / ROOM}: {error.strerror}") from error


def open_room(folder: Path, user: ServerUser, elsewhere: Path = ELSEWHERE) -> Path:
    """Return the folder, free of links, that holds the database and that `user` can pass through.

    Root's home is usually closed to the user that root becomes for the server. The room is then
    a new folder in `elsewhere`, and `postgres` in the state folder a link to it: opening up
    somebody's home is not ours to do. Raises StateUnusable.
    """
    room = folder / ROOM
    if room.is_symlink() or room.is_dir():
        return _standing(room, user)
    try:
        if user.is_dropped:
            _let_pass(folder)
            return _room_for(room, user, elsewhere)
        room.mkdir(mode=0o700)
    except OSError as error:
        raise StateUnusable(f"{error.filename or room}: {error.strerror}") from error
    return room.resolve(strict=True)


def own_for(user: ServerUser, folder: Path) -> Path:
    """Make `folder` the server's own (0700) unless it stands, and return it."""
    if not folder.is_dir():
        folder.mkdir(mode=0o700)
        if user.is_dropped:
            os.chown(folder, user.uid, user.gid, follow_symlinks=False)
    return folder


def open_log(path: Path) -> int:
    """Return a descriptor that appends to one of our own files (0600)."""
    return _open_own(path, os.O_WRONLY | os.O_APPEND)


def _make(folder: Path) -> None:
    """Make a folder of ours unless something stands there already, whatever the umask is."""
    try:
        folder.mkdir()
    except FileExistsError:
        return
    folder.chmod(0o711 if os.geteuid() == 0 else 0o700)


def _open_own(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StateUnusable(f"{path}: {error.strerror}") from error


def _standing(room: Path, user: ServerUser) -> Path:
    try:
        target = room.resolve(strict=True)
    except OSError as error:
        message = f"{room} leads to {room.readlink()}, which can't be used ({error.strerror})"
        raise StateUnusable(f"{message}: put it back, or remove the link to start anew") from error
    if not user.can_enter(target):
        message = f"user {user.name}, who runs PostgreSQL, can't enter {target}"
        raise StateUnusable(f"{message}: let others pass through its parents (chmod o+x)")
    return target


def _let_pass(folder: Path) -> None:
    """Let others pass through a state folder that holds nothing yet but our lock.

    What else is in a folder may count on its being closed.
    """
    mode = stat.S_IMODE(folder.stat().st_mode)
    if {entry.name for entry in folder.iterdir()} <= {LOCK} and not mode & stat.S_IXOTH:
        folder.chmod(mode | 0o011)


def _room_for(room: Path, user: ServerUser, elsewhere: Path) -> Path:
    """Make a room that a lesser user can pass through: in the state folder, else elsewhere."""
    room.mkdir()
    room.chmod(0o711)
    if user.can_enter(room):
        return room.resolve(strict=True)
    room.rmdir()
    try:
        away = Path(tempfile.mkdtemp(prefix=f"{NAME}-", dir=elsewhere))
    except OSError as error:
        message = f"user {user.name}, who runs PostgreSQL, can't enter {room.parent}"
        raise StateUnusable(f"{message}: set GATEWAY_STATE to a folder it can reach") from error
    away.chmod(0o711)
    room.symlink_to(away)
    return _standing(room, user)
