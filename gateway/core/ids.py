"""Names of things, so that the type checker keeps a run from being taken for a token."""

import re
from typing import Final, NewType
from uuid import UUID

TraceId = NewType("TraceId", str)
RunId = NewType("RunId", str)
"""A run's own UUIDv7. What a client calls it is its `RunName`, unique only in its project."""
RunName = NewType("RunName", str)
TokenId = NewType("TokenId", str)
Project = NewType("Project", str)
Provider = NewType("Provider", str)
ModelName = NewType("ModelName", str)
"""`provider/model`, the name that prices, traces and metrics use."""
ReplicaId = NewType("ReplicaId", str)
KillId = NewType("KillId", str)

UUID7_ENTROPY_BYTES: Final = 10
_RUN_NAME = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def uuid7(unix_ms: int, entropy: bytes) -> str:
    """Return a UUIDv7 (RFC 9562 §5.7) of a time in milliseconds and 10 random bytes."""
    if len(entropy) != UUID7_ENTROPY_BYTES:
        message = f"uuid7 takes {UUID7_ENTROPY_BYTES} random bytes, not {len(entropy)}"
        raise ValueError(message)
    value = (unix_ms & (1 << 48) - 1) << 80 | int.from_bytes(entropy)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(UUID(int=value))


def is_run_name(text: str) -> bool:
    """Return whether a client may call a run so: 1 to 128 of `A-Za-z0-9._:-`."""
    return _RUN_NAME.fullmatch(text) is not None
