"""What a legacy completion asks for: one prompt or several, as text or as token ids.

Every prompt is read once, and each of its choices may have the whole output. The API's own limit
where none is given is 16 tokens, and it is said, since not every host keeps to it (OpenAI's API
reference, "Create completion", November 2026).
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from gateway.core.calls import Asked
from gateway.core.refusal import Refused
from gateway.providers.adapter import Path, Wanted
from gateway.providers.dialects.chat_completions.request import (
    CEILINGS,
    check_stream,
    check_unbounded,
    schema_bytes,
)
from gateway.providers.fields import (
    MOST_CHOICES,
    MOST_TOKENS,
    Values,
    check_model,
    check_number,
    check_overrides,
    check_tier,
    invalid,
    is_flag,
    unbounded,
)
from gateway.providers.strict_json import Body, countable

DEFAULT_TOKENS: Final = 16
MOST_PROMPTS: Final = 2048
EMBEDDED: Final = frozenset({"prompt_embeds", "multi_modal_data"})
"""Fields of vLLM's that stand for input which no text here bounds."""


class _Prompts(msgspec.Struct, frozen=True):
    """How many prompts there are, and how many token ids where they came so."""

    number: int
    token_ids: int = 0


def read(path: Path, body: Body) -> Wanted | Refused:
    """Return what a completion asks for, or the first thing that is wrong with it."""
    values = body.values
    for check in _CHECKS if path.model is None else _CHECKS[1:]:
        refused = check(values)
        if refused is not None:
            return refused
    prompts = _prompts(values.get("prompt"))
    if isinstance(prompts, Refused):
        return prompts
    is_stream = values.get("stream") is True
    if is_stream and values.get("echo") is True and prompts.token_ids:
        return unbounded("echo", "echoed token ids can't be told from output in a stream")
    # As they are counted in `text_bytes`, which is without the white space that a client may put there.
    digits = len(_WRITER.encode(values["prompt"])) if prompts.token_ids else 0
    options = values.get("stream_options") or {}
    return Wanted(
        path=path,
        asked=Asked(
            model=path.model or values["model"],
            stream=is_stream,
            output_tokens=_output_tokens(values),
            choices=prompts.number * _choices(values),
            prompts=prompts.number,
            text_bytes=max(0, body.text_bytes - digits),
            token_ids=prompts.token_ids,
            schema_bytes=schema_bytes(body) + _suffixes_bytes(values, prompts),
            hides_input=any(values.get(name) is not None for name in EMBEDDED),
            tier=values.get("service_tier"),
        ),
        fields=body.members,
        wants_usage=is_stream and options.get("include_usage") is True,
    )


def echoed(wanted: Wanted) -> Sequence[str]:
    """Return, for each choice of a stream, the prompt that it repeats before its own text."""
    if "echo" not in wanted.fields or bytes(wanted.fields["echo"]) != b"true":
        return ()
    prompt = msgspec.json.decode(wanted.fields["prompt"])
    prompts = [prompt] if isinstance(prompt, str) else prompt
    each = wanted.asked.choices // max(1, wanted.asked.prompts)
    return [one for one in prompts for _ in range(each)]


def _suffixes_bytes(values: Values, prompts: _Prompts) -> int:
    """Return the size of the suffix for each prompt but the first, as it is read once with each."""
    suffix = values.get("suffix")
    return 0 if suffix is None else (prompts.number - 1) * countable(_WRITER.encode(suffix))


def _prompts(value: object) -> _Prompts | Refused:
    found = _counted(value)
    if found is None:
        return invalid("prompt", "prompt must be a text, an array of texts, or token ids.")
    if found.number > MOST_PROMPTS:
        return invalid("prompt", f"prompt must be at most {MOST_PROMPTS:,} texts.")
    return found


def _counted(value: object) -> _Prompts | None:
    """Return how many prompts a value is; None where it is none."""
    if isinstance(value, str):
        return _Prompts(1)
    return _listed(value) if isinstance(value, list) and value else None


def _listed(items: list[Any]) -> _Prompts | None:
    if _are_ids(items):
        return _Prompts(1, len(items))
    if all(isinstance(item, str) for item in items):
        return _Prompts(len(items))
    if all(isinstance(item, list) and item and _are_ids(item) for item in items):
        return _Prompts(len(items), sum(map(len, items)))
    return None


def _are_ids(items: Sequence[Any]) -> bool:
    return all(type(item) is int for item in items)


def _output_tokens(values: Values) -> int:
    """Return the larger limit where both are given, since a host may heed either."""
    given = [values[name] for name in CEILINGS if values.get(name) is not None]
    return max(given, default=DEFAULT_TOKENS)


def _choices(values: Values) -> int:
    return max(values.get("n") or 1, values.get("best_of") or 1)


def _check_numbers(values: Values) -> Refused | None:
    checked = (
        check_number(values, name, most, least=least) for name, (least, most) in _NUMBERS.items()
    )
    return next(filter(None, checked), None)


def _check_echo(values: Values) -> Refused | None:
    if is_flag(values.get("echo")):
        return None
    return invalid("echo", "echo must be true or false.")


_WRITER: Final = msgspec.json.Encoder()
# A limit of 0 scores a prompt: nothing is made, and `echo` and `logprobs` say how likely it was.
_NUMBERS: Final = {
    "max_completion_tokens": (0, MOST_TOKENS),
    "max_tokens": (0, MOST_TOKENS),
    "n": (1, MOST_CHOICES),
    "best_of": (1, MOST_CHOICES),
}
_CHECKS: Final[tuple[Callable[[Values], Refused | None], ...]] = (
    check_model,
    check_overrides,
    check_stream,
    check_unbounded,
    _check_numbers,
    check_tier,
    _check_echo,
)
