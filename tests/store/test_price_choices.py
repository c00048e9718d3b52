"""The choice of a list of prices: one at a time, kept with its files, and told to everyone."""

from datetime import date

import asyncpg
import pytest

from gateway.store.database import Database
from gateway.store.price_choices import UNCHOSEN, File, PriceChoices
from gateway.store.price_lists import digest
from tests.store.made import SOMEONE

CONTENT = b'[{"id": "v"}]'
FILE = File(sha256=digest(CONTENT), published_on=date(2026, 11, 20))
OTHER = File(sha256=digest(b"[]"), published_on=date(2026, 11, 21))


@pytest.fixture
def choices(database: Database) -> PriceChoices:
    return PriceChoices(database)


async def add(choices: PriceChoices, file: File = FILE, after: int = 0) -> bool:
    content = CONTENT if file is FILE else b"[]"
    return await choices.add(file, content, SOMEONE, after=after, is_forced=False)


async def test_nothing_is_chosen_at_first(choices: PriceChoices):
    assert await choices.current() == UNCHOSEN
    assert await choices.kept() == []


async def test_a_file_is_kept_and_chosen_together(choices: PriceChoices):
    assert await add(choices)
    current = await choices.current()
    assert (current.file, current.is_forced) == (FILE, False)
    assert await choices.content(FILE) == CONTENT
    [kept] = await choices.kept()
    assert (kept.sha256, kept.bytes, kept.added_by) == (FILE.sha256, len(CONTENT), SOMEONE.name)


async def test_of_two_who_looked_at_the_same_choice_one_chooses(choices: PriceChoices):
    assert await add(choices)
    assert not await add(choices, OTHER, after=0)
    assert (await choices.current()).file == FILE
    assert len(await choices.kept()) == 1
    assert await add(choices, OTHER, after=(await choices.current()).seq)


async def test_a_file_is_found_by_the_first_digits_of_its_digest(choices: PriceChoices):
    assert await choices.named(FILE.sha256[:8]) is None
    await add(choices)
    await add(choices, OTHER, after=(await choices.current()).seq)
    assert await choices.named(FILE.sha256[:8]) == FILE
    assert await choices.named("") is None  # two begin so
    assert await choices.named("%") is None


async def test_what_was_chosen_before_can_be_again(choices: PriceChoices):
    await add(choices)
    await choices.activate(None, SOMEONE)
    assert (await choices.current()).file is None
    await choices.activate(FILE, SOMEONE)
    again = await choices.current()
    assert (again.file, again.is_forced) == (FILE, True)


async def test_every_choice_is_in_the_audit_log(choices: PriceChoices, database: Database):
    await add(choices)
    await choices.activate(None, SOMEONE)
    rows = await database.fetch("SELECT action, target, detail FROM audit ORDER BY seq")
    assert [(row["action"], row["target"]) for row in rows] == [
        ("prices.choose", f"prices:{FILE.sha256}"),
        ("prices.choose", "prices:package"),
    ]


async def test_a_file_that_is_not_kept_cant_be_chosen(choices: PriceChoices):
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await choices.activate(FILE, SOMEONE)
