"""Proof that nobody read a lost request whole: the one condition on which it is sent a second time.

A provider may bill what it read, so a guess would be paid with money that nobody holds. The proof is
a reset (RST), which a kernel sends for bytes that come to a connection closed already, or that were
not read when it was closed. An application that reads all and closes sends an end (FIN) alone. One
that reads all and at once resets by force (SO_LINGER of 0) can't be told apart.

In the usual race the peer closes a resting connection while a request is on its way: its end comes
first, then the reset that answers the request. Event loops look no further than the end, hence the
socket is kept and asked itself. What is sent after the request would draw a reset too, and prove
nothing: so TLS is not let say its goodbye before.
"""

import asyncio
import errno
import socket
from typing import Final

# A reset answers the request itself, a round trip later. One that comes later than that is somebody's
# decision (a proxy that gives up, say), and the request may have been read by then.
_PROMPT_S: Final = 1.0
# What is left of a round trip once the peer's end is here, for all but the farthest peers.
_RESET_AFTER_END_S: Final = 0.25
_LOOK_EVERY_S: Final = 0.005
# Linux says EPIPE once the peer's end has been read (tcp_reset in net/ipv4/tcp_input.c).
_RESETS: Final = (errno.ECONNRESET, errno.EPIPE)


def is_prompt(after_s: float) -> bool:
    """May a loss so many seconds after the request was written be the answer to it?"""
    return after_s <= _PROMPT_S


def is_reset(cause: Exception | None) -> bool:
    """Did the connection end by a reset, as a transport tells it?"""
    return isinstance(cause, ConnectionResetError | BrokenPipeError)


def kept(transport: asyncio.Transport) -> socket.socket | None:
    """Return a second hold on a transport's socket, so that it outlives it; None if there is no room.

    While it is held, closing the transport sends nothing.
    """
    sock = transport.get_extra_info("socket")
    try:
        return socket.fromfd(sock.fileno(), sock.family, sock.type)
    except OSError:  # no more file descriptors
        return None


async def is_reset_soon(sock: socket.socket) -> bool:
    """Wait at most 250 ms for a reset on a socket that has ended; False when it is closed meanwhile."""
    loop = asyncio.get_running_loop()
    gives_up_at = loop.time() + _RESET_AFTER_END_S
    while sock.fileno() >= 0:
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in _RESETS:
            return True
        if loop.time() >= gives_up_at:
            return False
        await asyncio.sleep(_LOOK_EVERY_S)
    return False
