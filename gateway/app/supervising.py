"""Several processes as one gateway: each an event loop, a replica and a purse of its own, on one port.

The supervisor does once what is to be done once (ports, database, installation, banner), starts the
workers, and starts anew who dies. It carries no call, so that nothing it does can hold one up, and
answers the operations port for all. Workers share nothing but the database (`docs/decisions`).
"""

import signal
from collections.abc import Awaitable, Callable, Set
from functools import partial
from typing import Final

import anyio
from anyio.abc import TaskGroup
from prometheus_client import CollectorRegistry

from gateway import __version__
from gateway.app import lifecycle, local_files, opening, standing, welcoming
from gateway.app.clock import SystemClock
from gateway.app.crew import Crew
from gateway.app.line import Assignment
from gateway.app.opening import Opened, Place
from gateway.app.orders import Orders, by_signals
from gateway.app.wiring import Stores, stores
from gateway.config import Config, load
from gateway.core.ids import ModelName, ReplicaId
from gateway.errors import ConfigurationInvalid, LedgerUnavailable
from gateway.jobs import reclaim
from gateway.store import state_folder
from gateway.store.minting import Mint
from gateway.store.replicas import Role
from gateway.telemetry import Journal, Telemetry
from gateway.telemetry.merging import Exposed
from gateway.web.edge import EdgeServer
from gateway.web.ops import OpsApp

_NO_MODELS: Final[Set[ModelName]] = frozenset()
_LATE_S: Final = 30.0
"""How long after the grace a worker that has not ended is killed: it hangs."""


async def serve(
    config: Config, place: Place, role: Role, journal: Journal, clock: SystemClock, *, workers: int
) -> None:
    """Serve by so many workers until SIGTERM or SIGINT, then drain them all.

    Raises GatewayError as `lifecycle.serve` does, and what keeps a worker from starting.
    """
    lifecycle.check_role(config, role)
    ports = opening.bind(config, place, role)
    main = opening.share(ports.main, config.listen.host) if ports.main else []
    port = main[0].getsockname()[1] if main else None
    state_folder.open_folder(place.folder)
    pepper = local_files.pepper(place.folder, place.environ)
    spoken = standing.standing(config, clock.utc().date()).spoken
    telemetry = Telemetry(__version__, _NO_MODELS, journal)
    async with opening.opened(config, place, journal, workers) as found:
        tables = stores(found.database, config, pepper, clock)
        ours = await opening.installed(found.database, tables, config, pepper, clock)
        if config.database_url is None:
            await _reclaim_all(tables, telemetry, clock)
        bury = partial(_reclaim, tables, telemetry)
        crew = Crew(_assignments(found, config, place, role, port, workers), telemetry, bury)
        ops = EdgeServer(OpsApp(CrewHealth(crew)), ports.ops, now=clock.utc)

        async def on_serving(group: TaskGroup) -> None:
            admin = await welcoming.welcome(port, config, spoken, ours, place, clock)
            if admin is not None:
                group.start_soon(welcoming.keep, place, admin)
            telemetry.started(None if admin is None else f"{admin.url}/v1")

        with telemetry.libraries_captured():
            await _supervise(crew, ops, on_serving, partial(_grace_s, config, place))
    for sock in main:
        sock.close()
    telemetry.stopped()


class CrewHealth:
    """Of all workers: ready if one is, and its metrics are their sums."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew

    async def readiness(self) -> tuple[bool, str]:
        """Say how many of how many workers are ready, or why none is."""
        if self._crew.is_draining():
            return False, "draining"
        told = await self._crew.ready()
        ready = sum(is_ready for is_ready, _ in told)
        if ready:
            return True, f"ready: {ready} of {self._crew.size} workers"
        return False, next((reason for _, reason in told), "starting")

    async def metrics(self) -> CollectorRegistry:
        """Return a registry of what was merged."""
        registry = CollectorRegistry()
        registry.register(Exposed(await self._crew.figures()))
        return registry


async def _supervise(
    crew: Crew,
    ops: EdgeServer,
    on_serving: Callable[[TaskGroup], Awaitable[None]],
    grace_s: Callable[[], float],
) -> None:
    """Run the crew from its start until the last of it has drained."""
    orders = Orders()
    async with anyio.create_task_group() as group:
        await group.start(by_signals, orders)
        await group.start(ops.serve)
        async with anyio.create_task_group() as manned:
            await crew.begin(manned)
            await on_serving(group)
            group.start_soon(_pass_on_reloads, crew)
            group.start_soon(crew.follow)
            await orders.drain.wait()
            await crew.drain()
            group.start_soon(_cut_on, crew, orders)
            group.start_soon(_kill_after, crew, grace_s() + _LATE_S)
        await ops.stop(0.0)
        group.cancel_scope.cancel()


async def _pass_on_reloads(crew: Crew) -> None:
    with anyio.open_signal_receiver(signal.SIGHUP) as signals:
        async for _ in signals:
            crew.reload()


async def _cut_on(crew: Crew, orders: Orders) -> None:
    await orders.cut.wait()
    await crew.cut()


async def _kill_after(crew: Crew, seconds: float) -> None:
    await anyio.sleep(seconds)
    crew.kill()


def _grace_s(config: Config, place: Place) -> float:
    """Return the grace in force: workers may have reloaded it since the start."""
    try:
        current = load(place.config_file, place.environ)
    except ConfigurationInvalid:
        current = config
    return current.shutdown.grace_ms / 1000


def _assignments(
    found: Opened, config: Config, place: Place, role: Role, port: int | None, workers: int
) -> list[Assignment]:
    file = place.config_file
    return [
        Assignment(
            number=number,
            role=role,
            dsn=found.dsn,
            host=config.listen.host,
            port=port,
            folder=str(place.folder),
            config_file=None if file is None else str(file),
        )
        for number in range(1, workers + 1)
    ]


async def _reclaim_all(tables: Stores, telemetry: Telemetry, clock: SystemClock) -> None:
    """Reclaim whoever had this database before: nobody else can have it, and no worker lives yet."""
    nobody = ReplicaId(Mint(clock.unix_ms, clock.entropy).id())
    for dead in await tables.replicas.reclaim_all_but(nobody):
        telemetry.replica_reclaimed(dead.replica, reclaim.worst(dead))


async def _reclaim(tables: Stores, telemetry: Telemetry, replica: ReplicaId) -> None:
    """Reclaim a worker that has ended, at once, so that nobody waits for it to throw a kill switch.

    Where the database is away it is found silent later, as any replica that died.
    """
    try:
        for dead in await tables.replicas.reclaim_dead(replica):
            telemetry.replica_reclaimed(dead.replica, reclaim.worst(dead))
    except LedgerUnavailable as error:
        telemetry.ledger_lost(str(error))
