from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from gateway.core.money import (
    MOST,
    PER_DOLLAR,
    ZERO,
    NanoDollarsPerMillion,
    charge,
    for_people,
    from_usd,
    to_usd,
)

AMOUNTS = st.integers(0, MOST)
LINES = st.lists(
    st.tuples(st.integers(0, 10**9), st.integers(0, 10**12).map(NanoDollarsPerMillion))
)


@given(AMOUNTS)
def test_an_amount_survives_its_text(amount: int):
    assert from_usd(to_usd(amount)) == amount


@given(st.integers(-MOST, MOST))
def test_the_text_of_an_amount_is_exact_and_plain(amount: int):
    text = to_usd(amount)
    assert Decimal(text) == Decimal(amount) / PER_DOLLAR
    assert "e" not in text.lower()
    assert not text.endswith(".")
    assert "." not in text or not text.endswith("0")


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0"),
        (1, "0.000000001"),
        (1_234_567, "0.001234567"),
        (5 * PER_DOLLAR, "5"),
        (2_500_000_000, "2.5"),
        (10 * PER_DOLLAR, "10"),
        (-1_500_000_000, "-1.5"),
        (MOST, "1000000000"),
    ],
)
def test_amounts_are_written_shortly(amount: int, text: str):
    assert to_usd(amount) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "+1",
        ".5",
        "1.",
        "1e3",
        "1_000",
        " 1",
        "1\n",
        "1,5",
        "NaN",
        "Infinity",
        "0.0000000001",
        "1000000000.000000001",
        "12345678901",
        "\u0661",  # an Arabic-Indic digit one
    ],
)
def test_what_is_no_plain_amount_is_not_read(text: str):
    with pytest.raises(ValueError, match=r"amount"):
        from_usd(text)


@given(st.text())
def test_any_text_is_an_amount_or_a_value_error(text: str):
    try:
        amount = from_usd(text)
    except ValueError:
        return
    assert 0 <= amount <= MOST
    assert Decimal(text) * PER_DOLLAR == amount


def test_a_long_text_is_not_quoted_whole():
    with pytest.raises(ValueError, match=r"amount") as caught:
        from_usd("9" * 10**5)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (5 * PER_DOLLAR, "$5.00"),
        (810_000_000, "$0.81"),
        (2_500_000_000, "$2.50"),
        (1_234_567, "$0.001234567"),
        (ZERO, "$0.00"),
    ],
)
def test_people_see_cents_and_whatever_cents_would_hide(amount: int, text: str):
    assert for_people(amount) == text


@given(LINES, st.integers(0, 10**9))
def test_a_charge_is_its_exact_sum_rounded_up_once(
    lines: list[tuple[int, NanoDollarsPerMillion]], flat: int
):
    exact = Fraction(sum(units * price for units, price in lines), 10**6) + flat
    amount = charge(lines, flat=flat)
    assert exact <= amount < exact + 1


@given(LINES, LINES)
def test_a_bill_in_one_is_never_dearer_than_in_parts(
    some: list[tuple[int, NanoDollarsPerMillion]], others: list[tuple[int, NanoDollarsPerMillion]]
):
    assert 0 <= charge(some) + charge(others) - charge(some + others) <= 1


def test_nothing_costs_nothing():
    assert charge([]) == ZERO
