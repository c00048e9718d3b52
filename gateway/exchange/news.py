"""What the client of a call is told that ended early, in words of ours."""

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


def error_answer(status: int, provider: Provider, trace: TraceId) -> Refused:
    """Return what stands for a provider's own error that is not to be passed on."""
    if status in {401, 402, 403}:
        message = f"{provider} refused the gateway's own key or account (HTTP {status}). Ask an operator to check it."
    elif status == 200:
        message = f"{provider} reported an error and broke off (gateway id {trace})."
    else:
        message = f"{provider} answered HTTP {status} (gateway id {trace})."
    return Refused(Code.UPSTREAM_ERROR, message)
