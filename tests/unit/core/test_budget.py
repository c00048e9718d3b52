"""The arithmetic that a cap rests on, in any order of calls, grants, flushes, losses and deaths.

Two replicas and one database, as a model: what is sent may be lost before it is carried out or
after, a replica may die, or be taken for dead and come back. Meanwhile the truth is kept apart: what
the provider charged, at worst. Whatever happens, it must not pass a cap by more than what the
provider charged beyond its own bounds.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.core.budget import (
    Balance,
    BudgetKey,
    Decision,
    Earmark,
    FlushLine,
    Hold,
    Leases,
    Need,
    Scope,
    Short,
    Window,
    decide,
)
from gateway.core.money import NanoDollars

MONTH = BudgetKey(Scope.WORKSPACE, "", Window.MONTH, "2026-11-01")
RUNS = [BudgetKey(Scope.RUN, run, Window.TOTAL, "") for run in ("r1", "r2")]
FREE = BudgetKey(Scope.PROJECT, "p", Window.DAY, "2026-11-25")
KEYS = [MONTH, *RUNS, FREE]
SHARE_PPM = 250_000


class Fate(StrEnum):
    """What becomes of a request to the database."""

    DONE = "done"
    DONE_UNHEARD = "done, but the answer is lost"
    LOST = "lost"


FATES = st.sampled_from([Fate.DONE, Fate.DONE, Fate.DONE, Fate.DONE_UNHEARD, Fate.LOST])


class Row(msgspec.Struct):
    """A budget in the model of the database."""

    cap: int | None
    spent: int = 0
    overshoot: int = 0
    is_closed: bool = False
    leased: dict[int, int] = msgspec.field(default_factory=lambda: defaultdict(int))
    unsettled: dict[int, int] = msgspec.field(default_factory=lambda: defaultdict(int))

    @property
    def taken(self) -> int:
        return self.spent + sum(self.leased.values()) + sum(self.unsettled.values())

    @property
    def balance(self) -> Balance:
        return Balance(
            cap=self.taken if self.is_closed else self.cap,
            spent=self.spent,
            leased=sum(self.leased.values()),
            unsettled=sum(self.unsettled.values()),
        )


class ModelDatabase:
    """What `store.ledger` does, in memory."""

    def __init__(self) -> None:
        self.rows = {MONTH: Row(500), RUNS[0]: Row(300), RUNS[1]: Row(100), FREE: Row(None)}
        self.sequences: dict[int, int] = defaultdict(int)
        self.reclaimed: set[int] = set()

    def grant(
        self, replica: int, needs: Sequence[Need], wishes: Mapping[BudgetKey, int]
    ) -> tuple[Decision, dict[BudgetKey, Balance]] | None:
        if replica in self.reclaimed:
            return None
        balances = {key: self.rows[key].balance for need in needs for key in need.amounts}
        decision = decide(needs, balances, wishes, SHARE_PPM)
        for key, amount in decision.grants.items():
            row = self.rows[key]
            row.leased[replica] += amount
            assert row.cap is None or row.taken <= row.cap, "invariant 1"
        return decision, balances

    def flush(self, replica: int, sequence: int, lines: Sequence[FlushLine]) -> None:
        if sequence <= self.sequences[replica]:
            return
        assert sequence == self.sequences[replica] + 1
        self.sequences[replica] = sequence
        self.revive(replica)
        for line in lines:
            row = self.rows[line.key]
            assert line.lease_ended <= row.leased[replica], "a replica ends what it never had"
            row.spent += line.spent
            row.overshoot += line.overshoot
            row.leased[replica] -= line.lease_ended

    def reclaim(self, replica: int) -> None:
        self.reclaimed.add(replica)
        for row in self.rows.values():
            row.unsettled[replica] += row.leased.pop(replica, 0)

    def revive(self, replica: int) -> None:
        self.reclaimed.discard(replica)
        for row in self.rows.values():
            row.leased[replica] += row.unsettled.pop(replica, 0)


class Replica:
    """One incarnation: its leases, its running and waiting calls, its flush under way."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.leases = Leases()
        self.holds: list[Hold] = []
        self.waiting: list[Earmark] = []
        self.sequence = 0
        self.batch: list[FlushLine] | None = None
        self.overshot: dict[BudgetKey, int] = defaultdict(int)


