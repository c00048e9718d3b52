"""A kill switch at three gateways: every stream is cut and settled, also where the notice is lost."""

from tests.faults import kill_spread


async def test_a_kill_switch_reaches_every_stream_of_three_gateways():
    result = await kill_spread.run(short=True, seed=1)
    assert result.violations == []
