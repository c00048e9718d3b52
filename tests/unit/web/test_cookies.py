import pytest

from gateway.core.secret import Secret
from gateway.web import cookies

SESSION = Secret("s" * 43)


@pytest.mark.parametrize(
    ("scheme", "host", "is_safe"),
    [
        ("https", "gateway.example.com", True),
        ("http", "localhost:8080", True),
        ("http", "LOCALHOST", True),
        ("http", "console.localhost:8080", True),
        ("http", "127.0.0.1:8080", True),
        ("http", "127.8.9.1", True),
        ("http", "[::1]:8080", True),
        ("http", "gateway.example.com", False),
        ("http", "192.168.1.5:8080", False),
        ("http", "localhost.example.com", False),
        ("http", "127.0.0.1.example.com", False),
        ("http", "", False),
        ("http", "[", False),
        ("http", "evil@localhost@evil.example", False),
    ],
)
def test_without_tls_a_session_is_for_the_own_machine_alone(scheme: str, host: str, is_safe: bool):
    assert cookies.is_safe(scheme, host) == is_safe


def test_the_cookie_over_tls_is_bound_to_host_and_tls():
    cookie = cookies.starting(SESSION, "https").to_header(header="")
    assert cookie.startswith(f"__Host-gw={'s' * 43};")
    for part in ("HttpOnly", "Secure", "Path=/", "SameSite=strict", "Max-Age=604800"):
        assert part in cookie
    assert "Domain" not in cookie


def test_the_cookie_on_the_own_machine_is_hidden_from_scripts_and_other_sites():
    cookie = cookies.starting(SESSION, "http").to_header(header="")
    assert cookie.startswith(f"gw={'s' * 43};")
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie


def test_the_ending_cookie_holds_nothing():
    assert "Max-Age=0" in cookies.ending("https").to_header(header="")


@pytest.mark.parametrize(
    ("headers", "is_ours"),
    [
        ({"sec-fetch-site": "same-origin", "origin": "null"}, True),
        ({"sec-fetch-site": "same-site", "origin": "http://localhost:8080"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"origin": "http://localhost:8080"}, True),
        ({"origin": "http://localhost:8081"}, False),
        ({"origin": "https://localhost:8080"}, False),
        ({"origin": "null"}, False),
        ({}, False),
    ],
)
def test_only_an_own_page_is_of_the_same_origin(headers: dict[str, str], is_ours: bool):
    assert cookies.is_same_origin({"host": "localhost:8080"} | headers, "http") == is_ours


def test_a_session_has_a_csrf_token_of_its_own():
    token = cookies.csrf(SESSION)
    assert cookies.is_csrf(SESSION, token)
    assert not cookies.is_csrf(Secret("t" * 43), token)
    assert not cookies.is_csrf(SESSION, "")
    assert not cookies.is_csrf(SESSION, "\udc80")
    assert SESSION.reveal() not in token
