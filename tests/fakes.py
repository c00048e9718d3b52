"""Fakes of the ports of `gateway.exchange`: they obey the protocol and can be told to fail."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import anyio

from gateway.core.budget import Balance, BudgetKey, FlushLine, GrantAnswer, Need, decide
from gateway.core.calls import Timeouts
from gateway.core.ids import Project, Provider, ReplicaId, RunId, RunName, TraceId
from gateway.core.limits import Caller, Kill, KillScope, Run
from gateway.core.money import ZERO, NanoDollars
from gateway.core.pricing import Vocabulary
from gateway.core.refusal import Code, Refused
from gateway.core.traces import FailedAttempt, Trace
from gateway.errors import GatewayError, LedgerUnavailable, ReplicaRetired
from gateway.exchange.ports import Instant
from gateway.providers.adapter import Headers, PreparedRequest
from tests.ledger.books import Books, Row, State

START = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


class FakeClock:
    """A clock that moves when it is told to, or with the event loop where `ticks` is set."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> Instant:
        return Instant(START + timedelta(seconds=self.seconds), self.seconds)

    def entropy(self, count: int) -> bytes:
        return bytes(count)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


class Amounts(MutableMapping[BudgetKey, int]):
    """One amount of every budget in some books: read, and written to say what others did."""

    def __init__(
        self, books: Books, read: Callable[[Row], int], write: Callable[[Row, int], None]
    ) -> None:
        self._books = books
        self._read = read
        self._write = write

    def __getitem__(self, key: BudgetKey) -> int:
        return self._read(self._books.rows[key])

    def __setitem__(self, key: BudgetKey, amount: int) -> None:
        self._write(self._books.rows.setdefault(key, Row(None)), amount)

    def __delitem__(self, key: BudgetKey) -> None:
        raise TypeError("no budget is ever deleted")

    def __iter__(self) -> Iterator[BudgetKey]:
        return iter(self._books.rows)

    def __len__(self) -> int:
        return len(self._books.rows)


OTHERS = ReplicaId("others")
"""Has what is said to be leased, but not by whoever asked for it."""


class FakeLedger:
    """A ledger in memory, on the database's side of it, which can be told to fail.

    Budgets that it was not told of have no cap. Where `members` are given, nobody else is a replica.
    """

    def __init__(
        self, caps: Mapping[BudgetKey, int | None], members: Iterable[ReplicaId] | None = None
    ) -> None:
        self.books = Books()
        for key, cap in caps.items():
            self.books.rows[key] = Row(cap)
        self._takes_anyone = members is None
        for member in members or ():
            self.books.register(member)
        self.caps = Amounts(self.books, lambda row: row.cap, _set_cap)  # type: ignore[arg-type, return-value]
        self.spent = Amounts(self.books, lambda row: row.spent, _set_spent)
        self.leased = Amounts(self.books, lambda row: row.balance.leased, _set_leased)
        self.overshoot = Amounts(self.books, lambda row: row.overshoot, _set_overshoot)
        self.traces: list[Trace] = []
        self.sequences: list[int] = []
        self.grants = self.renewals = self.asked = 0
        self.recalls: list[tuple[BudgetKey, ...]] = []
        self.failure: LedgerUnavailable | None = None
        self.fails_after_commit = False
        self.grant_is_lost = False
        self.is_resolved = False
        self.gate = anyio.Event()
        self.gate.set()

    def balance(self, key: BudgetKey) -> Balance:
        return self.books.rows.get(key, Row(None)).balance

    async def balances(self, keys: Sequence[BudgetKey]) -> Mapping[BudgetKey, Balance]:
        await self._turn()
        return {key: self.balance(key) for key in keys}

    async def grant(
        self,
        replica: ReplicaId,
        needs: Sequence[Need],
        wishes: Mapping[BudgetKey, int],
        share_ppm: int,
    ) -> GrantAnswer:
        await self._turn()
        self._meet(replica)
        self.grants += 1
        keys = {*wishes, *(key for need in needs for key in need.amounts)}
        for key in keys:
            self.books.rows.setdefault(key, Row(None))
        balances = self.books.look(replica, sorted(keys))
        decision = decide(needs, balances, wishes, share_ppm)
        if decision.grants:
            assert self.books.lease(replica, decision.grants) is None, (
                "nobody can have been quicker"
            )
        if self.grant_is_lost:
            self.grant_is_lost = False
            raise LedgerUnavailable("the connection was lost before the answer")
        return GrantAnswer(decision, balances)

    async def flush(
        self,
        replica: ReplicaId,
        sequence: int,
        lines: Sequence[FlushLine],
        traces: Sequence[Trace],
    ) -> None:
        await self._turn()
        self._meet(replica)
        member = self.books.replicas.get(replica)
        is_new = member is not None and member.sequence < sequence
        was = self.books.flush(replica, sequence, lines)
        if is_new:
            self.sequences.append(sequence)
            self.traces.extend(traces)
        if self.fails_after_commit:
            self.fails_after_commit = False
            raise LedgerUnavailable("the connection was lost in the middle of the commit")
        if self.is_resolved or was is State.RESOLVED:
            raise ReplicaRetired("resolved by hand")

    async def recall(self, replica: ReplicaId, keys: Sequence[BudgetKey]) -> None:
        await self._turn()
        self.recalls.append(tuple(keys))

    async def renew(self, replica: ReplicaId) -> None:
        await self._turn()
        self._meet(replica)
        self.books.renew(replica)
        self.renewals += 1

    def _meet(self, replica: ReplicaId) -> None:
        if self._takes_anyone and replica not in self.books.replicas:
            self.books.register(replica)

    async def _turn(self) -> None:
        self.asked += 1
        await anyio.lowlevel.checkpoint()
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure


