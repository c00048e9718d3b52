"""Amounts that no honest price comes to: refused or counted as the most, and never in the way."""

from gateway.core.budget import MOST_COUNTED, Decision, FlushLine, Short
from gateway.core.ids import ReplicaId
from gateway.core.money import NanoDollars
from gateway.store.database import Database
from gateway.store.ledger import LedgerStore
from tests.store.made import money, need, new_replica, project_key, trace

UNCAPPED = project_key("uncapped")
BEYOND = 2**63
"""One more than PostgreSQL's bigint holds."""


async def setting(database: Database) -> tuple[LedgerStore, ReplicaId]:
    return LedgerStore(database), await new_replica(database)


async def test_a_need_that_no_budget_can_count_is_refused_with_what_it_could(database: Database):
    ledger, replica = await setting(database)
    answer = await ledger.grant(replica, [need(BEYOND, UNCAPPED)], {}, 0)
    assert answer.decision.answers == (Short(UNCAPPED, MOST_COUNTED, MOST_COUNTED),)
    assert not answer.decision.grants


async def test_needs_and_wishes_add_up_to_no_more_than_can_be_counted(database: Database):
    ledger, replica = await setting(database)
    large = need(MOST_COUNTED - 10, UNCAPPED)
    answer = await ledger.grant(replica, [large, large], {UNCAPPED: BEYOND}, 1_000_000)
    assert answer.decision.answers == (None, Short(UNCAPPED, 10, MOST_COUNTED))
    assert await money(database, UNCAPPED) == (0, MOST_COUNTED, 0)


async def test_two_replicas_lease_no_more_than_can_be_counted(database: Database):
    ledger, replica = await setting(database)
    other = await new_replica(database)
    large = [need(MOST_COUNTED - 10, UNCAPPED)]
    assert (await ledger.grant(replica, large, {}, 0)).decision.answers == (None,)
    decided_before = Decision({UNCAPPED: MOST_COUNTED - 10}, (None,))
    assert await ledger._lease(other, decided_before) is not None, "it was done"
    assert await money(database, UNCAPPED) == (0, MOST_COUNTED - 10, 0)


async def test_a_charge_beyond_what_can_be_counted_is_booked_as_the_most_and_flushes_go_on(
    database: Database,
):
    ledger, replica = await setting(database)
    await ledger.grant(replica, [need(100, UNCAPPED)], {}, 0)
    absurd = FlushLine(UNCAPPED, BEYOND, 100, BEYOND - 100)
    for number in (1, 2):
        lines = [absurd, absurd]
        await ledger.flush(replica, number, lines, [trace(cost_nusd=NanoDollars(BEYOND))])
    assert await money(database, UNCAPPED) == (MOST_COUNTED, 0, 0)
    answer = await ledger.grant(replica, [need(1, UNCAPPED)], {}, 0)
    assert answer.decision.answers == (Short(UNCAPPED, 0, MOST_COUNTED),)
    row = await database.fetch_row("SELECT overshoot_nusd FROM budget")
    assert row is not None
    assert row["overshoot_nusd"] == MOST_COUNTED
