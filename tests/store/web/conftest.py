"""The management API on a real database, with time and chance in the test's hand."""

import itertools
from collections.abc import AsyncIterator, Sequence, Set
from datetime import UTC, date, datetime

import httpx
import pytest
import pytest_asyncio
from litestar import Litestar

from gateway.app.repricing import Repricing
from gateway.app.standing import standing
from gateway.config import parse
from gateway.core import access
from gateway.core.ids import Project
from gateway.core.refusal import Refused
from gateway.exchange.estimates import Estimate
from gateway.store.access import AccessStore, NewToken
from gateway.store.audit import AT_START
from gateway.store.audit_log import AuditLog
from gateway.store.database import Database
from gateway.store.limits import LimitStore
from gateway.store.minting import Mint
from gateway.store.price_choices import PriceChoices
from gateway.store.price_lists import PriceList
from gateway.store.replicas import ReplicaStore
from gateway.store.runs import RunDefaults, RunStore
from gateway.store.sessions import SessionStore
from gateway.store.traces import TraceStore
from gateway.store.unsettled import UnsettledStore
from gateway.web import admin
from gateway.web.admin import Quote, Services

NOW = datetime(2099, 3, 14, 15, 9, 26, tzinfo=UTC)
"""Later than the database's own clock, which must not yet find expired what expires after this."""
TODAY = date(2026, 3, 14)
PRICED_ON = date(2026, 11, 25)
"""The day for which prices are read."""
CONFIG = b"""
providers:
  openai: {dialect: openai, base_url: https://api.openai.com/v1, key: k}
  mine: {dialect: openai, base_url: "http://10.0.0.7/v1", key: k}
models:
  fast: {targets: [{model: openai/gpt-4o-mini, weight: 1}], fallbacks: [openai/gpt-4o]}
  odd: {targets: [{model: openai/gpt-99, weight: 1}]}
prices:
  openai/gpt-4o: {input: "2.5", output: "10"}
  openai/gpt-4.1: {output: "9"}
  gone/m: {input: "1", output: "1"}
"""
URL = "http://localhost:8080"


class World:
    """What a test changes of what the application is given, and what it hears."""

    def __init__(self) -> None:
        self.quotes: list[Quote] = []
        self.estimated: Estimate | Refused | None = None
        self.is_stopping = False
        self.bugs: list[BaseException] = []
        self.config = parse(CONFIG, {})
        self.listed: PriceList | None = None
        self.standing = standing(self.config, PRICED_ON)
        self.heard: list[str] = []
        self.models = 0
        self._count = itertools.count(1)

    async def estimate(self, quote: Quote) -> Estimate | Refused:
        self.quotes.append(quote)
        assert self.estimated is not None
        return self.estimated

    def prices_changed(self, version: str) -> None:
        self.heard.append(version)

    def prices_refused(self, line: str) -> None:
        self.heard.append(f"refused: {line}")

    def models_known(self, models: Set[str]) -> None:
        self.models = len(models)

    def mint(self) -> Mint:
        count = self._count
        return Mint(
            lambda: 1_773_500_966_000 + next(count),
            lambda size: next(count).to_bytes(4).rjust(size, b"\x5a"),
        )


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def services(database: Database, world: World) -> Services:
    mint, prices = world.mint(), PriceChoices(database)
    return Services(
        access=AccessStore(database, b"p" * 32, mint, lambda: 0.0, stale_s=15),
        audit=AuditLog(database),
        limits=LimitStore(database),
        prices=prices,
        pricing=Repricing(
            choices=prices,
            settings=world,
            pipeline=world,
            telemetry=world,
            today=lambda: PRICED_ON,
            seen=0,
        ),
        replicas=ReplicaStore(database),
        runs=RunStore(database, mint, RunDefaults(5_000_000_000)),
        sessions=SessionStore(database, mint),
        traces=TraceStore(database),
        unsettled=UnsettledStore(database),
        mint=mint,
        now=lambda: NOW,
        today=lambda: TODAY,
        estimate=world.estimate,
        is_stopping=lambda: world.is_stopping,
        unhandled=lambda error, where: world.bugs.append(error),
        version="1.2.3",
        database="embedded",
    )


@pytest.fixture
def app(services: Services) -> Litestar:
    return admin.create(services)


class Clients:
    """Clients of one application, each with a credential of its own."""

    def __init__(self, app: Litestar, services: Services) -> None:
        self._app = app
        self._services = services
        self._opened: list[httpx.AsyncClient] = []

    async def token(self, scopes: Sequence[str], project: str = "default") -> str:
        wanted = NewToken(name="test", project=Project(project), scopes=scopes)
        return (await self._services.access.create(wanted, AT_START)).secret.reveal()

    async def bearer(self, *scopes: str, project: str = "default") -> httpx.AsyncClient:
        token = await self.token(scopes, project)
        return self.anybody({"authorization": f"Bearer {token}"})

    def anybody(self, headers: dict[str, str] | None = None, url: str = URL) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
        client = httpx.AsyncClient(transport=transport, base_url=url, headers=headers)
        self._opened.append(client)
        return client

    async def aclose(self) -> None:
        for client in self._opened:
            await client.aclose()


@pytest_asyncio.fixture
async def clients(app: Litestar, services: Services) -> AsyncIterator[Clients]:
    clients = Clients(app, services)
    yield clients
    await clients.aclose()


@pytest_asyncio.fixture
async def owner(clients: Clients) -> httpx.AsyncClient:
    """A client with every permission."""
    return await clients.bearer(access.OWNER_SCOPE)
