"""A compatible host's requests: where they go and what they carry."""

import pytest

from gateway.core.ids import Provider
from gateway.errors import ConfigurationInvalid
from gateway.providers.adapter import PreparedRequest
from gateway.providers.hosts.compatible import CompatibleHost, Quirks
from tests.unit.providers.asking import wanted

NAME = Provider("groq")


def request(base_url: str, *, key: str | None = "k-1", streams: bool = False) -> PreparedRequest:
    host = CompatibleHost(NAME, base_url, Quirks())
    passed = [(b"user-agent", b"u")]
    return host.request(wanted(stream=streams), b"{}", model="m", key=key, passed=passed)


@pytest.mark.parametrize(
    ("base_url", "place"),
    [
        ("https://api.x.ai/v1", ("https", "api.x.ai", 443, b"/v1/chat/completions")),
        ("http://127.0.0.1:9/v1/", ("http", "127.0.0.1", 9, b"/v1/chat/completions")),
        ("http://vllm", ("http", "vllm", 80, b"/chat/completions")),
        ("http://[::1]:80/a/b", ("http", "::1", 80, b"/a/b/chat/completions")),
        ("https://x/v1%20a", ("https", "x", 443, b"/v1%20a/chat/completions")),
    ],
)
def test_a_base_url_is_taken_apart(base_url: str, place: tuple[str, str, int, bytes]):
    found = request(base_url)
    assert (found.scheme, found.host, found.port, found.target) == place
    assert (found.method, found.body) == (b"POST", b"{}")


def test_the_key_is_a_bearer_and_the_clients_headers_go_on():
    headers = dict(request("http://x/v1").headers)
    assert headers == {
        b"content-type": b"application/json",
        b"accept": b"application/json",
        b"accept-encoding": b"identity",
        b"user-agent": b"u",
        b"authorization": b"Bearer k-1",
    }
    assert b"authorization" not in dict(request("http://x/v1", key=None).headers)
    assert dict(request("http://x/v1", streams=True).headers)[b"accept"] == b"text/event-stream"


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "x",
        "ftp://x/v1",
        "http:///v1",
        "http://user:secret@x/v1",
        "http://x/v1?key=secret",
        "http://x/v1#secret",
        "http://x:port/v1",
        "http://x:99999/v1",
        "http://[::1/v1",
        "http://é/v1",
    ],
)
def test_an_unusable_base_url_is_refused_without_quoting_it(base_url: str):
    with pytest.raises(ConfigurationInvalid) as caught:
        request(base_url)
    assert "groq" in str(caught.value)
    assert "secret" not in str(caught.value)
