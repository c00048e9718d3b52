"""The arithmetic of leases, one move at a time. `test_ledger_machine.py` tries any order of them."""

import pytest
from hypothesis import given, strategies as st

from gateway.core.budget import (
    Balance,
    BudgetKey,
    Decision,
    FlushLine,
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
