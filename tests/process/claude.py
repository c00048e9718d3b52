"""Calls of Anthropic's SDK, and a gateway for them whose prices are made to be checked by hand."""

import contextlib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import anthropic

from tests.process.gateway_process import Gateway
from tests.process.observing import running
from tests.process.standins import Standin

CLAUDE = "claude-opus-5"
KEY = "sk-ant-of-the-provider"
SAID: list[anthropic.types.MessageParam] = [{"role": "user", "content": "hello there"}]
RATES = {
    "input": "5",
    "output": "25",
    "cached_input": "0.5",
    "cache_write": "6.25",
    "cache_write_1h": "10",
}
PRICE = {**RATES, "context_tokens": 200_000, "max_output_tokens": 8192, "tiers": {"fast": 2}}


@contextlib.contextmanager
def gateway_to(places: Mapping[str, Standin]) -> Iterator[Gateway]:
    """Run a gateway to some stand-ins, to `unpaid` (the first one, with a bad key), and some models.

    `dear` is too dear for any call, `killed` is stopped.
    """
    providers: dict[str, dict[str, Any]] = {
        name: {"dialect": "anthropic", "base_url": one.anthropic_url, "key": one.key}
        for name, one in places.items()
    }
    for one in providers.values():
        one["circuit"] = None  # they fail on purpose, one test after another
    first = next(iter(providers))
    providers["unpaid"] = {**providers[first], "key": "sk-ant-that-was-revoked"}
    names = [f"{name}/{CLAUDE}" for name in providers]
    prices = dict.fromkeys((*names, f"{first}/killed"), PRICE)
    prices[f"{first}/dear"] = {**PRICE, "input": "100000"}
    with running({"providers": providers, "prices": prices}) as made:
        killed = {"scope": "model", "id": f"{first}/killed", "reason": "t"}
        made.admin("POST", "/kill", json=killed).raise_for_status()
        yield made


def address(gateway: Gateway) -> dict[str, str]:
    return {"base_url": f"{gateway.url}/anthropic", "api_key": gateway.client_token}


def in_run(name: str) -> dict[str, str]:
    return {"x-gateway-run": name}


def cost(usage: Mapping[str, Any]) -> Decimal:
    """Return the hand-made price of a usage object, in dollars."""
    split = usage.get("cache_creation") or {}
    short = split.get("ephemeral_5m_input_tokens") or 0
    long = (usage.get("cache_creation_input_tokens") or 0) - short
    amounts = {
        "input": usage["input_tokens"],
        "output": usage["output_tokens"],
        "cached_input": usage.get("cache_read_input_tokens") or 0,
        "cache_write": short,
        "cache_write_1h": long,
    }
    return sum((n * Decimal(RATES[kind]) for kind, n in amounts.items()), Decimal()) / 1_000_000
