"""An answer that is sent piece by piece, by the request's own task and no other.

The framework's streamed response closes its source when it is collected as garbage. Here the source
is closed before the answer is over, however that came: its end, its reader's leaving, a cancel.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio
from litestar.types import Receive, Scope, Send

Headers = list[tuple[bytes, bytes]]


class Streamed:
    """An ASGI application that sends what a generator yields."""

    def __init__(self, source: AsyncGenerator[bytes, None], headers: Headers) -> None:
        """Send `source` after a head of status 200 with these headers."""
        self._source = source
        self._headers = headers

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer.

        Where the source fails the answer breaks off, so that nobody takes it for complete.
        """
        async with aclosing(self._source) as pieces, anyio.create_task_group() as tasks:
            tasks.start_soon(_watch, receive, tasks.cancel_scope)
            await self._send(pieces, send)
            tasks.cancel_scope.cancel()

    async def _send(self, pieces: AsyncGenerator[bytes, None], send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _watch(receive: Receive, sending: anyio.CancelScope) -> None:
    """Cancel the sending when the reader has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
    sending.cancel()
