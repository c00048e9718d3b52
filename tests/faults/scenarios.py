"""Every fault that the ledger must survive, each as a scenario.

A scenario says who pays, makes the fault happen while calls are made, and exhausts the caps that it
can. What must hold in the end is the same for all of them (`truth.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from tests.faults.calls import FALLING, NUSD, Payer, now, usd
from tests.faults.load import MEAN_NUSD, Load, Mix
from tests.faults.scene import Scene
from tests.faults.stage import LEASE_TTL_SECONDS, Setting
from tests.faults.truth import Expected, Key

ZONE: Final = "Asia/Kathmandu"
"""UTC+05:45: its months begin at no full hour of UTC."""
MONTH_CAP: Final = 1_000 * int(NUSD)
PLAIN: Final = Setting(replicas=3, month_cap=MONTH_CAP)
FOUR: Final = Setting(replicas=4, month_cap=MONTH_CAP)
TROUBLED: Final = Setting(
    replicas=2, month_cap=MONTH_CAP, has_proxy=True, has_clock=True, zone=ZONE
)
"""Between the replicas and PostgreSQL is a proxy, and their wall clocks can be stepped."""

HEARD_SECONDS: Final = 0.3
"""Until all replicas have heard that a cap was changed."""

SLACK_SECONDS: Final = 1.0
"""Until what replicas had leased before a cap was lowered has gone back, used or not."""

Play = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A fault, where it plays, and what may be expected."""

    name: str
    setting: Setting
    play: Play
    expected: Expected = field(default_factory=Expected)


async def small_cap(scene: Scene) -> None:
    """All replicas share one small cap that many clients want at once."""
    shared, own = await scene.payer(scene.tight()), await scene.payer(None, scene.tight(0.2))
    await scene.quietly(scene.load([shared, shared, own]), clients=40)
    await scene.exhaust(shared)
    await scene.exhaust(own)


async def disconnects(scene: Scene) -> None:
    """Clients leave at every stage."""
    payer = await scene.payer(scene.tight(0.8))
    await scene.quietly(scene.load([payer], Mix(leaving=0.6)))
    await scene.exhaust(payer)


async def same_run_twice(scene: Scene) -> None:
    """Two projects have a run of the same name, each with a cap of its own."""
    one = await scene.payer(scene.tight(0.3), run="nightly")
    other = await scene.payer(scene.tight(0.15), run="nightly")
    await scene.quietly(scene.load([one, other]))
    await scene.exhaust(one)
    await scene.exhaust(other)


async def caps_change(scene: Scene) -> None:
    """A project's cap is lowered below what was spent, raised, and taken back, under load."""
    payer = await scene.payer(None)
    path, key = f"/budgets/project/{payer.token.project}", Key("project", payer.token.project)
    highest = scene.tight(2)
    await _put(scene, path, highest)
    load = scene.load([payer])

    async def change() -> None:
        await _until_made(scene, load, 0.4)
        await _put(scene, path, scene.tight(0.05))
        bound = now() + SLACK_SECONDS
        await scene.pause(1.6, 2.0)
        raised = now()
        served = [one for one in load.made if one.heard.status == 200]
        late = [one for one in served if bound < one.started < raised]
        scene.claim(not late, f"{len(late)} calls admitted though the cap is below what is spent")
        await _put(scene, path, scene.tight(1.5))
        await _until_made(scene, load, 0.4)

    await scene.meanwhile(load, change)
    await scene.exhaust(payer, key)
    await scene.settle(key)
    await scene.stage.call_admin("DELETE", f"{path}?window=total")
    await scene.pause(HEARD_SECONDS, 2 * HEARD_SECONDS)
    after = scene.load([payer])
    await after.run(lambda: len(after.made) < 10, 2)
    refused = sum(one.is_refused for one in after.made)
    scene.claim(refused == 0, f"{refused} calls refused though the cap was taken back")


async def provider_misbehaves(scene: Scene) -> None:
    """The provider ignores max_tokens, reports usage never, twice or always, bills more, and breaks."""
    payer = await scene.payer(scene.tight(2))
    mix = Mix(
        leaving=0.1,
        scripts=(
            {},
            {"ignore_max_tokens": True, "tokens": 300, "chunk_after": 0.005},
            {"usage": "never"},
            {"usage": "twice"},
            {"usage": "each"},
            {"extra_billed_tokens": 400},
            {"status": 500},
            {"status": 429},
            {"ending": "reset"},
            {"ending": "close", "ending_after": -1},
        ),
    )
    await scene.quietly(scene.load([payer], mix))
    await scene.exhaust(payer)


async def fallbacks(scene: Scene) -> None:
    """The first model fails, unbilled or after it has produced; its fallback serves, or fails as well."""
    payer = await scene.payer(None, scene.tight(3))  # a run would always draw the same model
    mix = Mix(leaving=0.1, model=FALLING)
    await scene.quietly(scene.load([payer], mix))
    await scene.exhaust(payer)


