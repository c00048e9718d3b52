"""What the management API asks of the price book, as the composition root answers it."""

from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from typing import Protocol

from gateway.core.ids import ModelName
from gateway.core.price_changes import Changes, Finding
from gateway.core.pricing import PriceBook
from gateway.store.price_lists import PriceList


class Source(StrEnum):
    """Who says what a model costs."""

    PUBLISHED = "published"
    CONFIGURATION = "configuration"
    SANDBOX = "sandbox"


class Pricing(Protocol):
    """The price book of this process, and what another would be like."""

    @property
    def book(self) -> PriceBook:
        """The book that calls are priced by now."""
        ...

    def source(self, name: ModelName) -> Source:
        """Return who says what a model of the book costs."""
        ...

    async def packaged(self) -> PriceList:
        """Return the list that came with this release."""
        ...

    async def in_force(self) -> PriceList:
        """Return the list that the book is made of."""
        ...

    async def refresh(self) -> None:
        """Work by what is chosen now. Raises LedgerUnavailable."""
        ...

    async def read(self, content: bytes, published_on: date) -> PriceList:
        """Return the list in a file; raises NotPrices."""
        ...

    async def compare(self, listed: PriceList) -> Changes:
        """Return what a list would change; raises ConfigurationInvalid where it would not do."""
        ...

    async def findings(self, days: int) -> Sequence[Finding]:
        """Return what the book leaves open; published prices of more than so many days ago too."""
        ...
