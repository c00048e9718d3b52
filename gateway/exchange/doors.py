"""The way to each provider as this replica finds it: is it well, is there room, with which key.

An attempt enters before anything is held for it, and leaves once, however it ends. All of it is in
memory and nothing awaits, so between what is decided and what is done no other call can come. Another
replica has doors of its own.
"""

from collections.abc import Collection, Sequence
from math import ceil

import msgspec

from gateway.core import rotation
from gateway.core.health import Breaker, Circuit, Closed, Opened, Verdict, verdict
from gateway.core.ids import Provider
from gateway.core.outcome import Completed, Ending, ProviderError
from gateway.core.refusal import Code, Refused
from gateway.core.retrying import NO_ADVICE, Advice
from gateway.core.rotation import Rotation
from gateway.core.secret import Secret


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """On what terms a provider is asked, as it is configured. `base_url` tells places apart."""

    base_url: str
    keys: tuple[Secret, ...] = ()
    """Each as good as the others. Without any, none is sent."""
    circuit: Circuit | None = None
    retries: int = 0
    """How often an attempt may be made again with the same model."""
    most_at_once: int | None = None
    """How many calls may be under way from this replica; None: any number."""


class Rested(msgspec.Struct, frozen=True):
    """A key, by its index, was answered so and rests for so many seconds."""

    key: int
    status: int
    seconds: float


Change = Opened | Closed | Rested


class Door:
    """The way to one provider."""

    __slots__ = ("breaker", "provider", "room", "terms", "turns")

    def __init__(self, provider: Provider, terms: Terms) -> None:
        self.provider = provider
        self.terms = terms
        self.breaker = None if terms.circuit is None else Breaker(terms.circuit)
        self.room = _Room()
        self.turns = Rotation(len(terms.keys)) if len(terms.keys) > 1 else None
        """Of one key alone it is always the turn."""

    def go_on_from(self, before: "Door") -> None:
        """Take the place of a door of the configuration before.

        What was seen of a provider, and who is there, stays while its address does; the turns and rests
        of its keys do while the keys do too. Whoever entered by the one before leaves as he came.
        """
        if before.terms.base_url != self.terms.base_url:
            return
        self.room = before.room
        if before.breaker is not None and self.terms.circuit is not None:
            self.breaker = before.breaker
            self.breaker.circuit = self.terms.circuit
        if before.terms.keys == self.terms.keys:
            self.turns = before.turns

    @property
    def is_shut(self) -> bool:
        """Whether the provider is taken to be down, or is being tried."""
        return self.breaker is not None and not self.breaker.is_closed

    def admits(self, now: float) -> bool:
        """Return whether an attempt may enter now."""
        most = self.terms.most_at_once
        has_room = most is None or self.room.taken < most
        return has_room and (self.breaker is None or self.breaker.admits(now))

    def enter(self, now: float, tried: Collection[int] = ()) -> "Entry | Refused":
        """Let an attempt in, with another key than those `tried` if there is one, or refuse it."""
        breaker, most = self.breaker, self.terms.most_at_once
        if breaker is not None and not breaker.admits(now):
            return self._shut(breaker, now)
        if most is not None and self.room.taken >= most:
            return self._full()
        index = 0 if self.turns is None else self.turns.pick(now, tried)
        return Entry(self, index)

    def _shut(self, breaker: Breaker, now: float) -> Refused:
        wait_s = max(1, ceil(breaker.wait_s(now)))
        return Refused(
            Code.UPSTREAM_ERROR,
            f"{self.provider} has failed {breaker.failures} times in a row; it is tried again in "
            f"{wait_s} s. Nothing was sent.",
            retry_after_s=wait_s,
        )

    def _full(self) -> Refused:
        return Refused(
            Code.TOO_MANY_STREAMS,
            f"{self.room.taken} calls from here to {self.provider} are under way, and more may not be "
            "(max_concurrent). Send the call again.",
            retry_after_s=1,
        )


class _Room:
    """How many attempts are under way at one place."""

    __slots__ = ("taken",)

    def __init__(self) -> None:
        self.taken = 0


class Entry:
    """An attempt's place behind a door, until it leaves."""

    __slots__ = (
        "_breaker",
        "_number",
        "_room",
        "_turns",
        "advice",
        "has_left",
        "index",
        "is_probe",
        "key",
    )

    def __init__(self, door: Door, index: int) -> None:
        """Take the place, with the key of this index, where the door has keys at all."""
        keys = door.terms.keys
        self.key = keys[index] if keys else None
        self.index = index
        self.advice: Advice = NO_ADVICE
        """What the provider's error answer says of trying again."""
        self.has_left = False
        self._breaker = breaker = door.breaker
        self._turns = door.turns
        self._room = door.room
        self._room.taken += 1
        self.is_probe = breaker is not None and not breaker.is_closed
        """Whether it shows if a provider is back."""
        self._number = 0 if breaker is None else breaker.begin()

    def answered(self) -> Closed | None:
        """Note that the answer has begun, and is no error."""
        return None if self._breaker is None else self._breaker.answered(self._number)

    def has_other_key(self, now: float, tried: Collection[int]) -> bool:
        """Return whether there is a key that is ready, and neither this one nor tried."""
        return self._turns is not None and self._turns.has_ready(now, {*tried, self.index})

    def leave(self, now: float, ending: Ending | None = None) -> Sequence[Change]:
        """Give the place back, once; return what the ending changed. None: nothing was sent."""
        if self.has_left:
            return ()
        self.has_left = True
        self._room.taken -= 1
        changed, turns = None, self._turns
        if self._breaker is not None:
            told = Verdict.UNTOLD if ending is None else verdict(ending)
            changed = self._breaker.end(self._number, told, now)
        if changed is None and turns is None:
            return ()
        rested = () if turns is None else self._judged(turns, ending, now)
        return rested if changed is None else [changed, *rested]

    def _judged(self, turns: Rotation, ending: Ending | None, now: float) -> Sequence[Rested]:
        match ending:
            case ProviderError(status) if rotation.is_keys_own(status):
                seconds = rotation.rest_s(status, self.advice.retry_after_s)
                turns.rest(self.index, now + seconds)
                return [Rested(self.index, status, seconds)]
            case Completed():
                turns.works(self.index)
                return ()
            case _:
                return ()
