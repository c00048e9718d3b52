"""Wait for a condition, never for a time."""

from collections.abc import Callable

import anyio

DEADLINE_S = 10.0


async def eventually(condition: Callable[[], bool], *, within_s: float = DEADLINE_S) -> None:
    """Return as soon as a condition holds; raise TimeoutError if it does not in time."""
    with anyio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110  # the one place where tests poll
            await anyio.sleep(0.005)
