"""A changed configuration file, or SIGHUP: what can be changed is, and a bad file changes nothing."""

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn
from zoneinfo import ZoneInfo

import anyio

from gateway.app.clock import SystemClock
from gateway.app.wiring import Parts
from gateway.config import Config, load, reloadable
from gateway.core.limits import local_day
from gateway.errors import ConfigurationInvalid, LedgerUnavailable

LOOK_EVERY_S: Final = 2.0


def zone(config: Config) -> ZoneInfo:
    """Return the time zone in which months and days begin."""
    return ZoneInfo(config.limits.timezone)


async def watch(
    parts: Parts, config: Config, file: Path | None, environ: Mapping[str, str], clock: SystemClock
) -> NoReturn:
    """Reload whenever the file has changed or SIGHUP has come, until cancelled.

    A new day makes the price book anew: prices are published ahead of the day they begin. A month's
    cap that can't be told to a database that is away is told when it is back.
    """
    current, is_capped = config, True
    seen, priced_on = _stamp(file), clock.utc().date()
    with anyio.open_signal_receiver(signal.SIGHUP) as signals:
        while True:
            is_asked = False
            with anyio.move_on_after(LOOK_EVERY_S):
                await anext(signals)
                is_asked = True
            stamp, today = _stamp(file), clock.utc().date()
            if is_asked or stamp != seen:
                seen = stamp
                current = await _reloaded(parts, current, file, environ, clock)
                is_capped = False
            if not is_capped:
                is_capped = await _is_capped(parts, current, clock)
            if today != priced_on:
                priced_on = today
                await parts.reconfigure(current, today)


async def _reloaded(
    parts: Parts, current: Config, file: Path | None, environ: Mapping[str, str], clock: SystemClock
) -> Config:
    """Put the file's configuration in force and return it, or the present one if it can't be used."""
    try:
        fresh = _loaded(current, file, environ)
        await parts.reconfigure(fresh, clock.utc().date())
    except ConfigurationInvalid as error:
        parts.telemetry.configuration_refused(str(error))
        return current
    parts.telemetry.configuration_reloaded()
    return fresh


async def _is_capped(parts: Parts, config: Config, clock: SystemClock) -> bool:
    """Tell the database the month's cap; return whether it heard."""
    try:
        await parts.stores.limits.configure(
            config.limits.month_nusd, local_day(clock.utc(), zone(config))
        )
    except LedgerUnavailable:
        return False
    return True


def _loaded(current: Config, file: Path | None, environ: Mapping[str, str]) -> Config:
    """Return the file's configuration; raises ConfigurationInvalid, also for what takes a restart."""
    fresh = load(file, environ)
    if fixed := reloadable(current, fresh):
        raise ConfigurationInvalid(f"{', '.join(fixed)} can't be changed without a restart")
    return fresh


def _stamp(file: Path | None) -> tuple[int, int] | None:
    """Return what changes when a file does; None where there is none to be read."""
    if file is None:
        return None
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino
