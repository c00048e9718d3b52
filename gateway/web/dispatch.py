"""The main port's application: a provider API's path goes to the proxy, every other to Litestar.

Litestar's router costs a proxied call some 20 microseconds and rewrites its path, so it is not asked about them.
"""

from typing import Any

from litestar import Litestar

from gateway.providers.routes import Elsewhere, route
from gateway.web.proxy import Proxy, Receive, Scope, Send


class Dispatch:
    """One ASGI application out of two."""

    def __init__(self, proxy: Proxy, admin: Litestar) -> None:
        """Dispatch between `proxy` and `admin`."""
        self._proxy = proxy
        self._admin: Any = admin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        routed = route(scope["method"], scope["raw_path"], scope["query_string"])
        if isinstance(routed, Elsewhere):
            await self._admin(scope, receive, send)
        else:
            await self._proxy.serve(routed, scope, receive, send)
