"""What one gateway tells the others by NOTIFY: only that something changed, never what it is now.

A notice can be lost with its connection, so it makes things quick and nothing depends on it: each
of these states is also read again now and then.
"""

from collections.abc import Mapping, Sequence
from typing import Final, assert_never
from uuid import UUID

import msgspec

from gateway.core.budget import BudgetKey
from gateway.core.ids import KillId, ReplicaId, RunId
from gateway.store.database import Connection

CHANNEL: Final = "gateway"
SEND: Final = "SELECT pg_notify($1, $2)"
SEND_EACH: Final = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS p (payload)"
_MOST_KEYS: Final = 20
"""Budgets in one notice: PostgreSQL carries less than 8,000 bytes, and a key has at most some 300."""


class KillOn(msgspec.Struct, frozen=True):
    """A kill switch was thrown."""

    id: KillId


class KillOff(msgspec.Struct, frozen=True):
    """A kill switch was lifted."""

    id: KillId


class CapsChanged(msgspec.Struct, frozen=True):
    """Something else is capped than before, or by another amount."""


class TokensChanged(msgspec.Struct, frozen=True):
    """A token was made or revoked."""


class RunClosed(msgspec.Struct, frozen=True):
    """A run was closed."""

    id: RunId


class PricesChanged(msgspec.Struct, frozen=True):
    """Another list of prices is in force."""


class ReplicasChanged(msgspec.Struct, frozen=True):
    """A replica began, ended, or was found dead: rate limits are divided by another number."""


class Recalled(msgspec.Struct, frozen=True):
    """A replica lacks money of some budgets: the others should give back what they don't hold."""

    replica: ReplicaId
    keys: tuple[BudgetKey, ...]


Notice = (
    KillOn
    | KillOff
    | CapsChanged
    | TokensChanged
    | RunClosed
    | PricesChanged
    | ReplicasChanged
    | Recalled
)


def payload(notice: Notice) -> str:
    """Return a notice as it is sent."""
    match notice:
        case KillOn(id):
            return f"kill:{id}"
        case KillOff(id):
            return f"unkill:{id}"
        case RunClosed(id):
            return f"runs:{id}"
        case CapsChanged() | TokensChanged() | PricesChanged() | ReplicasChanged():
            return next(word for word, change in _CHANGES.items() if change == notice)
        case Recalled():
            return f"recall:{msgspec.json.encode(notice).decode()}"
        case _:
            assert_never(notice)


def parse(text: str) -> Notice | None:  # noqa: PLR0911  # one arm a notice
    """Return the notice in a payload, None for one of another release."""
    kind, _, name = text.partition(":")
    match kind:
        case "kill" if _is_id(name):
            return KillOn(KillId(name))
        case "unkill" if _is_id(name):
            return KillOff(KillId(name))
        case "runs" if _is_id(name):
            return RunClosed(RunId(name))
        case "caps" | "tokens" | "prices" | "replicas" if not name:
            return _CHANGES[kind]
        case "recall":
            return _recalled(name)
        case _:
            return None


_CHANGES: Final[Mapping[str, Notice]] = {
    "caps": CapsChanged(),
    "tokens": TokensChanged(),
    "prices": PricesChanged(),
    "replicas": ReplicasChanged(),
}


def recalls(replica: ReplicaId, keys: Sequence[BudgetKey]) -> list[str]:
    """Return the payloads that recall some budgets, in as few notices as hold them."""
    return [
        payload(Recalled(replica, tuple(keys[at : at + _MOST_KEYS])))
        for at in range(0, len(keys), _MOST_KEYS)
    ]


async def notify(connection: Connection, notice: Notice) -> None:
    """Send a notice when the transaction that `connection` is in commits."""
    await connection.execute(SEND, CHANNEL, payload(notice))


def _recalled(text: str) -> Recalled | None:
    try:
        return msgspec.json.decode(text, type=Recalled)
    except msgspec.MsgspecError:
        return None


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
