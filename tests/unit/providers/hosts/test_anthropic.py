"""Anthropic's requests: where they go and what they carry."""

import pytest

from gateway.core.ids import Provider
from gateway.errors import ConfigurationInvalid
from gateway.providers.adapter import Endpoint, Headers, Path, PreparedRequest
from gateway.providers.hosts.anthropic import AnthropicHost
from tests.unit.providers.asking import wanted

NAME = Provider("anthropic")


def request(
    base_url: str = "https://api.anthropic.com",
    *,
    path: Path | None = None,
    key: str | None = "k-1",
    streams: bool = False,
    passed: Headers = (),
) -> PreparedRequest:
    asked = wanted(Endpoint.MESSAGES, stream=streams)
    if path is not None:
        asked = type(asked)(path=path, asked=asked.asked, fields={})
    return AnthropicHost(NAME, base_url).request(asked, b"{}", model="m", key=key, passed=passed)


@pytest.mark.parametrize(
    ("base_url", "place"),
    [
        ("https://api.anthropic.com", ("https", "api.anthropic.com", 443, b"/v1/messages")),
        ("https://api.anthropic.com/", ("https", "api.anthropic.com", 443, b"/v1/messages")),
        ("http://127.0.0.1:9/anthropic", ("http", "127.0.0.1", 9, b"/anthropic/v1/messages")),
    ],
)
def test_a_base_url_ends_before_the_version(base_url: str, place: tuple[str, str, int, bytes]):
    found = request(base_url)
    assert (found.scheme, found.host, found.port, found.target) == place
    assert (found.method, found.body, found.signing) == (b"POST", b"{}", None)


@pytest.mark.parametrize(
    ("endpoint", "is_beta", "target"),
    [
        (Endpoint.MESSAGES, True, b"/v1/messages?beta=true"),
        (Endpoint.MESSAGES_COUNT_TOKENS, False, b"/v1/messages/count_tokens"),
        (Endpoint.MESSAGES_COUNT_TOKENS, True, b"/v1/messages/count_tokens?beta=true"),
    ],
)
def test_the_beta_form_goes_on(endpoint: Endpoint, is_beta: bool, target: bytes):
    assert request(path=Path(endpoint=endpoint, is_beta=is_beta)).target == target


def test_the_key_goes_where_both_versions_take_it():
    assert dict(request().headers) == {
        b"content-type": b"application/json",
        b"accept": b"application/json",
        b"accept-encoding": b"identity",
        b"anthropic-version": b"2023-06-01",
        b"x-api-key": b"k-1",
    }
    assert b"x-api-key" not in dict(request(key=None).headers)
    assert dict(request(streams=True).headers)[b"accept"] == b"text/event-stream"


def test_the_clients_version_and_betas_go_on_unchanged():
    passed = [
        (b"anthropic-version", b"2026-10-21"),
        (b"anthropic-beta", b"a-1,b-2"),
        (b"anthropic-beta", b"c-3"),
    ]
    headers = request(passed=passed).headers
    assert [pair for pair in headers if pair[0].startswith(b"anthropic")] == passed


def test_an_unusable_base_url_is_refused():
    with pytest.raises(ConfigurationInvalid, match="anthropic"):
        AnthropicHost(NAME, "ftp://x")


@pytest.mark.parametrize("base_url", ["https://api.anthropic.com/v1", "http://h/anthropic/v1/"])
def test_a_base_url_with_a_version_is_refused_at_the_start(base_url: str):
    with pytest.raises(ConfigurationInvalid, match=r"ends in a version; write it without /v1\."):
        AnthropicHost(NAME, base_url)
