"""A request as it is sent on: the client's own members in their order, with the ceiling in its place.

The path names the model, so nothing but the limit changes.
"""

from typing import Final

import msgspec

from gateway.providers.adapter import Change, Endpoint, Wanted
from gateway.providers.dialects.bedrock import families
from gateway.providers.dialects.bedrock.families import LIMITS, Limit

Members = dict[str, msgspec.Raw]

_CONVERSE: Final = Limit(("maxTokens",), "inferenceConfig")
_NULL: Final = b"null"
_NONE: Final = Limit(())
_OWN_BODIES: Final = frozenset({Endpoint.INVOKE, Endpoint.INVOKE_STREAM})
_NO_BODY: Final = b"{}"
"""What every model refuses before it does any work."""


def write(wanted: Wanted, change: Change) -> bytes:
    """Return the body to send. Members that don't change keep their very bytes.

    An operator's name may lead to a model whose body is another's than the one that was read: then
    that model's limit is not known to hold, and nothing of the request is sent.
    """
    limit = _NONE if wanted.endpoint is Endpoint.COUNT_TOKENS else _CONVERSE
    if wanted.endpoint in _OWN_BODIES:
        family = families.family(change.model)
        if family is None or family is not families.family(wanted.asked.model):
            return _NO_BODY
        limit = LIMITS.get(family, _NONE)
    members: Members = dict(wanted.fields)
    if limit is not _NONE and change.output_tokens is not None:
        _lower(members, limit, change.output_tokens)
    return _WRITER.encode(members)


def _lower(members: Members, limit: Limit, ceiling: int) -> None:
    if limit.inside is None:
        _lower_in(members, limit.names, ceiling)
        return
    raw = members.get(limit.inside)
    inside: Members = {} if raw is None or bytes(raw) == _NULL else _MEMBERS.decode(raw)
    _lower_in(inside, limit.names, ceiling)
    members[limit.inside] = _raw(inside)


def _lower_in(members: Members, names: tuple[str, ...], ceiling: int) -> None:
    """Lower every limit that is there, and add the first where none is."""
    given = [name for name in names if name in members and bytes(members[name]) != _NULL]
    for name in given:
        own = _INTEGER.decode(members[name])
        if own > ceiling:
            members[name] = _raw(ceiling)
    if not given:
        members[names[0]] = _raw(ceiling)


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(_WRITER.encode(value))


_WRITER: Final = msgspec.json.Encoder()
_INTEGER: Final = msgspec.json.Decoder(int)
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
