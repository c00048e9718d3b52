"""The gateway's own request headers: read once, refused clearly, never forwarded."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from gateway.core.ids import RunName, is_run_name
from gateway.core.money import NanoDollars, from_usd
from gateway.core.refusal import Code, Refused

_MOST_LABELS = 4
_MOST_LABEL_CHARACTERS = 64
_MOST_CEILING = 10**7


class Controls(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks of the gateway itself for one call."""

    run: RunName | None = None
    run_cap: NanoDollars | None = None
    output_ceiling: int | None = None
    is_dry_run: bool = False
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)


NO_CONTROLS = Controls()


def read(headers: Sequence[tuple[bytes, bytes]]) -> Controls | Refused:
    """Return what the `x-gateway-` headers of a request ask for; names are lower case."""
    given = [(name[10:], value) for name, value in headers if name.startswith(b"x-gateway-")]
    if not given:
        return NO_CONTROLS
    try:
        return _read(given)
    except _BadHeader as error:
        return Refused(Code.INVALID_REQUEST, str(error), param=error.header)
    except _ContentNotAllowed:
        return Refused(
            Code.CONTENT_NOT_ALLOWED,
            "This gateway keeps no text of any call. Send it without x-gateway-store-content.",
            param="x-gateway-store-content",
        )


class _BadHeader(ValueError):
    def __init__(self, name: str, allowed: str) -> None:
        self.header = f"x-gateway-{name}"
        super().__init__(f"The header {self.header} takes {allowed}.")


class _ContentNotAllowed(ValueError):
    """Text may be kept only where the workspace allows it."""


def _read(given: list[tuple[bytes, bytes]]) -> Controls:
    values: dict[str, object] = {}
    labels: dict[str, str] = {}
    for raw_name, raw_value in given:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1").strip()
        if name == "label":
            _add_label(labels, value)
            continue
        field, reader = _known(name)
        if field in values:
            raise _BadHeader(name, "one value; it was sent twice")
        values[field] = reader(name, value)
    values.pop("_content", None)
    if "run_cap" in values and "run" not in values:
        raise _BadHeader("run-cap-usd", "the cap of a run: send x-gateway-run with it")
    return msgspec.convert({**values, "labels": labels}, Controls)


def _known(name: str) -> tuple[str, Callable[[str, str], object]]:
    row = _READERS.get(name)
    if row is None:
        known = ", ".join(f"x-gateway-{known}" for known in (*_READERS, "label"))
        raise _BadHeader(name, f"no value: there is no such header. Known are {known}")
    return row


def _run(name: str, value: str) -> str:
    if not is_run_name(value):
        raise _BadHeader(name, "1 to 128 characters of A-Z a-z 0-9 . _ : -")
    return value


def _amount(name: str, value: str) -> int:
    try:
        return from_usd(value)
    except ValueError:
        raise _BadHeader(name, "an amount of dollars such as 2.50") from None


def _count(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and 1 <= len(value) <= 8):
        raise _BadHeader(name, f"a whole number from 1 to {_MOST_CEILING}")
    if not 1 <= int(value) <= _MOST_CEILING:
        raise _BadHeader(name, f"a whole number from 1 to {_MOST_CEILING}")
    return int(value)


def _flag(name: str, value: str) -> bool:
    if value not in {"true", "false"}:
        raise _BadHeader(name, "true or false")
    return value == "true"


def _content(name: str, value: str) -> bool:
    if _flag(name, value):
        raise _ContentNotAllowed
    return False


_READERS: Mapping[str, tuple[str, Callable[[str, str], object]]] = {
    "run": ("run", _run),
    "run-cap-usd": ("run_cap", _amount),
    "max-output-tokens": ("output_ceiling", _count),
    "dry-run": ("is_dry_run", _flag),
    "store-content": ("_content", _content),
}


def _add_label(labels: dict[str, str], value: str) -> None:
    name, equals, text = value.partition("=")
    is_good = bool(name) and bool(equals) and len(name) <= _MOST_LABEL_CHARACTERS
    if not is_good or len(text) > _MOST_LABEL_CHARACTERS or not value.isprintable():
        raise _BadHeader("label", f"name=value, each at most {_MOST_LABEL_CHARACTERS} characters")
    if name in labels or len(labels) >= _MOST_LABELS:
        raise _BadHeader("label", f"at most {_MOST_LABELS} labels, each name once")
    labels[name] = text
