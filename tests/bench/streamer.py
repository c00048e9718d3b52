"""A provider's streams, each event an HTTP chunk of its own: all at once, or one every few milliseconds.

nginx, which stands in for the provider elsewhere, can do neither. Run as a process: prints its port.
`/framed/…` answers at once, `/paced/…` in the pace of PACE_S, and `/sent` says how many events of
paced streams were sent so far.
"""

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import uvloop

from tests.bench import traffic

PACE_S = 0.005

HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
    b"x-request-id: req_bench\r\n\r\n"
)
END = b"0\r\n\r\n"
CHUNKS = [b"%x\r\n%b\r\n" % (len(event), event) for event in traffic.events()]
WHOLE = b"".join([HEAD, *CHUNKS, END])


class Account:
    """How many events all connections together have sent."""

    def __init__(self) -> None:
        self.sent = 0


class Connection(asyncio.Protocol):
    """One connection of a proxy, which sends one request at a time."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._received = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if found and len(body) >= _body_length(head):
            self._received = b""
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        target = head.split(b" ", 2)[1]
        if target.startswith(b"/framed/"):
            self._transport.write(WHOLE)
        elif target.startswith(b"/paced/"):
            self._transport.write(HEAD)
            self._pace(iter(CHUNKS))
        else:
            sent = b"%d" % self._account.sent
            self._transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(sent), sent)
            )

    def _pace(self, chunks: Iterator[bytes]) -> None:
        chunk = next(chunks, None)
        if chunk is None:
            self._transport.write(END)
            return
        self._transport.write(chunk)
        self._account.sent += 1
        self._timer = asyncio.get_running_loop().call_later(PACE_S, self._pace, chunks)


def _body_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def serve() -> None:
    """Serve on a free port of 127.0.0.1 until the process is ended."""
    account = Account()
    loop = asyncio.get_running_loop()
    server: Any = await loop.create_server(lambda: Connection(account), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
