"""Two replicas, one database, a provider: every interleaving that hypothesis can think of.

Hypothesis draws a number for each step. It stands for one of the steps that can be made now, and for
what that is about, so that steps can be left out when a failure is made small. After each,
`truth.check` is asked. Faults that an example does without are chosen at its start.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from random import Random
from typing import ClassVar, Final

import msgspec
from hypothesis import HealthCheck, Phase, Verbosity, note, seed, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.ledger.books import Books
from tests.ledger.calls import How
from tests.ledger.mutations import Mutation
from tests.ledger.process import TTL_S
from tests.ledger.steps import (
    Steps,
    Tally,
    can_ask,
    has_put_off,
    has_room,
    has_slack,
    has_to_flush,
    has_waiting,
    is_answered,
    is_flushed,
    is_flushing,
    is_sent,
    is_unsent,
)
from tests.ledger.world import RUNS, Fate, World

SEEDS: Final = st.integers(0, 2**32 - 1)
PICKS: Final = range(8)
YES_NO: Final = (False, True)
MOSTLY: Final = (True,) * 7 + (False,)
RARELY: Final = (False,) * 7 + (True,)
FATES: Final = (*(Fate.DONE,) * 6, *Fate)
TOKENS: Final = (1, 2, 3, 5, 8, 40)
SECONDS: Final = (0.06, 0.06, 0.3, 1.1, 1.1, 5.0, 16.0, 31.0, 31.0)
HOW: Final = (*How, How.REPORTED, How.REPORTED, How.CLIENT, How.KILLED, How.BEYOND)
CAPS: Final = (250, 150, 80, 40, 0, None)


class Step(msgspec.Struct, frozen=True):
    """A step that may be chosen: how readily, when it can be made, and what it is told."""

    make: Callable[..., None]
    weight: int
    can: Callable[[Steps], object]
    arguments: Mapping[str, Sequence[object]] = msgspec.field(default_factory=dict)
    is_fault: bool = False

    @property
    def name(self) -> str:
        return self.make.__name__.replace("_", " ")


STEPS: Final = (
    Step(
        Steps.begin_a_call,
        30,
        lambda s: s.one(0, has_room),
        {
            "who": PICKS,
            "run": (*RUNS, None),
            "counts": YES_NO,
            "heard": range(1, 11),
            "spoken": range(1, 16),
            "thinks": YES_NO,
            "whim": range(100),
        },
    ),
    Step(Steps.send, 40, lambda s: s.call(0, is_unsent), {"which": PICKS}),
    Step(Steps.stream, 25, lambda s: s.call(0, is_sent), {"which": PICKS, "tokens": TOKENS}),
    Step(Steps.end_a_call, 30, lambda s: s.call(0), {"which": PICKS, "how": HOW}),
    Step(
        Steps.leave_while_waiting,
        2,
        lambda s: s.one(0, has_waiting),
        {"who": PICKS, "which": PICKS},
    ),
    Step(Steps.ask, 50, lambda s: s.one(0, can_ask), {"who": PICKS}),
    Step(Steps.look, 50, lambda s: s.asking(0, is_seen=False), {"slot": PICKS, "is_heard": MOSTLY}),
    Step(Steps.apply, 40, lambda s: s.asking(0, is_seen=True), {"slot": PICKS, "fate": FATES}),
    Step(
        Steps.hear_a_grant,
        60,
        lambda s: s.one(0, is_answered),
        {"who": PICKS, "whim": range(100), "patient": YES_NO},
    ),
    Step(Steps.ask_again, 15, lambda s: s.one(0, has_put_off), {"who": PICKS}),
    Step(Steps.flush, 40, lambda s: s.one(0, has_to_flush), {"who": PICKS, "fate": FATES}),
    Step(Steps.hear_a_flush, 20, lambda s: s.one(0, is_flushed), {"who": PICKS}),
    Step(Steps.flush_twice, 4, lambda s: s.one(0, is_flushing), {"who": PICKS}, is_fault=True),
    Step(Steps.arrive_late, 8, lambda s: s.world.late, {"which": PICKS, "again": YES_NO}),
    Step(Steps.renew, 5, lambda s: s.one(0), {"who": PICKS, "is_heard": MOSTLY}),
    Step(Steps.wait, 8, lambda s: True, {"seconds": SECONDS}),
    Step(Steps.reclaim, 16, lambda s: s.world.books.silent(TTL_S), is_fault=True),
    Step(
        Steps.resolve,
        6,
        lambda s: s.reclaimed,
        {"which": PICKS, "exact": YES_NO},
        is_fault=True,
    ),
    Step(Steps.freeze, 2, lambda s: s.one(0), {"who": PICKS, "pauses": YES_NO}, is_fault=True),
    Step(Steps.thaw, 8, lambda s: s.frozen, {"which": PICKS}),
    Step(
        Steps.crash,
        2,
        lambda s: s.world.alive,
        {"which": PICKS, "arrives": YES_NO, "both": RARELY},
        is_fault=True,
    ),
    Step(Steps.start, 40, lambda s: None in s.world.slots),
    Step(Steps.stop, 2, lambda s: s.one(0), {"who": PICKS}, is_fault=True),
    Step(Steps.rest, 1, lambda s: s.one(0)),
    Step(Steps.change_a_cap, 2, lambda s: True, {"which": PICKS, "cap": CAPS}, is_fault=True),
    Step(Steps.recall, 8, lambda s: s.one(0, has_slack), {"who": PICKS, "which": PICKS}),
    Step(
        Steps.close_a_run, 1, lambda s: len(s.closed) < len(RUNS), {"which": PICKS}, is_fault=True
    ),
    Step(Steps.hear_of_a_closed_run, 4, lambda s: s.one(0) and s.closed, {"who": PICKS}),
    Step(Steps.roll_over, 2, lambda s: s.world.period < 2, is_fault=True),
)
_FAULTS: Final = tuple(each.name for each in STEPS if each.is_fault)


class Ledger(RuleBasedStateMachine):
    """The world, a step at a time."""

    tally: ClassVar[Tally] = Tally()
    make_books: ClassVar[Callable[[], Books]] = Books

    def __init__(self) -> None:
        super().__init__()
        self.steps = Steps(World(type(self).make_books()), self.tally)
        self.number = 0
        self.seen: Counter[int] = Counter()
        self.without: frozenset[str] = frozenset()

    @initialize(number=SEEDS, without=st.frozensets(st.sampled_from(_FAULTS), max_size=5))
    def choose(self, number: int, without: frozenset[str]) -> None:
        self.number, self.without = number, without

    @rule(number=SEEDS)
    def step(self, number: int) -> None:
        """Make a step that `number` stands for: another one each time, as some are drawn often."""
        self.seen[number] += 1
        chance = Random(f"{self.number} {number} {self.seen[number]}")  # noqa: S311
        able = [s for s in STEPS if s.name not in self.without and s.can(self.steps)]
        [chosen] = chance.choices(able, [step.weight for step in able])
        values = {name: chance.choice(options) for name, options in chosen.arguments.items()}
        note(f"{chosen.name}: {values}")
        counts = self.tally.rules
        before = counts.total()
        with self.noting():
            chosen.make(self.steps, **values)
        self.tally.steps += counts.total() > before

    @invariant()
    def all_is_as_it_must_be(self) -> None:
        with self.noting():
            self.steps.world.check()

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note the first failure in the tally."""
        try:
            yield
        except AssertionError as error:
            self.tally.catch(error)
            raise


