"""Tells the person who started this, and the commands on this host, where the gateway is."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import anyio

from gateway.app import banner, local_files
from gateway.app.clock import SystemClock
from gateway.app.local_files import LocalAdmin
from gateway.app.opening import Installed, Place
from gateway.config import Config
from gateway.core.access import OWNER_SCOPE
from gateway.core.routing import Directory
from gateway.errors import LedgerUnavailable, StateUnusable

LOOK_EVERY_S = 5.0
_ANSWER_S = 1.0
_RETRY_S = 0.5


async def welcome(
    port: int | None,
    config: Config,
    spoken: Mapping[str, Directory],
    found: Installed,
    place: Place,
    clock: SystemClock,
) -> LocalAdmin | None:
    """Print the banner; return what commands on this host were told, None where nobody serves them.

    Without a port of its own, a first start shows the configured one: another process will have it.
    """
    base_url = banner.url(config, config.listen.port if port is None else port)
    admin = None
    if port is not None:
        admin = await _told(base_url.removesuffix("/v1"), found, place, clock)
    if found.given is not None:
        lines = banner.first(base_url, found.given, config, spoken)
    else:
        lines = banner.jobs_only() if port is None else banner.again(base_url, config)
    print("\n".join(lines), flush=True)  # noqa: T201  # the one thing that goes to standard output
    return admin


async def _told(site: str, found: Installed, place: Place, clock: SystemClock) -> LocalAdmin:
    """Tell the commands on this host, and wait for a database that is away: calls run already."""
    while True:
        try:
            return await _tell_commands(site, found, place, clock)
        except LedgerUnavailable:
            await anyio.sleep(_RETRY_S)


async def _tell_commands(
    site: str, found: Installed, place: Place, clock: SystemClock
) -> LocalAdmin:
    """Write where this gateway is; gateways that share the folder share its one token."""
    async with local_files.turn(place.folder):
        known = local_files.read_admin(place.folder)
        old = None if known is None else known.token
        minted = await found.store.local_token(old, (OWNER_SCOPE,), clock.utc())
        token = old if minted is None else minted.secret.reveal()
        admin = LocalAdmin(site, token or "")
        local_files.write_admin(place.folder, admin)
    return admin


async def keep(place: Place, admin: LocalAdmin) -> None:
    """Write it again whenever it is gone, or names a gateway that has ended; until cancelled.

    Of several gateways that share the folder, the one that is named is one that answers.
    """
    while True:
        await anyio.sleep(LOOK_EVERY_S)
        known = local_files.read_admin(place.folder)
        if known is None or (known.url != admin.url and not await _is_answering(known.url)):
            try:
                local_files.write_admin(place.folder, admin)
            except StateUnusable:
                continue  # a full disk, say: commands go without, calls go on


async def _is_answering(url: str) -> bool:
    parts = urlsplit(url)
    try:
        with anyio.fail_after(_ANSWER_S):
            stream = await anyio.connect_tcp(parts.hostname or "", parts.port or 0)
            await stream.aclose()
    except (OSError, ValueError):
        return False
    return True
