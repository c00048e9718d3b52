"""Finding the gateway that a command is meant for, and asking it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, assert_never
from urllib.parse import urlsplit

import msgspec
from typer.exceptions import TyperException

from gateway.core.secret import Secret
from gateway.remote.management import (
    Answer,
    Answered,
    Denied,
    Management,
    Query,
    StreamAnswer,
    Streaming,
    Unreachable,
    connect,
)
from gateway.store import state_folder

URL_VARIABLE: Final = "GATEWAY_URL"
TOKEN_VARIABLE: Final = "GATEWAY_TOKEN"  # noqa: S105  # a name, not a credential
DEFAULT_URL: Final = "http://127.0.0.1:8080"
LOCAL_FILE: Final = "admin.json"
_MOST_PAGE: Final = 1000


class CommandFailed(TyperException):
    """The command was refused or failed; its text is the one line that says so."""


class Address(msgspec.Struct, frozen=True):
    """Where a gateway is, and the token for it."""

    url: str
    token: Secret


class _LocalFile(msgspec.Struct, frozen=True):
    """What a gateway on this host left in its state folder."""

    url: str
    token: str


def address(environ: Mapping[str, str]) -> Address:
    """Return the gateway to ask: the environment's, else the one on this host.

    This host's token goes to this host's gateway alone. Raises CommandFailed where there is none.
    """
    url = _site(environ.get(URL_VARIABLE, ""))
    token = environ.get(TOKEN_VARIABLE)
    local = None if url and token else _local(environ)
    if token:
        return Address(url or (local.url if local else DEFAULT_URL), Secret(token))
    if local is not None and url in {"", local.url}:
        return Address(local.url, Secret(local.token))
    raise CommandFailed(
        f"no token for {url or 'a gateway'}: set {URL_VARIABLE} and {TOKEN_VARIABLE}, "
        "or run this on the gateway's own host as its user"
    )


@contextmanager
def gateway() -> Iterator[Management]:
    """Open the gateway that this command is meant for."""
    found = address(os.environ)
    with connect(found.url, found.token) as management:
        yield management


def ask(method: str, path: str, *, query: Query | None = None, body: object = None) -> Any:  # noqa: ANN401 - JSON
    """Make one request and return its answer; raises CommandFailed."""
    with gateway() as management:
        return value(management.call(method, path, query=query, body=body))


def ask_all(path: str, limit: int, query: Query | None = None) -> list[Any]:
    """Return up to `limit` items of a list that comes in pages; raises CommandFailed."""
    items: list[Any] = []
    cursor: str | None = None
    with gateway() as management:
        while len(items) < limit:
            paging = {"cursor": cursor, "limit": min(limit - len(items), _MOST_PAGE)}
            page = value(management.call("GET", path, query={**(query or {}), **paging}))
            items += page["data"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
    return items


def value(answer: Answer) -> Any:  # noqa: ANN401 - JSON
    """Return what an answer holds; raises CommandFailed where it is a no, or none."""
    match answer:
        case Answered(found):
            return found
        case Denied() | Unreachable():
            raise failure(answer)
        case _:
            assert_never(answer)


def pieces(answer: StreamAnswer) -> Iterator[bytes]:
    """Return a streamed answer's pieces; raises CommandFailed where it is a no, or none."""
    match answer:
        case Streaming(found):
            return found
        case Denied() | Unreachable():
            raise failure(answer)
        case _:
            assert_never(answer)


def failure(answer: Denied | Unreachable) -> CommandFailed:
    """Return the failure that an answer is."""
    match answer:
        case Denied(status=_, code=code, message=message, param=param):
            where = f" ({param})" if param else ""
            return CommandFailed(f"{code}: {message}{where}")
        case Unreachable(reason):
            return CommandFailed(reason)
        case _:
            assert_never(answer)


def _site(text: str) -> str:
    """Return the URL of a gateway, which may have been written as an SDK's base URL."""
    try:
        parts = urlsplit(text)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if text and not is_usable:
        raise CommandFailed(f"{URL_VARIABLE} is not a URL such as {DEFAULT_URL}")
    return text.rstrip("/").removesuffix("/v1")


def _local(environ: Mapping[str, str]) -> _LocalFile | None:
    path = Path(state_folder.resolve(environ), LOCAL_FILE)
    try:
        return msgspec.json.decode(path.read_bytes(), type=_LocalFile)
    except (OSError, msgspec.DecodeError):
        return None