def machine(tally: Tally, make_books: Callable[[], Books] = Books) -> type[Ledger]:
    """Return a machine that counts in a tally, on databases that are made so."""
    return type("Ledger", (Ledger,), {"tally": tally, "make_books": staticmethod(make_books)})


def explore(
    chosen: type[Ledger],
    *,
    steps: int,
    number: int,
    steps_each: int = 100,
    makes_small: bool = False,
) -> None:
    """Try about so many steps, in examples of `steps_each`; the same `number` tries the same.

    Raises what the first broken invariant raised; `makes_small`: and prints the fewest steps to it.
    """
    rules = settings(
        max_examples=-(-steps // steps_each),
        stateful_step_count=steps_each,
        deadline=None,
        database=None,
        derandomize=False,
        phases=[Phase.generate, *([Phase.shrink] if makes_small else [])],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.normal if makes_small else Verbosity.quiet,
    )
    run_state_machine_as_test(seed(number)(chosen), settings=rules)


def steps_until_caught(
    mutation: Mutation,
    *,
    at_most: int,
    number: int,
    make_books: Callable[[], Books] = Books,
) -> Tally:
    """Try the machine on a broken core and return what was done, and caught."""
    tally = Tally()
    with mutation(), suppress(AssertionError):
        explore(machine(tally, make_books), steps=at_most, number=number)
    return tally
