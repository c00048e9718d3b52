"""The database's side of the ledger as it ships: `store.ledger` on a real PostgreSQL.

It has the methods of `books.Books`, so that the same machine runs on it. Time does not pass here:
replicas are made to have been silent for longer.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final, TypeVar

from anyio.from_thread import BlockingPortal

from gateway.core.budget import Balance, BudgetKey, Decision, FlushLine, Need, Scope, Window
from gateway.core.ids import ReplicaId
from gateway.core.money import NanoDollars
from gateway.errors import ReplicaRetired
from gateway.store.database import Database
from gateway.store.ledger import LedgerStore, _Asked
from gateway.store.limits import LimitStore
from gateway.store.replicas import ReplicaStore, Role
from gateway.store.unsettled import Asked, UnsettledStore
from tests.ledger.books import Member, Row, State
from tests.store.made import SOMEONE

T = TypeVar("T")
EMPTY: Final = "TRUNCATE budget, lease, replica, budget_cap CASCADE"
OPEN_RUN: Final = """
INSERT INTO budget (scope, scope_id, time_window, period_start, cap_nusd)
VALUES ('run', $1, 'total', '', $2)"""
CLOSE_RUN: Final = "UPDATE budget SET is_closed = true WHERE scope = 'run' AND scope_id = $1"
CAP_RUN: Final = "UPDATE budget SET cap_nusd = $2 WHERE scope = 'run' AND scope_id = $1"
PASS: Final = "UPDATE replica SET seen_at = seen_at - make_interval(secs => $1)"
REPLICAS: Final = """
SELECT id::text, state, sequence, extract(epoch FROM now() - seen_at)::float8 AS silent_s
FROM replica ORDER BY id"""
ROWS: Final = """
SELECT b.scope, b.scope_id, b.time_window, b.period_start, b.cap_nusd, b.spent_nusd,
       b.overshoot_nusd, b.leased_nusd, b.unsettled_nusd, b.is_closed,
       l.replica_id::text AS replica, l.amount_nusd, l.state
FROM budget b LEFT JOIN lease l ON l.budget_id = b.id ORDER BY b.id"""


class RealBooks:
    """A database, emptied; each method is a call into the loop of a portal."""

    def __init__(self, portal: BlockingPortal, database: Database) -> None:
        self._portal = portal
        self._database = database
        self._ledger = LedgerStore(database)
        self._replicas = ReplicaStore(database)
        self._limits = LimitStore(database)
        self._unsettled = UnsettledStore(database)
        self._rows: dict[BudgetKey, Row] | None = None
        self._members: dict[ReplicaId, Member] | None = None
        self._do(database.execute, EMPTY)

    @property
    def rows(self) -> dict[BudgetKey, Row]:
        """All budgets, as they are now."""
        if self._rows is None:
            self._rows = _budgets(self._portal.call(self._database.fetch, ROWS))
        return self._rows

    @property
    def replicas(self) -> dict[ReplicaId, Member]:
        """All replicas, as they are now; they were seen so many seconds before 0."""
        if self._members is None:
            found = self._portal.call(self._database.fetch, REPLICAS)
            self._members = {
                ReplicaId(row["id"]): Member(-row["silent_s"], State(row["state"]), row["sequence"])
                for row in found
            }
        return self._members

    def row(self, key: BudgetKey) -> Row:
        return self.rows.get(key) or Row(None)

    def wait(self, seconds: float) -> None:
        self._do(self._database.execute, PASS, seconds)

    def open_run(self, key: BudgetKey, cap: int | None) -> None:
        self._do(self._database.execute, OPEN_RUN, key.scope_id, cap)

    def close_run(self, key: BudgetKey) -> None:
        self._do(self._database.execute, CLOSE_RUN, key.scope_id)

    def put_cap(self, key: BudgetKey, cap: int | None) -> None:
        if key.scope is Scope.RUN:
            self._do(self._database.execute, CAP_RUN, key.scope_id, cap)
            return
        name, day = (key.scope, key.scope_id, key.window), date.fromisoformat(key.period_start)
        if cap is None:
            self._do(self._limits.delete, name, day, SOMEONE)
        else:
            self._do(self._limits.put, name, cap, day, SOMEONE)

    def register(self, replica: ReplicaId) -> None:
        self._do(self._replicas.register, replica, Role.ALL, "1")

    def renew(self, replica: ReplicaId) -> None:
        self._do(self._replicas.renew, replica)

    def look(self, replica: ReplicaId, keys: Iterable[BudgetKey]) -> dict[BudgetKey, Balance]:
        asked = _Asked(replica, (Need(dict.fromkeys(keys, 1)),), {}, 0)
        return self._do(self._ledger._found, asked)

    def lease(
        self, replica: ReplicaId, grants: Mapping[BudgetKey, int]
    ) -> dict[BudgetKey, Balance] | None:
        return self._do(self._ledger._lease, replica, Decision(grants, ()))

    def flush(self, replica: ReplicaId, sequence: int, lines: Sequence[FlushLine]) -> State:
        was = self.replicas[replica].state
        try:
            self._do(self._ledger.flush, replica, sequence, lines, [])
        except ReplicaRetired:
            assert was is State.RESOLVED
        return was

    def reclaim(self, ttl_s: float) -> list[ReplicaId]:
        return [each.replica for each in self._do(self._replicas.reclaim, timedelta(seconds=ttl_s))]

    def silent(self, ttl_s: float) -> list[ReplicaId]:
        found = self.replicas.items()
        return [n for n, m in found if m.state is State.LIVE and -m.seen_at > 2 * ttl_s]

    def resolve(self, replica: ReplicaId, spent: Mapping[BudgetKey, int]) -> None:
        for key, row in list(self.rows.items()):
            if row.unsettled.get(replica, 0):
                asked = Asked(
                    scope=key.scope,
                    scope_id=key.scope_id,
                    window=key.window,
                    period_start=key.period_start,
                )
                amount = NanoDollars(spent.get(key, 0))
                said = self._do(self._unsettled.resolve, replica, amount, asked, "test", SOMEONE)
                assert isinstance(said, list), said

    def stop(self, replica: ReplicaId) -> None:
        self._do(self._replicas.stop, replica)

    def _do(self, method: Callable[..., Awaitable[T]], *args: object) -> T:
        self._rows = self._members = None
        return self._portal.call(method, *args)


def _budgets(found: Iterable[Any]) -> dict[BudgetKey, Row]:
    rows: dict[BudgetKey, Row] = {}
    sums: dict[BudgetKey, tuple[int, int]] = {}
    for each in found:
        window, start = Window(each["time_window"]), each["period_start"]
        key = BudgetKey(Scope(each["scope"]), each["scope_id"], window, start)
        row = rows.get(key)
        if row is None:
            row = rows[key] = Row(
                each["cap_nusd"], each["spent_nusd"], each["overshoot_nusd"], each["is_closed"]
            )
            sums[key] = each["leased_nusd"], each["unsettled_nusd"]
        if each["replica"] is not None:
            part = row.leased if each["state"] == "leased" else row.unsettled
            part[ReplicaId(each["replica"])] = each["amount_nusd"]
    for key, row in rows.items():
        assert (sum(row.leased.values()), sum(row.unsettled.values())) == sums[key], "leases add up"
    return rows
