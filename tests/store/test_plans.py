"""The statements that calls wait for must find their rows by an index, however much is stored.

The tables hold a past: ten thousand closed runs with their budgets, a hundred thousand traces over
thirty days, thousands of tokens.
"""

import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from gateway.core.ids import Project, RunName, TokenId
from gateway.store import access, ledger, limits, replicas, runs
from gateway.store.database import Connection, connect
from gateway.store.traces import TraceFilter, listing
from tests.postgres import Databases
from tests.store.made import MINT, NOON, PEPPER, trace

AUTO_EXPLAIN = {
    "log_min_duration": 0,
    "log_nested_statements": "on",
    "log_format": "json",
    "log_level": "notice",
}
BIG = {"budget", "lease", "run", "trace", "token", "replica"}

FILL = """
INSERT INTO run (id, project, name, state, opened_by, closed_at)
SELECT gen_random_uuid(), 'p' || n % 7, 'r' || n, 'closed', 't', now() FROM generate_series(1, 10000) n;
INSERT INTO run (id, project, name, opened_by)
SELECT gen_random_uuid(), 'small', 'r' || n, 't' FROM generate_series(1, 3) n;
INSERT INTO budget (scope, scope_id, time_window, period_start, cap_nusd)
SELECT 'run', id::text, 'total', '', 5 FROM run;
INSERT INTO budget (scope, scope_id, time_window, period_start)
SELECT 'token', 't' || n % 50, 'day', (date '2026-01-01' + n / 50)::text
FROM generate_series(0, 9999) n;
INSERT INTO replica (id, role, version, state)
SELECT gen_random_uuid(), 'all', '1', 'stopped' FROM generate_series(1, 2000);
INSERT INTO lease (replica_id, budget_id, amount_nusd, state)
SELECT r.id, b.id, 1, 'unsettled' FROM (SELECT id FROM replica LIMIT 100) r,
     (SELECT id FROM budget LIMIT 50) b;
INSERT INTO token (id, name, secret_hmac, prefix, project, scopes)
SELECT gen_random_uuid(), 'n', sha256(n::text::bytea), 'gwk_live_abc', 'p', '{}'
FROM generate_series(1, 5000) n;
SELECT trace_make_partition(date '2026-11-01' + n) FROM generate_series(0, 29) n;
INSERT INTO trace
SELECT gen_random_uuid(), timestamptz '2026-11-01 00:00Z' + n * interval '25.9 s', 't' || n % 500,
       'p' || n % 7, 'r' || n / 20, 'openai', 'chat/completions', 'm', 'openai/m' || n % 300, 'openai', true,
       200, 'completed', NULL, 1, 0, 0, 1, 0, 1, 'reported', 1, 'v', 1, 1, 1, 1, '{}'
FROM generate_series(1, 100000) n;
ANALYZE"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def filled(databases: Databases) -> AsyncIterator[str]:
    async with databases.fresh() as dsn, connect(dsn, size=1) as database:
        async with database.direct() as connection:
            await connection.execute(FILL, timeout=60)
        yield dsn


@pytest.fixture
async def connection(filled: str) -> AsyncIterator[Connection]:
    async with connect(filled, size=1) as database, database.direct() as connection:
        yield connection


def nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


async def plan(connection: Connection, query: str, *arguments: object) -> list[Mapping[str, Any]]:
    [explained] = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {query}", *arguments)
    return list(nodes(explained["Plan"]))


async def inner_plans(
    connection: Connection, query: str, *arguments: object
) -> list[Mapping[str, Any]]:
    """Return the plans of the statements inside a function, as they are carried out."""
    heard: list[str] = []

    def hear(_: object, message: object) -> None:
        heard.append(str(message))

    await connection.execute("LOAD 'auto_explain'")
    for name, value in AUTO_EXPLAIN.items():
        await connection.execute(f"SET auto_explain.{name} = {value}")
    connection.add_log_listener(hear)
    async with connection.transaction():
        await connection.fetch(query, *arguments)
    connection.remove_log_listener(hear)
    plans = [json.loads(message.partition("plan:")[2]) for message in heard]
    return [node for one in plans for node in nodes(one["Plan"])]


async def expect_indexes(connection: Connection, query: str, *arguments: object) -> None:
    """Fail where a big table is read from end to end."""
    assert scans(await plan(connection, query, *arguments)) == []


def scans(plans: Iterable[Mapping[str, Any]]) -> list[str]:
    return [
        node["Relation Name"]
        for node in plans
        if node["Node Type"] == "Seq Scan" and str(node["Relation Name"]).partition("_2")[0] in BIG
    ]


def four(*keys: tuple[str, str, str, str]) -> list[list[str]]:
    return [list(column) for column in zip(*keys, strict=True)]


async def test_statements_on_money_find_rows_by_index(connection: Connection):
    replica = MINT.id()
    run = str(await connection.fetchval("SELECT id FROM run LIMIT 1"))
    keys = four(("run", run, "total", ""), ("token", "t1", "day", "2026-05-01"))
    await expect_indexes(connection, ledger.FOR_GRANT, replica, *keys)
    await expect_indexes(connection, ledger.BALANCES, *keys)
    await expect_indexes(connection, replicas.RENEW, replica)
    await expect_indexes(connection, replicas.UNSETTLE, replica)
    await expect_indexes(connection, runs.FIND, "p1", "r1")
    await expect_indexes(connection, runs.LOWER_CAP, run, 1)
    await expect_indexes(connection, runs.CLOSED, [run, MINT.id()])
    await expect_indexes(connection, limits.SPEND, "2026-11-01", "2026-11-25", None, None)


def ordered(plans: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return by what the rows are sorted that each statement locks."""
    orders = []
    for lock in plans:
        if lock["Node Type"] != "LockRows" or scans_one_row(lock):
            continue
        [below] = [node for node in lock["Plans"] if node["Parent Relationship"] == "Outer"]
        assert below["Node Type"] in {"Sort", "Merge Join"}  # which comes out in its key's order
        orders.append(below.get("Sort Key", ["b.id"])[0].replace("_1.", "."))
    return orders


