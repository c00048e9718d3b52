"""Looks whether budgets have passed thresholds, and puts a message for each that is new.

Where nothing is to be told, or to nobody, nothing is looked at; what is passed meanwhile stays untold
when a webhook is configured after all. Several replicas may look at once.
"""

from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Final

import msgspec

from gateway.core.alerts import Passed
from gateway.core.delivery import WebhookName
from gateway.core.limits import local_day
from gateway.store.alerts import AlertStore

LATE: Final = timedelta(minutes=1)
"""What is spent at a period's very end is still looked at for so long after it."""


class Wanted(msgspec.Struct, frozen=True):
    """What is to be told to whom: rising per cents of caps, webhooks, where days begin."""

    percents: tuple[int, ...]
    webhooks: tuple[WebhookName, ...]
    zone: tzinfo


class Thresholds:
    """The job, which remembers whether it has begun."""

    def __init__(
        self,
        alerts: AlertStore,
        wanted: Callable[[], Wanted],
        now: Callable[[], datetime],
        report: Callable[[Passed], None],
    ) -> None:
        """`wanted` may change at any time; `now` is aware UTC; `report` hears of what is told."""
        self._alerts = alerts
        self._wanted = wanted
        self._now = now
        self._report = report
        self._has_begun: bool | None = None

    async def run(self) -> None:
        """Look once."""
        wanted = self._wanted()
        if not (wanted.percents and wanted.webhooks):
            await self._end()
            return
        now = self._now()
        days = {local_day(moment, wanted.zone) for moment in (now, now - LATE)}
        if not self._has_begun:
            await self._alerts.begin(days, wanted.percents)
            self._has_begun = True
        for one in await self._alerts.tell(days, wanted.percents, wanted.webhooks, now):
            self._report(one)

    async def _end(self) -> None:
        if self._has_begun is not False:
            await self._alerts.forget()
            self._has_begun = False
