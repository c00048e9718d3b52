"""What an error answer's headers say of trying again."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite

from gateway.core.retrying import Advice
from gateway.providers.adapter import Headers


def read(headers: Headers, now: datetime) -> Advice:
    """Return the advice of an error answer; what can't be read says nothing.

    `retry-after` is seconds or a date (RFC 9110, 10.2.3). `retry-after-ms` is Azure's and OpenAI's, and
    exacter. `x-should-retry` is what OpenAI's and Anthropic's own SDKs heed before all else.
    """
    found = {name: value.decode("latin-1").strip() for name, value in headers}
    return Advice(_retry_after_s(found, now), found.get(b"x-should-retry") == "false")


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
