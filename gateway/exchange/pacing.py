"""Rate limits of tokens: what each may still use on this replica, kept in memory.

A call takes one request and the tokens that it is guessed to use, both or neither, before it opens a
run or holds money. Its tokens are corrected at its end, to what the provider reported; a limit that
turns out to be passed is paid back by waiting. A call counts as a request from then on, whatever
becomes of it; a dry run never does. Who has no limits pays a comparison.
"""

from typing import Final

from gateway.core import rates
from gateway.core.ids import TokenId
from gateway.core.meter import Owed
from gateway.core.rates import PARTS, Bucket, Rate, RateLimits, Size
from gateway.core.refusal import Refused
from gateway.core.traces import Basis
from gateway.exchange.ports import Clock

_FIRST_SWEEP: Final = 1024
"""So many tokens' buckets are kept without asking which of them are full, and may be forgotten."""


class Pacing:
    """The buckets of every token with limits that was used lately."""

    def __init__(self, clock: Clock) -> None:
        """Begin with full shares: this replica is taken for the only one until `share`."""
        self._clock = clock
        self._since_ns = self._now_ns()
        self._sharers = 1
        self._paces: dict[TokenId, _Pace] = {}
        self._sweep_at = _FIRST_SWEEP

    def share(self, replicas: int) -> None:
        """Divide every limit by so many replicas (this one among them) from now on."""
        if replicas == self._sharers:
            return
        self._sharers = replicas
        now_ns = self._now_ns()
        for pace in self._paces.values():
            pace.turn(replicas, now_ns)

    def take(self, token: TokenId, limits: RateLimits, size: Size) -> "Taken | Refused":
        """Count a call of this size against its token's limits, or refuse it."""
        most = limits.tokens_per_minute
        if most is not None and size.least > most:
            return rates.never_fits(size, most)
        pace = self._pace(token, limits)
        refused = pace.refusal(size)
        return pace.take(size) if refused is None else refused

    def settle(self, taken: "Taken") -> None:
        """Correct what a call took to what it used, once, when it has ended."""
        taken.settle(self._now_ns())

    def _pace(self, token: TokenId, limits: RateLimits) -> "_Pace":
        now_ns = self._now_ns()
        pace = self._paces.get(token)
        if pace is None:
            self._sweep(now_ns)
            pace = self._paces[token] = _Pace()
        pace.follow(limits, self._sharers, now_ns, self._since_ns)
        return pace

    def _sweep(self, now_ns: int) -> None:
        """Forget full buckets once there are twice as many as were needed the last time."""
        if len(self._paces) < self._sweep_at:
            return
        self._paces = {
            token: pace for token, pace in self._paces.items() if not pace.is_idle(now_ns)
        }
        self._sweep_at = max(_FIRST_SWEEP, 2 * len(self._paces))

    def _now_ns(self) -> int:
        return int(self._clock.monotonic() * 10**9)


class Taken:
    """What one call took of its token's limit. Its attempts say what they used."""

    __slots__ = ("_guess", "_pace", "_parts", "_used")

    def __init__(self, pace: "_Pace", guess: int, parts: int) -> None:
        """Take note of `parts` that were taken for a `guess` of so many tokens."""
        self._pace = pace
        self._guess = guess
        self._parts = parts
        self._used = 0

    def use(self, owed: Owed) -> None:
        """Add what an attempt used. Where the provider did not say, the guess stands."""
        match owed.basis:
            case Basis.REPORTED:
                self._used += owed.input_tokens + owed.output_tokens
            case Basis.METERED:
                self._used += max(self._guess, owed.output_tokens)
            case Basis.BOUND:
                self._used += self._guess
            case Basis.NONE:
                pass

    def settle(self, now_ns: int) -> None:
        """Correct what was taken to what was used."""
        self._pace.settle(self._parts, self._used * PARTS, now_ns)


class _Pace:
    """One token's buckets; None where it has no such limit."""

    __slots__ = ("_requests", "_running", "_tokens")

    def __init__(self) -> None:
        self._requests: Bucket | None = None
        self._tokens: Bucket | None = None
        self._running = 0

    def follow(self, limits: RateLimits, sharers: int, now_ns: int, since_ns: int) -> None:
        """Bring both buckets to now, by limits that may be others than before."""
        at = (sharers, now_ns, since_ns)
        self._requests = _followed(self._requests, limits.requests_per_minute, at)
        self._tokens = _followed(self._tokens, limits.tokens_per_minute, at)

    def turn(self, sharers: int, now_ns: int) -> None:
        """Share both limits with so many replicas from now on."""
        for bucket in (self._requests, self._tokens):
            if bucket is not None:
                bucket.turn(Rate(bucket.rate.per_minute, sharers), now_ns)

    def refusal(self, size: Size) -> Refused | None:
        """Return why a call has to wait, by the limit that it waits for longest; None: it need not."""
        requests_ns = 0 if self._requests is None else self._requests.wait_ns(PARTS)
        tokens_ns = 0 if self._tokens is None else self._tokens.wait_ns(size.guess * PARTS)
        if not requests_ns and not tokens_ns:
            return None
        if requests_ns >= tokens_ns:
            return rates.too_many_requests(requests_ns)
        return rates.too_many_tokens(tokens_ns)

    def take(self, size: Size) -> Taken:
        """Take a request, and the tokens of a call."""
        self._running += 1
        if self._requests is not None:
            self._requests.take(PARTS)
        parts = 0 if self._tokens is None else self._tokens.take(size.guess * PARTS)
        return Taken(self, size.guess, parts)

    def settle(self, taken: int, used: int, now_ns: int) -> None:
        """Correct the tokens of a call that ends."""
        self._running -= 1
        if self._tokens is not None:
            self._tokens.turn(self._tokens.rate, now_ns)
            self._tokens.correct(taken, used)

    def is_idle(self, now_ns: int) -> bool:
        """Return whether nothing is lost if it is forgotten."""
        buckets = (self._requests, self._tokens)
        return not self._running and all(b is None or b.is_full(now_ns) for b in buckets)


def _followed(bucket: Bucket | None, limit: int | None, at: tuple[int, int, int]) -> Bucket | None:
    """Return a bucket as it is now; a new one for a limit that is new, none for one that is gone."""
    if limit is None:
        return None
    sharers, now_ns, since_ns = at
    rate = Rate(limit, sharers)
    if bucket is None:
        return Bucket(rate, now_ns, since_ns)
    bucket.turn(rate, now_ns)
    return bucket
