"""A pause between two attempts of a call, in which whoever ends the call ends it at once.

A call that pauses runs, as far as the kill switch, its client and the shutdown are concerned. What
ends it takes the place of the failure before the pause, which is settled by then.
"""

from functools import partial

import anyio

from gateway.core.outcome import ClientGone, Ending
from gateway.exchange.cutting import Cuttable
from gateway.exchange.ports import Client
from gateway.exchange.relay import Owned
from gateway.exchange.switchboard import Running, Switchboard


async def pause(owned: Owned, client: Client, board: Switchboard, seconds: float) -> bool:
    """Wait after a failed attempt; False where the call was ended meanwhile, as `owned` says then."""
    pausing = _Pause(owned)
    running = Running(owned.target, owned.wanted.asked.stream, pausing.cut)
    try:
        board.begin(running)
        client.when_gone(partial(pausing.cut, ClientGone()))
        if not pausing.is_over:
            with Cuttable(seconds) as pausing.block:
                await anyio.sleep_forever()
        return not pausing.is_over
    finally:
        pausing.is_over = True
        board.end(running)


class _Pause:
    """One pause. Only the first that ends the call counts, and nobody does when it is over."""

    def __init__(self, owned: Owned) -> None:
        self.block: Cuttable | None = None
        self.is_over = False
        self._owned = owned

    def cut(self, ending: Ending) -> None:
        """End the call, and the pause with it."""
        if self.is_over:
            return
        self.is_over = True
        self._owned.ending = ending
        if self.block is not None:
            self.block.cut()
