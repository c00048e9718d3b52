"""The ledger in any order of calls, grants, flushes, losses and deaths: two replicas, one database.

This is the short form of `python -m tests.faults.machine`. What it reaches is counted: a machine that
never gets where things go wrong proves nothing.
"""

import pytest

from tests.ledger.machine import explore, machine, steps_until_caught
from tests.ledger.mutations import FURTHER, REQUIRED, Mutation
from tests.ledger.steps import Tally

SEED = 4
ROUNDS = 3
"""What a seed draws depends on the code that is loaded; one round is nearly always enough."""
MUTATIONS = {**REQUIRED, **FURTHER}
REACHED = {
    "begin a call: held": 20,
    "begin a call: fenced": 80,
    "hear a grant: of several calls": 30,
    "put off": 15,
    "apply: granted": 100,
    "apply: unheard": 10,
    "apply: late": 10,
    "apply: overtaken": 2,
    "arrive late: grant done": 10,
    "arrive late: flush done": 2,
    "end a call: complete, with usage": 5,
    "end a call: cut by its client": 5,
    "end a call: killed": 5,
    "end a call: bills beyond its bound": 3,
    "stream: over the ceiling": 5,
    "crash: with calls": 3,
    "reclaim: dead": 10,
    "reclaim: cut off": 20,
    "resolve: dead": 5,
    "resolve: cut off": 2,
    "repeat a flush: already booked": 30,
    "repeat a flush: not booked yet": 15,
    "flush of a reclaimed replica: new": 8,
    "recall: with calls": 20,
    "change a cap: lowered": 10,
    "roll over: with calls": 3,
}
"""How often each of these must at least have happened in the short form."""


def test_no_order_of_steps_breaks_an_invariant():
    tally = Tally()
    for number in range(SEED, SEED + ROUNDS):
        explore(machine(tally), steps=10_000, number=number, makes_small=True)
        if not tally.missed(REACHED):
            break
    assert tally.steps >= 8_000
    assert not tally.missed(REACHED), tally.details


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_core_is_noticed(name: str):
    mutation: Mutation = MUTATIONS[name]
    tally = steps_until_caught(mutation, at_most=20_000, number=SEED)
    assert tally.caught is not None, f"not noticed in {tally.steps} steps"
