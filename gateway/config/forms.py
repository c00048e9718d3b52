"""The values that YAML can't name by itself: how each is written in the file, and what it is inside.

A form reads one scalar to the value the structs hold: durations to milliseconds, dollars to
nano-dollars, shares and factors to parts per million, credentials to `Secret`. It is attached to a
field's type by `written_as`, and followed by the decoder and the schema alike.
"""

import base64
import ipaddress
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, NewType
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from gateway.core import money
from gateway.core.secret import Secret

Scalar = None | bool | int | Decimal | str
PartsPerMillion = NewType("PartsPerMillion", int)
"""A share or factor as an integer, since it multiplies money: 1_000_000 is the whole."""

SANDBOX_URL: Final = "sandbox:"
VAULT: Final = "vault"
_UNITS_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"([0-9]{1,12})(ms|s|m|h|d)")
_FACTOR = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}/[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,190}")
_PROVIDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]{1,2}")
_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,255}")
_KEY = re.compile(r"[!-~]{1,4096}")
_URL = re.compile(r"[!-~]{1,2048}")
_FILE = re.compile(r"[^\x00-\x1f\x7f]{1,4096}")
_WEBHOOK_SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{32,86}={0,2}")
_LOCAL_NAME = re.compile(r"(?i)([^.]+|.*\.(localhost|local|internal|home\.arpa))\.?")
_TIER = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_EXPANDED = r".*\$\{.*"
"""A schema lets through what the environment may complete; only the decoder can judge it."""


class Unfit(ValueError):
    """A scalar does not have the form. Its text says what is allowed, when the form's own does not."""


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """One way of writing a value.

    `read` raises `Unfit`; `write` is its inverse, for defaults in the schema. A private form's text
    is never quoted. `pattern` is the regular expression of the schema, without anchors.
    """

    name: str
    allowed: str
    read: Callable[[Scalar], object]
    write: Callable[[Any], str] = str
    pattern: str = ".+"
    kinds: tuple[str, ...] = ("string",)
    is_private: bool = False

    def schema(self) -> dict[str, object]:
        """Return the JSON Schema of the written value."""
        kind = list(self.kinds) if len(self.kinds) > 1 else self.kinds[0]
        return {"type": kind, "pattern": f"^({self.pattern}|{_EXPANDED})$"}

    def key_schema(self) -> dict[str, object]:
        """Return the JSON Schema of a key of this form; in keys nothing is replaced."""
        return {"pattern": f"^({self.pattern})$"}


MARK: Final = "x-form"
"""Where a field's type carries its form, and msgspec's schema the form's name."""


def written_as(form: Form) -> msgspec.Meta:
    """Return the annotation that gives a field its form."""
    return msgspec.Meta(extra={MARK: form}, extra_json_schema={MARK: form.name})


def _duration_between(least: str, most: str) -> Form:
    """Return the form of a duration between two, such as `30s`; inside, whole milliseconds."""
    low, high = _milliseconds(least), _milliseconds(most)

    def read(value: Scalar) -> int:
        found = _milliseconds(value)
        if not low <= found <= high:
            raise Unfit
        return found

    return Form(
        name=f"duration {least} to {most}",
        allowed=f"a duration such as 250ms, 30s, 5m, 24h or 30d, from {least} to {most}",
        read=read,
        write=_duration_text,
        pattern=_DURATION.pattern,
    )


def _milliseconds(value: Scalar) -> int:
    parts = _DURATION.fullmatch(_text(value))
    if parts is None:
        raise Unfit
    return int(parts[1]) * _UNITS_MS[parts[2]]


def _duration_text(milliseconds: int) -> str:
    """Return a duration in the largest unit that loses nothing."""
    exact = [unit for unit, length in _UNITS_MS.items() if milliseconds % length == 0]
    unit = exact[-1] if milliseconds else "s"
    return f"{milliseconds // _UNITS_MS[unit]}{unit}"


