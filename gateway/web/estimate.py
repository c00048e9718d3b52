"""The dry run: what a call may cost and whether it would be admitted, without making it."""

from typing import Annotated, Final, Literal, assert_never

import msgspec
from litestar import Response
from msgspec import Meta

from gateway.core.ids import Project, TokenId
from gateway.core.limits import CALL_SCOPE, Caller
from gateway.core.refusal import Refused
from gateway.exchange.estimates import Estimate
from gateway.providers import routes
from gateway.providers.adapter import Headers
from gateway.providers.paths import Listing, Metered, Unserved
from gateway.providers.routes import Elsewhere
from gateway.web import reading
from gateway.web.gate import Visitor, visitor_of
from gateway.web.problems import invalid, refusal
from gateway.web.routing import API, Described, Sender, route
from gateway.web.services import Quote, services_of
from gateway.web.shapes import Body, Ceiling, Dollars, Name, answer, nano, usd

CHAT: Final = "/v1/chat/completions"


class EstimateOrder(Body, frozen=True, kw_only=True):
    """A call to estimate: its path and body as a client would send them, and the run it is for.

    The path may have a query. `endpoint` is an older way to name two of OpenAI's.
    """

    path: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None
    endpoint: Literal["chat/completions", "embeddings"] | None = None
    body: msgspec.Raw
    project: Name | None = None
    run: Name | None = None
    run_cap_usd: Dollars | None = None
    output_tokens_ceiling: Ceiling | None = None


@route("POST", f"{API}/estimate", Described("Estimate a call", body=EstimateOrder, answer=Estimate))
async def estimate(request: Sender) -> Response[bytes]:
    """Estimate a call that is not made."""
    asked = await reading.body(request, EstimateOrder)
    call = _call(asked)
    quote = Quote(
        caller=_caller(visitor_of(request), asked.project),
        path=call.path,
        dialect=call.dialect,
        body=bytes(asked.body),
        headers=_headers(asked),
    )
    found = await services_of(request).estimate(quote)
    if isinstance(found, Refused):
        raise refusal(found)
    return answer(found)


def _call(asked: EstimateOrder) -> Metered:
    """Return the call that an order's path means; raises Problem where it means none."""
    if asked.endpoint is not None:
        if asked.path is not None:
            raise invalid("Name the path or the endpoint, not both.", "endpoint")
        return _routed(f"/v1/{asked.endpoint}")
    return _routed(CHAT if asked.path is None else asked.path)


def _routed(line: str) -> Metered:
    path, _, query = line.partition("?")
    if not line.isascii():
        raise invalid("Write it as it is sent: ASCII, the rest percent-encoded.", "path")
    match routes.route("POST", path.encode(), query.encode()):
        case Metered() as call:
            return call
        case Unserved(refused):
            raise invalid(refused.message, "path")
        case Listing() | Elsewhere():
            raise invalid(f"This is not the path of a call, such as {CHAT}.", "path")
        case routed:
            assert_never(routed)


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
