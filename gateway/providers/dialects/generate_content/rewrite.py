"""A request as it is sent on: the client's own members in their order, but for what must change.

The path names the model; where the body names it again, or each request of a batch does, it is named
as the provider knows it.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from gateway.providers.adapter import Change, Endpoint, Wanted
from gateway.providers.dialects.generate_content.embeddings import COUNTED
from gateway.providers.dialects.generate_content.request import CEILING, CONFIG
from gateway.providers.dialects.generate_content.spelling import name_of, snake

Members = dict[str, msgspec.Raw]

_NULL: Final = b"null"


def write(wanted: Wanted, change: Change) -> bytes:
    """Return the body to send. Members that don't change keep their very bytes."""
    members = _with_model(dict(wanted.fields), change.model)
    match wanted.endpoint:
        case Endpoint.BATCH_EMBED_CONTENTS:
            _edit(members, "requests", lambda raw: _each_with_model(raw, change.model))
        case Endpoint.COUNT_TOKENS:
            _edit(
                members,
                name_of(members, COUNTED),
                lambda raw: _raw(_with_model(_MEMBERS.decode(raw), change.model)),
            )
        case _ if change.output_tokens is not None:
            _lower(members, change.output_tokens)
        case _:
            pass
    return _WRITER.encode(members)


def _lower(members: Members, ceiling: int) -> None:
    """Lower the request's limit, or set it where there is none, as the request spells the config."""
    name = name_of(members, CONFIG)
    config: Members = {} if _is_absent(members, name) else _MEMBERS.decode(members[name])
    field = name_of(config, CEILING)
    if field not in config and name != CONFIG:
        field = snake(CEILING)
    if not _is_absent(config, field) and _INTEGER.decode(config[field]) <= ceiling:
        return
    config[field] = _raw(ceiling)
    members[name] = _raw(config)


def _edit(members: Members, name: str, edit: Callable[[msgspec.Raw], msgspec.Raw]) -> None:
    if not _is_absent(members, name):
        members[name] = edit(members[name])


def _each_with_model(requests: msgspec.Raw, model: str) -> msgspec.Raw:
    found = _REQUESTS.decode(requests)
    if isinstance(found, list):
        return _raw([_with_model(one, model) for one in found])
    return _raw(_with_model(found, model))


def _with_model(members: Members, model: str) -> Members:
    if not _is_absent(members, "model"):
        members["model"] = _raw(f"models/{model}")
    return members


def _is_absent(members: Members, name: str) -> bool:
    """Return whether a member is missing, or null, which protobuf's JSON takes for missing."""
    return name not in members or bytes(members[name]) == _NULL


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(_WRITER.encode(value))


_WRITER: Final = msgspec.json.Encoder()
_INTEGER: Final = msgspec.json.Decoder(int)
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_REQUESTS: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | dict[str, msgspec.Raw])