def _set_cap(row: Row, cap: int) -> None:
    row.cap = cap


def _set_spent(row: Row, amount: int) -> None:
    row.spent = amount


def _set_leased(row: Row, amount: int) -> None:
    row.leased[OTHERS] += amount - row.balance.leased


def _set_overshoot(row: Row, amount: int) -> None:
    row.overshoot = amount


@dataclass
class FakeWitness:
    """Remembers what it was told."""

    heard: list[tuple[str, object]] = field(default_factory=list)

    def lease_waited(self, seconds: float) -> None:
        self.heard.append(("lease_waited", seconds))

    def traces_queued(self, count: int) -> None:
        self.heard.append(("traces_queued", count))

    def traces_dropped(self, count: int) -> None:
        self.heard.append(("traces_dropped", count))

    def overshoot(self, nusd: int, trace: TraceId) -> None:
        self.heard.append(("overshoot", nusd))

    def upstream_failed(self, provider: Provider, kind: str, trace: TraceId) -> None:
        self.heard.append(("upstream_failed", kind))

    def stream_opened(self) -> None:
        self.heard.append(("stream_opened", None))

    def stream_closed(self) -> None:
        self.heard.append(("stream_closed", None))

    def ledger_lost(self, reason: str) -> None:
        self.heard.append(("ledger_lost", reason))

    def ledger_back(self) -> None:
        self.heard.append(("ledger_back", None))

    def call_ended(self, trace: Trace, earlier_nusd: NanoDollars = ZERO) -> None:
        self.heard.append(("call_ended", trace))

    def attempt_failed(self, attempt: FailedAttempt, trace: TraceId) -> None:
        self.heard.append(("attempt_failed", attempt))

    def circuit_opened(self, provider: Provider, failures: int, wait_s: float) -> None:
        self.heard.append(("circuit_opened", (provider, failures, wait_s)))

    def circuit_closed(self, provider: Provider) -> None:
        self.heard.append(("circuit_closed", provider))

    def key_rests(self, provider: Provider, key: int, status: int, seconds: float) -> None:
        self.heard.append(("key_rests", (provider, key, status, seconds)))

    def refused(self, code: Code) -> None:
        self.heard.append(("refused", code))

    def kill_applied(self, kill: Kill, cut: int) -> None:
        self.heard.append(("kill_applied", cut))

    def kill_propagated(self, seconds: float) -> None:
        self.heard.append(("kill_propagated", seconds))

    def kills(self, scopes: Iterable[KillScope]) -> None:
        self.heard.append(("kills", list(scopes)))

    def names(self) -> list[str]:
        return [name for name, _ in self.heard]


