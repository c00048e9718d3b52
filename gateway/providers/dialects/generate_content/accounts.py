"""The provider's own account of a call, made comparable, and trusted only where it is sound.

Gemini counts cached tokens inside `promptTokenCount`, and outside it those of a tool's results; thoughts
are outside `candidatesTokenCount`; `totalTokenCount` is the sum of the four, so that the output is never
taken to be less than the total leaves for it. Zeros are left out, as protobuf's JSON does
(google-genai 3.6, `types.py`). Details tell modalities apart; what they leave unsaid, where it may be
audio or an image, is taken for the dearest that it may be.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gateway.core.calls import Asked
from gateway.core.events import Usage

MOST_COUNT: Final = 10**9
"""No call has so many tokens; a number that large is a fault, not a count."""
_OUTPUTS: Final = ("candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount")
_COUNTS: Final = (
    "promptTokenCount",
    "cachedContentTokenCount",
    "toolUsePromptTokenCount",
    *_OUTPUTS,
)

Values = Mapping[str, Any]


class _Counts(msgspec.Struct, frozen=True):
    """An account's figures, 0 where they are left out."""

    prompt: int
    cached: int
    tools: int
    candidates: int
    thoughts: int
    total: int


class _Kinds(msgspec.Struct, frozen=True):
    """How many of some tokens are audio, and images; `unsaid` are those that no detail is of."""

    audio: int
    image: int
    unsaid: int
    is_sound: bool = True


def read(values: Values, asked: Asked) -> Usage | None:
    """Return a usage's figures; None where they are not to be trusted at all.

    The prompt must be there, some figure of the output too where there is one, and every figure a
    whole number from 0 to 10^9. Details that are no counts, or more than their whole, are not credited.
    """
    if values.get("promptTokenCount") is None:
        return None
    if asked.makes_output and all(values.get(name) is None for name in _OUTPUTS):
        return None
    found = [count(values.get(name)) for name in _COUNTS]
    figures = [figure for figure in found if figure is not None]
    if len(figures) < len(found):
        return None
    counts = _Counts(*figures)
    if not counts.prompt and (counts.candidates or counts.thoughts):
        return None  # no output is made of no input
    return _account(counts, _heard(values, counts, asked), _spoken(values, counts, asked))


def _account(counts: _Counts, heard: Usage, spoken: Usage) -> Usage:
    return Usage(
        input=heard.input,
        cached=heard.cached,
        cached_audio=heard.cached_audio,
        audio_input=heard.audio_input,
        output=spoken.output,
        audio_output=spoken.audio_output,
        image_output=spoken.image_output,
        reasoning=min(counts.thoughts, spoken.output),
        certain=heard.certain and spoken.certain,
    )


def _heard(values: Values, counts: _Counts, asked: Asked) -> Usage:
    """Return the input side alone. Where its parts contradict each other, none is credited.

    Where something but text may have been sent, and details don't say what it was, neither is it.
    """
    prompt = _kinds(values, "promptTokensDetails", counts.prompt)
    cached = _kinds(values, "cacheTokensDetails", counts.cached)
    tools = _kinds(values, "toolUsePromptTokensDetails", counts.tools)
    whole = counts.prompt + counts.tools
    audio = max(0, prompt.audio - cached.audio) + tools.audio
    unsaid = prompt.unsaid + tools.unsaid if asked.hides_input else 0
    are_sound = prompt.is_sound and cached.is_sound and tools.is_sound
    if not are_sound or counts.cached > counts.prompt or unsaid:
        audio = whole if audio or asked.hides_input else 0
        return Usage(input=whole - audio, output=0, audio_input=audio, certain=False)
    audio = min(audio, whole - counts.cached)
    heard = min(counts.cached, max(cached.audio, min(prompt.audio, cached.audio + cached.unsaid)))
    return Usage(
        input=whole - counts.cached - audio,
        output=0,
        cached=counts.cached - heard,
        cached_audio=heard,
        audio_input=audio,
    )


def _spoken(values: Values, counts: _Counts, asked: Asked) -> Usage:
    """Return the output side alone: thoughts are text, whatever else is said."""
    produced = counts.candidates + counts.thoughts
    output = max(produced, counts.total - counts.prompt - counts.tools)
    said = _kinds(values, "candidatesTokensDetails", counts.candidates)
    if not said.is_sound:
        audio = output if said.audio or asked.audio_output else 0
        return Usage(input=0, output=output - audio, audio_output=audio, certain=False)
    audio, image = said.audio, said.image
    if asked.audio_output:
        audio += said.unsaid
    elif values.get("candidatesTokensDetails"):
        image += said.unsaid
    else:
        return Usage(input=0, output=output)
    return Usage(input=0, output=output - audio - image, audio_output=audio, image_output=image)


def _kinds(values: Values, name: str, whole: int) -> _Kinds:
    """Return what the details of some tokens say, of which there are `whole`."""
    details = values.get(name)
    if details is None:
        return _Kinds(0, 0, whole)
    if not isinstance(details, list):
        return _Kinds(0, 0, whole, is_sound=False)
    sums = {"AUDIO": 0, "IMAGE": 0}
    said = 0
    for detail in details:
        tokens = count(detail.get("tokenCount")) if isinstance(detail, dict) else None
        if tokens is None:
            return _Kinds(sums["AUDIO"], sums["IMAGE"], whole, is_sound=False)
        said += tokens
        modality = detail.get("modality")
        if modality in ("AUDIO", "IMAGE"):
            sums[modality] += tokens
    return _Kinds(sums["AUDIO"], sums["IMAGE"], max(0, whole - said), is_sound=said <= whole)


def count(value: object) -> int | None:
    """Return a count, 0 where it is left out, None where it is not one."""
    if value is None:
        return 0
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < MOST_COUNT else None
