"""A killed gateway's unsettled money, resolved by hand at another that lives."""

import secrets
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.process.conversation import HELLO
from tests.process.databases import external
from tests.process.gateway_process import Gateway
from tests.process.standins import Scripted, wait_until
from tests.process.test_caps import TOKENS, config, told

RUN = "cut-by-a-kill"


@pytest.fixture
def two(scripted: Scripted) -> Iterator[tuple[Gateway, Gateway]]:
    with external() as database:
        whole = {
            **config(scripted),
            "database": database.fresh(),
            "ledger": {"lease_ttl": "2s"},
        }
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


def listed(gateway: Gateway) -> list[dict[str, Any]]:
    found: Any = told(gateway, "unsettled", "list")
    return list(found)


def test_what_a_killed_gateway_may_have_spent_is_resolved_by_hand(
    two: tuple[Gateway, Gateway], scripted: Scripted
):
    dying, living = two
    scripted.script(ending="hang")
    headers = {"x-gateway-run": RUN, "x-gateway-run-cap-usd": "1"}
    with (
        dying.sdk() as client,
        client.chat.completions.create(
            model="stub/m", messages=HELLO, max_tokens=TOKENS, stream=True, extra_headers=headers
        ) as stream,
    ):
        next(stream)
        held = Decimal(stream.response.headers["x-gateway-estimate-usd"])
        dying.kill()
    wait_until(lambda: bool(listed(living)), "the dead one's leases are reclaimed", seconds=30)
    found = listed(living)
    assert {one["scope"] for one in found} == {"workspace", "run"}
    [of_run] = [one for one in found if one["scope"] == "run"]
    assert (of_run["run"], of_run["project"]) == (RUN, "default")
    assert Decimal(of_run["amount_usd"]) >= held > 0

    spent = held / 2
    order = (of_run["replica"], "--spent-usd", f"{spent:f}", "--reason", "the invoice", "--yes")
    done = told(living, "unsettled", "resolve", *order)
    assert {one["scope"]: Decimal(one["booked_usd"]) for one in done["resolved"]} == {
        "workspace": spent,
        "run": spent,
    }
    run = told(living, "runs", "show", RUN)
    assert Decimal(run["spent_usd"]) == spent
    assert (run["unsettled_usd"], Decimal(run["left_usd"])) == ("0", 1 - spent)
    [month] = living.admin("GET", "/spend").json()
    assert (Decimal(month["spent_usd"]), month["unsettled_usd"]) == (spent, "0")
    assert listed(living) == []
    assert living.cli("unsettled", "resolve", *order).returncode == 1
    rows: Any = told(living, "audit", "list")
    assert [row["target"] for row in rows if row["action"] == "unsettled.resolve"] == [
        f"replica:{of_run['replica']}"
    ]
