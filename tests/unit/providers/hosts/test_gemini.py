"""Gemini's host: where its requests go and what they carry."""

import pytest

from gateway.core.calls import Asked
from gateway.core.ids import Provider
from gateway.errors import ConfigurationInvalid
from gateway.providers.adapter import Endpoint, Path, PreparedRequest, Wanted
from gateway.providers.hosts.gemini import GeminiHost

GOOGLE = "https://generativelanguage.googleapis.com"


def request(
    path: Path, base_url: str = GOOGLE, *, model: str = "gemini-2.5-pro", key: str | None = "k-1"
) -> PreparedRequest:
    streams = path.endpoint is Endpoint.STREAM_GENERATE_CONTENT
    asked = Wanted(
        path=path,
        asked=Asked(model="google/gemini-2.5-pro", stream=streams),
        fields={},
        stream_type=b"application/json" if path.is_array else b"text/event-stream",
    )
    host = GeminiHost(Provider("google"), base_url)
    return host.request(asked, b"{}", model=model, key=key, passed=[(b"user-agent", b"u")])


@pytest.mark.parametrize("version", ["v1", "v1beta"])
@pytest.mark.parametrize("endpoint", [Endpoint.GENERATE_CONTENT, Endpoint.EMBED_CONTENT])
def test_a_call_goes_to_the_version_that_the_client_speaks(version: str, endpoint: Endpoint):
    found = request(Path(endpoint=endpoint, model="x", version=version))
    assert (found.scheme, found.host, found.port) == (
        *("https", "generativelanguage.googleapis.com"),
        443,
    )
    assert found.target == f"/{version}/models/gemini-2.5-pro:{endpoint}".encode()
    assert (found.method, found.body) == (b"POST", b"{}")


def test_a_stream_of_events_is_asked_for_by_the_query_and_an_array_by_none():
    stream = Endpoint.STREAM_GENERATE_CONTENT
    events = request(Path(endpoint=stream, model="x", version="v1"))
    assert events.target == b"/v1/models/gemini-2.5-pro:streamGenerateContent?alt=sse"
    assert dict(events.headers)[b"accept"] == b"text/event-stream"
    array = request(Path(endpoint=stream, model="x", version="v1", is_array=True))
    assert array.target == b"/v1/models/gemini-2.5-pro:streamGenerateContent"
    assert dict(array.headers)[b"accept"] == b"application/json"


@pytest.mark.parametrize(
    ("model", "written"),
    [
        ("a/b", b"a%2Fb"),
        ("a:b", b"a%3Ab"),
        ("../x", b"..%2Fx"),
        ("a?key=b#c", b"a%3Fkey%3Db%23c"),
        ("a b\u00e9", b"a%20b%C3%A9"),
    ],
)
def test_a_models_name_is_one_segment_whatever_it_holds(model: str, written: bytes):
    found = request(Path(endpoint=Endpoint.COUNT_TOKENS, version="v1"), model=model)
    assert found.target == b"/v1/models/" + written + b":countTokens"


def test_the_key_goes_in_its_header_alone():
    path = Path(endpoint=Endpoint.GENERATE_CONTENT, version="v1")
    found = request(path)
    assert dict(found.headers) == {
        b"content-type": b"application/json",
        b"accept": b"application/json",
        b"accept-encoding": b"identity",
        b"user-agent": b"u",
        b"x-goog-api-key": b"k-1",
    }
    assert b"k-1" not in found.target
    assert b"x-goog-api-key" not in dict(request(path, key=None).headers)


def test_a_base_url_may_have_a_path_and_a_port():
    found = request(Path(endpoint=Endpoint.GENERATE_CONTENT), "http://127.0.0.1:9/proxy/")
    assert (found.scheme, found.host, found.port) == ("http", "127.0.0.1", 9)
    assert found.target == b"/proxy/v1beta/models/gemini-2.5-pro:generateContent"


def test_an_unusable_base_url_is_refused():
    with pytest.raises(ConfigurationInvalid):
        GeminiHost(Provider("google"), "http://x/?key=secret")


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_a_base_url_with_a_version_is_refused_at_the_start(version: str):
    with pytest.raises(ConfigurationInvalid, match=f"write it without /{version}"):
        GeminiHost(Provider("google"), f"https://generativelanguage.googleapis.com/{version}")
