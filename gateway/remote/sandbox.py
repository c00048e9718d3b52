"""Performs the built-in provider's answers: a value and a clock, and no network."""

from collections.abc import Callable, Iterator

import anyio

from gateway.core.calls import Timeouts
from gateway.providers.adapter import PreparedRequest
from gateway.providers.hosts.sandbox import answer
from gateway.providers.hosts.sandbox.scripts import Part
from gateway.remote.decoding import Headers


class SandboxTransport:
    """The sandbox as a transport."""

    async def open(
        self, request: PreparedRequest, timeouts: Timeouts, sending: Callable[[], None]
    ) -> "Performance":
        """Return the answer to a request; it begins at once, whatever `timeouts` say."""
        del timeouts
        sending()
        script = answer(request)
        return Performance(script.status, tuple(script.headers), script.parts)

    async def aclose(self) -> None:
        """Close nothing."""


class Performance:
    """One answer, part by part, each when it is due."""

    def __init__(self, status: int, headers: Headers, parts: Iterator[Part]) -> None:
        self.status = status
        self.headers = headers
        self._parts = parts
        self._due_at = anyio.current_time()

    async def read(self) -> bytes:
        """Return the next part when it is due; empty at the end.

        A part is due so long after the one before it was, not after it was read: a busy loop does
        not slow the sandbox down.
        """
        part = next(self._parts, None)
        if part is None:
            return b""
        self._due_at += part.delay_ms / 1000
        await anyio.sleep_until(self._due_at)
        return part.data

    async def aclose(self) -> None:
        """Leave the rest unsaid."""
        self._parts = iter(())