class Ledger(RuleBasedStateMachine):
    """Every interleaving that hypothesis can think of."""

    def __init__(self) -> None:
        super().__init__()
        self.database = ModelDatabase()
        self.replicas = [Replica(0), Replica(1)]
        self.born = 2
        self.now = 0.0
        self.truth: dict[BudgetKey, int] = defaultdict(int)
        self.overshot: dict[BudgetKey, int] = defaultdict(int)
        self.highest = {key: row.cap for key, row in self.database.rows.items()}

    slots = st.integers(0, 1)
    rarely = st.sampled_from([False, False, False, True])
    amounts = st.integers(1, 40)
    picks = st.integers(0, 10)

    @rule(slot=slots, run=st.sampled_from([*RUNS, None]), amount=amounts, counts=st.booleans())
    def begin_a_call(self, slot: int, run: BudgetKey | None, amount: int, *, counts: bool) -> None:
        keys = (MONTH, *((run,) if run else ()), *((FREE,) if counts else ()))
        replica = self.replicas[slot]
        hold = replica.leases.hold(keys, NanoDollars(amount), self.now)
        if hold is None:
            earmark = replica.leases.earmark(keys, NanoDollars(amount), self.now)
            assert earmark.need.amounts
            replica.waiting.append(earmark)
        else:
            replica.holds.append(hold)

    @rule(slot=slots, run=st.sampled_from(RUNS), amount=amounts, fate=FATES)
    def begin_a_call_and_ask(self, slot: int, run: BudgetKey, amount: int, fate: Fate) -> None:
        self.begin_a_call(slot, run, amount, counts=False)
        self.ask_for_more(slot, fate)

    @rule(slot=slots, fate=FATES)
    def ask_for_more(self, slot: int, fate: Fate) -> None:
        replica = self.replicas[slot]
        waiting, replica.waiting = replica.waiting, []
        if not waiting:
            return
        needs = [earmark.need for earmark in waiting]
        wishes = {key: replica.leases[key].used for need in needs for key in need.amounts}
        is_sent = fate is not Fate.LOST
        answer = self.database.grant(replica.number, needs, wishes) if is_sent else None
        if answer is None or fate is Fate.DONE_UNHEARD:
            for earmark in waiting:
                replica.leases.forget(earmark)
        else:
            self.use(replica, waiting, *answer)

    def use(
        self,
        replica: Replica,
        waiting: Sequence[Earmark],
        decision: Decision,
        balances: Mapping[BudgetKey, Balance],
    ) -> None:
        replica.leases.granted(decision, balances)
        for earmark, short in zip(waiting, decision.answers, strict=True):
            hold = replica.leases.complete(earmark, self.now)
            if hold is not None:
                replica.holds.append(hold)
            elif short is None:
                assert any(replica.overshot[key] for key in earmark.keys), "granted, and yet short"

    @rule(slot=slots, pick=picks)
    def leave_while_waiting(self, slot: int, pick: int) -> None:
        replica = self.replicas[slot]
        if replica.waiting:
            replica.leases.forget(replica.waiting.pop(pick % len(replica.waiting)))

    @rule(
        slot=slots,
        pick=picks,
        percent=st.integers(0, 100),
        beyond=st.sampled_from([0, 0, 0, 0, 0, 7]),
    )
    def end_a_call(self, slot: int, pick: int, percent: int, beyond: int) -> None:
        replica = self.replicas[slot]
        if not replica.holds:
            return
        hold = replica.holds.pop(pick % len(replica.holds))
        used = hold.amount + beyond if beyond else hold.amount * percent // 100
        replica.leases.settle(hold, NanoDollars(used), self.now)
        for key in hold.keys:
            self.truth[key] += used
            self.overshot[key] += beyond
            replica.overshot[key] += beyond

    @rule(slot=slots, pick=picks)
    def end_a_call_that_was_not_billed(self, slot: int, pick: int) -> None:
        replica = self.replicas[slot]
        if replica.holds:
            replica.leases.release(replica.holds.pop(pick % len(replica.holds)), self.now)

    @rule(slot=slots, fate=FATES, closing=st.booleans())
    def flush(self, slot: int, fate: Fate, *, closing: bool) -> None:
        replica = self.replicas[slot]
        if replica.batch is None:
            closed = {k.scope_id for k, row in self.database.rows.items() if row.is_closed}
            runs = frozenset(closed if closing else ())
            replica.batch = replica.leases.draw(self.now, closing=runs)
            replica.sequence += 1
        if fate is not Fate.LOST:
            self.database.flush(replica.number, replica.sequence, replica.batch)
        if fate is Fate.DONE:
            replica.batch = None

    @rule(slot=slots, key=st.sampled_from(KEYS))
    def recall(self, slot: int, key: BudgetKey) -> None:
        leases = self.replicas[slot].leases
        leases.recall(key)
        assert leases[key].available <= 0

    @rule(slot=slots)
    def renew(self, slot: int) -> None:
        self.database.revive(self.replicas[slot].number)

    @rule(seconds=st.sampled_from([0.1, 2.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(slot=slots, happens=rarely)
    def take_for_dead(self, slot: int, *, happens: bool) -> None:
        if happens:
            self.database.reclaim(self.replicas[slot].number)

    @rule(slot=slots, happens=rarely, is_noticed=st.booleans())
    def die(self, slot: int, *, happens: bool, is_noticed: bool) -> None:
        if not happens:
            return
        dead = self.replicas[slot]
        for hold in dead.holds:
            for key in hold.keys:
                self.truth[key] += hold.amount
        self.replicas[slot] = Replica(self.born)
        self.born += 1
        if is_noticed:
            self.database.reclaim(dead.number)

    @rule(slot=slots, happens=rarely)
    def stop_cleanly(self, slot: int, *, happens: bool) -> None:
        if not happens:
            return
        replica = self.replicas[slot]
        for earmark in replica.waiting:
            replica.leases.forget(earmark)
        for hold in replica.holds:
            replica.leases.settle(hold, hold.amount, self.now)
            for key in hold.keys:
                self.truth[key] += hold.amount
        if replica.batch is not None:
            self.database.flush(replica.number, replica.sequence, replica.batch)
        lines = replica.leases.draw(self.now, everything=True)
        self.database.flush(replica.number, replica.sequence + 1, lines)
        left = [lease.leased for _, lease in replica.leases.items()]  # noqa: PERF102 - no dict
        assert not any(left)
        for row in self.database.rows.values():  # what a lost answer had granted
            row.leased.pop(replica.number, None)
        self.replicas[slot] = Replica(self.born)
        self.born += 1

    @rule(key=st.sampled_from([MONTH, *RUNS]), cap=st.sampled_from([600, 400, 200, 100, 0]))
    def change_a_cap(self, key: BudgetKey, cap: int) -> None:
        self.database.rows[key].cap = cap
        self.highest[key] = max(self.highest[key] or 0, cap)

    @rule(happens=rarely)
    def close_a_run(self, *, happens: bool) -> None:
        self.database.rows[RUNS[1]].is_closed |= happens

    @invariant()
    def what_was_charged_never_passes_a_cap(self) -> None:
        for key, cap in self.highest.items():
            assert cap is None or self.truth[key] - self.overshot[key] <= cap

    @invariant()
    def what_may_still_be_charged_is_in_the_database_already(self) -> None:
        for key, row in self.database.rows.items():
            running = sum(
                hold.amount for each in self.replicas for hold in each.holds if key in hold.keys
            )
            assert self.truth[key] + running - self.overshot[key] <= row.taken

    @invariant()
    def a_replica_holds_and_spends_within_its_lease(self) -> None:
        for replica in self.replicas:
            for key, lease in replica.leases.items():
                held = sum(hold.amount for hold in replica.holds if key in hold.keys)
                assert min(lease.leased, lease.spent, lease.overshoot, lease.recalled) >= 0
                assert held + lease.spent <= lease.leased + replica.overshot[key]
                earmarked = sum(earmark.parts.get(key, 0) for earmark in replica.waiting)
                assert lease.held == held + earmarked

    @invariant()
    def a_replica_never_believes_in_more_than_it_was_granted(self) -> None:
        for replica in self.replicas:
            under_way = {line.key: line.lease_ended for line in replica.batch or ()}
            is_booked = self.database.sequences[replica.number] == replica.sequence
            for key, lease in replica.leases.items():
                row = self.database.rows[key]
                known = row.leased.get(replica.number, 0) + row.unsettled.get(replica.number, 0)
                ending = 0 if is_booked else under_way.get(key, 0)
                assert lease.leased + ending <= known


TestLedger = Ledger.TestCase
TestLedger.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)


def needs_of(*amounts: int) -> list[Need]:
    return [Need({MONTH: amount}) for amount in amounts]


def balance(free: int | None, spent: int = 0) -> Balance:
    cap = None if free is None else free + spent
    return Balance(cap=cap, spent=spent, leased=0, unsettled=0)


def test_needs_are_met_in_their_order_as_far_as_money_goes():
    decision = decide(needs_of(60, 50, 40), {MONTH: balance(100)}, {}, 0)
    assert decision.answers == (None, Short(MONTH, 40, 100), None)
    assert decision.grants == {MONTH: 100}


def test_what_is_leased_or_unsettled_is_as_good_as_spent():
    taken = Balance(cap=100, spent=20, leased=30, unsettled=40)
    assert decide(needs_of(11), {MONTH: taken}, {}, 0).answers == (Short(MONTH, 10, 100),)
    assert decide(needs_of(10), {MONTH: taken}, {}, 0).answers == (None,)


def test_a_need_that_lacks_one_budget_takes_from_none():
    need = Need({MONTH: 10, RUNS[0]: 10})
    decision = decide([need], {MONTH: balance(100), RUNS[0]: balance(9)}, {}, 10**6)
    assert decision.answers == (Short(RUNS[0], 9, 9),)
    assert decision.grants == {}


def test_the_budget_that_lacks_most_is_named():
    need = Need({MONTH: 10, RUNS[0]: 10})
    decision = decide([need], {MONTH: balance(8), RUNS[0]: balance(3)}, {}, 10**6)
    assert decision.answers == (Short(RUNS[0], 3, 3),)


def test_nothing_is_left_where_an_overshoot_took_more_than_there_was():
    decision = decide(needs_of(1), {MONTH: balance(-5, spent=105)}, {}, 10**6)
    assert decision.answers == (Short(MONTH, 0, 100),)


@given(
    free=st.integers(-50, 10**12),
    amounts=st.lists(st.integers(1, 10**12), max_size=5),
    wish=st.integers(0, 10**12),
    share_ppm=st.integers(0, 10**6),
)
def test_a_grant_never_passes_what_is_free_nor_a_wish_its_share(
    free: int, amounts: list[int], wish: int, share_ppm: int
):
    decision = decide(
        needs_of(*amounts), {MONTH: balance(free, spent=100)}, {MONTH: wish}, share_ppm
    )
    met = sum(a for a, short in zip(amounts, decision.answers, strict=True) if short is None)
    granted = decision.grants.get(MONTH, 0)
    assert met <= granted <= max(0, free)
    assert granted - met <= min(wish, max(0, free - met) * share_ppm // 10**6)


def test_a_hold_ends_once():
    leases = Leases()
    leases.granted(Decision({MONTH: 10}, ()), {MONTH: balance(10)})
    hold = leases.hold((MONTH,), NanoDollars(10), 0.0)
    assert hold is not None
    leases.settle(hold, NanoDollars(4), 0.0)
    with pytest.raises(RuntimeError, match="ends once"):
        leases.settle(hold, NanoDollars(4), 0.0)
    assert leases[MONTH].spent == 4


def test_what_waits_can_not_be_overtaken():
    leases = Leases()
    leases.granted(Decision({MONTH: 10}, ()), {MONTH: balance(10)})
    earmark = leases.earmark((MONTH,), NanoDollars(15), 0.0)
    assert earmark.need == Need({MONTH: 5})
    assert leases.hold((MONTH,), NanoDollars(1), 0.0) is None
    leases.forget(earmark)
    assert leases.hold((MONTH,), NanoDollars(10), 0.0) is not None


def test_what_a_provider_billed_beyond_its_hold_is_nobodys_to_hold():
    """Also while a call waits, and after the flush that books it."""
    leases = Leases()
    leases[MONTH].leased = 100
    hold = leases.hold((MONTH,), NanoDollars(100), 0.0)
    assert hold is not None
    leases.settle(hold, NanoDollars(150), 0.0)
    earmark = leases.earmark((MONTH,), NanoDollars(60), 0.0)
    assert earmark.need.amounts == {MONTH: 110}
    assert leases.draw(0.0) == [FlushLine(MONTH, 150, 100, 50)]
    assert leases.hold((MONTH,), NanoDollars(1), 0.0) is None
    leases.forget(earmark)
    assert leases[MONTH].available == 0


def test_only_idle_leases_go_back():
    leases = Leases(idle_s=1.0)
    leases.granted(
        Decision({MONTH: 30, RUNS[0]: 30}, ()), {MONTH: balance(30), RUNS[0]: balance(30)}
    )
    hold = leases.hold((MONTH, RUNS[0]), NanoDollars(10), 5.0)
    assert hold is not None
    assert leases.draw(5.5) == []
    assert leases.draw(6.0, closing=frozenset({"r1"})) == [FlushLine(RUNS[0], 0, 20, 0)]
    leases.settle(hold, NanoDollars(3), 7.0)
    assert leases.draw(7.5) == [FlushLine(MONTH, 3, 3, 0), FlushLine(RUNS[0], 3, 3, 0)]
    assert leases.draw(8.0) == [FlushLine(MONTH, 0, 27, 0), FlushLine(RUNS[0], 0, 7, 0)]
    assert list(leases.items()) == []
