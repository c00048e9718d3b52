"""Three books of the same calls, compared: the provider's bills, the ledger's records, the clients'.

The provider's bill is the truth. What must hold of it, whatever was killed, cut or frozen:

* for each budget, the bills of its calls are at most its cap, and at most what is recorded as spent
  and unsettled together;
* each call that no crash cut has a record, and a record with reported usage is the bill, exactly;
  one of a call that ended before its usage came is at least the bill;
* what a budget has spent is the sum of its records, exactly, since both are flushed together;
* where nothing crashed, nothing is unsettled.

What a provider bills beyond the bound that it was given is excess: caps give way by that alone.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from tests.faults.calls import INPUT_NUSD, OUTPUT_NUSD, Made

TRACES = """
SELECT labels->>'call' AS name, id::text, at, outcome, cost_nusd AS cost, cost_basis AS basis,
       bound_nusd AS bound
FROM trace WHERE labels ? 'call'"""
BUDGETS = """
SELECT b.scope, b.time_window, b.period_start, b.cap_nusd AS cap, b.spent_nusd AS spent,
       b.unsettled_nusd AS unsettled, b.overshoot_nusd AS overshoot,
       CASE WHEN b.scope = 'run' THEN r.project || '/' || r.name ELSE b.scope_id END AS of
FROM budget b LEFT JOIN run r ON b.scope = 'run' AND r.id::text = b.scope_id"""


class Key(NamedTuple):
    """A budget: of a run as project/name, of a token by its id. Without a period it never ends."""

    scope: str
    of: str
    period: str = ""


@dataclass(frozen=True, slots=True)
class Bill:
    """What the provider charges for one call."""

    input_tokens: int
    output_tokens: int

    @property
    def nusd(self) -> int:
        return self.input_tokens * INPUT_NUSD + self.output_tokens * OUTPUT_NUSD

    def plus(self, other: "Bill") -> "Bill":
        """Return both as one: a call that was sent twice is billed twice."""
        return Bill(
            self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens
        )


@dataclass(frozen=True, slots=True)
class Record:
    """What the ledger keeps of one call."""

    trace: str
    at: datetime
    outcome: str
    cost: int
    basis: str
    bound: int


@dataclass(frozen=True, slots=True)
class Budget:
    """One budget at rest, in nano-dollars; a cap of None is none."""

    cap: int | None
    spent: int
    unsettled: int
    overshoot: int


@dataclass(frozen=True, slots=True)
class Expected:
    """What may be expected of a scenario."""

    passed_statuses: frozenset[int] = frozenset()
    """The provider's own errors, which are handed on."""
    flush_seconds: float = 1.0
    """A call that ended so long before a crash was flushed: ~50 ms, on a machine that is not idle."""


