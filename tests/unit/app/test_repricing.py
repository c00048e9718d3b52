"""Which list a process prices by, as the choice in the database changes."""

from collections.abc import Callable, Set
from datetime import date

from gateway.app.repricing import Repricing, chosen
from gateway.app.standing import standing
from gateway.config import parse
from gateway.core.ids import ModelName
from gateway.store.price_choices import UNCHOSEN, Choice, File
from gateway.store.price_lists import PriceList
from gateway.store.prices import packaged

TODAY = date(2026, 11, 25)
CONFIG = b"""
providers: {openai: {dialect: openai, base_url: https://api.openai.com/v1, key: k}}
limits: {output_tokens: %d}
"""
FILE = b"""[{"id": "openai", "name": "O", "api_pattern": "https://api.openai.com", "models": [
  {"id": "gpt-7", "match": {"equals": "gpt-7"}, "prices": {"input_mtok": 1, "output_mtok": 2}}]}]"""
LATER = File(sha256="a" * 64, published_on=date(2026, 11, 20))
EARLIER = File(sha256="b" * 64, published_on=date(2026, 1, 1))
SEVEN = ModelName("openai/gpt-7")


class FakeChoices:
    """A choice, and the bytes of every file."""

    def __init__(self, content: bytes = FILE) -> None:
        self.choice = UNCHOSEN
        self._content = content
        self.is_reading: Callable[[], None] = lambda: None

    def choose(self, file: File | None, *, is_forced: bool = False) -> None:
        self.choice = Choice(seq=self.choice.seq + 1, file=file, is_forced=is_forced)

    async def current(self) -> Choice:
        return self.choice

    async def content(self, file: File) -> bytes:
        self.is_reading()
        return self._content


class Here:
    """A process: what is in force in it, and what it heard."""

    def __init__(self, choices: FakeChoices) -> None:
        self.config = parse(CONFIG % 100, {})
        self.listed: PriceList | None = None
        self.standing = standing(self.config, TODAY)
        self.heard: list[str] = []
        self.repricing = Repricing(
            choices=choices,
            settings=self,
            pipeline=self,
            telemetry=self,
            today=lambda: TODAY,
            seen=0,
        )

    @property
    def version(self) -> str:
        return self.standing.directory.book.version

    @property
    def has_seven(self) -> bool:
        return SEVEN in self.standing.directory.book.models

    def prices_changed(self, version: str) -> None:
        self.heard.append("changed")

    def prices_refused(self, line: str) -> None:
        self.heard.append("refused")

    def models_known(self, models: Set[ModelName]) -> None:
        assert models == self.standing.directory.book.models.keys()


async def test_a_chosen_file_is_put_in_force_once_and_the_package_again():
    choices = FakeChoices()
    here = Here(choices)
    await here.repricing.refresh()
    assert here.heard == []
    choices.choose(LATER)
    await here.repricing.refresh()
    await here.repricing.refresh()
    assert (here.heard, here.has_seven) == (["changed"], True)
    assert here.version == f"{packaged().version} + file 2026-11-20 {here.version[-8:]}"
    choices.choose(None)
    await here.repricing.refresh()
    assert (here.listed, here.has_seven, here.version) == (None, False, packaged().version)


async def test_a_file_gives_way_to_a_later_package_unless_it_was_forced():
    choices = FakeChoices()
    here = Here(choices)
    choices.choose(EARLIER)
    await here.repricing.refresh()
    assert not here.has_seven
    choices.choose(EARLIER, is_forced=True)
    await here.repricing.refresh()
    assert here.has_seven


async def test_a_file_that_this_release_cant_read_changes_nothing_and_is_told_once():
    choices = FakeChoices(b"[]")
    choices.choose(LATER)
    assert (await chosen(choices)).listed is None
    here = Here(choices)
    before = here.standing
    await here.repricing.refresh()
    await here.repricing.refresh()
    assert (here.heard, here.standing) == (["refused"], before)


async def test_what_is_chosen_at_the_start_is_in_force_from_the_start():
    choices = FakeChoices()
    choices.choose(LATER)
    found = await chosen(choices)
    assert found.seq == 1
    assert found.listed is not None
    assert SEVEN in standing(Here(choices).config, TODAY, found.listed).directory.book.models


async def test_a_configuration_that_is_reloaded_meanwhile_is_not_undone():
    choices = FakeChoices()
    here = Here(choices)
    fresh = parse(CONFIG % 200, {})
    made: list[object] = []
    original = here.repricing._made

    async def slowly(listed: PriceList | None) -> object:
        made.append(here.config)
        found = await original(listed)
        here.config = fresh
        return found

    here.repricing._made = slowly  # type: ignore[method-assign, assignment]
    choices.choose(LATER)
    await here.repricing.refresh()
    assert [config is fresh for config in made] == [False, True]
