"""The application as a whole, with fakes of what it is given."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from gateway.core.access import ROUTES, Open
from gateway.core.ids import Project, TokenId
from gateway.core.limits import Caller
from gateway.core.refusal import Code
from gateway.errors import LedgerUnavailable
from gateway.providers.adapter import STATUS
from gateway.web import admin, openapi
from gateway.web.admin import Services
from gateway.web.problems import Problem

NOW = datetime(2026, 3, 14, tzinfo=UTC)
AUTHORIZATION = {"authorization": "Bearer good"}
JSON = AUTHORIZATION | {"content-type": "application/json"}


class FakeAccess:
    """Knows one token."""

    def __init__(self, *scopes: str) -> None:
        self.scopes = frozenset(scopes)

    async def identify(self, secret: str, now: datetime) -> Caller | None:
        if secret != "good":
            return None
        token, project = TokenId("t"), Project("p")
        return Caller(token=token, name="n", project=project, scopes=self.scopes)


class Failing:
    """Raises one failure whatever is asked of it."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure

    def __getattr__(self, name: str) -> Callable[..., Awaitable[None]]:
        async def fail(*_: object, **__: object) -> None:
            raise self._failure

        return fail


def made(bugs: list[str] | None = None, **given: object) -> Services:
    def unhandled(error: BaseException, where: str) -> None:
        if bugs is not None:
            bugs.append(f"{type(error).__name__} in {where}")

    values: dict[str, Any] = dict.fromkeys(Services.__struct_fields__, object())
    values |= {
        "access": FakeAccess("admin:*"),
        "now": lambda: NOW,
        "today": lambda: date(2026, 3, 14),
        "is_stopping": lambda: False,
        "unhandled": unhandled,
        "version": "1",
        "database": "embedded",
    }
    return Services(**values | given)


@pytest.fixture(scope="module")
def app() -> Litestar:
    """An application that asks nothing of its stores, made once, since making one is slow."""
    return admin.create(made())


@pytest.fixture(scope="module")
def app_for_calls() -> Litestar:
    return admin.create(made(access=FakeAccess("llm:call")))


async def asked(
    app: Litestar | Services,
    method: str,
    path: str,
    url: str = "http://localhost",
    **given: Any,  # noqa: ANN401
) -> httpx.Response:
    app = app if isinstance(app, Litestar) else admin.create(app)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=url) as client:
        return await client.request(method, path, **given)


def routes(app: Litestar) -> set[tuple[str, str]]:
    return {
        (str(method), one.path_format)
        for one in app.routes
        if isinstance(one, HTTPRoute)
        for handler in one.route_handlers
        for method in handler.http_methods
    }


def addressed(path: str) -> str:
    """Return a path that a template fits."""
    return re.sub(r"\{\w+\}", "workspace", path)


def test_every_route_has_a_permission_and_every_permission_a_route(app: Litestar):
    found = {(method, path) for method, path in routes(app) if method != "OPTIONS"}
    assert found == set(ROUTES)


GUARDED = [route for route, needed in ROUTES.items() if not isinstance(needed, Open)]
BAD = [
    {},
    {"authorization": "Bearer wrong"},
    {"authorization": "Basic good"},
    {"authorization": "good"},
    {"authorization": "Bearer "},
    {"x-api-key": "good"},
]


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_a_bad_credential_gets_one_identical_answer_everywhere(
    app: Litestar, method: str, path: str
):
    answers = {
        (answer.status_code, answer.content)
        for bad in BAD
        for answer in [await asked(app, method, addressed(path), headers=bad)]
    }
    body = b'{"error":{"message":"Unknown or missing gateway key.","type":"authentication_error","code":"token_invalid","param":null}}'
    assert answers == {(401, body)}


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_a_token_for_calls_opens_nothing(app_for_calls: Litestar, method: str, path: str):
    answer = await asked(app_for_calls, method, addressed(path), headers=AUTHORIZATION)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "scope_missing"


async def test_the_body_of_a_stranger_is_not_read(app: Litestar):
    async def body() -> AsyncIterator[bytes]:
        pytest.fail("it was read")
        yield b""

    answer = await asked(app, "POST", "/api/v1/runs", content=body())
    assert answer.status_code == 401


async def test_two_credentials_in_one_request_are_refused(app: Litestar):
    twice = [("authorization", "Bearer good"), ("authorization", "Bearer good")]
    cookie = [("authorization", "Bearer good"), ("cookie", "gw=abc")]
    for headers in (twice, cookie):
        answer = await asked(app, "GET", "/api/v1/spend", headers=headers)
        assert answer.status_code == 400


@pytest.mark.parametrize("method", ["OPTIONS", "PATCH", "HEAD", "TRACE"])
async def test_a_method_without_a_route_is_refused(app: Litestar, method: str):
    answer = await asked(app, method, "/api/v1/runs", headers=AUTHORIZATION)
    assert answer.status_code == 405


