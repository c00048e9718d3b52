"""The forms that several resources share: names, amounts, pages; and how an answer is written."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Final, Generic, TypeVar

import msgspec
from litestar import Response
from msgspec import Meta

from gateway.config import forms
from gateway.core.ids import RunName, is_run_name
from gateway.core.money import NanoDollars, from_usd, to_usd
from gateway.web.problems import invalid

ONLY: Final = "-"
"""The id of what there is one of: the workspace, everything."""
MOST_LABELS: Final = 4
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_NAME: Final = r"^[A-Za-z0-9._:-]{1,128}\Z"
_AMOUNT: Final = r"^[0-9]{1,10}(\.[0-9]{1,9})?\Z"
_MODEL: Final = f"^(?:{forms.MODEL.pattern})\\Z"
_LIFE: Final = r"^[1-9][0-9]{0,5}[mhd]\Z"
_LABEL: Final = "="
_DIGEST: Final = r"^[0-9a-f]{64}\Z"

FORMS: Final[Mapping[str, str]] = {
    _NAME: "It is not 1 to 128 of A-Za-z0-9._:-",
    _AMOUNT: "It is not an amount of US dollars such as 2.50",
    _MODEL: "It is not provider/model, such as openai/gpt-5-mini",
    _LIFE: "It is not a duration such as 30m, 12h or 30d",
    _LABEL: "It is not name=value",
    _DIGEST: "It is not 64 hexadecimal digits in lower case",
}
"""What a text is not that has not the form of a pattern."""

Name = Annotated[str, Meta(pattern=_NAME)]
Model = Annotated[str, Meta(pattern=_MODEL)]
Life = Annotated[str, Meta(pattern=_LIFE)]
Digest = Annotated[str, Meta(pattern=_DIGEST)]
Labelled = Annotated[str, Meta(max_length=129, pattern=_LABEL)]
Sentence = Annotated[str, Meta(min_length=1, max_length=200)]
Label = Annotated[str, Meta(min_length=1, max_length=64)]
Labels = Annotated[
    Mapping[Label, Annotated[str, Meta(max_length=64)]], Meta(max_length=MOST_LABELS)
]
Dollars = Annotated[str, Meta(pattern=_AMOUNT)] | Annotated[int, Meta(ge=0)]
"""An amount of US dollars, best as a decimal string."""
Ceiling = Annotated[int, Meta(ge=1, le=10**7)]
Limit = Annotated[int, Meta(ge=1, le=1000)]
Cursor = Annotated[str, Meta(min_length=1, max_length=400)]

T = TypeVar("T")


class Query(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all queries share: a member that is not known is refused."""


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all bodies share: a member that is not known is refused."""


class Paging(Query, frozen=True, kw_only=True):
    """Where a page begins, and how much it holds."""

    cursor: Cursor | None = None
    limit: Limit = 100


class Page(msgspec.Struct, Generic[T], frozen=True):
    """A part of a list, and the cursor of what comes after it; None at the end."""

    data: list[T]
    next_cursor: str | None = None


def page(items: list[T], limit: int, cursor: Callable[[T], str]) -> Page[T]:
    """Return a page of up to `limit` items; where it is full, its last item's cursor leads on."""
    return Page(items, cursor(items[-1]) if items and len(items) == limit else None)


def answer(value: object, status: int = 200) -> Response[bytes]:
    """Return a JSON answer."""
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")


def nothing() -> Response[bytes]:
    """Return the answer of a change that leaves nothing to say."""
    return Response(b"", status_code=204, media_type="application/json")


def nano(amount: str | int, param: str) -> NanoDollars:
    """Return an amount that a body named; raises Problem for one that is too large."""
    try:
        return from_usd(str(amount))
    except ValueError:
        raise invalid("The amount can't be used: at most 1000000000 dollars.", param) from None


def usd(amount: int | None) -> str | None:
    """Return an amount for an answer."""
    return None if amount is None else to_usd(amount)


def run_name(text: str) -> RunName:
    """Return a run's name out of an address; raises Problem."""
    if not is_run_name(text):
        raise invalid("A run's name is 1 to 128 of A-Za-z0-9._:-", "run")
    return RunName(text)


def is_model(text: str) -> bool:
    """Return whether a text is provider/model."""
    return re.fullmatch(forms.MODEL.pattern or "", text) is not None


def is_uuid(text: str) -> bool:
    """Return whether a text is an id of ours."""
    return _UUID.fullmatch(text) is not None


def uuid(text: str, param: str) -> str:
    """Return an id of ours out of an address or a cursor; raises Problem."""
    if not is_uuid(text):
        raise invalid("This is not an id such as 018f0000-0000-7000-8000-000000000001.", param)
    return text