def _text(value: Scalar) -> str:
    if not isinstance(value, str):
        raise Unfit
    return value


def _matching(pattern: re.Pattern[str]) -> Callable[[Scalar], str]:
    def read(value: Scalar) -> str:
        if pattern.fullmatch(_text(value)) is None:
            raise Unfit
        return str(value)

    return read


def _usd(value: Scalar) -> int:
    if value is None or isinstance(value, bool):
        raise Unfit
    digits = f"{value:f}" if isinstance(value, Decimal) else str(value)
    try:
        amount = money.from_usd(digits)
    except ValueError:
        raise Unfit from None
    if isinstance(value, Decimal):
        # Here its digits are known; any other reader of the file would make a float of it.
        advice = f'an exact amount: put it in quotes, "{digits}"'
        raise Unfit(advice)
    return amount


def _share_of(most: int) -> Callable[[Scalar], PartsPerMillion]:
    def read(value: Scalar) -> PartsPerMillion:
        if value is None or isinstance(value, bool) or _FACTOR.fullmatch(str(value)) is None:
            raise Unfit
        parts = int(Decimal(str(value)) * 10**6)
        if not 0 < parts <= most * 10**6:
            raise Unfit
        return PartsPerMillion(parts)

    return read


def _fraction(parts: int) -> str:
    return f"{Decimal(parts) / 10**6:f}"


def _secret(value: Scalar) -> Secret:
    return Secret(_matching(_KEY)(value))


def _database(value: Scalar) -> Secret | None:
    text = _matching(_URL)(value)
    if text == "embedded":
        return None
    if _split(text).scheme not in {"postgresql", "postgres"} or "://" not in text:
        raise Unfit
    return Secret(text)


def _base_url(value: Scalar) -> str:
    return SANDBOX_URL if value == SANDBOX_URL else _web_url(value)


def _web_url(value: Scalar) -> str:
    text = _matching(_URL)(value)
    url = _split(text)
    is_bare = "@" not in url.netloc and "?" not in text and "#" not in text
    if url.scheme not in {"http", "https"} or not url.hostname or not is_bare:
        raise Unfit
    return text.rstrip("/")