@pytest.mark.parametrize("path", ["/", "/nothing", "/api/v1", "/console/assets/../admin.py"])
async def test_what_is_not_there_is_not_found(app: Litestar, path: str):
    answer = await asked(app, "GET", path, headers=AUTHORIZATION)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("path", ["/api/v1/spend", "/nothing", "/status", "/console/assets/x"])
async def test_every_answer_has_the_headers_that_protect_a_browser(path: str):
    services = made(replicas=Failing(LedgerUnavailable("")))
    answer = await asked(services, "GET", path, url="https://example.com")
    assert answer.headers["content-security-policy"] == (
        "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


async def test_a_ledger_that_is_away_is_said_as_503():
    app = admin.create(made(limits=Failing(LedgerUnavailable("secret.example is down"))))
    for path in ("/api/v1/spend", "/api/v1/spend/live", "/api/v1/budgets", "/api/v1/kill"):
        answer = await asked(app, "GET", path, headers=AUTHORIZATION)
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "ledger_unavailable"
        assert answer.headers["retry-after"] == "1"
        assert "secret" not in answer.text


async def test_a_bug_is_reported_and_its_words_are_not_sent():
    bugs: list[str] = []
    services = made(bugs, limits=Failing(ZeroDivisionError("secret")))
    answer = await asked(services, "GET", "/api/v1/spend", headers=AUTHORIZATION)
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert "secret" not in answer.text
    assert bugs == ["ZeroDivisionError in /api/v1/spend"]


async def test_a_body_is_json_of_at_most_a_mebibyte(app: Litestar):
    async def sent(content: bytes, **headers: str) -> tuple[int, str]:
        given = AUTHORIZATION | {"content-type": "application/json"} | headers
        answer = await asked(app, "POST", "/api/v1/kill", content=content, headers=given)
        return answer.status_code, answer.json()["error"]["code"]

    too_large = (413, "body_too_large")
    assert await sent(b" " * (1 << 20 | 1)) == too_large
    assert await sent(b"{}", **{"content-length": "9" * 30}) == too_large
    assert await sent(b"{}", **{"content-type": "text/plain"}) == (415, "unsupported_media_type")
    assert await sent(b"{}", **{"content-type": "application/jsonx"}) == (
        415,
        "unsupported_media_type",
    )
    assert await sent(b"{}", **{"content-encoding": "gzip"}) == (415, "unsupported_media_type")
    utf8 = {"content-type": 'Application/JSON; charset="utf-8"'}
    assert await sent(b"{}", **utf8) == (400, "invalid_request")


async def test_a_body_that_does_not_end_is_refused(app: Litestar):
    async def body() -> AsyncIterator[bytes]:
        for _ in range(3000):
            yield b" " * 1024

    answer = await asked(app, "POST", "/api/v1/kill", content=body(), headers=JSON)
    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("code", Code)
def test_every_refusal_has_a_status(code: Code):
    assert Problem(code.value, "").status == STATUS[code]


async def test_the_public_status_names_components_and_nothing_else():
    services = made(replicas=Failing(LedgerUnavailable("secret.example is down")))
    answer = await asked(services, "GET", "/status")
    assert answer.json() == {
        "status": "down",
        "components": [{"name": "gateway", "state": "up"}, {"name": "database", "state": "down"}],
    }


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("application/json, text/html", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
    ],
)
async def test_the_public_status_is_a_page_for_browsers(accept: str, kind: str):
    services = made(replicas=Failing(LedgerUnavailable("")), is_stopping=lambda: True)
    answer = await asked(services, "GET", "/status", headers={"accept": accept})
    assert answer.headers["content-type"] == kind
    assert "stopping" in answer.text


def references(value: object) -> set[str]:
    match value:
        case {"$ref": str(name)}:
            return {name}
        case dict():
            return {name for below in value.values() for name in references(below)}
        case list():
            return {name for below in value for name in references(below)}
        case _:
            return set()


async def test_the_description_names_every_route_and_every_shape(app: Litestar):
    answer = await asked(app, "GET", "/api/v1/openapi.json", headers=AUTHORIZATION)
    document = answer.json()
    assert answer.status_code == 200
    told = {(m.upper(), path) for path, methods in document["paths"].items() for m in methods}
    assert told == {r for r in ROUTES if r[1].startswith("/api/")} | {("GET", "/status")}
    shapes = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= shapes
    assert "\\Z" not in answer.text
    listing = document["paths"]["/api/v1/traces"]["get"]
    assert {"since", "cursor", "limit"} <= {one["name"] for one in listing["parameters"]}
    assert "usage:read" in listing["description"]


def test_what_the_description_says_of_a_route_is_told_by_the_route(app: Litestar):
    found = list(openapi.described(app.routes))
    assert ("GET", "/api/v1/spend") in {(method, path) for method, path, _ in found}
    assert all(isinstance(one, msgspec.Struct) for *_, one in found)
