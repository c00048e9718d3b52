"""How many requests and tokens a token may use in a minute: token buckets, in integers alone.

A bucket is full with what a minute brings, and fills evenly: after a quiet minute all of it may be
taken at once, and from then on as much as comes in. Over any time that is at most one filling and
what came in meanwhile. Providers' own limits do the same (Anthropic's API documentation, "Rate limits"),
so a client that is polite to them needs nothing new.

Replicas share a limit by dividing it, and never ask each other: each has a bucket of its share. A
share of less than one request would admit none, ever, so a bucket holds at least one; it fills no
faster for that.
"""

from typing import Final

import msgspec

from gateway.core.calls import Asked
from gateway.core.refusal import Code, Refused

MOST_REQUESTS: Final = 10**6
MOST_TOKENS: Final = 10**9
"""Limits above these are none: no process serves as much in a minute."""

PARTS: Final = 60 * 10**9
"""Of one unit: a limit of one a minute brings one part a nanosecond."""
_SECOND_NS: Final = 10**9

_BYTES_A_TOKEN: Final = 4
"""Of English text, and so by OpenAI's rule of thumb (Help Center, "What are tokens"). A guess."""
_MOST_BYTES_A_TOKEN: Final = 8
"""Text that has more is not found outside of tests: what does not fit by this count never will."""
HIDDEN_TOKENS: Final = 2048
"""Guessed for input that a body refers to, or holds as base64: some images' worth."""
UNSAID_TOKENS: Final = 256
"""Guessed for output that a request does not limit: a few paragraphs, as most answers of chats have."""


class RateLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a token may use in a minute; None: as much as it likes."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


class Rate(msgspec.Struct, frozen=True):
    """A limit a minute (from 1), and how many replicas (from 1) share it."""

    per_minute: int
    sharers: int

    @property
    def share(self) -> int:
        """This replica's part of what a minute brings, in parts."""
        return self.per_minute * PARTS // self.sharers

    @property
    def capacity(self) -> int:
        """How many parts a full bucket holds: its share of a minute, at least one unit."""
        return max(self.share, PARTS)

    def gained(self, elapsed_ns: int) -> int:
        """Return the parts that come in meanwhile, rounded down."""
        return elapsed_ns * self.per_minute // self.sharers

    def takes_ns(self, parts: int) -> int:
        """Return how long it takes for so many parts to come in."""
        return -(-parts * self.sharers // self.per_minute)


class Bucket:
    """What is left of one limit on one replica, in parts. Below nothing where more was used.

    Times are monotonic nanoseconds.
    """

    __slots__ = ("_at_ns", "_level", "_rest", "rate")

    def __init__(self, rate: Rate, now_ns: int, since_ns: int) -> None:
        """Begin with a share, and what came in since `since_ns`, when this replica began.

        So a replica that joins adds a share and no more, and one that forgot an idle bucket and
        makes it anew finds it as full as it left it.
        """
        self.rate = rate
        self._at_ns = now_ns
        self._rest = 0
        self._level = min(rate.capacity, rate.share + rate.gained(max(0, now_ns - since_ns)))

    def turn(self, rate: Rate, now_ns: int) -> None:
        """Let in what came since the last turn, to the last part; from now on it fills by `rate`."""
        elapsed_ns = max(0, now_ns - self._at_ns)
        self._at_ns += elapsed_ns
        came, rest = divmod(elapsed_ns * self.rate.per_minute + self._rest, self.rate.sharers)
        self._rest = rest if rate == self.rate else 0
        self.rate = rate
        self._level = min(self._level + came, rate.capacity)

    def wait_ns(self, parts: int) -> int:
        """Return how long until so many parts, or a full bucket, can be taken; 0: now."""
        lacking = min(parts, self.rate.capacity) - self._level
        return self.rate.takes_ns(lacking) if parts and lacking > 0 else 0

    def take(self, parts: int) -> int:
        """Take so many parts, or what a full bucket holds; return how many that is."""
        taken = min(parts, self.rate.capacity)
        self._level -= taken
        return taken

    def correct(self, taken: int, used: int) -> None:
        """Give back what was `taken` and not `used`, or take what is missing, to below nothing."""
        self._level = min(self._level + taken - used, self.rate.capacity)

    def is_full(self, now_ns: int) -> bool:
        """Return whether nothing would be lost with it."""
        self.turn(self.rate, now_ns)
        return self._level >= self.rate.capacity


class Size(msgspec.Struct, frozen=True):
    """How many tokens a call is guessed to use, and how many its input has at the very least."""

    guess: int
    least: int


def size(asked: Asked, ceiling: int | None) -> Size:
    """Return the size of a call whose choices may each have `ceiling` output tokens.

    A guess, and corrected when the call ends: a bound, as money has it, would count every byte as a
    token and let a client use a fraction of its limit.
    """
    if asked.is_free:
        return Size(0, 0)
    text = -(-asked.text_bytes // _BYTES_A_TOKEN) + asked.token_ids
    least = asked.text_bytes // _MOST_BYTES_A_TOKEN + asked.token_ids
    if asked.hides_input:  # its bytes are an image's, of which a provider counts a fraction
        text, least = min(text, HIDDEN_TOKENS), 0
    return Size(text + _output(asked, ceiling), least)


def _output(asked: Asked, ceiling: int | None) -> int:
    if not asked.makes_output:
        return 0
    said = UNSAID_TOKENS if asked.output_tokens is None else asked.output_tokens
    return (said if ceiling is None else min(said, ceiling)) * asked.choices


def too_many_requests(wait_ns: int) -> Refused:
    """Return the refusal of a call that is one request too many for now."""
    return _later("requests", wait_ns)


def too_many_tokens(wait_ns: int) -> Refused:
    """Return the refusal of a call that is too many tokens for now."""
    return _later("tokens", wait_ns)


def never_fits(size: Size, tokens_per_minute: int) -> Refused:
    """Return the refusal of a call that no waiting helps."""
    return Refused(
        Code.RATE_LIMITED,
        f"This call has at least {size.least} tokens of input, and this key may use {tokens_per_minute} "
        "tokens a minute, so it can never fit. Send less, or have the key's limit raised.",
        is_final=True,
    )


def _later(what: str, wait_ns: int) -> Refused:
    wait_s = max(1, -(-wait_ns // _SECOND_NS))
    return Refused(
        Code.RATE_LIMITED,
        f"Too many {what} for this key; try again in {wait_s} s.",
        retry_after_s=wait_s,
    )
