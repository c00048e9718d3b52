"""Which list of prices this replica works by: what the database says is chosen, followed as it changes."""

from collections.abc import Callable, Set
from datetime import date
from functools import partial
from typing import Protocol

import anyio
import msgspec

from gateway.app import standing
from gateway.config import Config
from gateway.core import price_changes
from gateway.core.ids import ModelName, Provider
from gateway.core.price_changes import Changes, Finding, Plan
from gateway.core.pricing import PriceBook
from gateway.errors import ConfigurationInvalid
from gateway.exchange.progress import Standing
from gateway.store import prices
from gateway.store.price_choices import Choice, File
from gateway.store.price_lists import NotPrices, PriceList
from gateway.web.pricing import Source

_UNKNOWN = -1


class Chosen(msgspec.Struct, frozen=True):
    """The list that was chosen when the gateway started (None: the package's), and by which choice."""

    seq: int
    listed: PriceList | None


class Choices(Protocol):
    """The choice, and the files that can be chosen."""

    async def current(self) -> Choice:
        """Return what is chosen now. Raises LedgerUnavailable."""
        ...

    async def content(self, file: File) -> bytes:
        """Return the bytes of a file. Raises LedgerUnavailable."""
        ...


class Settings(Protocol):
    """What is in force here."""

    config: Config
    listed: PriceList | None


class Priced(Protocol):
    """Who prices calls."""

    standing: Standing


class Reporter(Protocol):
    """Who is told of it."""

    def prices_changed(self, version: str) -> None:
        """Calls are priced by another list from here on."""
        ...

    def prices_refused(self, line: str) -> None:
        """The list that was chosen can't be used here."""
        ...

    def models_known(self, models: Set[ModelName]) -> None:
        """These models have prices."""
        ...


async def chosen(choices: Choices) -> Chosen:
    """Return what is chosen now; what can't be read is reported by the first `refresh`."""
    choice = await choices.current()
    try:
        return Chosen(choice.seq, await _listed(choices, choice))
    except NotPrices:
        return Chosen(_UNKNOWN, None)


class Repricing:
    """Keeps the price book up to date with the choice; and compares it with what could be chosen."""

    def __init__(
        self,
        *,
        choices: Choices,
        settings: Settings,
        pipeline: Priced,
        telemetry: Reporter,
        today: Callable[[], date],
        seen: int,
    ) -> None:
        """Begin with the choice `seen`, which is in force; `today` is the day in UTC."""
        self._choices = choices
        self._settings = settings
        self._pipeline = pipeline
        self._telemetry = telemetry
        self._today = today
        self._seen = seen
        self._turn = anyio.Lock()

    @property
    def book(self) -> PriceBook:
        """The book that calls are priced by now."""
        return self._pipeline.standing.directory.book

    def source(self, name: ModelName) -> Source:
        """Return who says what a model of the book costs."""
        config = self._settings.config
        if name in config.prices:
            return Source.CONFIGURATION
        provider = config.providers.get(self.book.models[name].provider)
        is_sandbox = provider is not None and provider.is_sandbox
        return Source.SANDBOX if is_sandbox else Source.PUBLISHED

    async def packaged(self) -> PriceList:
        """Return the list that came with this release."""
        return await anyio.to_thread.run_sync(prices.packaged)

    async def in_force(self) -> PriceList:
        """Return the list that the book is made of."""
        return self._settings.listed or await self.packaged()

    async def refresh(self) -> None:
        """Work by what is chosen now. What can't be worked by is reported, and the present list stays."""
        async with self._turn:
            choice = await self._choices.current()
            if choice.seq == self._seen:
                return
            self._seen = choice.seq
            try:
                await self._put(await _listed(self._choices, choice))
            except (NotPrices, ConfigurationInvalid) as error:
                self._telemetry.prices_refused(str(error))
                return
            self._telemetry.prices_changed(self.book.version)

    async def read(self, content: bytes, published_on: date) -> PriceList:
        """Return the list in a file; raises NotPrices."""
        return await anyio.to_thread.run_sync(_read, content, published_on)

    async def compare(self, listed: PriceList) -> Changes:
        """Return what a list would change.

        Raises:
            ConfigurationInvalid: the configuration needs a price that is not in it.
        """
        made = await self._made(listed)
        return price_changes.changes(self.book, made.directory.book)

    async def findings(self, days: int) -> list[Finding]:
        """Return what the book leaves open; prices older than so many days too."""
        config, listed, today = self._settings.config, await self.in_force(), self._today()
        plain = await anyio.to_thread.run_sync(_plain, config, today, listed)
        is_published = any(not provider.is_sandbox for provider in config.providers.values())
        plan = Plan(
            providers=config.providers.keys(),
            wanted=_wanted(config),
            overrides=[ModelName(name) for name in config.prices],
            plain=plain,
            ceiling=config.limits.output_tokens,
        )
        published_on = listed.published_on if is_published else None
        return price_changes.findings(self.book, plan, published_on, today, days)

    async def _put(self, listed: PriceList | None) -> None:
        """Make a book of a list and put it in force, by the configuration and the day of that moment."""
        while True:
            config, today = self._settings.config, self._today()
            made = await self._made(listed)
            if (self._settings.config, self._today()) == (config, today):
                break
        self._settings.listed = listed
        self._pipeline.standing = made
        self._telemetry.models_known(made.directory.book.models.keys())

    async def _made(self, listed: PriceList | None) -> Standing:
        make = partial(standing.standing, self._settings.config, self._today(), listed)
        return await anyio.to_thread.run_sync(make)


async def _listed(choices: Choices, choice: Choice) -> PriceList | None:
    """Return the list that a choice means; None for the package's. Raises NotPrices.

    A file gives way to a package of a later day, unless it was forced.
    """
    file = choice.file
    if file is None:
        return None
    packaged = await anyio.to_thread.run_sync(prices.packaged)
    if not choice.is_forced and file.published_on < packaged.published_on:
        return None
    content = await choices.content(file)
    return await anyio.to_thread.run_sync(_read, content, file.published_on)


def _read(content: bytes, published_on: date) -> PriceList:
    from gateway.store import price_files  # noqa: PLC0415  # as in `prices.packaged`

    return price_files.read(content, published_on, prices.packaged().version)


def _plain(config: Config, today: date, listed: PriceList) -> PriceBook:
    places: dict[Provider, str] = {n: p.base_url for n, p in config.providers.items()}
    return prices.compile_book(places, {}, today, listed)


def _wanted(config: Config) -> dict[ModelName, str]:
    """Return every model that the configuration names, and where it does."""
    return {
        model: f"models.{alias}"
        for alias, route in config.models.items()
        for model in (*(target.model for target in route.targets), *route.fallbacks)
    }
