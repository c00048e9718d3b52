"""Usage so far, while a stream runs, and what its ending owes.

The meter reads along and trusts nobody twice: the provider's own usage is taken where it is final;
where a stream was cut before it came, the call owes the most that what was seen allows, and where
the model may have thought unseen, the whole bound (`docs/pricing.md`).
"""

from collections.abc import Callable
from typing import Final, assert_never

import msgspec
from msgspec import structs

from gateway.core.calls import Asked
from gateway.core.events import (
    Broken,
    Delta,
    Event,
    Finished,
    Opaque,
    Prompted,
    Served,
    Thinking,
    Usage,
)
from gateway.core.money import ZERO, NanoDollars
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
from gateway.core.pricing import Model, Vocabulary, cost, upper_bound
from gateway.core.tokens import is_quick, most_cuts, visible
from gateway.core.traces import Basis

CountTokens = Callable[[str, Vocabulary], int | None]
"""Counts the tokens of a text; None where the vocabulary is unknown or not loaded yet."""

FindModel = Callable[[str], Model | None]
"""Finds another model of the same provider by the provider's own name for it."""


def _no_sibling(_: str) -> None:
    """Know no other model."""


_BLOCK_CHARACTERS: Final = 2048
"""Counting costs by the text; counting in parts costs at most one token too many a part."""
_LEAST_BLOCK: Final = 64
"""So a stream that is split within words is not counted too high, at most a token in fourteen."""
_MOST_COUNTED: Final = 32_768
"""A longer text is not counted on the event loop, but bounded by its bytes."""
_LONGEST_TOKEN: Final = 16
"""Bytes of a long token: text counted so is never counted too high, so never cut wrongly."""
_GUESS_FACTOR: Final = 2
"""Another family's count of the same text stays within this factor of ours, by experience."""


class Bound(msgspec.Struct, frozen=True):
    """What was held for a call, and for how many tokens: `output_tokens` for all its choices."""

    input_tokens: int
    output_tokens: int
    amount: NanoDollars


class Owed(msgspec.Struct, frozen=True, kw_only=True):
    """What a call owes, and what it rests on. `input_tokens` contains the cached and written."""

    amount: NanoDollars
    basis: Basis
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


NOTHING: Final = Owed(amount=ZERO, basis=Basis.NONE)