class FakeResponse:
    """An answer played from a script: bytes, a failure to raise, or an event to wait for."""

    def __init__(
        self,
        status: int,
        headers: Headers,
        script: Sequence[bytes | GatewayError | anyio.Event],
    ) -> None:
        self.status = status
        self.headers = headers
        self._script = deque(script)
        self.reads = 0
        self.is_closed = False

    async def read(self) -> bytes:
        self.reads += 1
        await anyio.lowlevel.checkpoint()
        while self._script:
            step = self._script.popleft()
            match step:
                case bytes():
                    return step
                case anyio.Event():
                    await step.wait()
                case GatewayError():
                    raise step
        return b""

    async def aclose(self) -> None:
        self.is_closed = True


class FakeUpstream:
    """Answers every request with what it was given; keeps the requests."""

    def __init__(
        self, answer: FakeResponse | GatewayError | anyio.Event | Callable[[], FakeResponse]
    ) -> None:
        self.answer = answer
        self.answers: deque[FakeResponse | GatewayError | anyio.Event] = deque()
        """Given before that, each once."""
        self.sent = 0
        self.connects: anyio.Event | None = None
        """Where there is one, no byte is sent before it."""
        self.requests: list[PreparedRequest] = []

    async def open(
        self, request: PreparedRequest, timeouts: Timeouts, sending: Callable[[], None]
    ) -> FakeResponse:
        self.requests.append(request)
        await anyio.lowlevel.checkpoint()
        if self.connects is not None:
            await self.connects.wait()
        sending()
        self.sent += 1
        answer = self.answers.popleft() if self.answers else self.answer
        match answer:
            case FakeResponse():
                return answer
            case anyio.Event():
                await answer.wait()
                raise AssertionError("the event stands for an answer that never comes")
            case GatewayError():
                raise answer
            case make:
                return make()


class Leaving:
    """A client that leaves when this is set."""

    def __init__(self) -> None:
        self.is_set = False
        self.leave: Callable[[], None] | None = None

    def set(self) -> None:
        self.is_set = True
        if self.leave is not None:
            self.leave()


class FakeClient:
    """A caller that sends one body and keeps what it is sent."""

    def __init__(self, body: bytes | Refused = b"") -> None:
        self._body = body
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.received = b""
        self.is_ended = False
        self.left = Leaving()
        self.on_send: Callable[[bytes], None] | None = None
        self.can_receive = anyio.Event()
        self.can_receive.set()

    def sends(self, body: bytes | Refused) -> None:
        """Give it the body of its next request."""
        self._body = body

    async def body(self) -> bytes | Refused:
        return self._body

    async def start(self, status: int, headers: Headers) -> None:
        assert self.status is None, "an answer starts once"
        self.status = status
        self.headers = list(headers)

    async def send(self, data: bytes, *, more: bool) -> None:
        assert self.status is not None, "an answer starts before its body"
        assert not self.is_ended, "nothing follows the end of an answer"
        await self.can_receive.wait()
        self.received += data
        self.is_ended = not more
        if self.on_send is not None:
            self.on_send(data)
        await anyio.lowlevel.checkpoint()

    def when_gone(self, leave: Callable[[], None]) -> None:
        self.left.leave = leave
        if self.left.is_set:
            leave()

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name.encode(), b"").decode() or None


class FakeRuns:
    """Runs in memory."""

    def __init__(self) -> None:
        self.runs: dict[tuple[str, str], Run] = {}
        self.caps: dict[str, int | None] = {}

    async def open(
        self, project: Project, name: RunName, cap: NanoDollars | None, token: Caller
    ) -> Run:
        run = self.runs.get((project, name))
        if run is None:
            run = Run(
                id=RunId(f"{project}/{name}"),
                name=name,
                project=project,
                is_open=True,
                output_ceiling=None,
            )
            self.runs[project, name] = run
            self.caps[run.id] = cap
        return run

    async def find(self, project: Project, name: RunName) -> Run | None:
        return self.runs.get((project, name))


class FakeCallers:
    """The callers of some secrets."""

    def __init__(self, callers: Mapping[str, Caller]) -> None:
        self._callers = callers
        self.failure: LedgerUnavailable | None = None

    async def identify(self, secret: str, now: datetime) -> Caller | None:
        if self.failure is not None:
            raise self.failure
        return self._callers.get(secret)


class FakeCounter:
    """Counts words: a token is what stands between spaces."""

    def count(self, text: str, vocabulary: Vocabulary) -> int | None:
        return len(text.split())

    async def count_body(self, body: bytes, vocabulary: Vocabulary) -> int | None:
        return len(body.split())
