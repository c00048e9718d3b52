"""The long form of the ledger's state machine: `python -m tests.faults.machine`.

Tries the core in so many steps, prints what was tried and how often, then breaks the core in each of
some ways and prints how many steps it took to notice. Exits with 1 if an invariant broke, or if a
broken core went unnoticed.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Mapping

from tests.ledger.machine import explore, machine, steps_until_caught
from tests.ledger.mutations import FURTHER, REQUIRED, Mutation
from tests.ledger.steps import Tally


def main() -> int:
    asked = _arguments()
    is_sound = _try_the_core(asked.steps, asked.seed)
    are_caught = _break_the_core({**REQUIRED, **FURTHER}, asked.steps, asked.seed)
    return 0 if is_sound and are_caught else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.machine", description=__doc__)
    parser.add_argument(
        "--steps", type=int, default=20_000, help="steps to try (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="the same tries the same (default: 1)")
    return parser.parse_args()


def _try_the_core(steps: int, seed: int) -> bool:
    """Explore until so many steps were made, whatever number of examples that takes."""
    tally, began, rounds = Tally(), time.monotonic(), 0
    try:
        while tally.steps < steps:
            explore(machine(tally), steps=steps - tally.steps, number=seed + rounds * 1_000_003)
            rounds += 1
    except Exception as error:  # noqa: BLE001  # whatever it is, the core is not sound
        _say(f"BROKEN after {tally.steps} steps: {error!r}")
    passed_s = time.monotonic() - began
    _say(f"core: {tally.steps} steps in {passed_s:.1f} s, seed {seed}, caught: {tally.caught}")
    _table(tally.rules)
    _table(tally.details)
    return tally.caught is None


def _break_the_core(mutations: Mapping[str, Mutation], most: int, seed: int) -> bool:
    are_caught = True
    for name, mutation in mutations.items():
        tally = steps_until_caught(mutation, at_most=most, number=seed)
        after = (
            "NOT CAUGHT"
            if tally.caught is None
            else "caught after {} steps: {}".format(*tally.caught)
        )
        _say(f"mutation {name!r}: {after}")
        are_caught &= tally.caught is not None
    return are_caught


def _table(counts: Counter[str]) -> None:
    for name, count in counts.most_common():
        _say(f"  {count:7,}  {name}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
