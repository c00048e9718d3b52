"""The steps of a world, each of which says whether it could be made and what came of it.

What is sent to the database may be lost before it is carried out or after, arrive late, or twice; a
process may freeze, die, or be taken for dead and come back.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from gateway.core.budget import BudgetKey
from gateway.core.ids import ReplicaId
from tests.ledger.books import State
from tests.ledger.calls import Call, How, Wanted
from tests.ledger.process import TTL_S, Process
from tests.ledger.world import RUNS, Fate, World

T = TypeVar("T")


class Tally:
    """How often each kind of step was made, over all examples; what was caught, and when."""

    def __init__(self) -> None:
        self.steps = 0
        self.rules: Counter[str] = Counter()
        self.details: Counter[str] = Counter()
        self.caught: tuple[int, str] | None = None

    def catch(self, error: AssertionError) -> None:
        """Note the first failure."""
        if self.caught is None:
            self.caught = (self.steps, getattr(error, "claim", None) or str(error))

    def missed(self, least: Mapping[str, int]) -> list[str]:
        """Return what happened less often than it has to."""
        return [what for what, count in least.items() if self.details[what] < count]


def pick(number: int, among: Sequence[T]) -> T | None:
    """Return one of some things, or None of none."""
    return among[number % len(among)] if among else None


def some(thing: T | None) -> T:
    """Return what there is, by the precondition of a rule."""
    assert thing is not None
    return thing


class Steps:
    """Each step picks whom or what it is about among those that it could be about."""

    def __init__(self, world: World, tally: Tally) -> None:
        self.world = world
        self.tally = tally

    def did(self, name: str, detail: str = "") -> None:
        """Count a step that was made."""
        self.tally.rules[name] += 1
        if detail:
            self.saw(f"{name}: {detail}")

    def saw(self, what: str) -> None:
        """Count what came of a step."""
        self.tally.details[what] += 1

    def one(self, number: int, claim: Callable[[Process], object] = bool) -> Process | None:
        """Return one of the processes that are awake and of which something is so."""
        return pick(number, [each for each in self.world.awake if claim(each)])

    def call(
        self, number: int, claim: Callable[[Call], object] = bool
    ) -> tuple[Process, Call] | None:
        """Return one of the running calls of which something is so, and its process."""
        calls = [(each, c) for each in self.world.awake for c in each.calls if claim(c)]
        return pick(number, calls)

    def asking(self, slot: int, *, is_seen: bool) -> Process | None:
        """Return who has a grant under way that the database has (not) yet looked at."""
        alive = [each for each in self.world.alive if each.asking and not each.asking.answer]
        return pick(slot, [e for e in alive if (e.asking.balances is not None) is is_seen])

    @property
    def reclaimed(self) -> list[ReplicaId]:
        """Whose money is unsettled."""
        return [n for n, m in self.world.books.replicas.items() if m.state is State.RECLAIMED]

    @property
    def closed(self) -> set[str]:
        """The runs that are closed."""
        return {key.scope_id for key in RUNS if self.world.books.row(key).is_closed}

    @property
    def frozen(self) -> list[Process]:
        return [each for each in self.world.alive if each.is_frozen]

    # Calls

    def begin_a_call(  # noqa: PLR0913  # a call has so many sides
        self,
        who: int,
        run: BudgetKey | None,
        heard: int,
        spoken: int,
        whim: int,
        *,
        counts: bool,
        thinks: bool,
    ) -> None:
        process, world = some(self.one(who, has_room)), self.world
        keys = (world.month, *((run,) if run else ()), *((world.day,) if counts else ()))
        waiting = len(process.waiting)
        admitted = process.hold(Wanted(keys, heard, spoken, thinks), whim)
        what = "waits" if len(process.waiting) > waiting else "held"
        self.did("begin a call", what if admitted else "fenced")

    def send(self, which: int) -> None:
        _, call = some(self.call(which, is_unsent))
        call.send()
        self.did("send")

    def stream(self, which: int, tokens: int) -> None:
        process, call = some(self.call(which, is_sent))
        is_within = call.stream(tokens)
        self.did("stream", "" if is_within else "over the ceiling")
        if not is_within:
            process.end(call, call.end_over_ceiling())

    def end_a_call(self, which: int, how: How) -> None:
        process, call = some(self.call(which))
        self.world.end(process, call, how)
        self.did("end a call", how.value if call.is_sent else "before it was sent")

    def leave_while_waiting(self, who: int, which: int) -> None:
        process = some(self.one(who, has_waiting))
        asked = process.asking.waiting if process.asking else []
        waiter = pick(which, [*process.waiting, *process.put_off, *asked])
        if waiter is not None:
            process.leave(waiter)
            self.did("leave while waiting")

    # Grants

    def ask(self, who: int) -> None:
        process = some(self.one(who, can_ask))
        process.ask()
        self.did("ask")

    def look(self, slot: int, *, is_heard: bool) -> None:
        """The database works on while a process is frozen."""
        process = some(self.asking(slot, is_seen=False))
        if is_heard:
            self.world.look(process)
        else:
            process.ask_fails()
        self.did("look", "" if is_heard else "lost")

    def apply(self, slot: int, fate: Fate) -> None:
        process = some(self.asking(slot, is_seen=True))
        self.did("apply", self.world.apply(process, fate))

    def hear_a_grant(self, who: int, whim: int, *, patient: bool) -> None:
        process = some(self.one(who, is_answered))
        needs = len(process.asking.needs)
        process.hear_grant(whim, may_put_off=patient)
        self.did("hear a grant", "of several calls" if needs > 1 else "")
        if process.put_off:
            self.saw("put off")

    def ask_again(self, who: int) -> None:
        process = some(self.one(who, has_put_off))
        process.ask_again()
        self.did("ask again")

    # Flushes

    def flush(self, who: int, fate: Fate) -> None:
        """Draw one where none is under way, or send that one again."""
        process = some(self.one(who, has_to_flush))
        is_repeated = process.flush is not None
        if not is_repeated:
            process.draw()
        if process.flush is not None:
            self._send(process, fate, is_repeated=is_repeated)
            self.did("flush")

    def flush_twice(self, who: int) -> None:
        """Two in a row, heard of as the first is."""
        process = some(self.one(who, is_flushing))
        self._send(process, Fate.UNHEARD, is_repeated=True)
        self._send(process, Fate.DONE, is_repeated=True)
        self.did("flush twice")

    def hear_a_flush(self, who: int) -> None:
        process = some(self.one(who, is_flushed))
        process.hear_flush(process.flush.answer)
        self.did("hear a flush")

    def arrive_late(self, which: int, *, again: bool) -> None:
        """What was given up arrives, and perhaps once more later."""
        late = some(pick(which, self.world.late))
        did = self.world.arrive(late)
        if not again:
            self.world.late = [each for each in self.world.late if each is not late]
        kind = "grant" if late.grants else "flush"
        self.did("arrive late", f"{kind} {'done' if did else 'ignored'}")

    def _send(self, process: Process, fate: Fate, *, is_repeated: bool) -> None:
        sequence = process.flush.sequence
        is_booked = self.world.books.replicas[process.name].sequence >= sequence
        was = self.world.send_flush(process, fate)
        self.saw(f"flush: {fate.name.lower()}")
        if is_repeated and was is not None:
            self.saw(f"repeat a flush: {'already booked' if is_booked else 'not booked yet'}")
        if was in {State.RECLAIMED, State.RESOLVED}:
            self.saw(f"flush of a {was} replica: {'again' if is_booked else 'new'}")

    # Time, death and coming back

    def renew(self, who: int, *, is_heard: bool) -> None:
        process = some(self.one(who))
        was = self.world.books.replicas[process.name].state
        if is_heard:
            self.world.renew(process)
            self.did("renew", f"{was}")
        else:
            process.fence.lost("")
            self.did("renew", "lost")

    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)
        self.did("wait")

    def reclaim(self) -> None:
        dead = self.world.books.reclaim(TTL_S)
        names = {each.name for each in self.world.alive}
        for name in dead:
            self.did("reclaim", "cut off" if name in names else "dead")

    def resolve(self, which: int, *, exact: bool) -> None:
        name = some(pick(which, self.reclaimed))
        is_alive = any(each.name == name for each in self.world.alive)
        self.world.resolve(name, is_exact=exact)
        self.did("resolve", "cut off" if is_alive else "dead")

    def freeze(self, who: int, *, pauses: bool) -> None:
        """Its process stops, or its whole machine with its clock."""
        process = some(self.one(who))
        process.is_frozen, process.clock.is_paused = True, pauses
        self.did("freeze", "with its clock" if pauses else "")

    def thaw(self, which: int) -> None:
        process = some(pick(which, self.frozen))
        process.is_frozen = process.clock.is_paused = False
        self.did("thaw")

    def crash(self, which: int, *, arrives: bool, both: bool) -> None:
        alive = self.world.alive
        victims = alive if both else [some(pick(which, alive))]
        for process in victims:
            busy = "with calls" if process.calls else ""
            self.world.crash(process, arrives=arrives)
            self.did("crash", busy)

    def start(self) -> None:
        self.world.slots[self.world.slots.index(None)] = self.world.born()
        self.did("start")

    def stop(self, who: int) -> None:
        process = some(self.one(who))
        is_retired = process.fence.retired.is_set()
        self.world.stop(process)
        self.did("stop", "retired" if is_retired else "")

    def rest(self) -> None:
        for process in self.world.awake:
            self.world.rest(process)
            self.did("rest")

    # Caps, runs and periods

    def change_a_cap(self, which: int, cap: int | None) -> None:
        key = some(pick(which, [self.world.month, *RUNS, self.world.day]))
        cap = 100 if key in RUNS and cap is None else cap
        before = self.world.books.row(key).cap
        self.world.books.put_cap(key, cap)
        self.did("change a cap", _change(before, cap))

    def recall(self, who: int, which: int) -> None:
        """Another replica lacks what this one does not hold, or a cap was lowered."""
        process = some(self.one(who, has_slack))
        keys = [key for key, lease in process.leases.items() if lease.available > 0]
        process.recall(keys if which == 0 else [some(pick(which, keys))])
        self.did("recall", "with calls" if process.calls else "")

    def close_a_run(self, which: int) -> None:
        key = some(pick(which, RUNS))
        if not self.world.books.row(key).is_closed:
            self.world.books.close_run(key)
            self.did("close a run")

    def hear_of_a_closed_run(self, who: int) -> None:
        some(self.one(who)).closing |= self.closed
        self.did("hear of a closed run")

    def roll_over(self) -> None:
        running = any(each.calls for each in self.world.alive)
        self.world.period += 1
        self.did("roll over", "with calls" if running else "")


def is_unsent(call: Call) -> bool:
    return not call.is_sent


def is_sent(call: Call) -> bool:
    return call.is_sent


def has_room(process: Process) -> bool:
    """Return whether another call would leave anything else to do."""
    return len(process.waiting) < 3 and len(process.calls) < 5


def has_to_flush(process: Process) -> bool:
    if process.flush is not None or process.traces or process.doubted:
        return True
    return any(lease.leased or lease.spent for _, lease in process.leases.items())  # noqa: PERF102  # no dict


def has_waiting(process: Process) -> bool:
    return bool(process.waiting or process.put_off or process.asking)


def can_ask(process: Process) -> bool:
    return process.can_ask


def is_answered(process: Process) -> bool:
    return process.asking is not None and process.asking.answer is not None


def has_put_off(process: Process) -> bool:
    return bool(process.put_off)


def is_flushing(process: Process) -> bool:
    return process.flush is not None


def is_flushed(process: Process) -> bool:
    return process.flush is not None and process.flush.answer is not None


def has_slack(process: Process) -> bool:
    return any(lease.available > 0 for _, lease in process.leases.items())  # noqa: PERF102  # no dict


def _change(before: int | None, after: int | None) -> str:
    if after is None:
        return "deleted"
    if before is None:
        return "set"
    return "raised" if after > before else "lowered"
