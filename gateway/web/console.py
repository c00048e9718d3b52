"""The owner's console: in by a one-time link, one page, out again.

Opening a link changes nothing, since mail and chat programs open links to preview them: the page that
it shows has a button, and only that signs in.
"""

import re
from datetime import datetime
from typing import Final
from urllib.parse import parse_qs

import msgspec
from litestar import Response

from gateway.core.credentials import LINK_LIFE
from gateway.core.secret import Secret
from gateway.store.traces import TraceFilter
from gateway.web import cookies, kill, reading, runs, spend, traces
from gateway.web.gate import Gate, Visitor, visitor_of
from gateway.web.pages import pages_of
from gateway.web.problems import not_found
from gateway.web.routing import API, Described, Sender, route
from gateway.web.services import services_of
from gateway.web.shapes import answer

SIGN_IN: Final = "/console/sign-in"
_RECENT_RUNS: Final = 10
_RECENT_CALLS: Final = 20
_MOST_FORM_BYTES: Final = 1024
_SECRET: Final = re.compile("[0-9A-Za-z]{43}")
_NEW_LINK: Final = (
    "Run “gateway sign-in-link” on the gateway's host and open the link that it prints."
)


class SignInLink(msgspec.Struct, frozen=True):
    """A one-time link's path at this gateway, and when it ends."""

    path: str
    expires_at: datetime


@route(
    "POST",
    f"{API}/sign-in-links",
    Described("Make a one-time sign-in link for the owner", answer=SignInLink, status=201),
)
async def make_link(request: Sender) -> Response[bytes]:
    """Make a link."""
    await reading.no_body(request)
    services = services_of(request)
    secret = await services.sessions.owner_link(visitor_of(request).actor)
    return answer(SignInLink(f"{SIGN_IN}/{secret.reveal()}", services.now() + LINK_LIFE), 201)


@route("GET", f"{SIGN_IN}/{{secret:str}}")
async def ask(request: Sender) -> Response[bytes]:
    """Show the button that signs in; the link is not looked at."""
    if not _is_safe(request):
        return _unsafe(request)
    return pages_of(request).answer("sign_in.html")


@route("POST", f"{SIGN_IN}/{{secret:str}}")
async def sign_in(request: Sender) -> Response[bytes]:
    """Use a link up and start a session."""
    if not _is_safe(request):
        return _unsafe(request)
    link = request.path_params["secret"]
    session = None
    if _is_own_page(request) and _SECRET.fullmatch(link) is not None:
        session = await services_of(request).sessions.sign_in(link)
    if session is None:
        title = "This link is not good any more"
        return pages_of(request).message(title, f"It was used, or it has expired. {_NEW_LINK}", 403)
    return _to_console(request, session)


@route("POST", "/console/sign-out")
async def sign_out(request: Sender) -> Response[bytes]:
    """End the session of the page that asks for it."""
    visitor = await Gate(services_of(request)).session(request)
    if visitor is not None and visitor.session is not None:
        form = parse_qs((await reading.raw_body(request, _MOST_FORM_BYTES)).decode("latin-1"))
        given = form.get("csrf", [""])[0]
        if not (_is_own_page(request) and cookies.is_csrf(visitor.session, given)):
            return pages_of(request).message(
                "Not signed out", "Sign out on the console's page.", 403
            )
        await services_of(request).sessions.end(visitor.session.reveal())
    return _to_console(request, None)


@route("GET", "/console/assets/{name:str}")
async def asset(request: Sender) -> Response[bytes]:
    """Return a file that pages refer to."""
    found = pages_of(request).asset(request.path_params["name"])
    if found is None:
        raise not_found("file")
    return found


@route("GET", "/console")
async def console(request: Sender) -> Response[bytes]:
    """Show what was spent, what runs, and what is stopped; or how to get in."""
    visitor = await Gate(services_of(request)).session(request)
    if visitor is None or visitor.session is None:
        return pages_of(request).message("Sign in", _NEW_LINK, 401)
    return await _console(request, visitor, visitor.session)


async def _console(request: Sender, visitor: Visitor, session: Secret) -> Response[bytes]:
    services = services_of(request)
    recent = await services.traces.page(TraceFilter(), limit=_RECENT_CALLS)
    return pages_of(request).answer(
        "console.html",
        user=visitor.name,
        csrf=cookies.csrf(session),
        now=services.now(),
        budgets=await spend.visible(services, visitor),
        runs=[runs.shown(run) for run in await services.runs.page(limit=_RECENT_RUNS)],
        calls=[traces.shown(trace) for trace in recent.traces],
        kills=await kill.in_force(services),
    )


def _to_console(request: Sender, session: Secret | None) -> Response[bytes]:
    """Return the way to the console, with a session, or with none any more."""
    scheme = request.scope["scheme"]
    cookie = cookies.ending(scheme) if session is None else cookies.starting(session, scheme)
    return Response(b"", status_code=303, headers={"location": "/console/"}, cookies=[cookie])


def _is_safe(request: Sender) -> bool:
    return cookies.is_safe(request.scope["scheme"], request.headers.get("host", ""))


def _is_own_page(request: Sender) -> bool:
    return cookies.is_same_origin(request.headers, request.scope["scheme"])


def _unsafe(request: Sender) -> Response[bytes]:
    text = "Without TLS the console can be used on the gateway's own machine alone, as localhost."
    return pages_of(request).message("This connection is not safe", text, 403)
