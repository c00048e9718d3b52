"""PostgreSQL is stopped for longer than a lease, under load: refused with 503, and nothing is lost."""

from tests.faults import outage


async def test_an_outage_longer_than_a_lease_loses_nothing():
    result = await outage.run(short=True, seed=1)
    assert result.violations == []
