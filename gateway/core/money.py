"""Integer nano-dollars and their one rounding. Float never meets money.

A price is nano-dollars per million units (tokens, mostly), so that every published price is a whole
number; a cost is the sum of its lines, rounded up once (`contract.md`, head).
"""

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Final, NewType

NanoDollars = NewType("NanoDollars", int)
NanoDollarsPerMillion = NewType("NanoDollarsPerMillion", int)

ZERO: Final = NanoDollars(0)
PER_DOLLAR: Final = 10**9
PER_MILLION: Final = 10**6
MOST: Final = NanoDollars(10**18)
"""A billion dollars: amounts above it are a mistake, and would not fit PostgreSQL's bigint summed."""
_AMOUNT = re.compile(r"[0-9]{1,10}(\.[0-9]{1,9})?")


def from_usd(text: str) -> NanoDollars:
    """Return the amount a decimal string names.

    Raises:
        ValueError: not plain decimal notation, more than nine decimals, negative, or above `MOST`.
    """
    if _AMOUNT.fullmatch(text) is None:
        message = (
            f"{text[:40]!r} is not an amount of dollars such as '2.50' (at most nine decimals)"
        )
        raise ValueError(message)
    nano = int(Decimal(text) * PER_DOLLAR)
    if nano > MOST:
        message = f"{text} is above the largest amount, {to_usd(MOST)} dollars"
        raise ValueError(message)
    return NanoDollars(nano)


def to_usd(amount: int) -> str:
    """Return an amount as the decimal string of JSON and headers: `"0.001234567"`, `"5"`."""
    sign, absolute = ("-", -amount) if amount < 0 else ("", amount)
    whole, rest = divmod(absolute, PER_DOLLAR)
    return f"{sign}{whole}.{rest:09d}".rstrip("0").rstrip(".")


def for_people(amount: int) -> str:
    """Return an amount for a sentence: `$5.00`, `$0.81`, and all its digits where cents hide it."""
    exact = to_usd(amount)
    whole, _, decimals = exact.partition(".")
    return f"${whole}.{decimals.ljust(2, '0')}"


def charge(lines: Iterable[tuple[int, NanoDollarsPerMillion]], *, flat: int = 0) -> NanoDollars:
    """Return what (units, price) lines cost: summed, rounded up once, plus a flat amount."""
    total = sum(units * price for units, price in lines)
    return NanoDollars(-(-total // PER_MILLION) + flat)
