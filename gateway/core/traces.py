"""One call as a row of metadata. There is no field here that could hold a prompt or an answer."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from gateway.core.ids import ModelName, Project, Provider, RunName, TokenId, TraceId
from gateway.core.money import ZERO, NanoDollars
from gateway.core.outcome import Outcome
from gateway.core.refusal import Code


class Basis(StrEnum):
    """What a cost rests on: the provider's account, our count, the whole bound, or nothing billed."""

    REPORTED = "reported"
    METERED = "metered"
    BOUND = "bound"
    NONE = "none"


_CERTAINTY: Final = (Basis.BOUND, Basis.METERED, Basis.REPORTED, Basis.NONE)


def least_certain(bases: Iterable[Basis]) -> Basis:
    """Return what the sum of some costs rests on: its least certain part; nothing for no cost."""
    return min(bases, key=_CERTAINTY.index, default=Basis.NONE)


class FailedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt of a call that was not its last: which model failed, how, and what it owes."""

    model: ModelName
    provider: Provider
    outcome: Outcome
    cost_nusd: NanoDollars
    cost_basis: Basis
    bound_nusd: NanoDollars
    took_s: float
    """Seconds from its sending to its end."""


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a call. Times are aware UTC; durations are milliseconds.

    `input_tokens` contains the cached and written ones, `output_tokens` the reasoning ones. Of a call
    with several attempts the last one's model, status and tokens are kept, and the sums of costs and
    of bounds.
    """

    id: TraceId
    at: datetime
    token: TokenId
    project: Project
    run: RunName | None
    dialect: str
    endpoint: str
    model_asked: str
    model: ModelName | None
    provider: Provider | None
    stream: bool
    status: int
    outcome: Outcome
    code: Code | None
    price_version: str
    latency_ms: float
    overhead_ms: float
    first_byte_ms: float | None = None
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nusd: NanoDollars = ZERO
    cost_basis: Basis = Basis.NONE
    bound_nusd: NanoDollars = ZERO
    attempts: int = 0
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