def scans_one_row(lock: Mapping[str, Any]) -> bool:
    [below] = lock["Plans"]
    return below["Node Type"].startswith("Index") and below["Index Name"].endswith("_pkey")


async def test_the_ledgers_functions_find_rows_by_index_and_lock_them_in_one_order(
    connection: Connection,
):
    """What else locks them in an order by chance, and a ring of waiters shows only by chance.

    Six times, so that the plans which are made for any arguments are among them.
    """
    replica = MINT.id()
    await connection.execute(
        "INSERT INTO replica (id, role, version) VALUES ($1, 'all', '1')", replica
    )
    run = str(await connection.fetchval("SELECT id FROM run LIMIT 1"))
    keys = four(("run", run, "total", ""), ("token", "t1", "day", "2026-05-01"))
    for number in range(1, 8):
        plans = await inner_plans(connection, ledger.GRANT, replica, *keys, [5, 5])
        assert scans(plans) == []
        assert ordered(plans) == ["b.id"]
        calls = [["p1"], ["r1"], [1]]
        booked = [replica, number, *keys, [1, 1], [2, 2], [None, 3], [0, 0], *calls, [trace()]]
        plans = await inner_plans(connection, ledger.FLUSH, *booked)
        assert scans(plans) == []
        assert ordered(plans) == ["b.id", "r.id"]


async def test_what_changes_the_leases_of_a_replica_locks_in_one_order(connection: Connection):
    replica = MINT.id()
    await connection.execute(
        "INSERT INTO replica (id, role, version, state) VALUES ($1, 'all', '1', 'reclaimed')",
        replica,
    )
    for query in (replicas.UNSETTLE, replicas.RETURN_LEASES):
        assert ordered(await plan(connection, query, replica)) == ["b.id"]
    assert ordered(await inner_plans(connection, replicas.REVIVE, replica)) == ["b.id"]


async def test_listing_runs_reads_a_page_and_no_more(connection: Connection):
    for project, state in [(None, None), ("p1", None), (None, "open"), ("p1", "open")]:
        await expect_indexes(connection, runs.LIST, project, state, None, 20)


async def test_listing_the_runs_of_a_small_project_does_not_read_those_of_others(
    connection: Connection,
):
    used = {
        node.get("Index Name")
        for node in await plan(connection, runs.LIST, "small", None, None, 20)
    }
    assert "run_by_project" in used


async def test_a_token_is_found_by_its_hash(connection: Connection):
    await expect_indexes(connection, access.FIND, PEPPER)
    await expect_indexes(connection, access.FIND_ALL, [PEPPER])
    await expect_indexes(connection, access.TOUCH, [PEPPER])


@pytest.mark.parametrize(
    "wanted",
    [
        TraceFilter(),
        TraceFilter(run=RunName("r77")),
        TraceFilter(project=Project("p1"), run=RunName("r77")),
        TraceFilter(model="openai/m7"),  # type: ignore[arg-type]
        TraceFilter(token=TokenId("t7")),
        TraceFilter(project=Project("p1"), since=NOON),
    ],
)
async def test_traces_are_listed_by_index_also_from_a_cursor(
    connection: Connection, wanted: TraceFilter
):
    for cursor in (None, "20261120T120000.000000_019a0000-0000-7000-8000-000000000001"):
        query, arguments = listing(wanted, cursor)
        await expect_indexes(connection, query, 100, *arguments)


async def test_a_listing_since_a_time_opens_only_the_days_that_it_needs(connection: Connection):
    query, arguments = listing(TraceFilter(since=datetime(2026, 11, 29, tzinfo=UTC)), None)
    days = {node.get("Relation Name") for node in await plan(connection, query, 100, *arguments)}
    assert days - {None} == {"trace_20261129", "trace_20261130", "trace_default"}
