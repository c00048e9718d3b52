"""Azure's requests: the form that the client spoke, the resource's place, and the key's own header."""

import pytest
from msgspec import structs

from gateway.core.ids import Provider
from gateway.errors import ConfigurationInvalid
from gateway.providers.adapter import Endpoint, Path, PreparedRequest
from gateway.providers.hosts.azure import AzureHost
from tests.unit.providers.asking import wanted

BASE = "https://team.openai.azure.com"
CHAT, RESPONSES = Endpoint.CHAT_COMPLETIONS, Endpoint.RESPONSES


def request(
    path: Path,
    *,
    base_url: str = BASE,
    model: str = "gpt-4o",
    key: str | None = "k",
    **asked: object,
) -> PreparedRequest:
    host = AzureHost(Provider("azure"), base_url, reports_usage=True)
    call = structs.replace(wanted(path.endpoint, **asked), path=path)
    return host.request(call, b"{}", model=model, key=key, passed=[(b"user-agent", b"u")])


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (Path(endpoint=CHAT), "/openai/v1/chat/completions"),
        (Path(endpoint=Endpoint.EMBEDDINGS), "/openai/v1/embeddings"),
        (Path(endpoint=RESPONSES), "/openai/v1/responses"),
        (Path(endpoint=Endpoint.RESPONSES_INPUT_TOKENS), "/openai/v1/responses/input_tokens"),
        (
            Path(endpoint=CHAT, model="fast", version="2025-04-01-preview"),
            "/openai/deployments/gpt-4o/chat/completions?api-version=2025-04-01-preview",
        ),
        (Path(endpoint=CHAT, model="fast"), "/openai/v1/chat/completions"),
        (
            Path(endpoint=RESPONSES, version="2025-04-01-preview"),
            "/openai/responses?api-version=2025-04-01-preview",
        ),
        (Path(endpoint=RESPONSES, version="preview"), "/openai/v1/responses?api-version=preview"),
        (Path(endpoint=CHAT, version="preview"), "/openai/v1/chat/completions?api-version=preview"),
    ],
)
def test_a_call_goes_on_in_the_form_it_came_in(path: Path, target: str):
    found = request(path)
    assert found.target == target.encode()
    assert (found.scheme, found.host, found.port) == ("https", "team.openai.azure.com", 443)
    assert (found.method, found.body) == (b"POST", b"{}")


def test_a_deployments_name_stays_one_segment():
    path = Path(endpoint=CHAT, model="x", version="2024-10-21")
    target = request(path, model="a/../b?c d%").target
    assert target.startswith(b"/openai/deployments/a%2F..%2Fb%3Fc%20d%25/chat/completions?")


def test_the_key_has_azures_header_and_no_other():
    headers = dict(request(Path(endpoint=CHAT)).headers)
    assert headers == {
        b"content-type": b"application/json",
        b"accept": b"application/json",
        b"accept-encoding": b"identity",
        b"user-agent": b"u",
        b"api-key": b"k",
    }
    assert b"api-key" not in dict(request(Path(endpoint=CHAT), key=None).headers)
    streamed = request(Path(endpoint=CHAT), stream=True)
    assert dict(streamed.headers)[b"accept"] == b"text/event-stream"


def test_a_resource_may_be_behind_a_path():
    found = request(Path(endpoint=CHAT), base_url="http://127.0.0.1:9/proxy/")
    assert (found.port, found.target) == (9, b"/proxy/openai/v1/chat/completions")


@pytest.mark.parametrize("base_url", [f"{BASE}/openai", f"{BASE}/openai/v1/", "x", f"{BASE}?a=b"])
def test_a_base_url_is_the_resources(base_url: str):
    with pytest.raises(ConfigurationInvalid, match="provider azure"):
        request(Path(endpoint=CHAT), base_url=base_url)
