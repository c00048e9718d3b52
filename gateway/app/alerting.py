"""Tells webhooks what the configuration wants them told."""

import random
from typing import Final
from zoneinfo import ZoneInfo

import anyio

from gateway import __version__
from gateway.app.clock import SystemClock
from gateway.app.wiring import Parts
from gateway.config import Config
from gateway.core.alerts import Event
from gateway.core.delivery import WebhookName
from gateway.jobs import supervisor
from gateway.jobs.deliver import Delivery
from gateway.jobs.thresholds import Thresholds, Wanted
from gateway.remote import webhooks
from gateway.remote.webhooks import Receiver

LOOK_EVERY_S: Final = 1.0
DELIVER_EVERY_S: Final = 1.0
TIDY_EVERY_S: Final = 3600.0


async def run(parts: Parts, clock: SystemClock) -> None:
    """Look at budgets and deliver messages until cancelled."""
    tables, telemetry = parts.stores, parts.telemetry
    thresholds = Thresholds(
        tables.alerts,
        lambda: wanted(parts.settings.config),
        clock.utc,
        lambda passed: telemetry.threshold_passed(passed.budget.key, passed.percent),
    )
    async with (
        webhooks.connect(clock.utc, __version__) as sender,
        anyio.create_task_group() as group,
    ):
        delivery = Delivery(
            outbox=tables.outbox,
            sender=sender,
            receivers=lambda: receivers(parts.settings.config),
            chance=random.SystemRandom().random,
            witness=telemetry,
            group=group,
        )
        group.start_soon(supervisor.every, LOOK_EVERY_S, thresholds.run)
        group.start_soon(supervisor.every, DELIVER_EVERY_S, delivery.run)
        await supervisor.every(TIDY_EVERY_S, delivery.tidy)


def wanted(config: Config) -> Wanted:
    """Return what of thresholds is told to whom."""
    names = tuple(
        WebhookName(name)
        for name, webhook in config.webhooks.items()
        if Event.BUDGET_THRESHOLD in webhook.events
    )
    return Wanted(config.limits.alert_at, names, ZoneInfo(config.limits.timezone))


def receivers(config: Config) -> list[Receiver]:
    """Return the webhooks that there are."""
    return [
        Receiver(WebhookName(name), webhook.url, webhook.secret)
        for name, webhook in config.webhooks.items()
    ]
