"""One call as a row of metadata. There is no field here that could hold a prompt or an answer."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec

from gateway.core.ids import ModelName, Project, Provider, RunName, TokenId, TraceId
from gateway.core.money import NanoDollars
from gateway.core.outcome import Outcome
from gateway.core.refusal import Code


class Basis(StrEnum):
    """What a cost rests on: the provider's account, our count, the whole bound, or nothing billed."""

    REPORTED = "reported"
    METERED = "metered"
    BOUND = "bound"
    NONE = "none"


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a call (docs: records). Times are aware UTC; durations are milliseconds."""

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
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_nusd: NanoDollars
    cost_basis: Basis
    bound_nusd: NanoDollars
    price_version: str
    latency_ms: float
    first_byte_ms: float | None
    overhead_ms: float
    attempts: int
    labels: Mapping[str, str]
