"""A request as it is sent on: the client's own members in their order, but for what must change."""

from typing import Final

import msgspec

from gateway.providers.adapter import Change, Wanted

_CEILING: Final = "max_tokens"


def write(wanted: Wanted, change: Change) -> bytes:
    """Return the body to send. Members that don't change keep their very bytes.

    A limit is only ever lowered: whoever generates has to send one, and a count of tokens has none.
    """
    members = dict(wanted.fields)
    members["model"] = _raw(change.model)
    given = wanted.asked.output_tokens
    if given is not None and change.output_tokens is not None:
        members[_CEILING] = _raw(min(given, change.output_tokens))
    return _WRITER.encode(members)


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(_WRITER.encode(value))


_WRITER: Final = msgspec.json.Encoder()
