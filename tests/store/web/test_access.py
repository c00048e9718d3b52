"""Who comes in, by token or by link, and what is written down about it."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from gateway.core.access import ROUTES, Permission
from gateway.store.access import NewToken
from gateway.store.audit import AT_START
from gateway.web.admin import Services
from tests.store.web.conftest import NOW, URL, Clients

WRONG_LIMITS: list[tuple[object, str]] = [
    ({"requests_per_minute": 0}, "rate_limits.requests_per_minute"),
    ({"requests_per_minute": 1_000_001}, "rate_limits.requests_per_minute"),
    ({"requests_per_minute": "5"}, "rate_limits.requests_per_minute"),
    ({"requests_per_minute": True}, "rate_limits.requests_per_minute"),
    ({"tokens_per_minute": -1}, "rate_limits.tokens_per_minute"),
    ({"tokens_per_minute": 1.5}, "rate_limits.tokens_per_minute"),
    ({"tokens_per_minute": 1_000_000_001}, "rate_limits.tokens_per_minute"),
    ({"tokens_per_hour": 1}, "rate_limits.tokens_per_hour"),
    ([], "rate_limits"),
]
OWN_PAGE = {"sec-fetch-site": "same-origin"}


async def test_a_token_is_shown_once_and_works(owner: httpx.AsyncClient, clients: Clients):
    order = {"name": "ci", "project": "p1", "scopes": ["llm:call", "usage:read"], "expires": "30d"}
    made = await owner.post("/api/v1/tokens", json=order)
    assert made.status_code == 201
    told = made.json()
    assert {"id", "name", "token", "project", "scopes", "expires_at"} <= set(told)
    assert told["expires_at"] == (NOW + timedelta(days=30)).isoformat().replace("+00:00", "Z")
    listed = (await owner.get("/api/v1/tokens")).json()["data"]
    assert told["token"] not in str(listed)
    assert [one["name"] for one in listed] == ["ci", "test"]
    client = clients.anybody({"authorization": f"Bearer {told['token']}"})
    assert (await client.get("/api/v1/spend")).status_code == 200


async def test_a_revoked_an_expired_and_an_unknown_token_get_the_same_answer(
    owner: httpx.AsyncClient, clients: Clients, services: Services
):
    made = (await owner.post("/api/v1/tokens", json={"name": "x", "scopes": ["usage:read"]})).json()
    assert (await owner.delete(f"/api/v1/tokens/{made['id']}")).status_code == 204
    assert (await owner.delete(f"/api/v1/tokens/{made['id']}")).status_code == 404
    wanted = NewToken(
        name="x", project="p", scopes=["usage:read"], expires_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    expired = (await services.access.create(wanted, AT_START)).secret.reveal()
    answers = set()
    for token in (made["token"], expired, "gwk_live_" + "0" * 49, "", "x" * 4000):
        client = clients.anybody({"authorization": f"Bearer {token}"})
        answer = await client.get("/api/v1/spend")
        answers.add((answer.status_code, answer.content))
    assert len(answers) == 1
    assert answers.pop()[0] == 401


async def test_a_token_that_makes_no_sense_is_not_made(owner: httpx.AsyncClient):
    wrong: list[tuple[dict[str, object], str | None]] = [
        ({}, None),
        ({"name": ""}, "name"),
        ({"name": "x", "scopes": ["everything"]}, "scopes[0]"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "expires": "400d"}, "expires"),
        ({"name": "x", "expires": "soon"}, "expires"),
        ({"name": "x", "models": ["gpt"]}, "models[0]"),
        ({"name": "x", "budget_usd": "-1"}, "budget_usd"),
        ({"name": "x", "budget_usd": 1.5}, "budget_usd"),
        ({"name": "x", "budget_usd": "9999999999"}, "budget_usd"),
        ({"name": "x", "secret": "mine"}, "secret"),
        *(({"name": "x", "rate_limits": limits}, param) for limits, param in WRONG_LIMITS),
    ]
    for order, param in wrong:
        answer = await owner.post("/api/v1/tokens", json=order)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert len((await owner.get("/api/v1/tokens")).json()["data"]) == 1


async def test_rate_limits_are_made_listed_changed_and_taken_away(owner: httpx.AsyncClient):
    order = {"name": "x", "rate_limits": {"requests_per_minute": 60}}
    made = (await owner.post("/api/v1/tokens", json=order)).json()
    assert made["rate_limits"] == {"requests_per_minute": 60, "tokens_per_minute": None}
    address = f"/api/v1/tokens/{made['id']}"
    for change, expected in (
        ({"tokens_per_minute": 5000}, {"requests_per_minute": 60, "tokens_per_minute": 5000}),
        ({"requests_per_minute": None}, {"requests_per_minute": None, "tokens_per_minute": 5000}),
    ):
        answer = await owner.patch(address, json={"rate_limits": change})
        assert (answer.status_code, answer.json()["rate_limits"]) == (200, expected)
        assert "token" not in answer.json()
        listed = (await owner.get("/api/v1/tokens?limit=1")).json()["data"]
        assert listed == [answer.json()]
    audited = (await owner.get("/api/v1/audit?limit=1")).json()["data"][0]
    assert (audited["action"], audited["target"]) == ("token.change", f"token:{made['id']}")


async def test_a_change_that_makes_no_sense_changes_nothing(owner: httpx.AsyncClient):
    order = {"name": "x", "rate_limits": {"requests_per_minute": 60}}
    made = (await owner.post("/api/v1/tokens", json=order)).json()
    wrong: list[tuple[dict[str, object], str | None]] = [
        ({}, None),
        ({"name": "other"}, "name"),
        ({"rate_limits": None}, "rate_limits"),
        ({"rate_limits": {}}, "rate_limits"),
        *(({"rate_limits": limits}, param) for limits, param in WRONG_LIMITS),
    ]
    for change, param in wrong:
        answer = await owner.patch(f"/api/v1/tokens/{made['id']}", json=change)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), change
    assert (await owner.get("/api/v1/tokens?limit=1")).json()["data"][0] == {
        name: value for name, value in made.items() if name != "token"
    }
    good = {"rate_limits": {"requests_per_minute": 1}}
    assert (await owner.patch("/api/v1/tokens/x", json=good)).status_code == 400
    await owner.delete(f"/api/v1/tokens/{made['id']}")
    assert (await owner.patch(f"/api/v1/tokens/{made['id']}", json=good)).status_code == 404


async def test_nobody_makes_a_token_mightier_than_their_own(clients: Clients):
    writer = await clients.bearer("admin:write")
    for scope, status in (("admin:*", 403), ("admin:read", 403), ("admin:write", 201)):
        order = {"name": "x", "scopes": [scope]}
        assert (await writer.post("/api/v1/tokens", json=order)).status_code == status


async def test_a_token_has_a_budget_of_its_own(owner: httpx.AsyncClient):
    order = {"name": "x", "budget_usd": "2.5"}
    token = (await owner.post("/api/v1/tokens", json=order)).json()["id"]
    budget = (await owner.get(f"/api/v1/budgets/token/{token}")).json()
    assert (budget["window"], budget["cap_usd"], budget["left_usd"]) == ("total", "2.5", "2.5")


async def link(owner: httpx.AsyncClient) -> str:
    made = await owner.post("/api/v1/sign-in-links")
    assert made.status_code == 201
    path: str = made.json()["path"]
    return path


async def signed_in(owner: httpx.AsyncClient, clients: Clients) -> httpx.AsyncClient:
    browser = clients.anybody()
    answer = await browser.post(await link(owner), headers=OWN_PAGE)
    assert answer.status_code == 303
    return browser


async def test_only_an_owner_makes_a_sign_in_link(clients: Clients):
    mighty = await clients.bearer("admin:read", "admin:write", "usage:read")
    assert (await mighty.post("/api/v1/sign-in-links")).status_code == 403


async def test_opening_a_link_does_not_use_it_up_and_its_button_does(
    owner: httpx.AsyncClient, clients: Clients
):
    path, browser = await link(owner), clients.anybody()
    for _ in range(3):
        assert (await browser.get(path)).status_code == 200
    assert (await browser.post(path, headers=OWN_PAGE)).headers["location"] == "/console/"
    assert (await browser.get("/console/")).status_code == 200
    again = await clients.anybody().post(path, headers=OWN_PAGE)
    assert again.status_code == 403
    assert "set-cookie" not in again.headers


@pytest.mark.parametrize(
    "headers", [{}, {"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}]
)
async def test_another_site_can_not_sign_a_browser_in(
    owner: httpx.AsyncClient, clients: Clients, headers: dict[str, str]
):
    path = await link(owner)
    assert (await clients.anybody().post(path, headers=headers)).status_code == 403
    assert (await clients.anybody().post(path, headers=OWN_PAGE)).status_code == 303


async def test_without_tls_nobody_signs_in_from_another_machine(
    owner: httpx.AsyncClient, clients: Clients
):
    path = await link(owner)
    browser = clients.anybody(url="http://gateway.example.com")
    assert (await browser.get(path)).status_code == 403
    assert (await browser.post(path, headers=OWN_PAGE)).status_code == 403
    secure = clients.anybody(url="https://gateway.example.com")
    answer = await secure.post(path, headers=OWN_PAGE)
    assert answer.headers["set-cookie"].startswith("__Host-gw=")
    assert (await secure.get("/console/")).status_code == 200


async def test_the_console_says_how_to_get_in(clients: Clients):
    answer = await clients.anybody().get("/console/")
    assert answer.status_code == 401
    assert "gateway sign-in-link" in answer.text


async def test_a_session_reads_with_its_cookie_alone(owner: httpx.AsyncClient, clients: Clients):
    browser = await signed_in(owner, clients)
    for (method, path), needed in ROUTES.items():
        if (
            method == "GET"
            and isinstance(needed, Permission)
            and "{" not in path
            and "live" not in path
        ):
            assert (await browser.get(path)).status_code == 200, path


async def csrf(browser: httpx.AsyncClient) -> str:
    page = (await browser.get("/console/")).text
    return page.partition('name="csrf" value="')[2].partition('"')[0]


async def test_a_session_changes_something_from_our_own_page_alone(
    owner: httpx.AsyncClient, clients: Clients
):
    browser = await signed_in(owner, clients)
    token = {"x-gateway-csrf": await csrf(browser)}
    order = {"scope": "all", "reason": "x"}
    wrong = [
        {},
        token,
        OWN_PAGE,
        OWN_PAGE | {"x-gateway-csrf": "0" * 64},
        token | {"sec-fetch-site": "cross-site"},
        token | {"origin": "http://evil.example"},
    ]
    for headers in wrong:
        assert (await browser.post("/api/v1/kill", json=order, headers=headers)).status_code == 403
    assert (await browser.get("/api/v1/kill")).json()["data"] == []
    right = token | {"origin": URL}
    assert (await browser.post("/api/v1/kill", json=order, headers=right)).status_code == 201


async def test_signing_out_ends_the_session(owner: httpx.AsyncClient, clients: Clients):
    browser = await signed_in(owner, clients)
    cookie = {"cookie": f"gw={browser.cookies['gw']}"}
    form = {"csrf": await csrf(browser)}
    assert (await browser.post("/console/sign-out", headers=OWN_PAGE)).status_code == 403
    assert (await browser.post("/console/sign-out", data=form)).status_code == 403
    assert (await browser.get("/api/v1/spend")).status_code == 200
    assert (await browser.post("/console/sign-out", data=form, headers=OWN_PAGE)).status_code == 303
    assert "gw" not in browser.cookies
    assert (await clients.anybody(cookie).get("/api/v1/spend")).status_code == 401


async def test_the_console_shows_names_as_text(owner: httpx.AsyncClient, clients: Clients):
    order = {"scope": "all", "reason": "<img src=x onerror=alert(1)>"}
    await owner.post("/api/v1/kill", json=order)
    page = await (await signed_in(owner, clients)).get("/console/")
    assert "&lt;img src=x" in page.text
    assert "<img" not in page.text
    assert "<script" not in page.text
    assert "style=" not in page.text


async def test_every_change_is_in_the_audit_log_with_who_made_it(
    owner: httpx.AsyncClient, clients: Clients
):
    await owner.post("/api/v1/runs", json={"name": "r"})
    await owner.post("/api/v1/runs/r/close")
    await owner.put("/api/v1/budgets/workspace/-", json={"cap_usd": "5"})
    await owner.delete("/api/v1/budgets/workspace/-")
    await owner.post("/api/v1/kill", json={"scope": "all", "reason": "x"})
    await owner.delete("/api/v1/kill")
    await signed_in(owner, clients)
    entries = (await owner.get("/api/v1/audit")).json()["data"]
    assert [entry["action"] for entry in reversed(entries)] == [
        "token.create",
        "run.create",
        "run.close",
        "budget.put",
        "budget.delete",
        "kill.on",
        "kill.off",
        "owner_link.create",
        "session.start",
    ]
    assert {(e["actor"], e["address"]) for e in entries[1:-1]} == {("test", "127.0.0.1")}
    assert [entry["seq"] for entry in entries] == list(range(9, 0, -1))
    details = {entry["action"]: entry["detail"] for entry in entries}
    assert details["run.create"] == {"name": "r", "cap_usd": "5"}
    assert details["budget.put"] == {"cap_usd": "5"}
    assert details["kill.on"].keys() == {"kill", "reason"}
    assert details["kill.off"] == {"stopped": "all:"}


async def test_the_audit_log_comes_in_pages(owner: httpx.AsyncClient):
    for name in ("a", "b", "c"):
        await owner.post("/api/v1/runs", json={"name": name})
    first = (await owner.get("/api/v1/audit?limit=3")).json()
    rest = (await owner.get(f"/api/v1/audit?limit=3&cursor={first['next_cursor']}")).json()
    assert [entry["seq"] for entry in first["data"] + rest["data"]] == [4, 3, 2, 1]
    assert rest["next_cursor"] is None
    assert (await owner.get("/api/v1/audit?cursor=x")).status_code == 400
