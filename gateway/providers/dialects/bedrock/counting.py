"""A count of tokens, which is free: Converse's body or a vendor's own, and one figure in answer.

Source: `CountTokens` of the API's model in botocore 1.44.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from gateway.core.calls import Asked
from gateway.core.events import Broken, Event, Opaque
from gateway.core.refusal import Refused
from gateway.providers.adapter import Path, Wanted
from gateway.providers.dialects.bedrock import families, headers
from gateway.providers.fields import invalid
from gateway.providers.strict_json import Body


def read(path: Path, body: Body) -> Wanted | Refused:
    """Return what a count asks for. It produces nothing, and nothing is held for it."""
    refused = families.check_name(path.model or "") or headers.check(path.headers)
    if refused is not None:
        return refused
    if not isinstance(body.values.get("input"), dict):
        return invalid("input", "input must be an object.")
    asked = Asked(
        model=path.model or "",
        text_bytes=body.text_bytes,
        makes_output=False,
        is_free=True,
        thinks=False,
    )
    return Wanted(path=path, asked=asked, fields=body.members)


def whole(document: bytes) -> Sequence[Event]:
    """Return that an answer is one; nothing where it is none."""
    try:
        counted = _COUNTED.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ()
    if counted.input_tokens is not None:
        return (Opaque(),)
    return () if counted.message is None else (Broken(),)


class _Counted(msgspec.Struct, frozen=True):
    input_tokens: int | None = msgspec.field(default=None, name="inputTokens")
    message: str | None = None


_COUNTED: Final = msgspec.json.Decoder(_Counted)
