"""The session's cookie, and how a browser's own request is told from one that another site made.

Over TLS the cookie is `__Host-gw`, which a browser takes and sends over TLS alone. Without TLS there
is a session only where the browser speaks to its own machine, as plain `gw`. A change needs more than
the cookie: the browser's word that the page it comes from is ours, and a token that only our pages know.
"""

import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from litestar.datastructures import Cookie

from gateway.core import credentials
from gateway.core.credentials import SESSION_LIFE
from gateway.core.secret import Secret

CSRF_HEADER: Final = "x-gateway-csrf"
_SECURE: Final = "__Host-gw"
_PLAIN: Final = "gw"


def name(scheme: str) -> str:
    """Return what the cookie is called under http or https."""
    return _SECURE if scheme == "https" else _PLAIN


def is_safe(scheme: str, host: str) -> bool:
    """Return whether a session may be had here: over TLS, or on the browser's own machine."""
    if scheme == "https":
        return True
    hostname = _hostname(host)
    if hostname == "localhost" or hostname.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False


def starting(session: Secret, scheme: str) -> Cookie:
    """Return the cookie that starts a session."""
    seconds = int(SESSION_LIFE.total_seconds())
    return _cookie(scheme, session.reveal(), seconds)


def ending(scheme: str) -> Cookie:
    """Return the cookie that makes a browser forget its session."""
    return _cookie(scheme, "", 0)


def csrf(session: Secret) -> str:
    """Return the token that our pages send with a change; only who has the session can make it."""
    return credentials.keyed_hash(session.reveal().encode(), "csrf").hex()


def is_csrf(session: Secret, given: str) -> bool:
    """Return whether a token is the session's."""
    return credentials.are_same(csrf(session).encode(), given.encode(errors="replace"))


def is_same_origin(headers: Mapping[str, str], scheme: str) -> bool:
    """Return whether a browser says that one of our own pages made a request.

    Fetch Metadata (https://www.w3.org/TR/fetch-metadata/) where it is sent, else the Origin. The
    first is asked first, since a page with the referrer policy no-referrer sends `Origin: null`.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return headers.get("origin") == f"{scheme}://{headers.get('host', '')}"


def _cookie(scheme: str, value: str, seconds: int) -> Cookie:
    return Cookie(
        key=name(scheme),
        value=value,
        max_age=seconds,
        path="/",
        secure=scheme == "https",
        httponly=True,
        samesite="strict",
    )


def _hostname(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
