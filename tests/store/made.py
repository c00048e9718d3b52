"""Things that store tests need: ids in order, keys, traces, a look at the money."""

import itertools
import os
from datetime import UTC, date, datetime

from gateway.core.budget import BudgetKey, FlushLine, Need, Scope, Window
from gateway.core.ids import (
    ModelName,
    Project,
    Provider,
    ReplicaId,
    RunId,
    RunName,
    TokenId,
    TraceId,
)
from gateway.core.limits import Caller
from gateway.core.money import NanoDollars
from gateway.core.outcome import Outcome
from gateway.core.traces import Basis, Trace
from gateway.store.audit import Actor
from gateway.store.database import Database
from gateway.store.ledger import LedgerStore
from gateway.store.minting import Mint
from gateway.store.replicas import ReplicaStore, Role

TODAY = date(2026, 11, 25)
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
PEPPER = bytes(range(32))
SOMEONE = Actor("token:018f", "gwk_live_abc")
MONTH = BudgetKey(Scope.WORKSPACE, "", Window.MONTH, "2026-11-01")
DEFAULT = Project("default")
CALLER = Caller(token=TokenId("t1"), name="first", project=DEFAULT, scopes=frozenset({"llm:call"}))

_ticks = itertools.count(1_790_000_000_000)
MINT = Mint(lambda: next(_ticks), os.urandom)


def run_key(run: RunId) -> BudgetKey:
    return BudgetKey(Scope.RUN, run, Window.TOTAL, "")


def project_key(name: str) -> BudgetKey:
    return BudgetKey(Scope.PROJECT, name, Window.DAY, "2026-11-25")


def need(amount: int, *keys: BudgetKey) -> Need:
    return Need(dict.fromkeys(keys or (MONTH,), amount))


def line(spent: int, ended: int, key: BudgetKey = MONTH, overshoot: int = 0) -> FlushLine:
    return FlushLine(key, spent, ended, overshoot)


def trace(**changes: object) -> Trace:
    values = {
        "id": TraceId(MINT.id()),
        "at": NOON,
        "token": TokenId("t1"),
        "project": DEFAULT,
        "run": None,
        "dialect": "openai",
        "endpoint": "chat/completions",
        "model_asked": "fast",
        "model": ModelName("openai/gpt-5-mini"),
        "provider": Provider("openai"),
        "stream": True,
        "status": 200,
        "outcome": Outcome.COMPLETED,
        "code": None,
        "input_tokens": 12,
        "cached_tokens": 3,
        "cache_write_tokens": 0,
        "output_tokens": 40,
        "reasoning_tokens": 10,
        "cost_nusd": NanoDollars(1_234),
        "cost_basis": Basis.REPORTED,
        "bound_nusd": NanoDollars(9_999),
        "price_version": "2026-11-20",
        "latency_ms": 812.25,
        "first_byte_ms": 90.5,
        "overhead_ms": 0.75,
        "attempts": 1,
        "labels": {"team": "search"},
    }
    return Trace(**(values | changes))  # type: ignore[arg-type]


async def keep(database: Database, traces: list[Trace]) -> None:
    """Flush traces and nothing else, as a replica of its own."""
    await LedgerStore(database).flush(await new_replica(database), 1, [], traces)


async def new_replica(database: Database) -> ReplicaId:
    replica = ReplicaId(MINT.id())
    await ReplicaStore(database).register(replica, Role.ALL, "0.1.0")
    return replica


async def money(database: Database, key: BudgetKey = MONTH) -> tuple[int, int, int]:
    """Return what of a budget is (spent, leased, unsettled), after checking that leases add up."""
    row = await database.fetch_row(
        """
        SELECT b.spent_nusd, b.leased_nusd, b.unsettled_nusd,
               coalesce(sum(l.amount_nusd) FILTER (WHERE l.state = 'leased'), 0) AS leases,
               coalesce(sum(l.amount_nusd) FILTER (WHERE l.state = 'unsettled'), 0) AS lost
        FROM budget b LEFT JOIN lease l ON l.budget_id = b.id
        WHERE scope = $1 AND scope_id = $2 AND time_window = $3 AND period_start = $4
        GROUP BY b.id""",
        key.scope.value,
        key.scope_id,
        key.window.value,
        key.period_start,
    )
    assert row is not None
    assert (row["leased_nusd"], row["unsettled_nusd"]) == (row["leases"], row["lost"])
    return row["spent_nusd"], row["leased_nusd"], row["unsettled_nusd"]


async def actions(database: Database) -> list[tuple[int, str, str]]:
    """Return what the audit log holds, as (number, action, target)."""
    rows = await database.fetch("SELECT seq, action, target FROM audit ORDER BY seq")
    return [(row["seq"], row["action"], row["target"]) for row in rows]


def name(text: str) -> RunName:
    return RunName(text)
