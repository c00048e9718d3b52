"""Every object of a running gateway, built once and handed over by name. No decision is made here."""

from collections.abc import Callable
from datetime import date
from functools import partial
from random import SystemRandom

import anyio
import msgspec

from gateway import __version__
from gateway.app import quoting, standing
from gateway.app.clock import SystemClock
from gateway.app.repricing import Chosen, Repricing
from gateway.config import Config
from gateway.core.ids import Provider, ReplicaId
from gateway.core.limits import Limits, local_day
from gateway.core.tokens import Tokenizers
from gateway.exchange.counting import TokenCounter
from gateway.exchange.holding import Holding
from gateway.exchange.pacing import Pacing
from gateway.exchange.pipeline import Pipeline
from gateway.exchange.purse import Purse, Terms
from gateway.exchange.reading import BodyReader
from gateway.exchange.relay import Relay
from gateway.exchange.switchboard import Switchboard
from gateway.jobs.signals import Signals
from gateway.remote.http1 import Http1Client, PoolLimits
from gateway.remote.sandbox import SandboxTransport
from gateway.remote.signing import CredentialChain, Signer
from gateway.remote.upstream import (
    HttpxTransport,
    OwnTransport,
    Providers,
    connections,
    stock_client,
)
from gateway.store.access import AccessStore
from gateway.store.alerts import AlertStore
from gateway.store.audit_log import AuditLog
from gateway.store.database import Database
from gateway.store.ledger import LedgerStore
from gateway.store.limits import LimitStore
from gateway.store.minting import Mint
from gateway.store.outbox import OutboxStore
from gateway.store.price_choices import PriceChoices
from gateway.store.price_lists import PriceList
from gateway.store.replicas import ReplicaStore
from gateway.store.runs import RunDefaults, RunStore
from gateway.store.sessions import SessionStore
from gateway.store.traces import TraceStore
from gateway.store.unsettled import UnsettledStore
from gateway.telemetry import Journal, Telemetry
from gateway.telemetry.exposition import ConnectionState
from gateway.web.admin import create
from gateway.web.dispatch import Dispatch
from gateway.web.ops import OpsApp, OwnHealth, Ready
from gateway.web.proxy import Proxy
from gateway.web.services import Services

CONNECTIONS = 512


class Stores(msgspec.Struct, frozen=True, kw_only=True):
    """The tables, each behind its module."""

    access: AccessStore
    alerts: AlertStore
    audit: AuditLog
    ledger: LedgerStore
    limits: LimitStore
    outbox: OutboxStore
    prices: PriceChoices
    replicas: ReplicaStore
    runs: RunStore
    sessions: SessionStore
    traces: TraceStore
    unsettled: UnsettledStore


