"""What an embeddings request asks for: only input, as text or as token ids, one or many."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from gateway.core.calls import Asked
from gateway.core.refusal import Refused
from gateway.providers.adapter import Path, Wanted
from gateway.providers.fields import Values, check_model, check_overrides, invalid
from gateway.providers.strict_json import Body


class _Input(msgspec.Struct, frozen=True):
    """What is embedded: how many inputs, and how many token ids where they came so."""

    prompts: int
    token_ids: int = 0
    is_hidden: bool = False


def read(path: Path, body: Body) -> Wanted | Refused:
    """Return what an embeddings request asks for, or the first thing that is wrong with it."""
    for check in _CHECKS if path.model is None else _CHECKS[1:]:
        refused = check(body.values)
        if refused is not None:
            return refused
    found = _input(body.values["input"])
    # As they are counted in `text_bytes`, which is without the white space that a client may put there.
    digits = len(msgspec.json.encode(body.values["input"])) if found.token_ids else 0
    return Wanted(
        path=path,
        asked=Asked(
            model=path.model or body.values["model"],
            prompts=found.prompts,
            text_bytes=max(0, body.text_bytes - digits),
            token_ids=found.token_ids,
            hides_input=found.is_hidden,
            makes_output=False,
        ),
        fields=body.members,
    )


def _check_stream(values: Values) -> Refused | None:
    stream = values.get("stream")
    if stream is None or stream is False:
        return None
    return invalid("stream", "Embeddings can't be streamed; remove stream.")


def _check_input(values: Values) -> Refused | None:
    if isinstance(values.get("input"), str | list):
        return None
    return invalid("input", "input must be a text, an array of texts, or token ids.")


def _input(value: str | list[Any]) -> _Input:
    if isinstance(value, str):
        return _Input(prompts=1)
    if _are_ids(value):
        return _Input(prompts=1, token_ids=len(value))
    if all(isinstance(item, list) and _are_ids(item) for item in value):
        return _Input(prompts=len(value), token_ids=sum(map(len, value)))
    return _Input(prompts=len(value), is_hidden=not all(isinstance(item, str) for item in value))


def _are_ids(items: list[Any]) -> bool:
    return all(type(item) is int for item in items)


_CHECKS: Final[tuple[Callable[[Values], Refused | None], ...]] = (
    check_model,
    check_overrides,
    _check_stream,
    _check_input,
)