@dataclass(slots=True)
class Books:
    """All that is known of a stage when it is at rest."""

    made: Sequence[Made]
    crashed: frozenset[str]
    """The calls that a crash may have cut, by name."""
    bills: Mapping[str, Bill]
    records: Mapping[str, Record]
    budgets: Mapping[Key, Budget]
    zone: str
    _truths: dict[Key, "Truth"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for made in self.made:
            name, goes_beyond = made.order.name, made.order.goes_beyond
            bill, record = self.bills.get(name), self.records.get(name)
            for key in self.keys(made):
                truth = self._truths.setdefault(key, Truth())
                truth.add(bill, record, goes_beyond=goes_beyond)

    def truth(self, key: Key) -> "Truth":
        """Return the truth about one budget."""
        return self._truths.get(key, Truth())

    def keys(self, made: Made) -> Iterator[Key]:
        """Yield the budgets that a call falls under."""
        payer = made.order.payer
        yield Key("token", payer.token.id)
        yield Key("project", payer.token.project)
        yield Key("workspace", "", self._month(made))
        if payer.run is not None:
            yield Key("run", f"{payer.token.project}/{payer.run}")

    def _month(self, made: Made) -> str:
        """Return the period of a call; one without a record is counted to the first."""
        record = self.records.get(made.order.name)
        if record is None:
            months = [key.period for key in self.budgets if key.scope == "workspace"]
            return min(months, default="")
        return record.at.astimezone(ZoneInfo(self.zone)).strftime("%Y-%m-01")


@dataclass(slots=True)
class Truth:
    """Sums over the calls of one budget, in nano-dollars."""

    billed: int = 0
    excess: int = 0
    """Billed beyond the bounds that were given."""
    unseen: int = 0
    """Of the excess, what nobody but the provider can know: it was not reported, or not sent."""
    recorded: int = 0
    overshoot: int = 0

    def add(self, bill: Bill | None, record: Record | None, *, goes_beyond: bool) -> None:
        """Add one call; `goes_beyond`: the provider was told to pass its bound."""
        billed = 0 if bill is None else bill.nusd
        self.billed += billed
        if record is not None:
            unseen = max(0, billed - record.cost) if goes_beyond else 0
            self.recorded += record.cost
            self.overshoot += max(0, record.cost - record.bound)
            self.excess += max(unseen, billed - record.bound, 0)
            self.unseen += unseen


def bills(seen: Iterable[Mapping[str, Any]]) -> dict[str, Bill]:
    """Return the provider's account by call."""
    found: dict[str, Bill] = {}
    for served in seen:
        name = served["body"]["user"]
        bill = Bill(served["prompt_tokens"], served["billed_completion_tokens"])
        found[name] = bill if name not in found else found[name].plus(bill)
    return found


def records(rows: Iterable[Mapping[str, Any]]) -> dict[str, Record]:
    """Return what `TRACES` found, by call."""
    return {
        row["name"]: Record(
            row["id"], row["at"], row["outcome"], row["cost"], row["basis"], row["bound"]
        )
        for row in rows
    }


def budgets(rows: Iterable[Mapping[str, Any]]) -> dict[Key, Budget]:
    """Return what `BUDGETS` found."""
    return {
        Key(row["scope"], row["of"], row["period_start"]): Budget(
            row["cap"], row["spent"], row["unsettled"], row["overshoot"]
        )
        for row in rows
    }


def broken_calls(books: Books, made: Sequence[Made], expected: Expected) -> Iterator[str]:
    """Yield each way in which the books of some calls don't agree."""
    for one in made:
        yield from (f"call {one.order.name}: {what}" for what in _call(books, one, expected))


def broken_budgets(books: Books, keys: Iterable[Key]) -> Iterator[str]:
    """Yield each way in which budgets don't agree with the calls that fall under them."""
    has_crashed = bool(books.crashed)
    for key in sorted(keys):
        if key in books.budgets:
            found = _budget(books.budgets[key], books.truth(key), has_crashed=has_crashed)
            yield from (f"budget {'/'.join(key)}: {what}" for what in found)


def _call(books: Books, made: Made, expected: Expected) -> Iterator[str]:
    bill, record = books.bills.get(made.order.name), books.records.get(made.order.name)
    is_crashed = made.order.name in books.crashed
    if record is not None:
        yield from _record(made, bill, record)
    elif not is_crashed and (bill is not None or made.heard.status == 200):
        yield f"no record, but billed {bill}, status {made.heard.status}"
    yield from _answer(made, expected, is_crashed=is_crashed)


def _record(made: Made, bill: Bill | None, record: Record) -> Iterator[str]:
    billed = 0 if bill is None else bill.nusd
    if record.basis == "reported" and record.cost != billed:
        yield f"recorded {record.cost} as reported, billed {billed}"
    if record.cost < billed and not made.order.goes_beyond:
        yield f"recorded {record.cost} ({record.basis}, {record.outcome}), billed {billed}"
    if billed > record.bound and not made.order.goes_beyond:
        yield f"billed {billed}, more than its bound {record.bound}"
    is_whole = made.heard.status == 200 and made.heard.is_whole
    if is_whole and made.order.is_told_its_cost and record.basis != "reported":
        yield f"answered whole, but recorded as {record.basis}, {record.outcome}"
    trace = made.heard.headers.get("x-gateway-trace", record.trace)
    if trace != record.trace:
        yield f"its client saw trace {trace}, the ledger has {record.trace}"


def _answer(made: Made, expected: Expected, *, is_crashed: bool) -> Iterator[str]:
    heard = made.heard
    if heard.has_left and not heard.is_whole:  # perhaps between an answer's head and its body
        return
    is_unavailable = heard.status == 503 and heard.code == "ledger_unavailable"
    if heard.status is None:
        if not is_crashed:
            yield "nobody answered, and nobody had died"
    elif heard.status not in {200, 402, *expected.passed_statuses} and not is_unavailable:
        yield f"answered with {heard.status} {heard.code}, told {dict(made.order.script)}"


def _budget(budget: Budget, truth: Truth, *, has_crashed: bool) -> Iterator[str]:
    if budget.cap is not None and truth.billed > budget.cap + truth.excess:
        yield f"billed {truth.billed}, more than the cap {budget.cap} and excess {truth.excess}"
    if budget.spent + budget.unsettled < truth.billed - truth.unseen:
        yield f"billed {truth.billed}, recorded {budget.spent} and unsettled {budget.unsettled}"
    if budget.spent != truth.recorded:
        yield f"spent {budget.spent}, but its records come to {truth.recorded}"
    if budget.overshoot != truth.overshoot:
        yield f"overshoot {budget.overshoot}, but its records come to {truth.overshoot}"
    if budget.unsettled and not has_crashed:
        yield f"unsettled {budget.unsettled}, though nothing has crashed"
