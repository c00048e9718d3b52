"""The fault suite: whole processes are killed, cut, frozen and stepped, and the money must add up.

    python -m tests.faults [--short] [--seed N] [--only NAME …] [--json FILE]

prints a line for each scenario and exits with 1 where something is broken. What a seed decides is
repeated by it: orders, faults and their times. What processes do in between is not; a seed that found
something may have to be tried more than once.
"""

import argparse
import itertools
import random
import sys
import tempfile
import traceback
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop

from tests.faults import report
from tests.faults.calls import FAILING, now
from tests.faults.database import Server, server
from tests.faults.report import Row
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.faults.scene import Found, Scene, Size
from tests.faults.stage import Setting, Stage, staged
from tests.process import standins
from tests.process.standins import Scripted

KILLS: Final = "random-kills"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is played: rounds of each scenario, each with a seed of its own."""

    size: Size
    kills: Size
    """Of the scenario that kills at random."""
    rounds: int
    kill_rounds: int

    def size_of(self, scenario: Scenario) -> Size:
        return self.kills if scenario.name == KILLS else self.size

    def rounds_of(self, scenario: Scenario) -> int:
        return self.kill_rounds if scenario.name == KILLS else self.rounds


SHORT: Final = Plan(Size(calls=150, kills=1), Size(calls=400, kills=4), rounds=1, kill_rounds=1)
LONG: Final = Plan(Size(calls=1_000, kills=1), Size(calls=6_000, kills=50), rounds=2, kill_rounds=4)


class Suite:
    """Plays scenarios on one server with one provider, and keeps what they came to."""

    def __init__(self, server: Server, provider: Scripted, folder: Path, command: str) -> None:
        self.rows: list[Row] = []
        self._server = server
        self._provider = provider
        self._folder = folder
        self._command = command

    async def play_round(self, plan: Plan, scenarios: Sequence[Scenario], seed: int) -> None:
        """Play scenarios; those that follow each other on one setting share a stage."""
        for setting, group in itertools.groupby(scenarios, lambda one: one.setting):
            waiting = deque(group)
            while waiting:
                await self._play_on(setting, waiting, plan, seed)

    async def _play_on(
        self, setting: Setting, waiting: deque[Scenario], plan: Plan, seed: int
    ) -> None:
        """Play on one stage until all have played, or one has broken off: the stage is unsafe then."""
        rng = seeded(seed, "stage")
        async with staged(setting, self._server, self._provider, self._folder, rng) as stage:
            is_safe = True
            while waiting and is_safe:
                scenario = waiting.popleft()
                is_safe = await self._play(stage, scenario, plan.size_of(scenario), seed)

    async def _play(self, stage: Stage, scenario: Scenario, size: Size, seed: int) -> bool:
        """Play one and report it; False where it broke off."""
        began = now()
        scene = Scene(stage, seeded(seed, scenario.name), scenario.name, size)
        try:
            await scenario.play(scene)
            found = await scene.judged(scenario.expected)
        except Exception as error:  # noqa: BLE001  # whatever it was, the others are still to be played
            found = Found.broken_off("".join(traceback.format_exception(error)))
        row = Row(scenario.name, str(seed), len(stage.replicas), now() - began, found)
        self.rows.append(row)
        print(report.line(row), flush=True)
        if not row.is_good:
            again = f"{self._command} --seed {seed} --only {scenario.name}"
            print("\n".join(report.problems(row, again)), flush=True)
        return found.is_complete


def _failing() -> Mapping[str, Any]:
    """Return what the models that fail are told for good, by the provider's own names."""
    return {name.partition("/")[2]: script for name, script in FAILING.items()}


def seeded(seed: int, name: str) -> random.Random:
    """Return the chance of one scenario: that of others doesn't change it."""
    return random.Random(f"{seed}:{name}")  # noqa: S311  # to be repeated, not to be secret


async def play(arguments: argparse.Namespace) -> list[Row]:
    """Play what is asked for, printing a line for each scenario as it ends."""
    plan = SHORT if arguments.short else LONG
    command = "python -m tests.faults" + (" --short" if arguments.short else "")
    wanted = [one for one in SCENARIOS if one.name in (arguments.only or {one.name})]
    print(report.head(), flush=True)
    with tempfile.TemporaryDirectory() as folder, standins.scripted(scripts=_failing()) as provider:
        async with server() as postgres:
            suite = Suite(postgres, provider, Path(folder), command)
            for number in range(max(plan.rounds, plan.kill_rounds)):
                scenarios = [one for one in wanted if plan.rounds_of(one) > number]
                await suite.play_round(plan, scenarios, arguments.seed + number)
    return suite.rows


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.faults")
    parser.add_argument("--short", action="store_true", help="at most 90 s on two idle cores")
    parser.add_argument("--seed", type=int, default=1)
    names = [one.name for one in SCENARIOS]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help="a scenario")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything found")
    return parser.parse_args()


def main() -> int:
    """Play, report, and return the exit code."""
    arguments = parsed()
    rows = uvloop.run(play(arguments))
    print(report.total(rows))
    if arguments.json is not None:
        report.write(rows, arguments.json)
    return int(not all(row.is_good for row in rows))


if __name__ == "__main__":
    sys.exit(main())
