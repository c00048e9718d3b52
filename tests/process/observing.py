"""Gateways for black-box tests, and what their users can see besides answers: traces, money, metrics."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.process.gateway_process import Gateway
from tests.process.standins import Standin, wait_until

PRICE = {
    "input": "1.25",
    "cached_input": "0.125",
    "output": "10",
    "max_output_tokens": 8192,
    "context_tokens": 131_072,
    "hidden_reasoning": False,
}
EMBEDDING_PRICE = {"input": "0.02", "output": "0", "hidden_reasoning": False}
PER_MILLION = Decimal(1_000_000)


def cost(prompt: int, completion: int, cached: int = 0) -> Decimal:
    """Return the dollars that so many tokens cost at `PRICE`; `cached` is a part of `prompt`."""
    rates = (Decimal("1.25"), Decimal("0.125"), Decimal(10))
    amounts = (prompt - cached, cached, completion)
    return sum((n * rate for n, rate in zip(amounts, rates, strict=True)), Decimal()) / PER_MILLION


def embedding_cost(prompt: int) -> Decimal:
    """Return the dollars that so many embedded tokens cost at `EMBEDDING_PRICE`."""
    return prompt * Decimal("0.02") / PER_MILLION


def provider(standin: Standin) -> dict[str, str]:
    """Return the configuration of a stand-in as a provider."""
    return {"dialect": "openai", "base_url": standin.base_url, "key": standin.key}


@contextlib.contextmanager
def running(
    config: Mapping[str, Any],
    *,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    is_started: bool = True,
    workers: int = 1,
) -> Iterator[Gateway]:
    """Make a gateway, start it unless told not to, and remove all of it in the end.

    Its folder lets others pass: root's PostgreSQL is another user, and would be put elsewhere,
    where nobody cleans up.
    """
    gateway = Gateway(config, arguments=arguments, environment=environment, workers=workers)
    gateway.folder.chmod(0o711)
    try:
        if is_started:
            gateway.start()
        yield gateway
    finally:
        gateway.remove()


def traces(gateway: Gateway, count: int, **wanted: str) -> list[dict[str, Any]]:
    """Return the traces that fit, oldest first, once there are at least so many of them."""
    found: list[dict[str, Any]] = []

    def are_written() -> bool:
        params = {**wanted, "limit": "1000"}
        answer = gateway.admin("GET", "/traces", params=params).raise_for_status()
        found[:] = reversed(answer.json()["data"])
        return len(found) >= count

    wait_until(are_written, f"{count} traces are written", every=0.05)
    return found


def trace(gateway: Gateway, ident: str) -> dict[str, Any]:
    """Return one trace, once it is written."""
    found: list[dict[str, Any]] = []

    def is_written() -> bool:
        found[:] = [one for one in traces(gateway, 1) if one["id"] == ident]
        return bool(found)

    wait_until(is_written, f"trace {ident} is written", every=0.05)
    return found[0]


def month(gateway: Gateway) -> dict[str, Decimal]:
    """Return the amounts of the workspace's month, in dollars; a cap that is none is left out."""
    budgets = gateway.admin("GET", "/spend").raise_for_status().json()
    (found,) = [one for one in budgets if (one["scope"], one["window"]) == ("workspace", "month")]
    return amounts(found)


def run_at_rest(gateway: Gateway, name: str) -> dict[str, Any]:
    """Return a run once nothing is held for it; what is leased ahead of need goes back in a second."""
    found: dict[str, Any] = {}

    def is_at_rest() -> bool:
        found.update(gateway.admin("GET", f"/runs/{name}").raise_for_status().json())
        return bool(found["held_usd"] == "0")

    wait_until(is_at_rest, f"nothing is held for run {name}", every=0.05)
    return found


def month_at_rest(gateway: Gateway) -> dict[str, Decimal]:
    """Return the amounts of the workspace's month, likewise."""
    found: dict[str, Decimal] = {}

    def is_at_rest() -> bool:
        found.update(month(gateway))
        return found["held_usd"] == 0

    wait_until(is_at_rest, "nothing is held", every=0.05)
    return found


def amounts(budget: Mapping[str, Any]) -> dict[str, Decimal]:
    """Return the dollar members of a budget or run."""
    return {
        name: Decimal(value)
        for name, value in budget.items()
        if name.endswith("_usd") and value is not None
    }


def sample(gateway: Gateway, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples that bear these labels; 0 where there is none."""
    return sum(
        one.value
        for family in text_string_to_metric_families(gateway.metrics())
        for one in family.samples
        if one.name == name and labels.items() <= one.labels.items()
    )
