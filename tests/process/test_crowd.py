"""A thousand calls at once on one run's cap, at two gateways: none is a failure, and the cap holds."""

from tests.faults import crowd


async def test_a_crowd_on_one_cap_spends_at_most_the_cap_and_meets_no_failure():
    result = await crowd.run(short=True, seed=1)
    assert result.violations == []
