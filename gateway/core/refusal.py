"""A refusal: the gateway's own no, as a value. What it looks like on the wire is a dialect's matter."""

from enum import StrEnum

import msgspec


class Code(StrEnum):
    """Every reason to refuse (`contract.md` §3.3). The value is public and stays."""

    INVALID_REQUEST = "invalid_request"
    PRICE_UNKNOWN = "price_unknown"
    RUN_REQUIRED = "run_required"
    BOUND_UNKNOWN = "bound_unknown"
    TOKEN_INVALID = "token_invalid"  # noqa: S105  # a code, not a credential
    SCOPE_MISSING = "scope_missing"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    KILL_SWITCH = "kill_switch"
    CONTENT_NOT_ALLOWED = "content_not_allowed"
    REQUEST_CAP_EXCEEDED = "request_cap_exceeded"
    RUN_CAP_EXCEEDED = "run_cap_exceeded"
    MONTH_BUDGET_EXCEEDED = "month_budget_exceeded"
    TOKEN_BUDGET_EXCEEDED = "token_budget_exceeded"  # noqa: S105
    PROJECT_BUDGET_EXCEEDED = "project_budget_exceeded"
    MODEL_BUDGET_EXCEEDED = "model_budget_exceeded"
    MODEL_NOT_FOUND = "model_not_found"
    ENDPOINT_NOT_METERED = "endpoint_not_metered"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    RATE_LIMITED = "rate_limited"
    TOO_MANY_STREAMS = "too_many_streams"
    UPSTREAM_ERROR = "upstream_error"
    LEDGER_UNAVAILABLE = "ledger_unavailable"
    DRAINING = "draining"
    UPSTREAM_TIMEOUT = "upstream_timeout"


class Refused(msgspec.Struct, frozen=True):
    """Why a call does not go on: one sentence of fact, one of remedy, no prompt text, no key.

    `param` names the request's field at fault, where there is one; `budget` and `left_nusd` name the
    budget that is short (`"run"`, `"workspace month"`) and what was left of it. `is_final`: the same
    call would be refused again, however long its client waits. `call` is its trace, where it is known.
    """

    code: Code
    message: str
    param: str | None = None
    budget: str | None = None
    left_nusd: int | None = None
    retry_after_s: int | None = None
    is_final: bool = False
    call: str | None = None