def _split(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        _ = url.port  # raises for a port that is no number or above 65535
    except ValueError:
        raise Unfit from None
    return url


def _webhook_url(value: Scalar) -> str:
    """Return the URL of a receiver. Its query is the receiver's own affair; a password is not."""
    text = _matching(_URL)(value)
    url = _split(text)
    host = url.hostname
    if not host or "@" in url.netloc or "#" in text or url.scheme not in {"http", "https"}:
        raise Unfit
    if url.scheme == "http" and not _is_near(host):
        raise Unfit
    return text


def _is_near(host: str) -> bool:
    """Return whether a host is of this machine or a private network, so far as its name tells."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        is_number = host.rpartition(".")[2].isdigit()  # 2130706433 and its like are addresses too
        return not is_number and _LOCAL_NAME.fullmatch(host) is not None
    return address.is_loopback or (address.is_private and not address.is_unspecified)


def _webhook_secret(value: Scalar) -> Secret:
    """Return a secret of Standard Webhooks: `whsec_` and 24 to 64 bytes in base64."""
    text = _matching(_WEBHOOK_SECRET)(value)
    encoded = text.removeprefix("whsec_").rstrip("=")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        raise Unfit from None
    if not 24 <= len(key) <= 64:
        raise Unfit
    return Secret(text)


def _timezone(value: Scalar) -> str:
    name = _text(value)
    try:
        # UTC is known without the time zone database, which a small image may lack.
        return name if name == "UTC" else ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Unfit from None


USD: Final = Form(
    name="dollars",
    allowed='dollars such as "2.50" or 5, at most 1000000000 with nine decimals',
    read=_usd,
    write=money.to_usd,
    pattern=r"[0-9]{1,10}(\.[0-9]{1,9})?",
    kinds=("string", "integer"),
)
FACTOR: Final = Form(
    name="factor",
    allowed="a number above 0, at most 1000, with at most six decimals",
    read=_share_of(1000),
    write=_fraction,
    pattern=_FACTOR.pattern,
    kinds=("string", "number"),
)
SHARE: Final = Form(
    name="share",
    allowed="a number above 0, at most 1, with at most six decimals",
    read=_share_of(1),
    write=_fraction,
    pattern=_FACTOR.pattern,
    kinds=("string", "number"),
)
SECRET: Final = Form(
    name="secret",
    allowed='1 to 4096 visible ASCII characters without spaces, best as "${NAME}"',
    read=_secret,
    write=Secret.reveal,
    is_private=True,
)
DATABASE: Final = Form(
    name="database",
    allowed="embedded or postgresql://user:password@host/database",
    read=_database,
    write=lambda url: "embedded" if url is None else str(url),
    pattern="embedded|postgres(ql)?://.*",
    is_private=True,
)
BASE_URL: Final = Form(
    name="base URL",
    allowed="an http:// or https:// URL without user, query or fragment, or sandbox:",
    read=_base_url,
    pattern="https?://[^@?#]+|sandbox:",
)
WEB_URL: Final = Form(
    name="web URL",
    allowed="an http:// or https:// URL without user, query or fragment",
    read=_web_url,
    pattern="https?://[^@?#]+",
)
WEBHOOK_URL: Final = Form(
    name="webhook URL",
    allowed="an https:// URL without user or fragment; http:// only to this machine or a private network",
    read=_webhook_url,
    pattern="https?://[^@#]+",
    is_private=True,
)
WEBHOOK_SECRET: Final = Form(
    name="webhook secret",
    allowed='whsec_ and 24 to 64 random bytes in base64, best as "${NAME}"',
    read=_webhook_secret,
    write=Secret.reveal,
    pattern=_WEBHOOK_SECRET.pattern,
    is_private=True,
)
TIMEZONE: Final = Form(
    name="time zone",
    allowed="UTC or a name of the IANA time zone database such as Europe/Berlin",
    read=_timezone,
)


def _named(name: str, pattern: re.Pattern[str], allowed: str) -> Form:
    return Form(name=name, allowed=allowed, read=_matching(pattern), pattern=pattern.pattern)


MODEL: Final = _named("model", _MODEL, "provider/model, such as openai/gpt-5-mini")
PROVIDER: Final = _named("provider", _PROVIDER, "1 to 64 of A-Za-z0-9._-, such as openai")
ALIAS: Final = _named("alias", _ALIAS, "1 to 128 of A-Za-z0-9._:/@+-, such as fast")
WEBHOOK: Final = _named("webhook", _PROVIDER, "1 to 64 of A-Za-z0-9._-, such as ops")
TIER: Final = _named("tier", _TIER, "1 to 64 of a-z0-9_.-, such as priority")
REGION: Final = _named("region", _REGION, "an AWS region such as us-east-1")
HOST: Final = _named("host", _HOST, "an address or host name such as 127.0.0.1")
FILE: Final = _named("file", _FILE, "the path of a file")
WAIT: Final = _duration_between("1ms", "24h")
LEASE: Final = _duration_between("1s", "1h")
GRACE: Final = _duration_between("0s", "24h")

_MONEY = (USD, FACTOR, SHARE)
_PLACES = (DATABASE, BASE_URL, WEB_URL, WEBHOOK_URL, HOST, FILE, TIMEZONE)
_NAMES = (MODEL, PROVIDER, ALIAS, WEBHOOK, REGION, TIER)
_REST = (SECRET, WEBHOOK_SECRET, WAIT, LEASE, GRACE)
FORMS: Final = {form.name: form for form in (*_MONEY, *_PLACES, *_NAMES, *_REST)}
