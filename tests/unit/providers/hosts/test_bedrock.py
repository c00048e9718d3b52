"""Bedrock's requests: where they go, what they carry, and for what they are to be signed."""

import pytest
from msgspec import structs

from gateway.core.ids import Provider
from gateway.errors import ConfigurationInvalid
from gateway.providers.adapter import Endpoint, Headers, PreparedRequest, Signing
from gateway.providers.eventstream import MEDIA_TYPE
from gateway.providers.hosts.bedrock import Account, BedrockHost
from tests.unit.providers.asking import wanted

NAME = Provider("aws")
URL = "https://bedrock-runtime.us-east-1.amazonaws.com"


def request(  # noqa: PLR0913  # a request, each part by name
    base_url: str = URL,
    *,
    endpoint: Endpoint = Endpoint.CONVERSE,
    model: str = "us.anthropic.claude-v1:0",
    key: str | None = "k-1",
    account: Account | None = None,
    streams: bool = False,
    passed: Headers = (),
) -> PreparedRequest:
    asked = structs.replace(wanted(endpoint, stream=streams), stream_type=MEDIA_TYPE)
    host = BedrockHost(NAME, base_url, account)
    return host.request(asked, b"{}", model=model, key=key, passed=passed)


@pytest.mark.parametrize(
    ("endpoint", "operation"),
    [
        (Endpoint.CONVERSE, b"converse"),
        (Endpoint.CONVERSE_STREAM, b"converse-stream"),
        (Endpoint.INVOKE, b"invoke"),
        (Endpoint.INVOKE_STREAM, b"invoke-with-response-stream"),
        (Endpoint.COUNT_TOKENS, b"count-tokens"),
    ],
)
def test_the_model_is_in_the_path_encoded(endpoint: Endpoint, operation: bytes):
    found = request(endpoint=endpoint)
    assert found.target == b"/model/us.anthropic.claude-v1%3A0/" + operation
    assert (found.scheme, found.port, found.method) == ("https", 443, b"POST")
    assert found.host == "bedrock-runtime.us-east-1.amazonaws.com"


@pytest.mark.parametrize("model", ["a/b", "a b", "a?b#c", "ä", "arn:aws:bedrock:::x/y", "%2F"])
def test_no_name_of_a_model_ends_the_path_or_its_segment(model: str):
    target = request("http://127.0.0.1:9/base/", model=model).target
    assert target.startswith(b"/base/model/")
    assert target.count(b"/") == 4
    assert not set(b"?# ") & set(target)


def test_a_key_goes_as_a_bearer_and_nothing_is_signed():
    found = request(passed=[(b"user-agent", b"boto")])
    assert dict(found.headers) == {
        b"content-type": b"application/json",
        b"accept": b"application/json",
        b"accept-encoding": b"identity",
        b"user-agent": b"boto",
        b"authorization": b"Bearer k-1",
    }
    assert found.signing is None


def test_a_stream_is_asked_for_as_an_event_stream():
    headers = dict(request(streams=True).headers)
    assert headers[b"accept"] == b"application/vnd.amazon.eventstream"


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("bedrock-runtime.us-east-1.amazonaws.com", "us-east-1"),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("bedrock-runtime.ap-southeast-2.amazonaws.com", "ap-southeast-2"),
        ("vpce-0a1.bedrock-runtime.eu-central-1.vpce.amazonaws.com", "eu-central-1"),
        ("bedrock-runtime.cn-north-1.amazonaws.com.cn", "cn-north-1"),
    ],
)
def test_what_is_signed_has_no_key_and_the_region_of_its_url(host: str, region: str):
    found = request(f"https://{host}", account=Account(), key=None)
    assert found.signing == Signing("bedrock", region)
    assert b"authorization" not in dict(found.headers)


def test_a_region_that_is_given_wins():
    found = request(account=Account("eu-west-3"), key=None)
    assert found.signing == Signing("bedrock", "eu-west-3")


def test_a_url_without_a_region_needs_one():
    with pytest.raises(ConfigurationInvalid, match=r"aws names no AWS region.*region"):
        request("https://bedrock.internal", account=Account())
    assert request("https://bedrock.internal", account=Account("us-east-1")).signing is not None


@pytest.mark.parametrize("base_url", ["sandbox:", "ftp://h", "https://h/?q=1", "https://u:p@h"])
def test_what_is_no_place_is_refused(base_url: str):
    with pytest.raises(ConfigurationInvalid, match="can't be used"):
        request(base_url)
