"""Replicas that live, end, die, and come back."""

from datetime import UTC, datetime, timedelta

import anyio
import pytest

from gateway.core.ids import ReplicaId
from gateway.core.money import NanoDollars
from gateway.errors import LedgerUnavailable
from gateway.store.database import Database
from gateway.store.ledger import LedgerStore
from gateway.store.limits import LimitStore
from gateway.store.replicas import Replica, ReplicaStore, Role, silent
from tests.store.made import MINT, MONTH, TODAY, line, money, need, new_replica, project_key, trace

TTL = timedelta(seconds=15)


@pytest.fixture
async def ledger(database: Database) -> LedgerStore:
    await LimitStore(database).configure(NanoDollars(1_000), TODAY)
    return LedgerStore(database)


@pytest.fixture
async def replica(database: Database) -> ReplicaId:
    return await new_replica(database)


@pytest.fixture
def replicas(database: Database) -> ReplicaStore:
    return ReplicaStore(database)


async def fall_silent(database: Database, replica: ReplicaId, seconds: float = 31) -> None:
    query = "UPDATE replica SET seen_at = now() - $2::interval WHERE id = $1"
    await database.execute(query, replica, timedelta(seconds=seconds))


def test_dead_is_who_was_silent_for_more_than_twice_the_ttl():
    now = datetime(2026, 11, 25, tzinfo=UTC)
    seen = [now - timedelta(seconds=seconds) for seconds in (0, 30, 30.001, 3600)]
    known = [
        Replica(id=ReplicaId(str(n)), role="all", version="1", started_at=at, seen_at=at)
        for n, at in enumerate(seen)
    ]
    assert [replica.id for replica in silent(known, now, TTL)] == ["2", "3"]


async def test_a_registered_replica_is_live(replicas: ReplicaStore, replica: ReplicaId):
    await replicas.register(replica, Role.ALL, "0.1.0")
    [known] = await replicas.live()
    assert (known.id, known.role, known.version) == (replica, "all", "0.1.0")


async def test_who_serves_calls_is_counted_from_its_start_to_its_end(
    replicas: ReplicaStore, database: Database
):
    for role in (Role.ALL, Role.PROXY, Role.WORKER):
        await replicas.register(ReplicaId(MINT.id()), role, "0.1.0")
    dead = await new_replica(database)
    assert await replicas.serving() == 3
    await replicas.reclaim_dead(dead)
    assert await replicas.serving() == 2
    await replicas.renew(dead)
    assert await replicas.serving() == 3
    await replicas.stop(dead)
    assert await replicas.serving() == 2


async def test_a_dead_replicas_leases_become_unsettled(
    ledger: LedgerStore, database: Database, replicas: ReplicaStore, replica: ReplicaId
):
    await ledger.grant(replica, [need(100, MONTH, project_key("p"))], {}, 0)
    await fall_silent(database, replica)
    [reclaimed] = await replicas.reclaim(TTL)
    assert reclaimed.replica == replica
    assert reclaimed.unsettled == {MONTH: 100, project_key("p"): 100}
    assert await money(database) == (0, 0, 100)
    assert await replicas.live() == []


async def test_unsettled_money_is_not_granted_again(
    ledger: LedgerStore, database: Database, replicas: ReplicaStore, replica: ReplicaId
):
    await ledger.grant(replica, [need(900)], {}, 0)
    await fall_silent(database, replica)
    await replicas.reclaim(TTL)
    other = await new_replica(database)
    answer = await ledger.grant(other, [need(101), need(100)], {}, 0)
    assert [short is None for short in answer.decision.answers] == [False, True]


async def test_who_was_heard_of_lately_is_left_alone(
    ledger: LedgerStore, database: Database, replicas: ReplicaStore, replica: ReplicaId
):
    await ledger.grant(replica, [need(100)], {}, 0)
    await fall_silent(database, replica, 29)
    assert await replicas.reclaim(TTL) == []
    assert await money(database) == (0, 100, 0)


async def test_several_that_reclaim_at_once_do_it_once(
    ledger: LedgerStore, database: Database, replicas: ReplicaStore, replica: ReplicaId
):
    await ledger.grant(replica, [need(100)], {}, 0)
    await fall_silent(database, replica)
    reclaimed = []

    async def reclaim() -> None:
        reclaimed.extend(await replicas.reclaim(TTL))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(reclaim)
    assert len(reclaimed) == 1
    assert await money(database) == (0, 0, 100)