class Meter:
    """The usage of one call. `feed` says whether it may go on; `owed` what it costs at its end."""

    def __init__(
        self,
        model: Model,
        asked: Asked,
        bound: Bound,
        count: CountTokens,
        sibling: FindModel = _no_sibling,
        *,
        believes_bill: bool = False,
    ) -> None:
        """Take what the provider says it bills for the cost itself, if `believes_bill`.

        From any other provider it is taken where it is more than the prices make of the usage.
        """
        self._model = model
        self._bound = bound
        self._count = count
        self._is_stream = asked.stream
        self._makes_output = asked.makes_output
        self._asked = asked
        self._tier = asked.tier
        self._usage: Usage | None = None
        self._is_usage_last = False
        self._sibling = sibling
        self._believes_bill = believes_bill
        self._served: Model | None = None
        self._prompted: Usage | None = None
        self._may_think = model.hidden_reasoning and asked.thinks
        self._is_sent = False
        self._has_answered = False
        self.is_finished = False
        self.is_broken = False
        self._pending: list[str] = []
        self._pending_characters = 0
        self._counted = 0
        self._blocks = 0
        self._deltas = 0
        self._bytes = 0
        self._is_counted = True

    def feed(self, event: Event) -> bool:  # noqa: C901, PLR0912  # one arm a member
        """Hear one event; False when more was produced than was held, so the stream must be cut."""
        match event:
            case Delta(text):
                return self._heard(text)
            case Usage():
                self._usage = event if self._usage is None else _merged(self._usage, event)
                self._is_usage_last = True
            case Prompted(usage):
                self._prompted = usage
            case Thinking(begins):
                self._may_think = begins
            case Served(name, tier):
                self._tier = tier or self._tier
                self._served = self._sibling(name) if name is not None else None
            case Finished():
                self.is_finished = True
            case Broken():
                self.is_broken = True
            case Opaque():
                pass
            case _:
                assert_never(event)
        return True

    def sent(self) -> None:
        """Note that the request may reach the provider: from here on it may be billed unseen."""
        self._is_sent = True

    def answered(self, *, streams: bool) -> None:
        """Note that the provider began to answer: from here on it may bill what it shows.

        Where it does not stream what it was asked to, what it made is seen whole or not at all.
        """
        self._has_answered = True
        self._is_stream = self._is_stream and streams

    def owed(self, ending: Ending) -> Owed:  # noqa: PLR0911  # one arm an ending
        """Return what the call owes, ended so."""
        if self.is_finished and self._usage is not None and self._is_usage_last:
            return self._reported(self._usage)
        if not self._is_sent or self._asked.is_free:
            return NOTHING
        match ending:
            case ProviderError() | ProviderUnreachable():
                return NOTHING
            case ProviderBroken() if not self._bytes and self._usage is None:
                return NOTHING
            case Completed() if self._usage is not None and self._is_usage_last:
                return self._reported(self._usage)
            case CapReached():
                return self._at_least(self._bound.amount)
            case (
                Completed()
                | ProviderBroken()
                | ClientGone()
                | Killed()
                | ProviderLost()
                | TimedOut()
                | ShutDown()
            ):
                return self._seen()
            case _:
                assert_never(ending)

    def _heard(self, text: str) -> bool:
        if not text:
            return True
        self._deltas += 1
        self._bytes += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        self._is_usage_last = False
        self._pending.append(text)
        self._pending_characters += len(text)
        if self._bytes <= self._bound.output_tokens or not self._is_stream:
            return (
                True  # no token is shorter than a byte, so no count can be above the held one yet
            )
        room = self._bound.output_tokens - self._counted
        if self._pending_characters < max(_LEAST_BLOCK, min(room, _BLOCK_CHARACTERS)):
            return True
        return self._is_within()

    def _is_within(self) -> bool:
        """Return whether what was counted may still be what was held."""
        self._count_pending()
        return self._certain() <= self._bound.output_tokens

    def _certain(self) -> int:
        """Return how many output tokens what was counted has at least."""
        least = max(0, self._counted - self._blocks)
        is_guess = self._model.vocabulary is Vocabulary.UNKNOWN
        return -(-least // _GUESS_FACTOR) if is_guess else least

    def _count_pending(self) -> None:
        if not self._pending:
            return
        text = "".join(self._pending)
        vocabulary = self._model.vocabulary
        known = Vocabulary.O200K if vocabulary is Vocabulary.UNKNOWN else vocabulary
        is_counted = len(text) <= _MOST_COUNTED and is_quick(text)
        counted = self._count(text, known) if is_counted else None
        if counted is None:
            self._is_counted = False
            counted = len(text) // _LONGEST_TOKEN
        self._counted += counted
        self._blocks += most_cuts(text)
        self._pending.clear()
        self._pending_characters = 0

    def _shown(self) -> int:
        """Return the most output tokens that what was shown can have been.

        No event has less than a token. What is but an estimate is no more than was held: only what
        certainly was more can have broken the limit that the provider was given.
        """
        self._count_pending()
        if self._model.vocabulary is Vocabulary.UNKNOWN or not self._is_counted:
            certain, most = self._certain(), visible(self._bytes, None)
        else:
            certain, most = self._counted, visible(self._bytes, self._counted)
        return max(certain, min(max(most, self._deltas), self._bound.output_tokens))

    def _seen(self) -> Owed:
        """Return the most that what was seen allows: the bound where more may be hidden.

        What was certainly shown may be more than that, where the provider broke its limit.
        """
        whole = self._whole_bound()
        if not self._has_answered:
            return whole
        seen = self._metered()
        is_hidden = self._makes_output and (self._may_think or not self._is_whole())
        return whole if is_hidden and seen.amount <= whole.amount else seen

    def _metered(self) -> Owed:
        shown = self._shown() if self._makes_output else 0
        heard = self._prompted
        if heard is None:
            one = structs.replace(self._asked, choices=1)
            amount = upper_bound(self._model, one, self._bound.input_tokens, shown)
            heard = Usage(input=self._bound.input_tokens, output=0)
        else:
            amount = self._dearest(structs.replace(heard, output=shown))
        if self._usage is not None:
            amount = max(amount, self._dearest(self._usage))
        return Owed(
            amount=amount,
            basis=Basis.METERED,
            input_tokens=heard.heard,
            cached_tokens=heard.read,
            cache_write_tokens=heard.written,
            output_tokens=shown,
        )

    def _is_whole(self) -> bool:
        """Return whether everything that was produced was shown, up to now."""
        return self._is_stream or self._bytes > 0

    def _dearest(self, usage: Usage) -> NanoDollars:
        """Return what a usage costs, by the model that the provider says it used if that is dearer.

        Where the provider says what it bills, that is the cost, or the least that it can be.
        """
        amount = cost(self._model, usage, self._tier)
        if self._served is not None:
            amount = max(amount, cost(self._served, usage, self._tier))
        if usage.billed_nusd is None:
            return amount
        billed = NanoDollars(usage.billed_nusd)
        return billed if self._believes_bill else max(amount, billed)

    def _whole_bound(self) -> Owed:
        return Owed(
            amount=self._bound.amount,
            basis=Basis.BOUND,
            input_tokens=self._bound.input_tokens,
            output_tokens=self._bound.output_tokens,
        )

    def _at_least(self, amount: NanoDollars) -> Owed:
        seen = self._seen()
        return seen if seen.amount >= amount else structs.replace(seen, amount=amount)

    def _reported(self, usage: Usage) -> Owed:
        return Owed(
            amount=self._dearest(usage),
            basis=Basis.REPORTED,
            input_tokens=usage.heard,
            cached_tokens=usage.read,
            cache_write_tokens=usage.written,
            output_tokens=usage.spoken,
            reasoning_tokens=usage.reasoning,
        )


def _merged(old: Usage, new: Usage) -> Usage:
    """Return the later account, its totals no lower than before (a provider counts upwards).

    The kinds of an account stand or fall together: of two accounts of the same input, the later one
    may call cached what the first did not, and no token is counted in both.
    """
    heard = new if new.heard >= old.heard else old
    spoken = new if new.spoken >= old.spoken else old
    return Usage(
        input=heard.input,
        cached=heard.cached,
        cached_audio=heard.cached_audio,
        cache_write=heard.cache_write,
        cache_write_5m=heard.cache_write_5m,
        audio_input=heard.audio_input,
        output=spoken.output,
        audio_output=spoken.audio_output,
        image_output=spoken.image_output,
        reasoning=min(max(old.reasoning, new.reasoning), spoken.output),
        certain=old.certain and new.certain,
        fees_nusd=max(old.fees_nusd, new.fees_nusd),
        billed_nusd=_larger(old.billed_nusd, new.billed_nusd),
    )


def _larger(one: int | None, other: int | None) -> int | None:
    """Return the larger of two figures, either of which may be missing."""
    return max((each for each in (one, other) if each is not None), default=None)
