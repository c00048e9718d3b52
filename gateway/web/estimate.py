"""The dry run: what a call may cost and whether it would be admitted, without making it."""

from typing import Literal

import msgspec
from litestar import Response

from gateway.core.ids import Project, TokenId
from gateway.core.limits import CALL_SCOPE, Caller
from gateway.core.refusal import Refused
from gateway.exchange.estimates import Estimate
from gateway.providers.adapter import Endpoint, Headers
from gateway.web import reading
from gateway.web.gate import Visitor, visitor_of
from gateway.web.problems import refusal
from gateway.web.routing import API, Described, Sender, route
from gateway.web.services import Quote, services_of
from gateway.web.shapes import Body, Ceiling, Dollars, Name, answer, nano, usd


class EstimateOrder(Body, frozen=True, kw_only=True):
    """A call to estimate: its endpoint, its body as a client would send it, and the run it is for."""

    endpoint: Literal["chat/completions", "embeddings"] = "chat/completions"
    body: msgspec.Raw
    project: Name | None = None
    run: Name | None = None
    run_cap_usd: Dollars | None = None
    output_tokens_ceiling: Ceiling | None = None


@route("POST", f"{API}/estimate", Described("Estimate a call", body=EstimateOrder, answer=Estimate))
async def estimate(request: Sender) -> Response[bytes]:
    """Estimate a call that is not made."""
    asked = await reading.body(request, EstimateOrder)
    quote = Quote(
        caller=_caller(visitor_of(request), asked.project),
        endpoint=Endpoint(asked.endpoint),
        body=bytes(asked.body),
        headers=_headers(asked),
    )
    found = await services_of(request).estimate(quote)
    if isinstance(found, Refused):
        raise refusal(found)
    return answer(found)


def _caller(visitor: Visitor, project: str | None) -> Caller:
    """Return who would make the call: the visitor, as a caller of calls, in a project."""
    own = visitor.caller
    return Caller(
        token=TokenId("") if own is None else own.token,
        name=visitor.name,
        project=visitor.confined_to or Project(project or visitor.project),
        scopes=frozenset({CALL_SCOPE}),
        models=None if own is None else own.models,
    )


def _headers(asked: EstimateOrder) -> Headers:
    """Return the headers that a client would ask the same with."""
    cap = None
    if asked.run_cap_usd is not None:
        cap = usd(nano(asked.run_cap_usd, "run_cap_usd"))
    values = {
        "run": asked.run,
        "run-cap-usd": cap,
        "max-output-tokens": asked.output_tokens_ceiling,
    }
    return [
        (f"x-gateway-{name}".encode(), str(value).encode())
        for name, value in values.items()
        if value is not None
    ]
