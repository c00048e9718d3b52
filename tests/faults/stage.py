"""Where scenarios play: a server, a provider that keeps the true account, and replicas.

A stage lives for several scenarios, since a replica takes a second of CPU to start. What was made and
billed on it stays known, so that its month can be checked after each of them.
"""

import asyncio
import contextlib
import json
import random
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.calls import FAILING, FALLING, MODEL, PRICE, Made, Token, now, usd
from tests.faults.database import Server
from tests.faults.proxy import Proxy, Weather
from tests.faults.replica import Replica
from tests.faults.truth import Bill, bills
from tests.process.standins import Scripted

LEASE_TTL_SECONDS = 2
REST_SECONDS = 40.0
"""A dead replica is reclaimed after two lease lives, at the next look, on a busy machine."""

AT_REST = """
SELECT (SELECT count(*) FROM lease WHERE state = 'leased')
     + (SELECT count(*) FROM budget WHERE leased_nusd > 0) AS leases"""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a stage is made of."""

    replicas: int
    month_cap: int
    """Nano-dollars of the workspace's month."""
    has_proxy: bool = False
    """Whether replicas reach PostgreSQL through the proxy."""
    has_clock: bool = False
    """Whether their time of day can be stepped."""
    zone: str = "UTC"


class Stage:
    """Everything that runs, and what was done with it."""

    def __init__(self, setting: Setting, server: Server, database: str, provider: Scripted) -> None:
        self.setting = setting
        self.server = server
        self.database = database
        self.provider = provider
        self.replicas: list[Replica] = []
        self.made: list[Made] = []
        self.bills: dict[str, Bill] = {}
        self.weather = Weather()
        self.clock: Path | None = None
        self.kills = 0
        self.unhandled: set[str] = set()
        """What replicas have logged that they should not have, so far."""

    @property
    def living(self) -> list[Replica]:
        """Return the replicas that run, frozen ones too."""
        return [replica for replica in self.replicas if replica.gateway.is_running]

    async def call_admin(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401  # JSON
        """Ask the admin API of one that runs; raises RuntimeError for an answer that is none."""
        encoded = b"" if body is None else json.dumps(body).encode()
        heard = await self.living[0].admin(method, path, encoded)
        if heard.status is None or heard.status >= 300:
            raise RuntimeError(f"{method} {path}: {heard.status} {heard.body!r}")
        return json.loads(heard.body) if heard.body else None

    async def token(self, project: str, budget: int | None = None) -> Token:
        """Make a token in a project, with a budget in nano-dollars or none."""
        order: dict[str, Any] = {"name": project, "project": project}
        if budget is not None:
            order["budget_usd"] = usd(budget)
        made = await self.call_admin("POST", "/tokens", order)
        return Token(made["id"], project, made["token"])

    async def kill(self, replica: Replica) -> None:
        """Kill a replica, and count it."""
        self.kills += 1
        await replica.kill()

    def step_clock(self, seconds: float) -> None:
        """Set every replica's wall clock so far from the machine's."""
        assert self.clock is not None
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(str(seconds))
        fresh.rename(self.clock)

    def was_crashed(self, made: Made, margin: float) -> bool:
        """Return whether a replica was killed before a call's end and so many seconds after it."""
        return self.replicas[made.replica].died_between(made.started, made.ended + margin)

    async def rest(self) -> None:
        """Wait until no lease is out and the provider is idle; raises TimeoutError."""
        deadline = now() + REST_SECONDS
        while not await self._is_at_rest():
            if now() > deadline:
                raise TimeoutError(f"not at rest within {REST_SECONDS} s: {await self.leases()}")
            await asyncio.sleep(0.1)

    async def leases(self) -> list[dict[str, Any]]:
        """Return the leases that are out, for whoever wonders why."""
        query = """
            SELECT r.id, r.state, r.seen_at, b.scope, b.scope_id, l.amount_nusd, b.leased_nusd
            FROM budget b LEFT JOIN lease l ON l.budget_id = b.id AND l.state = 'leased'
            LEFT JOIN replica r ON r.id = l.replica_id WHERE b.leased_nusd > 0"""
        return [dict(row) for row in await self.server.read(self.database, query)]

    async def take_bills(self) -> None:
        """Take over the provider's account, and let it begin a new one."""
        seen = await asyncio.to_thread(self.provider.seen)
        await asyncio.to_thread(self.provider.reset)
        for name, bill in bills(seen).items():
            known = self.bills.get(name)
            self.bills[name] = bill if known is None else known.plus(bill)

    async def _is_at_rest(self) -> bool:
        totals = await asyncio.to_thread(self.provider.totals)
        (row,) = await self.server.read(self.database, AT_REST)
        return bool(totals["running"] == 0 and row["leases"] == 0)


@contextlib.asynccontextmanager
async def staged(
    setting: Setting, server: Server, provider: Scripted, folder: Path, rng: random.Random
) -> AsyncIterator[Stage]:
    """Set a stage for a block. `folder` is for its clock."""
    stage = Stage(setting, server, await server.fresh(), provider)
    provider.reset()
    async with contextlib.AsyncExitStack() as stack:
        dsn = server.dsn(stage.database)
        if setting.has_proxy:
            proxy = Proxy(server.socket, rng)
            stage.weather = proxy.weather
            port = await stack.enter_async_context(proxy.serving())
            dsn = f"postgresql://gateway@127.0.0.1:{port}/{stage.database}"
        if setting.has_clock:
            stage.clock = folder / f"clock-{stage.database}"
            stage.step_clock(0)
        pepper = {"GATEWAY_TOKEN_PEPPER": secrets.token_hex(32)}
        for number in range(setting.replicas):
            replica = Replica(number, _config(setting, provider, dsn), pepper, stage.clock)
            stack.callback(replica.remove)
            stage.replicas.append(replica)
        await stage.replicas[0].start()  # migrates; the others find it done
        async with asyncio.TaskGroup() as group:
            for replica in stage.replicas[1:]:
                group.create_task(replica.start())
        yield stage


def _config(setting: Setting, provider: Scripted, dsn: str) -> Mapping[str, Any]:
    return {
        "database": dsn,
        "providers": {
            "stub": {"dialect": "openai", "base_url": provider.base_url, "key": provider.key}
        },
        "prices": dict.fromkeys((MODEL, *FAILING), PRICE),
        "models": {
            FALLING: {"targets": [{"model": name} for name in FAILING], "fallbacks": [MODEL]}
        },
        "limits": {
            "short_budget": "refuse",
            "month_usd": usd(setting.month_cap),
            "run_usd": "5",
            "timezone": setting.zone,
        },
        "ledger": {"lease_ttl": f"{LEASE_TTL_SECONDS}s"},
        "shutdown": {"grace": "5s"},
    }
