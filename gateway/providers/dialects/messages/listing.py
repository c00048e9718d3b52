"""The models that a client may use, as Anthropic lists them (anthropic 2.13, `types/model_info.py`)."""

from collections.abc import Iterable
from typing import Final

import msgspec

from gateway.core.pricing import Model

_UNKNOWN_DATE: Final = "1970-01-01T00:00:00Z"
"""Nothing here knows when a model was made; Anthropic's reference allows the epoch for that."""


class _Listed(msgspec.Struct, frozen=True):
    id: str
    display_name: str
    max_tokens: int | None
    type: str = "model"
    created_at: str = _UNKNOWN_DATE
    lifecycle: str = "active"
    """What it is here: it can be used."""


class _Listing(msgspec.Struct, frozen=True):
    data: list[_Listed]
    has_more: bool
    first_id: str | None
    last_id: str | None


def models(priced: Iterable[Model], aliases: Iterable[str]) -> bytes:
    """Return the listing of some models, operators' names first: one page, however long."""
    data = [*map(_listed, aliases), *map(_listed, priced)]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return _WRITER.encode(_Listing(data, has_more=False, first_id=first, last_id=last))


def model(one: Model | str) -> bytes:
    """Return the listing's entry of one model, or of one of the operators' names."""
    return _WRITER.encode(_listed(one))


def _listed(one: Model | str) -> _Listed:
    if isinstance(one, str):
        return _Listed(one, one, max_tokens=None)
    return _Listed(one.name, one.upstream_name, one.max_output_tokens)


_WRITER: Final = msgspec.json.Encoder()
