"""A request as it is sent on: the client's own members in their order, but for what must change."""

from typing import Final

import msgspec

from gateway.providers.adapter import Change, Endpoint, Wanted
from gateway.providers.dialects.responses.request import CEILING

_NULL: Final = b"null"


def write(wanted: Wanted, change: Change) -> bytes:
    """Return the body to send. Members that don't change keep their very bytes."""
    members = dict(wanted.fields)
    members["model"] = _raw(change.model)
    if wanted.endpoint is Endpoint.RESPONSES:
        _bound(members, change)
    return _WRITER.encode(members)


def _bound(members: dict[str, msgspec.Raw], change: Change) -> None:
    """Write the ceiling, and the tier where an account's default could be a dearer one."""
    if change.output_tokens is not None:
        given = members.get(CEILING)
        asked = None if given is None else _INTEGER.decode(given)
        lower = change.output_tokens if asked is None else min(asked, change.output_tokens)
        members[CEILING] = _raw(lower)
    if change.names_tier and bytes(members.get("service_tier", _NULL)) == _NULL:
        members["service_tier"] = _raw("default")


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(_WRITER.encode(value))


_WRITER: Final = msgspec.json.Encoder()
_INTEGER: Final = msgspec.json.Decoder(int | None)
