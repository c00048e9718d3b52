"""One replica: a whole gateway process that is killed, frozen, thawed and started again."""

import asyncio
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.faults.caller import Caller
from tests.faults.calls import Heard, Order, now
from tests.faults.launcher import FILE
from tests.process.gateway_process import Gateway, GatewayFailed
from tests.process.programs import ROOT

READY_SECONDS = 60.0
POLL_SECONDS = 0.05


class _Steppable(Gateway):
    """A gateway whose time of day is read from a file."""

    program = (sys.executable, "-m", "tests.faults.launcher")


class Replica:
    """A gateway, its connections, and the instants at which it was killed."""

    def __init__(
        self, number: int, config: Mapping[str, Any], secrets: Mapping[str, str], clock: Path | None
    ) -> None:
        """`clock` is the file of a wall clock that steps; without one the machine's is used."""
        environment = {**secrets, "PYTHONPATH": str(ROOT)}
        if clock is None:
            self.gateway = Gateway(config, environment=environment)
        else:
            self.gateway = _Steppable(config, environment=environment | {FILE: str(clock)})
        self.number = number
        self.deaths: list[float] = []
        self.is_frozen = False
        self._calls, self._ops = map(Caller, self.gateway.ports)

    async def start(self) -> None:
        """Start it, and return when it is ready and its start is over. Raises GatewayFailed."""
        self.gateway.spawn()
        async with asyncio.timeout(READY_SECONDS):
            while not (await self.is_ready() and self.gateway.banner("Base URL")):
                if not self.gateway.is_running:
                    raise GatewayFailed(f"replica {self.number}:\n{self.gateway.stderr()[-4000:]}")
                await asyncio.sleep(POLL_SECONDS)

    async def is_ready(self) -> bool:
        """Return whether it would admit a call."""
        return (await self._ops.get("/readyz")).status == 200

    async def kill(self) -> None:
        """SIGKILL."""
        self.deaths.append(now())
        self.gateway.signal(signal.SIGKILL)
        while self.gateway.is_running:  # noqa: ASYNC110  # the kernel wakes nobody for this
            await asyncio.sleep(0.002)
        self.deaths.append(now())
        self._calls.close()

    def freeze(self) -> None:
        """SIGSTOP: as a machine that swaps, or is paused by its host."""
        self.is_frozen = True
        self.gateway.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.is_frozen = False
        self.gateway.signal(signal.SIGCONT)

    def remove(self) -> None:
        """End it, whatever it does, and take its folder away."""
        if self.gateway.is_running:
            self.thaw()
            self.gateway.kill()
        self._calls.close()
        self._ops.close()
        self.gateway.remove()

    async def call(self, order: Order) -> Heard:
        """Make one call."""
        return await self._calls.call(order)

    async def admin(self, method: str, path: str, body: bytes) -> Heard:
        """Ask its admin API; `path` is below `/api/v1`."""
        return await self._calls.send(method, f"/api/v1{path}", self.gateway.admin_token, body)

    def unhandled(self) -> list[str]:
        """Return what its present process logged of errors that nobody expected."""
        lines = self.gateway.stderr().splitlines()
        return [line for line in lines if '"unhandled"' in line or not line.startswith("{")]

    def died_between(self, start: float, end: float) -> bool:
        """Return whether it was killed in a span of time."""
        return any(start <= death <= end for death in self.deaths)
