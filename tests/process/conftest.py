"""Stand-ins once a session, gateways as a test wants them."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.process import standins
from tests.process.gateway_process import Gateway
from tests.process.programs import ROOT
from tests.process.standins import Scripted, Standin

PROVIDER_KEY = "sk-provider-key-of-the-scripted-stand-in"

GatewayFactory = Callable[..., Gateway]


SLOWEST_FIRST = ("test_workers", "test_alerts", "test_routing", "test_rate_limits", "test_traps")
"""Modules that would otherwise be begun last, and be waited for by all others."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: a module is run by one process."""

    def turn(item: pytest.Item) -> int:
        name = item.path.stem
        return SLOWEST_FIRST.index(name) if name in SLOWEST_FIRST else len(SLOWEST_FIRST)

    items.sort(key=turn)


@pytest.fixture(scope="session")
def llmock_standin() -> Iterator[Standin]:
    """llmock (PyPI), shared by the session; it has no state that a test could spoil."""
    with standins.llmock() as standin:
        yield standin


@pytest.fixture(scope="session")
def aimock_standin() -> Iterator[Standin]:
    """aimock (npm) with the fixtures of `standins.AIMOCK_FIXTURES`."""
    with standins.aimock() as standin:
        yield standin


@pytest.fixture(scope="session")
def scripted_session() -> Iterator[Scripted]:
    with standins.scripted(key=PROVIDER_KEY) as standin:
        yield standin


@pytest.fixture
def scripted(scripted_session: Scripted) -> Scripted:
    """Our provider, its account and scripts empty; it refuses any key but its `key`."""
    scripted_session.reset()
    return scripted_session


@pytest.fixture
def gateway_factory() -> Iterator[GatewayFactory]:
    """`gateway_factory(config, arguments=(), environment=None)`: a gateway, started and ready.

    It is ended, and its state removed, after the test.
    """
    yield from _factory()


@pytest.fixture(scope="module")
def module_gateway_factory() -> Iterator[GatewayFactory]:
    """The same for a whole module: a start makes a database, which takes its seconds."""
    yield from _factory()


@pytest.fixture(scope="session")
def promtool() -> Path:
    """The path of promtool, which `make tools-promtool` unpacks."""
    found = ROOT / ".tools/prometheus/usr/bin/promtool"
    if not found.exists():
        if os.environ.get("CI") == "true":
            pytest.fail("promtool is missing, and CI must have it: make tools-promtool")
        pytest.skip("NOT TESTED: promtool is missing; make tools-promtool says why")
    return found


def _factory() -> Iterator[GatewayFactory]:
    made: list[Gateway] = []

    def start(
        config: Mapping[str, Any],
        *,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Gateway:
        gateway = Gateway(config, arguments=arguments, environment=environment)
        made.append(gateway)
        gateway.start()
        return gateway

    yield start
    for gateway in made:
        gateway.remove()
