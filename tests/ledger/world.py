"""The world of a ledger under test: processes, a database, and the messages between them.

Each method is one step, between which anything else may happen. What a message's fate is, and who
acts next, is decided by whoever calls: `machine.py`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from gateway.core.budget import BudgetKey, FlushLine, GrantAnswer, Scope, Window
from gateway.core.ids import ReplicaId
from gateway.errors import LedgerUnavailable, ReplicaRetired
from tests.ledger.books import Books, State
from tests.ledger.calls import Call, How
from tests.ledger.process import Flush, Process
from tests.ledger.truth import Past, View, check, check_quiet, check_stopped

PERIODS = (("2026-11-01", "2026-11-30"), ("2026-12-01", "2026-12-01"), ("2027-01-01", "2027-01-01"))
"""First days of months, and a day of each."""
RUNS = tuple(BudgetKey(Scope.RUN, run, Window.TOTAL, "") for run in ("r1", "r2"))
RUN_CAPS = (150, 60)
MONTH_CAP = 200
"""A few calls each, so that most of what happens happens near a cap."""


class Fate(StrEnum):
    """What becomes of a request to the database."""

    DONE = "done"
    SLOW = "done, and heard of later"
    UNHEARD = "done, but the answer is lost"
    LOST = "lost"
    LATE = "given up, and done later"


class Late(msgspec.Struct, frozen=True):
    """What is still on its way to the database, though nobody waits for it: a grant, or a flush."""

    process: Process
    grants: Mapping[BudgetKey, int]
    sequence: int = 0
    lines: Sequence[FlushLine] = ()


class World:
    """Two slots for replicas on one database. `None` in a slot: nobody runs there."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.everyone: list[Process] = []
        self.late: list[Late] = []
        self.resolved: Counter[BudgetKey] = Counter()
        self.period = 0
        self.now = 0.0
        self.past = Past()
        self.books.put_cap(self.month, MONTH_CAP)
        for run, cap in zip(RUNS, RUN_CAPS, strict=True):
            self.books.open_run(run, cap)
        self.slots: list[Process | None] = [self.born(), self.born()]

    @property
    def month(self) -> BudgetKey:
        """The workspace's budget of this month."""
        return BudgetKey(Scope.WORKSPACE, "", Window.MONTH, PERIODS[self.period][0])

    @property
    def day(self) -> BudgetKey:
        """A project's budget of this day."""
        return BudgetKey(Scope.PROJECT, "p", Window.DAY, PERIODS[self.period][1])

    @property
    def alive(self) -> list[Process]:
        return [each for each in self.slots if each is not None]

    @property
    def awake(self) -> list[Process]:
        """Those that do anything now."""
        return [each for each in self.alive if not each.is_frozen]

    def view(self) -> View:
        return View(self.books.rows, self.books.replicas, self.alive, self.everyone, self.resolved)

    def check(self) -> None:
        """Raise AssertionError if anything is not as it must be."""
        check(self.view(), self.past)

    def born(self) -> Process:
        """Start a replica that was never there before."""
        number = len(self.everyone) + 1
        process = Process(ReplicaId(f"00000000-0000-7000-8000-{number:012}"), self.now)
        self.everyone.append(process)
        self.books.register(process.name)
        return process

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.books.wait(seconds)
        for process in self.alive:
            process.clock.wait(seconds)

    def look(self, process: Process) -> None:
        """Carry out a grant's first statement."""
        asking = process.asking
        assert asking is not None
        keys = {key for need in asking.needs for key in need.amounts} | asking.wishes.keys()
        try:
            asking.balances = self.books.look(process.name, sorted(keys))
        except LedgerUnavailable:
            process.ask_fails()

    def apply(self, process: Process, fate: Fate) -> str:
        """Decide on what was seen and carry out a grant's second statement, so far as fate lets it.

        Returns what happened.
        """
        asking = process.asking
        assert asking is not None
        assert asking.balances is not None
        decision = asking.decided()
        if not decision.grants:
            asking.answer = GrantAnswer(decision, asking.balances)
            return "nothing"
        result = self._lease(process, decision.grants, fate)
        if result == "granted" and fate is not Fate.UNHEARD:
            asking.answer = GrantAnswer(decision, asking.balances)
        elif result != "overtaken" or fate is Fate.UNHEARD:
            process.ask_fails()
        return "unheard" if fate is Fate.UNHEARD else result

    def _lease(self, process: Process, grants: Mapping[BudgetKey, int], fate: Fate) -> str:
        if fate is Fate.LATE:
            self.late.append(Late(process, grants))
        if fate in {Fate.LOST, Fate.LATE}:
            return fate.name.lower()
        try:
            found = self.books.lease(process.name, grants)
        except LedgerUnavailable:
            return "not live"
        if found is None:
            return "granted"
        assert process.asking is not None
        process.asking.found(found)
        return "overtaken"

    def send_flush(self, process: Process, fate: Fate) -> State | None:
        """Send the flush under way; return the state in which it found the replica, if it was booked."""
        flush = process.send_flush()
        if fate is Fate.LATE:
            self.late.append(Late(process, {}, flush.sequence, flush.lines))
        if fate in {Fate.LOST, Fate.LATE}:
            process.fence.lost("")
            return None
        was = self.book(process, flush)
        if fate is Fate.DONE:
            process.hear_flush(was)
        elif fate is Fate.SLOW:
            flush.answer = was
        return was

    def book(self, process: Process, flush: Flush | Late) -> State:
        return self.books.flush(process.name, flush.sequence, flush.lines)

    def arrive(self, late: Late) -> bool:
        """Let the database carry out what was given up; return whether it did anything."""
        process = late.process
        if late.grants:
            try:
                process.leaks |= self.books.lease(process.name, late.grants) is None
            except LedgerUnavailable:
                return False
            return process.leaks
        is_new = self.books.replicas[process.name].sequence < late.sequence
        self.book(process, late)
        return is_new

    def renew(self, process: Process) -> None:
        try:
            self.books.renew(process.name)
        except ReplicaRetired:
            process.retire()
        else:
            process.renewed()

    def resolve(self, name: ReplicaId, *, is_exact: bool) -> None:
        """Resolve a dead replica's money by hand: by the provider's account, or all of it as spent.

        Nobody may do the first while the process may still run.
        """
        process = next(each for each in self.everyone if each.name == name)
        view, spent = self.view(), {}
        for key, row in view.rows.items():
            feared = row.unsettled.get(name, 0)
            known = max(0, process.charged[key] - view.booked(process, key))
            is_known = is_exact and process not in self.alive
            spent[key] = min(feared, known) if is_known else feared
        self.books.resolve(name, spent)
        self.resolved.update(spent)
        self.past.remember(self.view())  # what is done by hand needs no explanation

    def rest(self, process: Process) -> None:
        """Let a process come to rest: nobody waits, nothing runs, all is flushed and believed."""
        if process.asking is not None:
            process.ask_fails()
        for waiter in [*process.waiting, *process.put_off]:
            process.leave(waiter)
        self._end_calls(process)
        for _ in range(3):  # what is under way, what was settled, and what was in doubt
            self._flush(process)
        check_quiet(self.view(), process)

    def stop(self, process: Process) -> None:
        """Stop a process cleanly; its slot is empty then."""
        if process.asking is not None:
            process.ask_fails()
        for waiter in [*process.waiting, *process.put_off]:
            process.leave(waiter)
        self._end_calls(process)
        while True:
            if process.flush is None:
                process.draw_everything()
            if process.flush is None:
                break
            self.send_flush(process, Fate.DONE)
        self.books.stop(process.name)
        self._leave(process)
        check_stopped(self.view(), process)

    def crash(self, process: Process, *, arrives: bool) -> None:
        """Kill a process; what it had sent may arrive all the same."""
        asking, flush = process.asking, process.flush
        if arrives and asking is not None and asking.balances is not None and not asking.answer:
            self.late.append(Late(process, asking.decided().grants))
        if arrives and flush is not None:
            self.late.append(Late(process, {}, flush.sequence, flush.lines))
        process.die()
        self._leave(process)

    def _leave(self, process: Process) -> None:
        self.slots[self.slots.index(process)] = None

    def _end_calls(self, process: Process) -> None:
        for call in list(process.calls):
            self.end(process, call, How.SHUT_DOWN)

    @staticmethod
    def end(process: Process, call: Call, how: How) -> None:
        process.end(call, call.end(how))

    def _flush(self, process: Process) -> None:
        if process.flush is None:
            process.draw()
        if process.flush is not None:
            self.send_flush(process, Fate.DONE)
