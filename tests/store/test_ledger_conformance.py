"""What any ledger does: one battery for the fake and for the real one, and a walk of both in step."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import pytest

from gateway.core.budget import BudgetKey, FlushLine, Short
from gateway.core.ids import ReplicaId
from gateway.core.money import NanoDollars
from gateway.errors import LedgerUnavailable
from gateway.exchange.ports import Ledger
from gateway.store.database import Database
from gateway.store.ledger import LedgerStore
from gateway.store.limits import LimitStore
from gateway.store.replicas import ReplicaStore
from tests.fakes import FakeLedger
from tests.store.made import MONTH, SOMEONE, TODAY, line, need, new_replica, project_key

CAP: Final = NanoDollars(1_000)
DAY: Final = project_key("p")
DAY_CAP: Final = NanoDollars(300)
ONE: Final = ReplicaId("018f0000-0000-7000-8000-0000000000a1")
TWO: Final = ReplicaId("018f0000-0000-7000-8000-0000000000a2")
NOBODY: Final = ReplicaId("018f0000-0000-7000-8000-0000000000ff")


@dataclass
class Bench:
    """A ledger with two budgets and two replicas, and what its port has no word for."""

    ledger: Ledger
    replicas: tuple[ReplicaId, ReplicaId]
    reclaim: Callable[[ReplicaId], Awaitable[object]]
    booked: list[int] = field(default_factory=lambda: [0, 0])

    async def money(self, key: BudgetKey = MONTH) -> tuple[int, int, int]:
        """Return what of a budget is (spent, leased, unsettled)."""
        balance = (await self.ledger.balances([key]))[key]
        return balance.spent, balance.leased, balance.unsettled


async def fake_bench() -> Bench:
    fake = FakeLedger({MONTH: CAP, DAY: DAY_CAP}, members=(ONE, TWO))

    async def reclaim(replica: ReplicaId) -> None:
        fake.books.unsettle(replica)

    return Bench(fake, (ONE, TWO), reclaim)


async def real_bench(database: Database) -> Bench:
    limits = LimitStore(database)
    await limits.configure(CAP, TODAY)
    await limits.put((DAY.scope, DAY.scope_id, DAY.window), DAY_CAP, TODAY, SOMEONE)
    replicas = (await new_replica(database), await new_replica(database))

    async def reclaim(replica: ReplicaId) -> None:
        [other] = {*replicas} - {replica}
        await ReplicaStore(database).reclaim_all_but(other)

    return Bench(LedgerStore(database), replicas, reclaim)


@pytest.fixture(params=["fake", "real"])
async def bench(request: pytest.FixtureRequest, database: Database) -> Bench:
    return await (fake_bench() if request.param == "fake" else real_bench(database))


async def test_a_need_is_granted_in_all_of_its_budgets_or_in_none(bench: Bench):
    one, _ = bench.replicas
    answer = await bench.ledger.grant(one, [need(301, MONTH, DAY), need(200, MONTH, DAY)], {}, 0)
    assert answer.decision.answers == (Short(DAY, 300, 300), None)
    assert answer.balances[DAY].free == 300
    assert await bench.money() == await bench.money(DAY) == (0, 200, 0)


async def test_a_wish_is_met_up_to_its_share_also_where_no_need_names_it(bench: Bench):
    one, _ = bench.replicas
    answer = await bench.ledger.grant(one, [need(100)], {MONTH: 10_000, DAY: 7}, 100_000)
    assert answer.decision.grants == {MONTH: 190, DAY: 7}


async def test_replicas_share_what_there_is(bench: Bench):
    one, two = bench.replicas
    await bench.ledger.grant(one, [need(700)], {}, 0)
    answer = await bench.ledger.grant(two, [need(301)], {}, 0)
    assert answer.decision.answers == (Short(MONTH, 300, 1_000),)
    assert await bench.money() == (0, 700, 0)


async def test_who_was_never_registered_is_granted_nothing_and_books_nothing(bench: Bench):
    with pytest.raises(LedgerUnavailable):
        await bench.ledger.grant(NOBODY, [need(1)], {}, 0)
    with pytest.raises(LedgerUnavailable):
        await bench.ledger.flush(NOBODY, 1, [line(1, 0)], [])
    with pytest.raises(LedgerUnavailable):
        await bench.ledger.renew(NOBODY)


async def test_a_flush_is_booked_once_and_in_its_turn(bench: Bench):
    one, _ = bench.replicas
    await bench.ledger.grant(one, [need(100)], {}, 0)
    await bench.ledger.flush(one, 1, [line(60, 70)], [])
    await bench.ledger.flush(one, 1, [line(60, 70)], [])
    with pytest.raises(LedgerUnavailable):
        await bench.ledger.flush(one, 3, [line(1, 1)], [])
    assert await bench.money() == (60, 30, 0)


async def test_two_lines_of_one_budget_are_both_booked(bench: Bench):
    one, _ = bench.replicas
    await bench.ledger.grant(one, [need(100)], {}, 0)
    await bench.ledger.flush(one, 1, [line(10, 10), line(20, 90)], [])
    assert await bench.money() == (30, 0, 0)


async def test_a_flush_ends_no_more_than_its_replica_has(bench: Bench):
    one, two = bench.replicas
    await bench.ledger.grant(one, [need(10)], {}, 0)
    await bench.ledger.grant(two, [need(100)], {}, 0)
    await bench.ledger.flush(one, 1, [line(45, 50, overshoot=35)], [])
    assert await bench.money() == (45, 100, 0)


async def test_a_flush_that_says_what_is_left_takes_back_the_rest_and_never_adds(bench: Bench):
    one, two = bench.replicas
    await bench.ledger.grant(one, [need(300)], {}, 0)
    await bench.ledger.grant(two, [need(50)], {}, 0)
    await bench.ledger.flush(one, 1, [FlushLine(MONTH, 100, 120, 0, lease_left=80)], [])
    assert await bench.money() == (100, 130, 0)
    await bench.ledger.flush(one, 2, [FlushLine(MONTH, 0, 0, 0, lease_left=500)], [])
    assert await bench.money() == (100, 130, 0)


async def test_what_the_dead_had_leased_is_unsettled_and_as_good_as_spent(bench: Bench):
    one, two = bench.replicas
    await bench.ledger.grant(one, [need(600)], {}, 0)
    await bench.ledger.grant(two, [need(100)], {}, 0)
    await bench.reclaim(one)
    assert await bench.money() == (0, 100, 600)
    answer = await bench.ledger.grant(two, [need(301)], {}, 0)
    assert answer.decision.answers == (Short(MONTH, 300, 1_000),)
    with pytest.raises(LedgerUnavailable):
        await bench.ledger.grant(one, [need(1)], {}, 0)


@pytest.mark.parametrize("is_late", [False, True])
async def test_who_was_taken_for_dead_and_is_heard_of_has_its_leases_again(
    bench: Bench, *, is_late: bool
):
    one, _ = bench.replicas
    await bench.ledger.grant(one, [need(600)], {}, 0)
    await bench.ledger.flush(one, 1, [line(50, 100)], [])
    await bench.reclaim(one)
    await (bench.ledger.flush(one, 1, [line(50, 100)], []) if is_late else bench.ledger.renew(one))
    assert await bench.money() == (50, 500, 0)
    await bench.ledger.grant(one, [need(1)], {}, 0)


async def test_a_late_flush_takes_the_place_of_what_was_feared(bench: Bench):
    one, _ = bench.replicas
    await bench.ledger.grant(one, [need(600)], {}, 0)
    await bench.reclaim(one)
    await bench.ledger.flush(one, 1, [line(250, 600)], [])
    assert await bench.money() == (250, 0, 0)


@pytest.mark.parametrize("seed", range(3))
async def test_the_fake_and_the_real_one_go_in_step(database: Database, seed: int):
    fake, real = await fake_bench(), await real_bench(database)
    for each in (fake, real):  # a budget has a row since it was first asked for
        await each.ledger.grant(each.replicas[0], [need(1, MONTH, DAY)], {}, 0)
    for number in range(100):
        steps = [await _step(each, random.Random(f"{seed} {number}")) for each in (fake, real)]  # noqa: S311
        assert steps[0] == steps[1], number


async def _step(bench: Bench, chance: random.Random) -> tuple[object, ...]:
    """Do something at random, and return what is to be seen of it."""
    who, amount = chance.choice((0, 1)), chance.randrange(1, 200)
    keys = chance.choice(((MONTH,), (DAY,), (MONTH, DAY)))
    replica, ledger = bench.replicas[who], bench.ledger
    said: object = None
    try:
        match chance.choice(("grant", "grant", "flush", "flush", "renew", "reclaim")):
            case "grant":
                said = await ledger.grant(replica, [need(amount, *keys)], {MONTH: amount}, 100_000)
            case "flush":
                left = chance.choice((None, None, amount))
                lines = [FlushLine(key, amount // 2, amount, 0, left) for key in keys]
                await _flush(bench, who, lines, chance.choice((0, 1, 1, 1, 2)))
            case "renew":
                await ledger.renew(replica)
            case _:
                await bench.reclaim(replica)
    except LedgerUnavailable:
        said = "unavailable"
    return said, await bench.money(), await bench.money(DAY)


async def _flush(bench: Bench, who: int, lines: list[FlushLine], ahead: int) -> None:
    """Flush the next time (1), the last time once more (0), or leave one out (2)."""
    await bench.ledger.flush(bench.replicas[who], bench.booked[who] + ahead, lines, [])
    bench.booked[who] += ahead
