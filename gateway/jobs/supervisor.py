"""Runs jobs by the clock of this process. None of them needs to be done by one replica alone."""

from collections.abc import Awaitable, Callable
from typing import NoReturn

import anyio

from gateway.errors import LedgerUnavailable


async def every(period_s: float, job: Callable[[], Awaitable[object]]) -> NoReturn:
    """Do a job now and after each period, until cancelled.

    A database that is away is nobody's news here (the purse tells it): the job is due again after
    the next period.
    """
    while True:
        with_database = True
        try:
            await job()
        except LedgerUnavailable:
            with_database = False
        await anyio.sleep(period_s if with_database else min(period_s, 5.0))