class Settings:
    """The configuration that is in force, replaced when it is reloaded; and the list of prices.

    `listed` is None where that is the package's own.
    """

    def __init__(self, config: Config, listed: PriceList | None) -> None:
        self.config = config
        self.listed = listed


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What a running gateway consists of, as far as its life is concerned."""

    replica: ReplicaId
    stores: Stores
    telemetry: Telemetry
    board: Switchboard
    purse: Purse
    counter: TokenCounter
    pipeline: Pipeline
    signals: Signals
    providers: Providers
    settings: Settings
    app: Dispatch
    ops: OpsApp
    ready: Ready
    today: Callable[[], date]
    """Today in the configured time zone."""
    trace_days: Callable[[], int]
    """How many days traces are kept."""

    async def reconfigure(self, config: Config, today: date) -> None:
        """Put a new configuration in force, but for what takes a restart.

        Its price book is made in a thread, by the list of prices that is in force when it is done.
        Raises ConfigurationInvalid.
        """
        while True:
            listed = self.settings.listed
            make = partial(standing.standing, config, today, listed)
            made = await anyio.to_thread.run_sync(make)
            if self.settings.listed is listed:
                break
        self.pipeline.standing = made
        self.board.apply(standing.limits(config, self.board.limits))
        self.settings.config = config
        self.providers.stock_places = standing.stock_places(config)
        self.stores.runs.defaults = RunDefaults(config.limits.run_nusd)
        self.telemetry.models_known(self.pipeline.standing.directory.book.models.keys())


def stores(database: Database, config: Config, pepper: bytes, clock: SystemClock) -> Stores:
    """Return the stores of one database."""
    mint = Mint(clock.unix_ms, clock.entropy)
    return Stores(
        access=AccessStore(
            database,
            pepper,
            mint,
            clock.monotonic,
            stale_s=config.ledger.lease_ttl_ms / 1000,
        ),
        alerts=AlertStore(database, mint),
        audit=AuditLog(database),
        ledger=LedgerStore(database),
        limits=LimitStore(database),
        outbox=OutboxStore(database),
        prices=PriceChoices(database),
        replicas=ReplicaStore(database),
        runs=RunStore(database, mint, RunDefaults(config.limits.run_nusd)),
        sessions=SessionStore(database, mint),
        traces=TraceStore(database),
        unsettled=UnsettledStore(database),
    )


def build(
    config: Config,
    database: Database,
    tables: Stores,
    journal: Journal,
    clock: SystemClock,
    chosen: Chosen,
) -> Parts:
    """Return the parts of a gateway on a database that is migrated."""
    mint = Mint(clock.unix_ms, clock.entropy)
    replica = ReplicaId(mint.id())
    now_standing = standing.standing(config, clock.utc().date(), chosen.listed)
    client = Http1Client(ssl_context=None, limits=PoolLimits(per_origin=CONNECTIONS))
    settings = Settings(config, chosen.listed)

    def shut() -> dict[Provider, bool]:
        return {name: door.is_shut for name, door in pipeline.standing.doors.items()}

    telemetry = Telemetry(
        __version__,
        now_standing.directory.book.models.keys(),
        journal,
        upstream_connections=partial(_connected, client, settings),
        open_circuits=shut,
    )
    board = Switchboard(standing.limits(config, Limits()))
    purse = _purse(config, tables, replica, clock, telemetry)
    counter, pacing = TokenCounter(Tokenizers()), Pacing(clock)
    providers = _providers(config, client, clock)
    pipeline = Pipeline(
        standing=now_standing,
        callers=tables.access,
        runs=tables.runs,
        bodies=BodyReader(),
        pacing=pacing,
        counter=counter,
        clock=clock,
        board=board,
        purse=purse,
        holding=Holding(board=board, purse=purse, ledger=tables.ledger, counter=counter),
        relay=Relay(providers, board),
        reporter=telemetry,
        chance=SystemRandom().random,
    )
    repricing = _repricing(tables, settings, pipeline, telemetry, clock, chosen)
    signals = Signals(
        replica=replica,
        database=database,
        limits=tables.limits,
        runs=tables.runs,
        tokens=tables.access,
        prices=repricing,
        replicas=tables.replicas,
        share=pacing.share,
        board=board,
        purse=purse,
        witness=telemetry,
        now=clock.utc,
        # As often as a lease is renewed: only a lost notice waits so long.
        poll_s=config.ledger.lease_ttl_ms / 1000 / 3,
    )

    ready = partial(_ready, pipeline, purse)
    return Parts(
        replica=replica,
        stores=tables,
        telemetry=telemetry,
        board=board,
        purse=purse,
        counter=counter,
        pipeline=pipeline,
        signals=signals,
        providers=providers,
        settings=settings,
        app=_app(config, tables, pipeline, telemetry, clock, repricing),
        ops=OpsApp(OwnHealth(telemetry.registry, ready)),
        ready=ready,
        today=partial(_today, pipeline, clock),
        trace_days=lambda: settings.config.privacy.trace_days,
    )


def _purse(
    config: Config, tables: Stores, replica: ReplicaId, clock: SystemClock, telemetry: Telemetry
) -> Purse:
    ledger = config.ledger
    terms = Terms(ledger.lease_ttl_ms / 1000, ledger.lease_share_ppm)
    return Purse(tables.ledger, replica, clock, terms, telemetry)


def _app(
    config: Config,
    tables: Stores,
    pipeline: Pipeline,
    telemetry: Telemetry,
    clock: SystemClock,
    repricing: Repricing,
) -> Dispatch:
    services = _services(config, tables, pipeline, telemetry, clock, repricing)
    return Dispatch(Proxy(pipeline), create(services))


def _connected(
    client: Http1Client, settings: Settings
) -> dict[tuple[Provider, ConnectionState], int]:
    return connections(client, standing.places(settings.config))


def _ready(pipeline: Pipeline, purse: Purse) -> tuple[bool, str]:
    """Return whether calls can be admitted, and else why not."""
    if pipeline.is_draining:
        return False, "draining"
    return (True, "ready") if purse.can_admit else (False, "ledger")


def _repricing(
    tables: Stores,
    settings: Settings,
    pipeline: Pipeline,
    telemetry: Telemetry,
    clock: SystemClock,
    chosen: Chosen,
) -> Repricing:
    return Repricing(
        choices=tables.prices,
        settings=settings,
        pipeline=pipeline,
        telemetry=telemetry,
        today=lambda: clock.utc().date(),
        seen=chosen.seq,
    )


def _providers(config: Config, client: Http1Client, clock: SystemClock) -> Providers:
    providers = Providers(
        sandbox=SandboxTransport(),
        own=OwnTransport(client),
        stock=HttpxTransport(stock_client()),
        signer=Signer(CredentialChain().load, utc=clock.utc, monotonic=clock.monotonic),
    )
    providers.stock_places = standing.stock_places(config)
    return providers


def _today(pipeline: Pipeline, clock: SystemClock) -> date:
    return local_day(clock.utc(), pipeline.standing.zone)


def _services(
    config: Config,
    tables: Stores,
    pipeline: Pipeline,
    telemetry: Telemetry,
    clock: SystemClock,
    pricing: Repricing,
) -> Services:
    return Services(
        access=tables.access,
        audit=tables.audit,
        limits=tables.limits,
        prices=tables.prices,
        pricing=pricing,
        replicas=tables.replicas,
        runs=tables.runs,
        sessions=tables.sessions,
        traces=tables.traces,
        unsettled=tables.unsettled,
        mint=Mint(clock.unix_ms, clock.entropy),
        now=clock.utc,
        today=partial(_today, pipeline, clock),
        estimate=partial(quoting.estimate, pipeline),
        is_stopping=lambda: pipeline.is_draining,
        unhandled=telemetry.unhandled,
        version=__version__,
        database="embedded" if config.database_url is None else "external",
    )
