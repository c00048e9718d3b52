"""What a running gateway can't take over from a new file."""

from typing import Final

import msgspec

from gateway.config.sections import Config
from gateway.config.wording import ROOT, child

_FIXED: Final = frozenset({"listen", "database", "ledger"})
"""Sockets, the database and the terms of leases already granted are for the life of a process."""


def reloadable(old: Config, new: Config) -> list[str]:
    """Return the paths that differ and need a restart; none means that `new` can be taken over."""
    changed = _changed(old, new, ROOT)
    return [path for path in changed if path.split(".")[1] in _FIXED]


def _changed(old: object, new: object, path: str) -> list[str]:
    """Return the deepest paths of differing fields, in the structs' order."""
    if old == new:
        return []
    if not (isinstance(old, msgspec.Struct) and type(old) is type(new)):
        return [path]
    return [
        below
        for field in msgspec.structs.fields(old)
        for below in _changed(
            getattr(old, field.name), getattr(new, field.name), child(path, field.encode_name)
        )
    ]
