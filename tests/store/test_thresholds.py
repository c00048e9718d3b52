"""The job begins and ends with the webhooks that there are, and tells what it tells."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from msgspec import structs

from gateway.core.alerts import Passed
from gateway.core.budget import Scope, Window
from gateway.core.delivery import WebhookName
from gateway.jobs.thresholds import Thresholds, Wanted
from gateway.store.alerts import AlertStore
from gateway.store.database import Database
from tests.store.made import MINT, NOON
from tests.store.test_alerts import capped, spend

DAY = (Scope.PROJECT, "p", Window.DAY)
WANTED = Wanted((50, 80, 100), (WebhookName("ops"),), UTC)


class Job:
    """The job, what it is to tell, when it is, and what it told."""

    def __init__(self, database: Database) -> None:
        self.wanted = WANTED
        self.now: datetime = NOON
        self.told: list[Passed] = []
        self.job = Thresholds(
            AlertStore(database, MINT), lambda: self.wanted, lambda: self.now, self.told.append
        )

    async def looks(self) -> list[int]:
        """Let it look, and return what it tells."""
        self.told.clear()
        await self.job.run()
        return [one.percent for one in self.told]


@pytest.fixture
def job(database: Database) -> Job:
    return Job(database)


async def test_it_tells_from_its_first_look_on(database: Database, job: Job):
    await capped(database, 100)
    assert await job.looks() == []
    await spend(database, 50)
    assert await job.looks() == [50]
    assert await job.looks() == []


async def test_a_process_that_starts_anew_tells_what_the_last_did_not(database: Database, job: Job):
    await job.looks()
    await capped(database, 100)
    await spend(database, 50)
    assert await Job(database).looks() == [50]


@pytest.mark.parametrize("nothing", [{"webhooks": ()}, {"percents": ()}], ids=str)
async def test_what_is_passed_while_nobody_listens_is_told_to_nobody(
    database: Database, job: Job, nothing: dict[str, object]
):
    await job.looks()
    job.wanted = structs.replace(WANTED, **nothing)
    await capped(database, 100)
    await spend(database, 60)
    assert await job.looks() == []
    assert await database.fetch("SELECT FROM alert") == []
    job.wanted = WANTED
    assert await job.looks() == []
    await spend(database, 80)
    assert await job.looks() == [80]


async def test_without_a_webhook_it_asks_the_database_once(database: Database, job: Job):
    job.wanted = structs.replace(WANTED, webhooks=())
    await job.looks()
    await database.execute("ALTER TABLE alerting RENAME TO gone")
    assert await job.looks() == []


async def test_the_end_of_a_day_is_looked_at_for_a_minute_more(database: Database, job: Job):
    berlin = ZoneInfo("Europe/Berlin")
    job.wanted = structs.replace(WANTED, zone=berlin)
    job.now = datetime(2026, 11, 25, 23, 59, 59, tzinfo=berlin).astimezone(UTC)
    await job.looks()
    await capped(database, 100, DAY)
    await spend(database, 50, DAY, period="2026-11-25")
    job.now += timedelta(seconds=50)
    assert await job.looks() == [50]
    await spend(database, 80, DAY, period="2026-11-25")
    job.now += timedelta(seconds=12)
    assert await job.looks() == []
