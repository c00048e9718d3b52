"""What every process of ours has: a journal on standard error, and one line to fail with."""

import sys
from collections.abc import Awaitable

from gateway.app.clock import SystemClock
from gateway.errors import GatewayError
from gateway.telemetry import STANDARD_ERROR, Journal, write_to


def journal(clock: SystemClock) -> Journal:
    """Return the journal of this process; readable where a person looks on."""
    is_terminal = sys.stderr.isatty()
    return Journal(now=clock.utc, write=write_to(STANDARD_ERROR), is_terminal=is_terminal)


async def one_line(serving: Awaitable[None]) -> None:
    """Await it; raise the first of its failures, out of the groups that tasks put them into."""
    try:
        await serving
    except* GatewayError as group:
        raise _first(group) from None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
