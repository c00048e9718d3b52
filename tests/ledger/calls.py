"""Calls of a ledger under test, and the account that their provider keeps: the truth.

A token of input costs 1, one of output 2. What a call owes is said by the real `Meter`; what the
provider charges is decided here, and never asked of the code under test.
"""

from enum import StrEnum

import msgspec

from gateway.core.budget import BudgetKey, Hold
from gateway.core.calls import Asked
from gateway.core.events import Broken, Delta, Finished, Usage
from gateway.core.ids import ModelName, Provider
from gateway.core.meter import Bound, Meter, Owed
from gateway.core.money import NanoDollars
from gateway.core.outcome import (
    CapReached,
    ClientGone,
    Completed,
    Ending,
    Killed,
    ProviderBroken,
    ProviderError,
    ProviderLost,
    ProviderUnreachable,
    ShutDown,
    TimedOut,
)
from gateway.core.pricing import DEFAULT_TIER, Model, Rates, Schedule, Vocabulary, upper_bound
from gateway.core.refusal import Code, Refused
from gateway.core.traces import Basis

OUTPUT_PRICE = 2
_PER_TOKEN = 1_000_000
_RATES = Rates(
    input=_PER_TOKEN,
    output=OUTPUT_PRICE * _PER_TOKEN,
    cached_input=_PER_TOKEN,
    cache_write=_PER_TOKEN,
    cache_write_1h=_PER_TOKEN,
    audio_input=_PER_TOKEN,
    audio_output=OUTPUT_PRICE * _PER_TOKEN,
    image_output=OUTPUT_PRICE * _PER_TOKEN,
)


def _model(name: str, *, hidden_reasoning: bool) -> Model:
    return Model(
        name=ModelName(f"openai/{name}"),
        provider=Provider("openai"),
        upstream_name=name,
        tiers={DEFAULT_TIER: Schedule(_RATES)},
        max_output_tokens=None,
        context_tokens=128_000,
        vocabulary=Vocabulary.O200K,
        hidden_reasoning=hidden_reasoning,
    )


PLAIN = _model("plain", hidden_reasoning=False)
THINKER = _model("thinker", hidden_reasoning=True)
TOKEN = "ab "
"""A word is a token; it is short, so that the meter's blocks hold many."""


class Wanted(msgspec.Struct, frozen=True):
    """A call that asks for money: its budgets, and the bounds of its tokens."""

    keys: tuple[BudgetKey, ...]
    input_tokens: int
    output_tokens: int
    thinks: bool

    @property
    def model(self) -> Model:
        return THINKER if self.thinks else PLAIN

    @property
    def asked(self) -> Asked:
        return Asked(model="m", stream=True, output_tokens=self.output_tokens)

    @property
    def amount(self) -> NanoDollars:
        """The upper bound of its cost."""
        return upper_bound(self.model, self.asked, self.input_tokens, self.output_tokens)


class How(StrEnum):
    """How a running call ends."""

    REPORTED = "complete, with usage"
    SILENT = "complete, without usage"
    CLIENT = "cut by its client"
    KILLED = "killed"
    LOST = "provider lost"
    TIMED_OUT = "timed out"
    UNREACHABLE = "unreachable"
    ERROR = "error answer"
    BROKEN = "error after 200"
    BEYOND = "bills beyond its bound"
    SHUT_DOWN = "shut down"


_CUTS: dict[How, Ending] = {
    How.CLIENT: ClientGone(),
    How.KILLED: Killed(Refused(Code.KILL_SWITCH, "Stopped.")),
    How.LOST: ProviderLost(),
    How.TIMED_OUT: TimedOut(),
    How.SHUT_DOWN: ShutDown(),
}
CUTS = tuple(_CUTS)


class Ended(msgspec.Struct, frozen=True):
    """A call that has ended: what the provider charges for it, and what it owes by our meter."""

    charged: int
    owed: Owed

    @property
    def is_reported(self) -> bool:
        return self.owed.basis is Basis.REPORTED


class Call:
    """A running call: a hold, a meter, and what the provider knows of it.

    `seed` (0 to 99) is the provider's whim: how much of what it may bill unseen it does bill.
    """

    def __init__(self, wanted: Wanted, hold: Hold, seed: int) -> None:
        self.wanted = wanted
        self.hold = hold
        self.is_sent = False
        self.shown = 0
        self._has_answered = False
        self._seed = seed
        bound = Bound(wanted.input_tokens, wanted.output_tokens, wanted.amount)
        self._meter = Meter(wanted.model, wanted.asked, bound, _count)

    def send(self) -> None:
        """Send the request: from here on the provider may charge."""
        self.is_sent = True
        self._meter.sent()

    def stream(self, tokens: int) -> bool:
        """Show some tokens, each of which the provider charges; False: it must be cut."""
        self._answer()
        self.shown += tokens
        return self._meter.feed(Delta(TOKEN * tokens))

    @property
    def worst(self) -> int:
        """The most that the provider may charge for it, cut off now."""
        if not self.is_sent:
            return 0
        return max(self.hold.amount, self._charge(self.wanted.input_tokens, self.shown))

    def end(self, how: How) -> Ended:
        """End it so, or where that can't be by now, in the way that is nearest to it."""
        if not self.is_sent:
            return Ended(0, self._meter.owed(_CUTS.get(how, ProviderUnreachable())))
        match how:
            case How.REPORTED | How.BEYOND:
                return self._told(beyond=how is How.BEYOND)
            case How.ERROR if not self._has_answered:
                return Ended(0, self._meter.owed(ProviderError(429)))
            case How.ERROR | How.BROKEN | How.SILENT:
                return self._untold(how)
            case _:
                return Ended(self._seen_charge(), self._meter.owed(_CUTS.get(how, ProviderLost())))

    def end_over_ceiling(self) -> Ended:
        """End it after `stream` said so: the provider ignored its ceiling."""
        charged = self._charge(self.wanted.input_tokens, self.shown)
        return Ended(charged, self._meter.owed(CapReached()))

    def _told(self, *, beyond: bool) -> Ended:
        heard, spoken = self.wanted.input_tokens, self.shown + self._part(self._hideable)
        if beyond:
            heard, spoken = heard + 1, max(spoken, self.wanted.output_tokens) + 3
        self._answer()
        self._meter.feed(Usage(input=heard, output=spoken))
        self._meter.feed(Finished())
        return Ended(self._charge(heard, spoken), self._meter.owed(Completed()))

    def _untold(self, how: How) -> Ended:
        self._answer()
        is_whole = how is How.SILENT
        self._meter.feed(Finished() if is_whole else Broken())
        charged = self._seen_charge() if is_whole or self.shown else 0
        return Ended(charged, self._meter.owed(Completed() if is_whole else ProviderBroken()))

    def _seen_charge(self) -> int:
        """Return what is charged without being told: what was shown, and what can be hidden."""
        if not self._has_answered:  # anything up to the bound
            return self._part(self.hold.amount)
        heard = self._part(self.wanted.input_tokens)
        return self._charge(heard, self.shown + self._part(self._hideable))

    @property
    def _hideable(self) -> int:
        room = self.wanted.output_tokens - self.shown
        return max(0, room) if self.wanted.thinks else 0

    def _part(self, most: int) -> int:
        """Return all of something in two cases of three, or less."""
        return most if self._seed < 66 else most * self._seed // 100

    @staticmethod
    def _charge(heard: int, spoken: int) -> int:
        return heard + OUTPUT_PRICE * spoken

    def _answer(self) -> None:
        self._has_answered = True
        self._meter.answered(streams=True)


def _count(text: str, _: Vocabulary) -> int:
    return len(text.split())
