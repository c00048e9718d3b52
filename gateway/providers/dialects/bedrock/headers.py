"""The headers that bear on what a call costs or does: they are read as the body is, or refused."""

from collections.abc import Mapping
from typing import Final

from gateway.core.refusal import Code, Refused
from gateway.providers.adapter import Headers
from gateway.providers.fields import invalid

TIER: Final = b"x-amzn-bedrock-service-tier"
LATENCY: Final = b"x-amzn-bedrock-performanceconfig-latency"
_REFUSED: Final[Mapping[bytes, str]] = {
    b"x-amzn-bedrock-guardrailidentifier": "guardrails are billed apart",
    b"x-amzn-bedrock-guardrailversion": "guardrails are billed apart",
    b"x-amzn-bedrock-projectidentifier": "the gateway's own account is billed",
}
HEEDED: Final = frozenset({TIER, LATENCY, *_REFUSED})


def check(headers: Headers) -> Refused | None:
    """Refuse what would be billed unseen, and a header that is there twice."""
    names = [name for name, _ in headers]
    for name in names:
        shown = name.decode("latin-1")
        if name in _REFUSED:
            message = f"The cost of {shown} can't be bounded: {_REFUSED[name]}. Leave it out."
            return Refused(Code.BOUND_UNKNOWN, message, param=shown)
        if names.count(name) > 1:
            return invalid(shown, f"{shown} must be there once.")
    return None


def value(headers: Headers, name: bytes) -> str | None:
    """Return a header's value; None where it is missing."""
    found = next((value for key, value in headers if key == name), None)
    return None if found is None else found.decode("latin-1").strip()