async def replica_killed(scene: Scene) -> None:
    """kill -9 of one replica under load; it is started again."""
    payers = [await scene.payer(scene.tight(0.4)), await scene.payer(scene.tight(2))]

    async def kill() -> None:
        await scene.pause(0.3, 0.8)
        victim = scene.rng.choice(scene.stage.living)
        await scene.stage.kill(victim)
        await victim.start()

    await scene.meanwhile(scene.load(payers), kill)


async def all_killed(scene: Scene) -> None:
    """kill -9 of all replicas at once."""
    payers = [await scene.payer(scene.tight(0.4)), await scene.payer(scene.tight(2))]

    async def kill() -> None:
        await scene.pause(0.3, 0.8)
        async with asyncio.TaskGroup() as group:
            for replica in scene.stage.replicas:
                group.create_task(scene.stage.kill(replica))
        async with asyncio.TaskGroup() as group:
            for replica in scene.stage.replicas:
                group.create_task(replica.start())

    await scene.meanwhile(scene.load(payers), kill)


async def random_kills(scene: Scene) -> None:
    """Replicas are killed at random instants, one after the other, and started again.

    Each few hundred calls have a run of their own, so that many caps are used up meanwhile.
    """
    payer = await scene.payer(None)
    each = 200

    def rolling(number: int) -> Payer:
        return Payer(payer.token, f"run-{number // each}", each * MEAN_NUSD * 2 // 3)

    async def kill() -> None:
        for _ in range(scene.size.kills):
            await scene.pause(0.0, 0.7)
            victim = scene.rng.choice(scene.stage.living)
            await scene.stage.kill(victim)
            await scene.pause(0.0, 0.2)
            await victim.start()

    await scene.meanwhile(scene.load_for(rolling), kill, clients=12)


async def replica_frozen(scene: Scene) -> None:
    """SIGSTOP of a replica for longer than it takes to be taken for dead, then SIGCONT."""
    payers = [await scene.payer(scene.tight(0.3)), await scene.payer(scene.tight(2))]

    async def freeze() -> None:
        await scene.pause(0.2, 0.5)
        victim = scene.rng.choice(scene.stage.living)
        victim.freeze()
        await scene.pause(3.2 * LEASE_TTL_SECONDS, 3.6 * LEASE_TTL_SECONDS)
        victim.thaw()
        await scene.pause(0.5, 1.0)

    await scene.meanwhile(scene.load(payers), freeze, clients=8)
    await scene.exhaust(payers[0])


async def database_killed(scene: Scene) -> None:
    """kill -9 of PostgreSQL, which recovers."""
    payer = await scene.payer(scene.tight())

    async def kill() -> None:
        await scene.pause(0.3, 0.8)
        await scene.stage.server.kill()
        await scene.stage.server.start_again()
        await _admits(scene)

    await scene.meanwhile(scene.load([payer]), kill)
    await _exhaust_at_rest(scene, payer)


async def database_stopped(scene: Scene) -> None:
    """PostgreSQL is shut down for longer than a lease."""
    payer = await scene.payer(scene.tight())

    async def stop() -> None:
        await scene.pause(0.2, 0.5)
        await scene.stage.server.stop()
        await scene.pause(1.5 * LEASE_TTL_SECONDS, 2.5 * LEASE_TTL_SECONDS)
        await scene.stage.server.start_again()
        await _admits(scene)

    await scene.meanwhile(scene.load([payer]), stop, clients=8)
    await _exhaust_at_rest(scene, payer)


async def database_frozen(scene: Scene) -> None:
    """PostgreSQL keeps its connections and answers nothing, for longer than a lease."""
    payer = await scene.payer(scene.tight())

    async def freeze() -> None:
        await scene.pause(0.2, 0.5)
        scene.stage.server.freeze()
        await scene.pause(1.5 * LEASE_TTL_SECONDS, 2.5 * LEASE_TTL_SECONDS)
        scene.stage.server.thaw()
        await _admits(scene)

    await scene.meanwhile(scene.load([payer]), freeze, clients=8)
    await _exhaust_at_rest(scene, payer)


async def commits_cut(scene: Scene) -> None:
    """Connections to PostgreSQL are cut after a request reached it, before its answer passes."""
    payer = await scene.payer(scene.tight())
    weather = scene.stage.weather

    async def cut() -> None:
        weather.cut_each, before = 3, weather.cuts
        await scene.pause(2.0, 3.0)
        weather.cut_each = 0
        scene.claim(weather.cuts > before, "no request was cut")
        await _admits(scene)

    await scene.meanwhile(scene.load([payer]), cut)
    await _exhaust_at_rest(scene, payer)


async def database_slow(scene: Scene) -> None:
    """Each statement takes a second."""
    payer = await scene.payer(scene.tight(0.3))
    weather = scene.stage.weather

    async def slow() -> None:
        weather.delay = 1.0
        await scene.pause(4.0, 4.5)
        weather.delay = 0.0
        await _admits(scene)

    await scene.meanwhile(scene.load([payer]), slow, clients=8)
    await _exhaust_at_rest(scene, payer)


async def clock_steps(scene: Scene) -> None:
    """The wall clock is put forward and back by up to an hour."""
    payer = await scene.payer(scene.tight())

    async def step() -> None:
        for hours in (1, -1, scene.rng.uniform(-1, 1), 0):
            await scene.pause(0.3, 0.6)
            scene.stage.step_clock(hours * 3600)

    await scene.meanwhile(scene.load([payer]), step)
    await scene.exhaust(payer)


async def month_end(scene: Scene) -> None:
    """A month ends, in another zone than UTC, while the workspace's small cap is asked for."""
    scene.stage.step_clock(_until_month_end() - 2.0)
    month = (await scene.books(1.0)).truth(Key("workspace", "", _month(scene))).billed
    cap = usd(month + scene.tight(0.4))
    await scene.stage.call_admin("PUT", "/budgets/workspace/-", {"cap_usd": cap})
    payer = await scene.payer(None)
    first = _month(scene)

    async def turn() -> None:
        await scene.pause(3.0, 3.5)

    await scene.meanwhile(scene.load([payer]), turn)
    scene.claim(_month(scene) != first, "the month did not end")
    books = await scene.books(1.0)
    months = {key: b.spent for key, b in books.budgets.items() if key.scope == "workspace"}
    scene.claim(all(months.values()) and len(months) == 2, f"not both months were used: {months}")
    await scene.settle(*months)
    await scene.stage.call_admin("DELETE", "/budgets/workspace/-")
    scene.stage.step_clock(0)


def _until_month_end() -> float:
    """Return the seconds from now to the end of a month in `ZONE`."""
    local = datetime.now(ZoneInfo(ZONE))  # noqa: TID251  # the clock that is stepped
    following = (local.replace(day=1) + timedelta(days=32)).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    return (following - local).total_seconds()


def _month(scene: Scene) -> str:
    """Return the period that the stepped clock is in."""
    assert scene.stage.clock is not None
    offset = timedelta(seconds=float(scene.stage.clock.read_text()))
    local = (datetime.now(UTC) + offset).astimezone(ZoneInfo(ZONE))  # noqa: TID251  # see above
    return local.strftime("%Y-%m-01")


async def _put(scene: Scene, path: str, cap: int) -> None:
    """Set a project's cap for good, in nano-dollars."""
    await scene.stage.call_admin("PUT", path, {"cap_usd": usd(cap), "window": "total"})
    await scene.pause(HEARD_SECONDS, HEARD_SECONDS)


async def _until_made(scene: Scene, load: Load, share: float) -> None:
    """Wait until so many more of the scene's calls were made."""
    goal = len(load.made) + scene.size.calls * share
    while len(load.made) < goal:
        await scene.pause(0.02, 0.03)


async def _exhaust_at_rest(scene: Scene, payer: Payer) -> None:
    """Spend what is left once what a grant carried out late has leased came back."""
    await scene.stage.rest()
    await scene.exhaust(payer)


async def _admits(scene: Scene) -> None:
    """Wait until every replica would admit again."""
    for replica in scene.stage.living:
        while not await replica.is_ready():
            await scene.pause(0.05, 0.1)


SCENARIOS: Final = (
    Scenario("small-cap", PLAIN, small_cap),
    Scenario("disconnects", PLAIN, disconnects),
    Scenario("same-run-twice", PLAIN, same_run_twice),
    Scenario("caps-change", PLAIN, caps_change),
    Scenario(
        "provider-misbehaves",
        PLAIN,
        provider_misbehaves,
        Expected(passed_statuses=frozenset({429, 500, 502})),
    ),
    Scenario("fallbacks", PLAIN, fallbacks, Expected(passed_statuses=frozenset({502, 503}))),
    Scenario("replica-frozen", PLAIN, replica_frozen),
    Scenario("database-killed", PLAIN, database_killed),
    Scenario("database-stopped", PLAIN, database_stopped),
    Scenario("database-frozen", PLAIN, database_frozen),
    Scenario("replica-killed", PLAIN, replica_killed),
    Scenario("all-killed", PLAIN, all_killed),
    Scenario("random-kills", FOUR, random_kills),
    Scenario("commits-cut", TROUBLED, commits_cut),
    Scenario("database-slow", TROUBLED, database_slow),
    Scenario("clock-steps", TROUBLED, clock_steps),
    Scenario("month-end", TROUBLED, month_end),
)
