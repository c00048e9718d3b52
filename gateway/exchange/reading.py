"""Reads what requests ask for: small bodies at once, large ones in another process.

JSON is parsed in one go that nothing else can interrupt, also in a thread: 8 MB of escaped text keep
the event loop for 100 ms. A process of its own takes half as long again for that body, and the loop
waits for it for 3 ms (measured as in `docs/performance.md`). It is started by the first large body,
which takes a part of a second, and ends after five minutes without one.
"""

from functools import partial
from typing import Final

import anyio
from anyio import to_process

from gateway.core.refusal import Refused
from gateway.providers.adapter import Dialect, Path, Wanted

MOST_AT_ONCE: Final = 256 * 1024
"""Bytes of a body that are read in less than 5 ms, whatever they hold."""


class BodyReader:
    """Reads the bodies of all calls of this process."""

    def __init__(self) -> None:
        """Let two large bodies be read at a time: the others wait, and keep no memory twice."""
        self._turns = anyio.CapacityLimiter(2)

    async def read(self, dialect: Dialect, path: Path, body: bytes) -> Wanted | Refused:
        """Return what a request asks for, or why it is refused."""
        if len(body) <= MOST_AT_ONCE:
            return dialect.read(path, body)
        read = partial(dialect.read, path, body)
        try:
            return await to_process.run_sync(read, cancellable=True, limiter=self._turns)
        except (anyio.BrokenWorkerProcess, OSError):
            return read()  # a machine that gives us no process still has its answer
