"""Runs an ASGI application on guarded connections, and stops it gently.

uvicorn's own `Server` is not used: it owns the process's signals, may exit it, and can't serve two
ports in one loop. Its configuration, protocol and request cycle are.
"""

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from datetime import datetime
from email.utils import format_datetime
from typing import Any, Final

import anyio
import msgspec
from anyio.abc import TaskStatus
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.web.guard import EdgeLimits, EdgeState, GuardedProtocol

_CANCELLED_S: Final = 5.0
"""How long calls that were cut at the end of the grace may take to settle and say so."""
_TLS_CLOSE_S: Final = 2.0
_BACKLOG: Final = 2048
_UNUSABLE_ADDRESS: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})

App = Callable[..., Any]
"""An ASGI 3 application."""


class TlsFiles(msgspec.Struct, frozen=True):
    """Certificate chain and private key, as PEM files."""

    certificate: str
    key: str


class EdgeServer:
    """Serves one application on some sockets, in the event loop it is started in.

    It handles no signals. Several may run in one loop.
    """

    def __init__(
        self,
        app: App,
        sockets: Sequence[socket.socket],
        *,
        now: Callable[[], datetime],
        limits: EdgeLimits | None = None,
        tls: TlsFiles | None = None,
    ) -> None:
        """Take over bound sockets, which are closed in the end. `now` is aware UTC, for `date`.

        Raises:
            OSError: a file of `tls` can't be read or does not hold what it should (ssl.SSLError).
        """
        self._limits = limits or EdgeLimits()
        self._sockets = tuple(sockets)
        self._now = now
        self._state = EdgeState()
        self._stopped = anyio.Event()
        self._listeners: list[asyncio.Server] = []
        self._config = Config(
            app,
            interface="asgi3",
            http=HttpToolsProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=self._limits.keep_alive_s,
            ssl_certfile=tls.certificate if tls else None,
            ssl_keyfile=tls.key if tls else None,
        )
        self._config.load()

    @property
    def bound_port(self) -> int:
        """The port of the first socket, also where the system chose it."""
        port: int = self._sockets[0].getsockname()[1]
        return port

    async def serve(self, *, task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until `stop` is done. Tells `task_status` the port as soon as clients may connect.

        When cancelled, it cuts everything that runs.
        """
        try:
            await self._listen()
            task_status.started(self.bound_port)
            while not self._stopped.is_set():
                self._stamp()
                with anyio.move_on_after(1.0):
                    await self._stopped.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await self.stop(0.0)

    async def drain(self) -> None:
        """Return when every call that runs now has ended; what comes meanwhile is served too.

        From now on each answer is the last on its connection, and says so. Bound the wait, or `stop`.
        """
        self._state.is_draining = True
        for connection in tuple(self._state.connections):
            if isinstance(connection, GuardedProtocol):
                connection.conclude()
        if running := tuple(self._state.tasks):
            await asyncio.wait(running)

    def leave_port(self) -> None:
        """Take no further connection, so that another server can have the port; those open stay."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for sock in self._sockets:
            sock.close()

    async def stop(self, grace_s: float) -> None:
        """Stop accepting, close idle connections, and let running calls end within `grace_s`.

        Then the rest is cancelled. May be called again while it runs: the shorter grace counts.
        """
        self._state.is_draining = True
        self.leave_port()
        for connection in tuple(self._state.connections):
            connection.shutdown()
        with anyio.move_on_after(grace_s):
            await self._state.quiet()
        for task in tuple(self._state.tasks):
            task.cancel()
        with anyio.move_on_after(_CANCELLED_S):
            await self._state.quiet()
        for connection in tuple(self._state.connections):
            connection.transport.abort()
        self._stopped.set()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        tls = self._config.ssl
        for sock in self._sockets:
            listener = await loop.create_server(
                self._protocol,
                sock=sock,
                ssl=tls,
                backlog=_BACKLOG,
                ssl_handshake_timeout=self._limits.head_s if tls else None,
                ssl_shutdown_timeout=_TLS_CLOSE_S if tls else None,
            )
            self._listeners.append(listener)

    def _protocol(self) -> GuardedProtocol:
        return GuardedProtocol(self._config, self._state, self._limits)

    def _stamp(self) -> None:
        date = format_datetime(self._now(), usegmt=True).encode()
        self._state.default_headers = [(b"date", date)]


def listen(host: str, port: int, *, is_shared: bool = False) -> list[socket.socket]:
    """Return a socket bound to each address of a host, all on one port; port 0 takes any free one.

    An address that this machine does not have (IPv6, mostly) is left out. A port is shared
    (SO_REUSEPORT: the kernel spreads connections over those that listen) only among sockets of one
    user that all are made so, and fails for any other.

    Raises:
        OSError: the port is taken or not allowed, or no address of the host is this machine's.
    """
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    unusable: OSError | None = None
    for family, _, _, _, address in dict.fromkeys(addresses):
        try:
            sockets.append(_bound(family, str(address[0]), port, is_shared=is_shared))
        except OSError as error:
            if error.errno not in _UNUSABLE_ADDRESS:
                for sock in sockets:
                    sock.close()
                raise
            unusable = error
        else:
            port = sockets[0].getsockname()[1]
    if not sockets and unusable is not None:
        raise unusable
    return sockets


def _bound(family: int, host: str, port: int, *, is_shared: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
