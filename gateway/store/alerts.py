"""Which budgets are near their caps, and that each threshold is told once, whoever looks.

The row of a threshold and its messages are made in one transaction; of several replicas that see it
at once, the one whose row is first makes them.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime
from typing import Final

from gateway.core import alerts
from gateway.core.alerts import Passed, Told, Watched
from gateway.core.budget import Window
from gateway.core.delivery import WebhookName
from gateway.core.limits import period_start
from gateway.core.money import NanoDollars
from gateway.store import outbox
from gateway.store.database import Connection, Database, Record
from gateway.store.limits import budget_key
from gateway.store.minting import Mint

BEGIN: Final = "INSERT INTO alerting DEFAULT VALUES ON CONFLICT DO NOTHING RETURNING since"
FORGET: Final = "DELETE FROM alerting"
DUE: Final = """
SELECT b.id, b.scope, b.scope_id, b.time_window, b.period_start, b.cap_nusd, b.spent_nusd,
       b.leased_nusd, b.unsettled_nusd,
       ARRAY(SELECT percent FROM alert WHERE budget_id = b.id ORDER BY percent, cap_nusd) AS percents,
       ARRAY(SELECT taken_nusd FROM alert WHERE budget_id = b.id ORDER BY percent, cap_nusd) AS taken
FROM budget_cap c
CROSS JOIN LATERAL unnest(
    CASE c.time_window WHEN 'month' THEN $1::text[] WHEN 'day' THEN $2::text[] ELSE ARRAY[''] END
) AS p (period_start)
JOIN budget b USING (scope, scope_id, time_window, period_start)
WHERE b.spent_nusd + b.unsettled_nusd > 0
      AND (b.spent_nusd + b.unsettled_nusd)::numeric * 100 >= b.cap_nusd::numeric * ($3::integer[])[1]
      AND EXISTS (
          SELECT FROM unnest($3) AS w (percent)
          WHERE (b.spent_nusd + b.unsettled_nusd)::numeric * 100 >= b.cap_nusd::numeric * w.percent
                AND NOT EXISTS (
                    SELECT FROM alert a WHERE a.budget_id = b.id AND a.percent = w.percent
                        AND a.taken_nusd::numeric * 100 >= b.cap_nusd::numeric * w.percent
                )
      )
ORDER BY b.id"""
TELL: Final = """
INSERT INTO alert (budget_id, percent, cap_nusd, taken_nusd, message_id)
SELECT w.budget_id, w.percent, w.cap_nusd, w.taken_nusd, w.message_id
FROM unnest($1::bigint[], $2::integer[], $3::bigint[], $4::bigint[], $5::uuid[])
     AS w (budget_id, percent, cap_nusd, taken_nusd, message_id)
JOIN budget b ON b.id = w.budget_id AND b.cap_nusd = w.cap_nusd
ORDER BY w.budget_id, w.percent
ON CONFLICT (budget_id, percent, cap_nusd) DO NOTHING
RETURNING budget_id, percent"""


class AlertStore:
    """The thresholds of one database. Every method raises LedgerUnavailable.

    `days` are those of the configured time zone whose periods count as present. `percents` is not
    empty and rises.
    """

    def __init__(self, database: Database, mint: Mint) -> None:
        self._database = database
        self._mint = mint

    async def begin(self, days: Collection[date], percents: Sequence[int]) -> None:
        """Begin to tell, if nobody has: what is passed now is noted, and told to nobody."""
        async with self._database.transaction() as connection:
            if await connection.fetchval(BEGIN) is not None:
                found = await _found(connection, days, percents)
                await _tell(connection, [(one, None) for one in found])

    async def forget(self) -> None:
        """Tell no more, until someone begins anew."""
        await self._database.execute(FORGET)

    async def tell(
        self,
        days: Collection[date],
        percents: Sequence[int],
        webhooks: Collection[WebhookName],
        now: datetime,
    ) -> list[Passed]:
        """Put a message for each threshold that is newly passed; return those that were put here."""
        async with self._database.transaction() as connection:
            found = await _found(connection, days, percents)
            if not found:
                return []
            made = [(one, self._mint.id()) for one in found]
            told = await _tell(connection, made)
            mine = [(one, id_) for one, id_ in made if (one.budget.id, one.percent) in told]
            messages = [(id_, alerts.body(one, now)) for one, id_ in mine]
            await outbox.put(connection, messages, webhooks)
        return [one for one, _ in mine]


async def _found(
    connection: Connection, days: Collection[date], percents: Sequence[int]
) -> list[Passed]:
    """Return what is newly passed.

    The statement has the core's rule too, so that a budget that is past a threshold for weeks is not
    fetched every second; a test holds them together.
    """
    months = sorted({period_start(Window.MONTH, day) for day in days})
    present = sorted({period_start(Window.DAY, day) for day in days})
    due = [_watched(row) for row in await connection.fetch(DUE, months, present, list(percents))]
    return [one for budget in due for one in alerts.passed(budget, percents)]


async def _tell(
    connection: Connection, made: Iterable[tuple[Passed, str | None]]
) -> set[tuple[int, int]]:
    """Note thresholds as told and return which (budget, per cent) nobody had, its cap being the same."""
    rows = [
        (one.budget.id, one.percent, one.budget.cap_nusd, one.budget.taken_nusd, message)
        for one, message in made
    ]
    columns = [list(column) for column in zip(*rows, strict=True)] or [[]] * 5
    return {(row["budget_id"], row["percent"]) for row in await connection.fetch(TELL, *columns)}


def _watched(row: Record) -> Watched:
    told = zip(row["percents"], row["taken"], strict=True)
    return Watched(
        id=row["id"],
        key=budget_key(row),
        cap_nusd=NanoDollars(row["cap_nusd"]),
        spent_nusd=NanoDollars(row["spent_nusd"]),
        leased_nusd=NanoDollars(row["leased_nusd"]),
        unsettled_nusd=NanoDollars(row["unsettled_nusd"]),
        told=tuple(Told(*one) for one in told),
    )
