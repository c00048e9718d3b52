"""What the client of a call is told that ended early, in words of ours."""

from typing import Final

from msgspec import structs

from gateway.core.ids import Provider, TraceId
from gateway.core.outcome import (
    CapReached,
    Ending,
    Killed,
    ProviderBroken,
    ProviderLost,
    ProviderUnreachable,
    ShutDown,
    TimedOut,
)
from gateway.core.refusal import Code, Refused
from gateway.exchange.switchboard import STOPPING
from gateway.providers.adapter import Headers


def of_call(refused: Refused, trace: TraceId) -> Refused:
    """Return a refusal that names its call, for the dialects that have a place for that in a body."""
    return structs.replace(refused, call=trace)


def named(trace: TraceId) -> Headers:
    """Return the headers in which SDKs look for a call's name, for an answer that is our own."""
    return [(b"x-request-id", trace.encode()), (b"request-id", trace.encode())]


def of(ending: Ending | None, provider: Provider, trace: TraceId) -> Refused | None:
    """Return the news of an ending; None where the client has heard it, or can't hear any more."""
    match ending:
        case Killed(refused):
            return refused
        case CapReached():
            return Refused(
                Code.REQUEST_CAP_EXCEEDED,
                f"{provider} sent more output than was asked for and held; the stream was cut.",
            )
        case ProviderUnreachable() | ProviderLost() | ProviderBroken() | TimedOut():
            return _failed(ending, provider, trace)
        case ShutDown():
            return STOPPING
        case _:
            return None


def _failed(
    ending: ProviderUnreachable | ProviderLost | ProviderBroken | TimedOut,
    provider: Provider,
    trace: TraceId,
) -> Refused:
    match ending:
        case ProviderUnreachable():
            return Refused(
                Code.UPSTREAM_ERROR,
                f"{provider} can't be reached (gateway id {trace}), and so charges nothing.",
            )
        case ProviderLost() | ProviderBroken():
            return Refused(
                Code.UPSTREAM_ERROR, f"{provider} broke off its answer (gateway id {trace})."
            )
        case TimedOut():
            return Refused(
                Code.UPSTREAM_TIMEOUT,
                f"{provider} sent nothing in time (gateway id {trace}). It may still bill the call.",
            )


def is_ours(status: int) -> bool:
    """Return whether an error is about the gateway's own key, account or address, and not the call."""
    return status < 400 or status in _OUR_KEY


def own_error(status: int, provider: Provider, trace: TraceId) -> Refused:
    """Return what stands for an error about what is the gateway's own."""
    if status < 400:
        return Refused(
            Code.UPSTREAM_ERROR, f"{provider} answered HTTP {status} (gateway id {trace})."
        )
    return Refused(
        Code.UPSTREAM_ERROR,
        f"{provider} refused the gateway's own key or account (HTTP {status}). Ask an operator to "
        "check it.",
    )


def broken_off(provider: Provider, trace: TraceId) -> Refused:
    """Return what stands for an error event that is not to be passed on."""
    return Refused(
        Code.UPSTREAM_ERROR, f"{provider} reported an error and broke off (gateway id {trace})."
    )


def error_answer(status: int, provider: Provider, trace: TraceId, wait_s: int | None) -> Refused:
    """Return what stands for a provider's own error that is not to be passed on, of the same kind.

    An SDK tries again what its client can't mend by itself, and nothing else. `wait_s` is for how long
    the provider asks to wait.
    """
    message = f"{provider} answered HTTP {status} (gateway id {trace})"
    match status:
        case 404:
            return Refused(Code.MODEL_NOT_FOUND, f"{message}: it may not have this model.")
        case 413:
            return Refused(Code.BODY_TOO_LARGE, f"{message}: the request is too large for it.")
        case 429:
            text = f"{message}: it is asked too often."
            return Refused(Code.RATE_LIMITED, text, retry_after_s=wait_s)
        case _ if status < 500 and status not in _PASSING:
            text = f"{message}: something in the request is wrong. What it says is not passed on."
            return Refused(Code.INVALID_REQUEST, text)
        case _:
            return Refused(Code.UPSTREAM_ERROR, f"{message}.", retry_after_s=wait_s)


_OUR_KEY: Final = frozenset({401, 402, 403})
_PASSING: Final = frozenset({408, 409, 425})
"""Errors of below 500 that may be over when the same is sent again; SDKs do (openai 3.57)."""
