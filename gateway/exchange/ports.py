"""What the hot path needs of the world, as narrow as it needs it.

Each protocol has two implementations: the real one (`store`, `remote`, `web`) and the fake in
`tests/fakes.py`; one battery of checks runs on both where that makes sense.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from gateway.core.budget import Balance, BudgetKey, FlushLine, GrantAnswer, Need
from gateway.core.calls import Timeouts
from gateway.core.ids import Project, ReplicaId, RunName
from gateway.core.limits import Caller, Run
from gateway.core.money import NanoDollars
from gateway.core.pricing import Vocabulary
from gateway.core.refusal import Refused
from gateway.core.traces import Trace
from gateway.providers.adapter import Headers, PreparedRequest


class Instant(msgspec.Struct, frozen=True):
    """One moment on both clocks: `utc` for records, `monotonic` (seconds) for durations."""

    utc: datetime
    monotonic: float


class Clock(Protocol):
    """The time, and random bytes."""

    def now(self) -> Instant:
        """Return this moment."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps."""
        ...

    def entropy(self, count: int) -> bytes:
        """Return random bytes fit for identifiers."""
        ...


class Callers(Protocol):
    """Who a token belongs to."""

    async def identify(self, secret: str, now: datetime) -> Caller | None:
        """Return the bearer of a valid token; None for one unknown, expired or revoked alike.

        Answers from memory where it can. Raises LedgerUnavailable where it has to ask and can't.
        """
        ...


class Runs(Protocol):
    """Runs by the name that a client gives them."""

    async def open(
        self, project: Project, name: RunName, cap: NanoDollars | None, token: Caller
    ) -> Run:
        """Return a run, opened where it is new, with `cap` if given and else the default cap.

        On an open run a lower `cap` lowers it, a higher one changes nothing. A closed run is
        returned as it is. Answers from memory where nothing has to change.
        """
        ...

    async def find(self, project: Project, name: RunName) -> Run | None:
        """Return a run if there is one; opens nothing."""
        ...


class Counter(Protocol):
    """Tokenizers, loaded when they are first needed and never on the event loop."""

    def count(self, text: str, vocabulary: Vocabulary) -> int | None:
        """Return a short text's tokens at once; None where the vocabulary is not loaded."""
        ...

    async def count_body(self, body: bytes, vocabulary: Vocabulary) -> int | None:
        """Return a request's tokens, counted off the event loop; None where it can't be counted."""
        ...


class Ledger(Protocol):
    """Money that outlives this process. Every method raises LedgerUnavailable when it can't know."""

    async def grant(
        self,
        replica: ReplicaId,
        needs: Sequence[Need],
        wishes: Mapping[BudgetKey, int],
        share_ppm: int,
    ) -> GrantAnswer:
        """Lease more to a replica, in one transaction, budgets locked in id order."""
        ...

    async def recall(self, replica: ReplicaId, keys: Sequence[BudgetKey]) -> None:
        """Ask the other replicas to give back what they don't hold of some budgets."""
        ...

    async def flush(
        self,
        replica: ReplicaId,
        sequence: int,
        lines: Sequence[FlushLine],
        traces: Sequence[Trace],
    ) -> None:
        """Book spend and keep its traces, in one transaction. A sequence seen before does nothing.

        Renews the replica as well. Raises ReplicaRetired, after it did so, for one whose money was
        resolved by hand.
        """
        ...

    async def balances(self, keys: Sequence[BudgetKey]) -> Mapping[BudgetKey, Balance]:
        """Return budgets as they stand, without locking or making any: for estimates."""
        ...

    async def renew(self, replica: ReplicaId) -> None:
        """Say that a replica lives."""
        ...


class Response(Protocol):
    """A provider's answer: its head, and its body as it arrives."""

    @property
    def status(self) -> int:
        """The HTTP status, 200 to 599."""
        ...

    @property
    def headers(self) -> Headers:
        """Names in lower case, in the order they came."""
        ...

    async def read(self) -> bytes:
        """Return what has arrived, at least a byte; empty at the end of the body.

        Raises UpstreamLost, UpstreamTimedOut.
        """
        ...

    async def aclose(self) -> None:
        """Give the connection back, or cut it at once where the body has not ended."""
        ...


class Upstream(Protocol):
    """Providers as byte streams."""

    async def open(
        self, request: PreparedRequest, timeouts: Timeouts, sending: Callable[[], None]
    ) -> Response:
        """Send a request and return its answer's head.

        `sending` is called before its first byte leaves: until then, certainly nothing is billed.

        Raises UpstreamUnreachable, UpstreamLost, UpstreamTimedOut.
        """
        ...


class Client(Protocol):
    """The caller's side of one exchange."""

    async def body(self) -> bytes | Refused:
        """Return the request's body, or why it is refused: too large, encoded, broken off."""
        ...

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head of the answer."""
        ...

    async def send(self, data: bytes, *, more: bool) -> None:
        """Send a part of the body; waits while the client reads slowly. `more` False ends it."""
        ...

    def when_gone(self, leave: Callable[[], None]) -> None:
        """Have `leave` called as soon as the client has left before its answer's end: now, if it has.

        A callback and not an await, for it costs a call nothing where nobody leaves.
        """
        ...
