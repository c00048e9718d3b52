"""The management API and the pages beside it, as one application; the data plane is not in it."""

from typing import Final

from litestar import Litestar
from litestar.datastructures import State
from litestar.types import Message, Scope

from gateway.web import (
    audit,
    budgets,
    console,
    estimate,
    kill,
    openapi,
    pages,
    prices,
    runs,
    services as given,
    spend,
    status,
    tokens,
    traces,
    unsettled,
)
from gateway.web.gate import Gate
from gateway.web.pages import Pages
from gateway.web.problems import handlers
from gateway.web.services import Quote, Services

__all__ = ["Quote", "Services", "create"]

_ROUTES: Final = (
    openapi.openapi,
    spend.spend,
    spend.live,
    runs.create,
    runs.listing,
    runs.show,
    runs.close,
    budgets.listing,
    budgets.show,
    budgets.put,
    budgets.delete,
    kill.throw,
    kill.listing,
    kill.lift,
    kill.lift_all,
    unsettled.listing,
    unsettled.resolve,
    prices.listing,
    prices.update,
    prices.check,
    prices.versions,
    prices.activate,
    estimate.estimate,
    traces.listing,
    traces.export,
    tokens.create,
    tokens.listing,
    tokens.change,
    tokens.revoke,
    audit.listing,
    status.status,
    status.public_status,
    console.make_link,
    console.ask,
    console.sign_in,
    console.sign_out,
    console.asset,
    console.console,
)
_HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
_ONLY_TLS: Final = (b"strict-transport-security", b"max-age=31536000")


def create(services: Services) -> Litestar:
    """Return the application. It has no lifespan: what it was given is opened and closed elsewhere."""
    return Litestar(
        _ROUTES,
        guards=[Gate(services).admit],
        exception_handlers=dict(handlers(services.unhandled)),
        before_send=[_secure],
        state=State(given.state(services) | pages.state(Pages())),
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,  # `reading` has its own limit, and says what it is
        debug=False,
    )


async def _secure(message: Message, scope: Scope) -> None:
    """Add to every answer, errors too, what keeps a browser from being used against us."""
    if message["type"] != "http.response.start":
        return
    headers = [*message["headers"], *_HEADERS]
    if scope["scheme"] == "https":
        headers.append(_ONLY_TLS)
    message["headers"] = headers
