"""A file of prices at one gateway prices the calls of another, and after a restart."""

import json
import secrets
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.process.conversation import HELLO
from tests.process.databases import external
from tests.process.gateway_process import Gateway
from tests.process.standins import Scripted, wait_until
from tests.process.test_caps import told

MODEL = "gpt-4o-mini"
DEAR = {"input_mtok": 150, "output_mtok": 600}
"""A thousand times what it costs."""
FILE = [
    {
        "id": "openai",
        "name": "OpenAI",
        "api_pattern": "https://api\\.openai\\.com",
        "models": [
            {"id": MODEL, "match": {"equals": MODEL}, "context_window": 128000, "prices": DEAR}
        ],
    }
]


@pytest.fixture
def two(scripted: Scripted) -> Iterator[tuple[Gateway, Gateway]]:
    with external() as database:
        provider = {"dialect": "openai", "base_url": scripted.base_url, "key": scripted.key}
        whole = {"providers": {"openai": provider}, "database": database.fresh()}
        shared = {"GATEWAY_TOKEN_PEPPER": secrets.token_hex(32)}
        first, second = (Gateway(whole, environment=shared) for _ in range(2))
        try:
            first.start()
            second.client_token = first.client_token
            second.start()
            yield first, second
        finally:
            first.remove()
            second.remove()


def called(gateway: Gateway) -> dict[str, Any]:
    """Make a call and return its trace."""
    with gateway.sdk() as client:
        answer = client.chat.completions.with_raw_response.create(
            model=f"openai/{MODEL}", messages=HELLO, max_tokens=100
        )
    trace = answer.headers["x-gateway-trace"]
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        found[:] = [one for one in traces(gateway) if one["id"] == trace]
        return bool(found)

    wait_until(is_there, "the trace is written")
    return found[0]


def traces(gateway: Gateway) -> list[dict[str, Any]]:
    lines = gateway.cli("traces", "list", "--json").stdout.splitlines()
    return [json.loads(line) for line in lines]


def version(gateway: Gateway) -> str:
    [priced] = json.loads(gateway.cli("prices", "show", f"openai/{MODEL}", "--json").stdout)
    return str(priced["price_version"])


def test_a_file_prices_the_calls_of_every_gateway_and_is_named_in_their_traces(
    two: tuple[Gateway, Gateway], scripted: Scripted
):
    first, second = two
    scripted.script(tokens=20)
    before = called(second)
    assert before["price_version"] == version(first) == version(second)

    (first.folder / "data.json").write_text(json.dumps(FILE), encoding="utf-8")
    done = told(first, "prices", "update", "data.json")
    assert done["dearer"] == [f"openai/{MODEL}"]
    assert version(first) == done["price_version"]
    wait_until(lambda: version(second) == done["price_version"], "the other heard of it")

    after = called(second)
    assert after["price_version"] == done["price_version"]
    assert Decimal(after["cost_usd"]) == 1000 * Decimal(before["cost_usd"])
    second.restart()
    assert version(second) == done["price_version"]

    told(second, "prices", "activate", "package")
    wait_until(lambda: version(first) == before["price_version"], "and that it is gone")