async def test_who_was_heard_of_while_it_was_judged_is_left_alone(
    ledger: LedgerStore, database: Database, replicas: ReplicaStore, replica: ReplicaId
):
    await ledger.grant(replica, [need(100)], {}, 0)
    await fall_silent(database, replica)
    judged = await replicas.live()
    await replicas.renew(replica)
    assert await replicas._reclaim(judged) == []
    assert await money(database) == (0, 100, 0)
    await fall_silent(database, replica)
    judged = await replicas.live()
    assert len(await replicas._reclaim(judged)) == 1
    assert await replicas._reclaim(judged) == []


async def test_a_late_flush_takes_the_place_of_what_was_unsettled(
    ledger: LedgerStore, database: Database, replicas: ReplicaStore, replica: ReplicaId
):
    await ledger.grant(replica, [need(100)], {}, 0)
    await fall_silent(database, replica)
    await replicas.reclaim(TTL)
    await ledger.flush(replica, 1, [line(30, 40)], [trace()])
    assert await money(database) == (30, 60, 0)
    assert [known.id for known in await replicas.live()] == [replica]
    await ledger.flush(replica, 2, [line(10, 60)], [])
    assert await money(database) == (40, 0, 0)


async def test_a_reclaimed_replica_is_granted_nothing_until_it_is_renewed(
    ledger: LedgerStore, database: Database, replicas: ReplicaStore, replica: ReplicaId
):
    await ledger.grant(replica, [need(100)], {}, 0)
    await fall_silent(database, replica)
    await replicas.reclaim(TTL)
    with pytest.raises(LedgerUnavailable, match="not live"):
        await ledger.grant(replica, [need(1)], {}, 0)
    await ledger.renew(replica)
    assert await money(database) == (0, 100, 0)
    await ledger.grant(replica, [need(1)], {}, 0)
    assert await money(database) == (0, 101, 0)


async def test_a_clean_stop_leaves_no_lease(
    ledger: LedgerStore, database: Database, replicas: ReplicaStore, replica: ReplicaId
):
    await ledger.grant(replica, [need(100)], {}, 0)  # as if its answer had been lost
    await ledger.flush(replica, 1, [line(5, 10)], [])
    await replicas.stop(replica)
    await replicas.stop(replica)
    assert await money(database) == (5, 0, 0)
    assert await replicas.live() == []
    with pytest.raises(LedgerUnavailable, match="not live"):
        await replicas.renew(replica)


async def test_a_clean_stop_of_one_that_was_taken_for_dead_leaves_nothing_unsettled(
    ledger: LedgerStore, database: Database, replicas: ReplicaStore, replica: ReplicaId
):
    await ledger.grant(replica, [need(100)], {}, 0)
    await fall_silent(database, replica)
    await replicas.reclaim(TTL)
    await replicas.stop(replica)
    assert await money(database) == (0, 0, 0)


async def test_a_flush_after_the_stop_is_booked_and_wakes_nobody(
    ledger: LedgerStore, database: Database, replicas: ReplicaStore, replica: ReplicaId
):
    await ledger.grant(replica, [need(100)], {}, 0)
    await replicas.stop(replica)
    await ledger.flush(replica, 1, [line(30, 100)], [])
    assert await money(database) == (30, 0, 0)
    assert await replicas.live() == []


async def test_where_only_one_can_run_all_others_are_dead(
    ledger: LedgerStore, database: Database, replicas: ReplicaStore, replica: ReplicaId
):
    await ledger.grant(replica, [need(100)], {}, 0)
    me = await new_replica(database)
    await ledger.grant(me, [need(7)], {}, 0)
    assert [reclaimed.replica for reclaimed in await replicas.reclaim_all_but(me)] == [replica]
    assert await money(database) == (0, 7, 100)


async def test_a_replica_that_nobody_registered_can_not_be_renewed(replicas: ReplicaStore):
    with pytest.raises(LedgerUnavailable, match="not live"):
        await replicas.renew(ReplicaId(MINT.id()))


async def test_a_replica_that_has_certainly_ended_is_reclaimed_at_once_and_alone(
    replicas: ReplicaStore, ledger: LedgerStore, database: Database, replica: ReplicaId
):
    other = await new_replica(database)
    for who in (replica, other):
        await ledger.grant(who, [need(100)], {}, 0)
    [dead] = await replicas.reclaim_dead(replica)
    assert (dead.replica, dead.unsettled) == (replica, {MONTH: 100})
    assert await replicas.reclaim_dead(replica) == []
    assert [one.id for one in await replicas.live()] == [other]


async def test_a_replica_that_ended_cleanly_is_not_reclaimed(
    replicas: ReplicaStore, replica: ReplicaId
):
    await replicas.stop(replica)
    assert await replicas.reclaim_dead(replica) == []
