"""A replica of whose unsettled money a part was resolved by hand, and that is heard of after all."""

import pytest

from gateway.core.money import NanoDollars
from gateway.errors import ReplicaRetired
from gateway.store.database import Database
from gateway.store.ledger import LedgerStore
from gateway.store.limits import LimitStore
from gateway.store.replicas import ReplicaStore
from gateway.store.unsettled import Asked, UnsettledStore
from tests.store.made import MONTH, SOMEONE, TODAY, line, money, need, new_replica, project_key

DAY = project_key("p")


async def test_a_late_flush_ends_nobody_elses_lease_where_its_own_is_still_unsettled(
    database: Database,
):
    await LimitStore(database).configure(NanoDollars(1_000), TODAY)
    ledger = LedgerStore(database)
    dead, other = await new_replica(database), await new_replica(database)
    await ledger.grant(dead, [need(100, MONTH, DAY)], {}, 0)
    await ledger.grant(other, [need(150)], {}, 0)
    await ReplicaStore(database).reclaim_all_but(other)
    day = Asked(scope=DAY.scope, scope_id=DAY.scope_id)
    await UnsettledStore(database).resolve(dead, NanoDollars(40), day, "by its account", SOMEONE)
    with pytest.raises(ReplicaRetired):
        await ledger.flush(dead, 1, [line(60, 100), line(60, 100, DAY)], [])
    assert await money(database) == (60, 150, 0)
