"""What the state folder keeps beside the database: the token pepper, and this host's admin token.

Both are readable by their owner alone. The pepper may come from the environment instead, which it
must where several hosts share one database.
"""

import fcntl
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

import anyio
import msgspec

from gateway.core.credentials import PEPPER_BYTES
from gateway.errors import ConfigurationInvalid, StateUnusable

PEPPER_VARIABLE: Final = "GATEWAY_TOKEN_PEPPER"
_PEPPER: Final = "token_pepper"
ADMIN: Final = "admin.json"
_TURN: Final = "admin.lock"


class LocalAdmin(msgspec.Struct, frozen=True):
    """Where this host's gateway is, and the token that its commands use."""

    url: str
    token: str


def pepper(folder: Path, environ: Mapping[str, str]) -> bytes:
    """Return the token pepper: the environment's, else the folder's, made if there is none.

    Raises:
        ConfigurationInvalid: the environment's is not 64 hexadecimal digits.
        StateUnusable: the folder's can't be read or written.
    """
    given = environ.get(PEPPER_VARIABLE)
    if given:
        return _decode(given, PEPPER_VARIABLE)
    path = folder / _PEPPER
    try:
        if not path.exists():
            _create_whole(path, secrets.token_hex(PEPPER_BYTES).encode())
    except OSError as error:
        raise StateUnusable(f"{path}: {error.strerror}") from error
    return _decode(_read(path).decode("ascii", "replace"), str(path))


@asynccontextmanager
async def turn(folder: Path) -> AsyncIterator[None]:
    """Wait for other gateways that are writing this folder's admin token, and keep them waiting.

    Raises StateUnusable: the folder can't be written.
    """
    path = folder / _TURN
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StateUnusable(f"{path}: {error.strerror}") from error
    try:
        await anyio.to_thread.run_sync(fcntl.flock, file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def read_admin(folder: Path) -> LocalAdmin | None:
    """Return this host's admin token; None where none was written, or none that can be read."""
    try:
        return msgspec.json.decode((folder / ADMIN).read_bytes(), type=LocalAdmin)
    except (OSError, msgspec.DecodeError):
        return None


def write_admin(folder: Path, admin: LocalAdmin) -> None:
    """Write this host's admin token, in one step, readable by its owner alone."""
    path = folder / ADMIN
    try:
        with _written(path, msgspec.json.encode(admin)) as fresh:
            fresh.replace(path)
    except OSError as error:
        raise StateUnusable(f"{path}: {error.strerror}") from error


def _decode(text: str, where: str) -> bytes:
    try:
        value = bytes.fromhex(text.strip())
    except ValueError:
        value = b""
    if len(value) != PEPPER_BYTES or len(set(value)) == 1:
        raise ConfigurationInvalid(
            f"{where}: not {2 * PEPPER_BYTES} hexadecimal digits of a random key"
        )
    return value


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StateUnusable(f"{path}: {error.strerror}") from error


def _create_whole(path: Path, content: bytes) -> None:
    """Make a file that others never see unfinished; if another made it first, theirs stays."""
    with _written(path, content) as fresh, suppress(FileExistsError):
        os.link(fresh, path)


@contextmanager
def _written(path: Path, content: bytes) -> Iterator[Path]:
    """Write a file beside `path` for a block, readable by its owner alone; then it is gone."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield fresh
    finally:
        fresh.unlink(missing_ok=True)
