"""Who changed what: one row for each change, written in the change's own transaction.

A change whose row can't be written does not happen. Numbers have no gap: taking one locks the
counter until the transaction ends, so a row is written last. The database refuses to change or
remove rows. What calls do by themselves, opening a run or spending, is not a change of settings
and has its trace instead.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from gateway.core.money import to_usd
from gateway.store.database import Connection

RECORD: Final = """
WITH head AS (UPDATE audit_head SET seq = seq + 1 RETURNING seq)
INSERT INTO audit (seq, at, actor, via, address, action, target, detail)
SELECT seq, clock_timestamp(), $1, $2, $3, $4, $5, $6 FROM head"""


class Action(StrEnum):
    """Every change that is recorded."""

    BUDGET_PUT = "budget.put"
    BUDGET_DELETE = "budget.delete"
    KILL_ON = "kill.on"
    KILL_OFF = "kill.off"
    PRICES_CHOOSE = "prices.choose"
    UNSETTLED_RESOLVE = "unsettled.resolve"
    RUN_CREATE = "run.create"
    RUN_CLOSE = "run.close"
    TOKEN_CREATE = "token.create"  # noqa: S105  # an action, not a credential
    TOKEN_CHANGE = "token.change"  # noqa: S105
    TOKEN_REVOKE = "token.revoke"  # noqa: S105
    OWNER_LINK_CREATE = "owner_link.create"
    SESSION_START = "session.start"
    SESSION_END = "session.end"


class Actor(msgspec.Struct, frozen=True):
    """Who makes a change, and what lets them: a token's prefix, `session`, `link`, `start`."""

    name: str
    via: str
    address: str | None = None


AT_START: Final = Actor("gateway", "start")
"""The gateway itself, doing at its start what its configuration says."""


def dollars(cap: int | None) -> str:
    """Return a cap of nano-dollars as a row has it."""
    return "none" if cap is None else to_usd(cap)


async def record(
    connection: Connection,
    actor: Actor,
    action: Action,
    target: str,
    detail: Mapping[str, str | int] | None = None,
) -> None:
    """Add a row in the transaction that `connection` is in, as its last statement but NOTIFY.

    `target` is a kind and an id, `token:018f…`; `detail` holds safe fields, never a secret, and
    amounts as people and programs get them (`dollars`).
    """
    await connection.execute(
        RECORD,
        actor.name,
        actor.via,
        actor.address,
        action.value,
        target,
        dict(detail or {}),
    )
