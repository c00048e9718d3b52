"""The provider's own account of a call, made comparable, and trusted only where it is sound.

OpenAI counts cached, written and audio tokens inside the input, reasoning and audio inside the
output; xAI counts reasoning outside it, which `total_tokens` shows (docs.x.ai, November 2026). So
the output is never taken to be less than the total leaves for it. Chat completions and Responses
have other names for the same figures.

Some hosts say what they bill, too: xAI `cost_in_usd_ticks` (10^10 a dollar), OpenRouter `cost`, in
dollars, and beside it what the caller's own key is billed elsewhere (openrouter.ai/docs, "Usage
Accounting", November 2026). Money is read from its digits, never as a float.
"""

from collections.abc import Mapping
from decimal import ROUND_CEILING, Context, Decimal
from typing import Any, Final

import msgspec

from gateway.core.events import Usage
from gateway.core.money import MOST, PER_DOLLAR

MOST_COUNT: Final = 10**9
"""No call has so many tokens; a number that large is a fault, not a count."""
PER_TICK: Final = Decimal("0.1")
"""Nano-dollars."""

MONEY: Final = frozenset({"cost", "cost_in_usd_ticks"})
"""What hosts call the amount that they bill."""

Values = Mapping[str, Any]


class Names(msgspec.Struct, frozen=True):
    """What an API calls the figures of an account."""

    heard: str
    spoken: str
    heard_details: str
    spoken_details: str


CHAT: Final = Names(
    "prompt_tokens", "completion_tokens", "prompt_tokens_details", "completion_tokens_details"
)
RESPONSES: Final = Names(
    "input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details"
)


def read(values: Values, names: Names, *, makes_output: bool) -> Usage | None:
    """Return a usage object's figures; None where they are not to be trusted at all.

    Input and output must be there (an embedding has only an input), no output is made of no input, and
    every figure is a whole number from 0 to 10^9. Details that are no counts, or more than their whole, are not credited.
    """
    heard = _count(values, names.heard)
    spoken = _count(values, names.spoken)
    total = _count(values, "total_tokens")
    if heard is None or spoken is None or total is None:
        return None
    if values.get(names.heard) is None or (makes_output and not heard and spoken):
        return None
    if makes_output and values.get(names.spoken) is None:
        return None
    output = _spoken(values.get(names.spoken_details), spoken, max(spoken, total - heard))
    return _heard(values, names, heard, output)


def billed(account: bytes) -> int | None:
    """Return what a usage object, as it came, says is billed, in nano-dollars, rounded up.

    None where it says nothing, or nothing that can be an amount. Never raises.
    """
    try:
        said = _BILLED.decode(account)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    dollars = _nano(said.cost, PER_DOLLAR)
    if dollars is not None and said.is_byok is not False and said.cost_details is not None:
        dollars += _nano(said.cost_details.upstream_inference_cost, PER_DOLLAR) or 0
    ticks = _nano(said.cost_in_usd_ticks, PER_TICK)
    return max((amount for amount in (dollars, ticks) if amount is not None), default=None)


class _Details(msgspec.Struct, frozen=True, gc=False):
    """What a call with a key of the operator's own cost there."""

    upstream_inference_cost: Decimal | None = None


class _Billed(msgspec.Struct, frozen=True, gc=False):
    """The parts of an account that are money. `is_byok`: a key of the operator's own was used."""

    cost: Decimal | None = None
    cost_in_usd_ticks: Decimal | None = None
    is_byok: bool | None = None
    cost_details: _Details | None = None


def _nano(amount: Decimal | None, nano_per_unit: int | Decimal) -> int | None:
    """Return an amount in nano-dollars, rounded up; None where it is none, or can't be one."""
    if amount is None or not amount.is_finite() or not 0 <= amount <= MOST:
        return None
    nano = _EXACT.multiply(amount, Decimal(nano_per_unit))
    return int(nano.to_integral_value(ROUND_CEILING)) if nano <= MOST else None


def _spoken(given: object, completion: int, output: int) -> Usage:
    """Return the output side alone. Where audio is more than all of it, all of it is audio."""
    details = given or {}
    reasoning = _count(details, "reasoning_tokens")
    audio = _count(details, "audio_tokens")
    if reasoning is not None and reasoning > completion:
        output = max(output, completion + reasoning)
    certain = reasoning is not None and audio is not None and audio <= output
    audio = output if audio is None else min(audio, output)
    return Usage(
        input=0,
        output=output - audio,
        audio_output=audio,
        reasoning=min(reasoning or 0, output - audio),
        certain=certain,
    )


def _heard(values: Values, names: Names, prompt: int, spoken: Usage) -> Usage:
    """Return the whole account. Where the parts of the input exceed it, none is credited.

    What may be audio stays audio then, since that may be the dearest kind of all.
    """
    details = values.get(names.heard_details) or {}
    cached = _larger(_count(details, "cached_tokens"), _count(values, "prompt_cache_hit_tokens"))
    written = _count(details, "cache_write_tokens")
    audio = _count(details, "audio_tokens")
    certain = spoken.certain
    if cached is None or written is None or audio is None or cached + written + audio > prompt:
        certain = False
        audio = prompt if audio is None else min(audio, prompt)
        cached = written = 0
    return Usage(
        input=prompt - cached - written - audio,
        output=spoken.output,
        cached=cached,
        cache_write=written,
        audio_input=audio,
        audio_output=spoken.audio_output,
        reasoning=spoken.reasoning,
        certain=certain,
    )


def _larger(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else max(one, other)


def _count(values: object, name: str) -> int | None:
    """Return a count, 0 where it is missing or null, None where it is not one."""
    if not isinstance(values, dict):
        return None
    value = values.get(name)
    if value is None:
        return 0
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < MOST_COUNT else None


_BILLED: Final = msgspec.json.Decoder(_Billed)
_EXACT: Final = Context(prec=64, rounding=ROUND_CEILING)
"""More digits than any amount has; one with more is rounded up all the same."""
