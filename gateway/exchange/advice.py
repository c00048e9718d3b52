"""What an error answer's headers say of trying again."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import ceil, isfinite
from typing import Final

from gateway.core.retrying import Advice
from gateway.providers.adapter import Headers

_MOST_WAIT_S: Final = 60
_SDK_RETRIES: Final = 2
"""OpenAI's and Anthropic's, unless they are told otherwise."""
_SHOULD_RETRY: Final = b"x-should-retry"
_RETRY_AFTER: Final = frozenset({b"retry-after", b"retry-after-ms"})


def read(headers: Headers, now: datetime) -> Advice:
    """Return the advice of an error answer; what can't be read says nothing.

    `retry-after` is seconds or a date (RFC 9110, 10.2.3). `retry-after-ms` is Azure's and OpenAI's, and
    exacter. `x-should-retry` is what OpenAI's and Anthropic's own SDKs heed before all else.
    """
    found = {name: value.decode("latin-1").strip() for name, value in headers}
    return Advice(_retry_after_s(found, now), found.get(_SHOULD_RETRY) == "false")


def wait_s(headers: Headers) -> int | None:
    """Return for how many seconds an answer asks, at most 60, by its own clock; None: it does not."""
    found = {name: value.decode("latin-1").strip() for name, value in headers}
    asked = None if _RETRY_AFTER.isdisjoint(found) else _retry_after_s(found, _date(found))
    return None if asked is None else min(ceil(asked), _MOST_WAIT_S)


def capped(headers: Headers) -> Headers:
    """Return headers that ask for no more than a minute's patience, or for none, and in seconds.

    Anthropic's SDK waits as long as it is told (2.13, `_base_client.py`), a month if need be. What its
    two waits can't outlast is not worth the first, so it is told not to retry. A date is by the
    provider's clock, which its answer's own date shows, and the client has another; where the
    answer has none, it is too far off for all one knows.
    """
    found = {name: value.decode("latin-1").strip() for name, value in headers}
    if _RETRY_AFTER.isdisjoint(found):
        return headers
    wait_s = _retry_after_s(found, _date(found))
    is_number = any(_number(found.get(name, "")) is not None for name in _RETRY_AFTER)
    if wait_s is None or (wait_s <= _MOST_WAIT_S and is_number):
        return headers
    passed = [(name, value) for name, value in headers if name not in _RETRY_AFTER]
    if wait_s > _SDK_RETRIES * _MOST_WAIT_S and _SHOULD_RETRY not in found:
        passed.append((_SHOULD_RETRY, b"false"))
    return [*passed, (b"retry-after", b"%d" % min(ceil(wait_s), _MOST_WAIT_S))]


def _date(found: Mapping[bytes, str]) -> datetime:
    """Return when the answer was made; the beginning of time where it does not say."""
    try:
        at = parsedate_to_datetime(found.get(b"date", ""))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _retry_after_s(found: Mapping[bytes, str], now: datetime) -> float | None:
    milliseconds = _number(found.get(b"retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    said = found.get(b"retry-after", "")
    seconds = _number(said)
    return seconds if seconds is not None else _until(said, now)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return max(0.0, number) if isfinite(number) else None


def _until(text: str, now: datetime) -> float | None:
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())
