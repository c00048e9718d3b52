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
"""Bytes of a body that are read in less than 5 ms, if they are text for the most part."""
_ALWAYS_AT_ONCE: Final = 16 * 1024
"""Bytes that are read in less than 5 ms, whatever they hold."""
_MOST_AT_ONCE_NS: Final = 5_000_000
_PARTS: Final = b"{[:"
_PART_NS: Final = 600
_ELEMENTS: Final = b","
_ELEMENT_NS: Final = 60
"""What an array, object or member takes, and an element, in the dialect that takes longest with each.
Signs within a text are counted too: that only has a body read elsewhere that need not be."""


class BodyReader:
    """Reads the bodies of all calls of this process."""

    def __init__(self) -> None:
        """Let two large bodies be read at a time: the others wait, and keep no memory twice."""
        self._turns = anyio.CapacityLimiter(2)

    async def read(self, dialect: Dialect, path: Path, body: bytes) -> Wanted | Refused:
        """Return what a request asks for, or why it is refused."""
        if _is_quick(body):
            return dialect.read(path, body)
        read = partial(dialect.read, path, body)
        try:
            return await to_process.run_sync(read, cancellable=True, limiter=self._turns)
        except (anyio.BrokenWorkerProcess, OSError):
            return read()  # a machine that gives us no process still has its answer


def _is_quick(body: bytes) -> bool:
    """Return whether a body keeps the event loop for 5 ms at most; 250 KB of small objects take 50."""
    if len(body) <= _ALWAYS_AT_ONCE:
        return True
    if len(body) > MOST_AT_ONCE:
        return False
    parts, elements = _count(body, _PARTS), _count(body, _ELEMENTS)
    return parts * _PART_NS + elements * _ELEMENT_NS <= _MOST_AT_ONCE_NS


def _count(body: bytes, signs: bytes) -> int:
    """Return how many of some signs there are, in a time that they do not change: 1 us for 2 KB."""
    return len(body) - len(body.translate(None, delete=signs))
