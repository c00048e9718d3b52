"""A list of what vendors publish, from wherever it came: named, dated, whole."""

from collections.abc import Sequence
from datetime import date
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:  # half a second, which a gateway with a sandbox alone need not wait for
    from genai_prices.types import Provider as Vendor


MOST_FILE_BYTES: Final = 8 * 1024 * 1024
"""More than ten times what the project genai-prices publishes."""


class PriceList(msgspec.Struct, frozen=True):
    """Prices of many vendors. `version` is kept in each trace that they priced.

    `published_on` is the day on which they were what vendors publish, in UTC.
    """

    version: str
    published_on: date
    vendors: "Sequence[Vendor]"


class NotPrices(ValueError):
    """Some bytes are not a list of prices; the text says why, in a sentence without its full stop."""


def digest(content: bytes) -> str:
    """Return what tells one file from every other: its SHA-256, in hexadecimal digits."""
    return sha256(content).hexdigest()
