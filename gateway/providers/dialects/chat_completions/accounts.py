"""The provider's own account of a call, made comparable, and trusted only where it is sound.

OpenAI counts cached, written and audio tokens inside `prompt_tokens`, reasoning and audio inside
`completion_tokens`; xAI counts reasoning outside it, which `total_tokens` shows (docs.x.ai,
November 2026). So the output is never taken to be less than the total leaves for it.
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway.core.events import Usage

MOST_COUNT: Final = 10**9
"""No call has so many tokens; a number that large is a fault, not a count."""

Values = Mapping[str, Any]


def read(values: Values, *, makes_output: bool) -> Usage | None:
    """Return a usage object's figures; None where they are not to be trusted at all.

    Prompt and completion must be there (an embedding has only a prompt) and every figure a whole
    number from 0 to 10^9. Details that are no counts, or more than their whole, are not credited.
    """
    prompt = _count(values, "prompt_tokens")
    completion = _count(values, "completion_tokens")
    total = _count(values, "total_tokens")
    if prompt is None or completion is None or total is None:
        return None
    if values.get("prompt_tokens") is None:
        return None
    if makes_output and values.get("completion_tokens") is None:
        return None
    spoken = _spoken(values, completion, max(completion, total - prompt))
    return _heard(values, prompt, spoken)


def _spoken(values: Values, completion: int, output: int) -> Usage:
    """Return the output side alone. Where audio is more than all of it, all of it is audio."""
    details = values.get("completion_tokens_details") or {}
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


def _heard(values: Values, prompt: int, spoken: Usage) -> Usage:
    """Return the whole account. Where the parts of the input exceed it, none is credited.

    What may be audio stays audio then, since that may be the dearest kind of all.
    """
    details = values.get("prompt_tokens_details") or {}
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
