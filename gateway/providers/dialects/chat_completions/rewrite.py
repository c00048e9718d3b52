"""A request as it is sent on: the client's own members in their order, but for what must change."""

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.providers.adapter import Change, Endpoint, Wanted
from gateway.providers.dialects.chat_completions.request import CEILINGS

Members = dict[str, msgspec.Raw]

_UNIVERSAL_CEILING: Final = "max_tokens"
"""Every host heeds it, or refuses it (OpenAI's reasoning models do); none ignores it."""
_NULL: Final = b"null"


def write(wanted: Wanted, change: Change) -> bytes:
    """Return the body to send. Members that don't change keep their very bytes."""
    members: Members = dict(wanted.fields)
    members["model"] = _raw(change.model)
    if change.output_tokens is not None:
        _lower(members, change.output_tokens, _ceiling_field(wanted, change))
    if change.reports_usage and wanted.asked.stream:
        members["stream_options"] = _reporting(members.get("stream_options"))
    if _takes_tier(wanted) and change.names_tier and _is_absent(members, "service_tier"):
        members["service_tier"] = _raw("default")
    return _WRITER.encode(members)


def _ceiling_field(wanted: Wanted, change: Change) -> str:
    """Return the host's field for the ceiling; legacy completions have the old one alone."""
    is_legacy = wanted.endpoint is Endpoint.COMPLETIONS
    return _UNIVERSAL_CEILING if is_legacy else change.ceiling_field


def _takes_tier(wanted: Wanted) -> bool:
    """Return whether OpenAI's API has service tiers for a call: to others the field is unknown."""
    return wanted.endpoint is Endpoint.CHAT_COMPLETIONS


def _lower(members: Members, ceiling: int, host_field: str) -> None:
    """Lower every ceiling that is there, and add the host's where it may heed none of them."""
    given = [name for name in CEILINGS if not _is_absent(members, name)]
    for name in given:
        members[name] = _raw(min(ceiling, _INTEGER.decode(members[name])))
    if host_field not in given and _UNIVERSAL_CEILING not in given:
        members[host_field] = _raw(ceiling)


def _reporting(options: msgspec.Raw | None) -> msgspec.Raw:
    """Return stream options that ask for usage, with whatever else the client said in them."""
    given = {} if options is None or bytes(options) == _NULL else _MEMBERS.decode(options)
    return _raw({**given, "include_usage": True})


def _is_absent(members: Mapping[str, msgspec.Raw], name: str) -> bool:
    """Return whether a member is missing, or null, which the API takes for missing."""
    return name not in members or bytes(members[name]) == _NULL


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(_WRITER.encode(value))


_WRITER: Final = msgspec.json.Encoder()
_INTEGER: Final = msgspec.json.Decoder(int)
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
