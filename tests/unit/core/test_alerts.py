import json
from datetime import UTC, datetime

from hypothesis import given, strategies as st

from gateway.core.alerts import Passed, Told, Watched, body, passed
from gateway.core.budget import BudgetKey, Scope, Window
from gateway.core.money import NanoDollars

KEY = BudgetKey(Scope.PROJECT, "search", Window.MONTH, "2026-11-01")
USD = 10**9
MOST = 10**18
amounts = st.integers(0, MOST)
percents = st.lists(st.integers(1, 100), unique=True, min_size=1, max_size=6).map(sorted)


def budget(cap: int, spent: int, *told: Told, unsettled: int = 0, leased: int = 0) -> Watched:
    return Watched(
        id=7,
        key=KEY,
        cap_nusd=NanoDollars(cap),
        spent_nusd=NanoDollars(spent),
        leased_nusd=NanoDollars(leased),
        unsettled_nusd=NanoDollars(unsettled),
        told=told,
    )


def found(*steps: tuple[int, int], at: list[int]) -> list[list[int]]:
    """Return what is told at each look, a (cap, spent), by one who remembers."""
    told: list[Told] = []
    answers = []
    for cap, spent in steps:
        new = [one.percent for one in passed(budget(cap, spent, *told), at)]
        told += [Told(percent, NanoDollars(spent)) for percent in new]
        answers.append(new)
    return answers


def test_a_threshold_is_told_once_when_it_is_reached():
    spent = (0, 49, 50, 79, 80, 99, 100, 130)
    assert found(*((100, one) for one in spent), at=[50, 80, 100]) == [
        [], [], [50], [], [80], [], [100], [],
    ]  # fmt: skip


def test_several_that_are_passed_at_once_are_told_in_their_order():
    assert found((100, 85), at=[50, 80, 100]) == [[50, 80]]


def test_unsettled_money_counts_as_spent_and_leased_money_does_not():
    assert [one.percent for one in passed(budget(100, 30, unsettled=20), [50])] == [50]
    assert passed(budget(100, 49, leased=51), [50]) == []


def test_a_raised_cap_makes_those_new_that_it_takes_back():
    assert found((10, 9), (11, 9), (20, 9), (20, 10), (20, 20), at=[50, 80, 100]) == [
        [50, 80], [], [], [50], [80, 100],
    ]  # fmt: skip


def test_a_lowered_cap_tells_what_it_brings_and_no_more():
    assert found((100, 60), (70, 60), (60, 60), at=[50, 80, 100]) == [[50], [80], [100]]


def test_a_cap_that_comes_back_is_told_of_no_second_time():
    assert found((10, 8), (100, 8), (10, 8), (10, 9), at=[80]) == [[80], [], [], []]


def test_a_cap_of_nothing_is_passed_by_the_first_money():
    assert found((0, 0), (0, 1), at=[50, 100]) == [[], [50, 100]]


@given(amounts, st.lists(amounts, max_size=8), percents)
def test_under_one_cap_each_threshold_is_told_at_the_first_look_that_finds_it_reached(
    cap: int, looks: list[int], at: list[int]
):
    looks = sorted(looks)
    answers = found(*((cap, spent) for spent in looks), at=at)
    for percent in at:
        reached = [spent > 0 and spent * 100 >= cap * percent for spent in looks]
        told = [percent in answer for answer in answers]
        assert told == [one and not any(reached[:index]) for index, one in enumerate(reached)]


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), max_size=12), percents)
def test_whatever_caps_and_spend_do_nothing_is_told_twice_or_unreached(
    steps: list[tuple[int, int]], at: list[int]
):
    seen = set()
    last: dict[int, int] = {}
    for (cap, spent), answer in zip(steps, found(*steps, at=at), strict=True):
        for percent in at:
            is_reached = spent > 0 and spent * 100 >= cap * percent
            if percent in answer:
                assert is_reached
                assert (percent, cap) not in seen
                seen.add((percent, cap))
                last[percent] = max(last.get(percent, 0), spent)
            elif is_reached:
                is_old = last[percent] * 100 >= cap * percent
                assert is_old or (percent, cap) in seen, "silence needs a reason"


def test_the_message_says_what_the_budget_was():
    at = datetime(2026, 11, 25, 12, 0, 1, tzinfo=UTC)
    seen = budget(10 * USD, 8 * USD, unsettled=USD // 2, leased=USD)
    assert json.loads(body(Passed(seen, 80), at)) == {
        "type": "budget.threshold",
        "timestamp": "2026-11-25T12:00:01Z",
        "data": {
            "scope": "project",
            "scope_id": "search",
            "window": "month",
            "period_start": "2026-11-01",
            "percent": 80,
            "cap_usd": "10",
            "spent_usd": "8",
            "unsettled_usd": "0.5",
            "left_usd": "0.5",
        },
    }


def test_what_was_spent_beyond_the_cap_shows_and_leaves_nothing():
    data = json.loads(body(Passed(budget(USD, 2 * USD), 100), datetime(2026, 1, 1, tzinfo=UTC)))
    assert (data["data"]["spent_usd"], data["data"]["left_usd"]) == ("2", "0")
