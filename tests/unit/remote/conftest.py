"""Fixtures of the HTTP client's tests: both event loops, scripted servers, clients that get closed."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvloop

from gateway.remote.http1 import Http1Client, PoolLimits, Timeouts
from tests.unit.remote.scripted import PATIENCE_S, Script, Server


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item):
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[Server]]]:
    servers: list[Server] = []

    async def start(*scripts: Script, context: ssl.SSLContext | None = None) -> Server:
        server = Server(scripts)
        await server.start(context)
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.stop()
        assert server.failures == []


@pytest.fixture
async def clients() -> AsyncIterator[Callable[..., Http1Client]]:
    """Makes clients, and closes them."""
    made: list[Http1Client] = []

    def make(
        per_origin: int = 4, idle_s: float = 30.0, context: ssl.SSLContext | None = None
    ) -> Http1Client:
        made.append(Http1Client(ssl_context=context, limits=PoolLimits(per_origin, idle_s)))
        return made[-1]

    yield make
    for client in made:
        await client.aclose()


@pytest.fixture
def patient() -> Timeouts:
    return Timeouts(connect_s=PATIENCE_S, first_byte_s=PATIENCE_S, idle_s=PATIENCE_S)
