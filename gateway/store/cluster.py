"""One PostgreSQL cluster on disk, ready to be started: made once, its rules written at each start.

Only a finished cluster ever bears the name `data`. Who may connect is decided by the kernel: the
socket stands in a closed folder, and the server asks who is at its other end (`peer`). There is no
TCP port and no password. The server logs neither statements nor values: an error goes back to the
gateway, which asked, and a log of it would hold what the gateway must not keep.
"""

import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from gateway.errors import StateUnusable
from gateway.store import binaries as programs, state_folder
from gateway.store.binaries import Binaries
from gateway.store.server_user import ServerUser, last_words, own_name, server_user

ROLE: Final = "gateway"
SOCKET: Final = ".s.PGSQL.5432"
LONGEST_SOCKET_PATH: Final = 107
"""Bytes; unix(7), sun_path without its closing zero."""
LONGEST_LOG_BYTES: Final = 1 << 20

SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "64MB",
    "max_connections": "40",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "wal_level": "replica",
    "logging_collector": "off",
    "log_checkpoints": "off",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_min_messages": "log",
}
"""Given on the command line, so that no file in the cluster can weaken them."""

WRITE: Final = 'cat >"$1.new" && mv "$1.new" "$1"'
"""For sh: replaces a file by its input, as a whole."""
_HBA: Final = """\
# Written at each start of the gateway.
local all         all peer map=gw
local replication all peer map=gw
"""


class Cluster(msgspec.Struct, frozen=True):
    """What it takes to start the server."""

    binaries: Binaries
    user: ServerUser
    data: Path
    run: Path
    log: Path

    @property
    def dsn(self) -> str:
        """Return the URL of the server's socket."""
        return f"postgresql://{ROLE}@/postgres?host={quote(str(self.run), safe='/')}"

    def command(self, settings: Mapping[str, str]) -> list[str]:
        """Return the server's command line; `settings` win over ours."""
        ours = {**SETTINGS, "unix_socket_directories": str(self.run), **settings}
        options = [option for name, value in ours.items() for option in ("-c", f"{name}={value}")]
        return [str(self.binaries.folder / "postgres"), "-D", str(self.data), *options]

    def living_server(self) -> int | None:
        """Return the process id of a server that still runs on the data, or None.

        An id may have been given to another process since: its name is looked at, too.
        """
        try:
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
        except (OSError, ValueError, IndexError):
            return None
        return pid if name == "postgres" else None

    def open_log(self) -> int:
        """Return a descriptor that appends to the server's log, after putting a long one aside."""
        if self.log.exists() and self.log.stat().st_size > LONGEST_LOG_BYTES:
            self.log.replace(self.log.with_name(f"{self.log.name}.1"))
        return state_folder.open_log(self.log)

    def last_log(self) -> str:
        """Return the last lines of the server's log as one line."""
        return last_words(self.log.read_bytes()[-4096:]) if self.log.exists() else "no log"


def prepare(folder: Path, wanted_user: str | None, elsewhere: Path) -> Cluster:
    """Return the cluster of a locked state folder, made and set up. Raises StateUnusable.

    Takes about half a second the first time (`initdb`), some 20 ms later.
    """
    user = server_user(wanted_user, state_folder.database_owner(folder))
    room = state_folder.open_room(folder, user, elsewhere)
    try:
        home = state_folder.own_for(user, room / state_folder.CLUSTER)
        run = socket_folder(room, user)
    except OSError as error:
        raise StateUnusable(f"{error.filename or room}: {error.strerror}") from error
    data = home / "data"
    binaries = programs.find(user, room, major_of(data))
    if not data.is_dir():
        _make(binaries, user, home)
    _write_rules(user, data)
    return Cluster(binaries, user, data, run, room / "server.log")


def major_of(data: Path) -> int | None:
    """Return the PostgreSQL major version that the cluster at `data` is of, None: there is none."""
    if not data.is_dir():
        return None
    try:
        return int((data / "PG_VERSION").read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise StateUnusable(
            f"{data} is not a PostgreSQL database: PG_VERSION is missing"
        ) from error


def socket_folder(room: Path, user: ServerUser) -> Path:
    """Return the server's own folder (0700) for its socket, short enough for a socket's path.

    Where the room's path is too long it is below /tmp, and `run` in the room a link to it, so
    that a later start finds it again.
    """
    run = room / "run"
    if len(os.fsencode(run / SOCKET)) <= LONGEST_SOCKET_PATH:
        return state_folder.own_for(user, run)
    if run.is_symlink():
        if _is_safe(short := run.readlink(), user):
            return short
        run.unlink()
    short = Path(tempfile.mkdtemp(prefix="gateway-", dir="/tmp"))
    if user.is_dropped:
        os.chown(short, user.uid, user.gid)
    run.symlink_to(short)
    return short


def initdb_options(major: int) -> list[str]:
    """Return initdb's options; the builtin locale provider is there since 17."""
    builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if major >= 17 else []
    return [
        f"--username={ROLE}",
        "--auth-local=peer",
        "--auth-host=reject",
        "--encoding=UTF8",
        "--locale=C",
        *builtin,
        "--data-checksums",
    ]


def _is_safe(folder: Path, user: ServerUser) -> bool:
    """Return whether a folder below /tmp is still the one that was made there, and closed."""
    try:
        seen = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(seen.st_mode) and seen.st_uid == user.uid and not seen.st_mode & 0o077


def _make(binaries: Binaries, user: ServerUser, home: Path) -> None:
    """Make `data` as a whole or not at all. What an earlier start left half made is thrown away.

    The rename is synced before the first start: undone by a power cut, it would leave a cluster
    in use under the name of a half-made one.
    """
    half = home / "data.new"
    options = initdb_options(binaries.major)
    _must(user, "rm", "-rf", half)
    _must(user, binaries.folder / "initdb", "-D", half, *options)
    _must(user, "mv", "-T", half, home / "data")
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write_rules(user: ServerUser, data: Path) -> None:
    """Say who may connect: the server's user and the gateway's, each as the one role."""
    names = sorted({user.name, own_name()})
    ident = "".join(f'gw "{name}" {ROLE}\n' for name in names)
    for name, text in (("pg_hba.conf", _HBA), ("pg_ident.conf", ident)):
        _must(user, "/bin/sh", "-c", WRITE, "sh", data / name, given=text.encode())


def _must(user: ServerUser, *command: str | Path, given: bytes = b"") -> None:
    """Run `command` as `user`, or raise StateUnusable with its last words."""
    name = Path(command[0]).name
    try:
        done = user.run(*command, given=given)
    except OSError as error:
        message = f"{name} could not be started as user {user.name}: {error.strerror}"
        raise StateUnusable(message) from error
    if done.returncode != 0:
        raise StateUnusable(f"{name} failed as user {user.name}: {last_words(done.stderr)}")
