"""Bedrock's paths: the model is in them, decoded once, and what nobody meters is refused."""

import pytest
from hypothesis import given, strategies as st

from gateway.core.refusal import Code
from gateway.providers.adapter import Endpoint
from gateway.providers.paths import Listing, Metered, Unserved
from gateway.providers.routes import BEDROCK, route


@pytest.mark.parametrize(
    ("operation", "endpoint"),
    [
        ("converse", Endpoint.CONVERSE),
        ("converse-stream", Endpoint.CONVERSE_STREAM),
        ("invoke", Endpoint.INVOKE),
        ("invoke-with-response-stream", Endpoint.INVOKE_STREAM),
        ("count-tokens", Endpoint.COUNT_TOKENS),
    ],
)
def test_the_calls_are_metered(operation: str, endpoint: Endpoint):
    path = f"/bedrock/model/aws%2Fus.anthropic.claude-v1%3A0/{operation}".encode()
    found = route("POST", path, b"")
    assert isinstance(found, Metered)
    assert (found.path.endpoint, found.path.model) == (endpoint, "aws/us.anthropic.claude-v1:0")
    assert found.dialect is BEDROCK


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("m", "m"),
        ("m:0", "m:0"),
        ("m%253A0", "m%3A0"),
        ("..", ".."),
        ("%2E%2E%2Fx", "../x"),
        ("m%20", "m "),
        ("%EF%BC%AD", "\uff2d"),
        (
            "arn%3Aaws%3Abedrock%3Aus-east-1%3A%3Afoundation-model%2Fm",
            "arn:aws:bedrock:us-east-1::foundation-model/m",
        ),
    ],
)
def test_an_id_is_decoded_exactly_once(raw: str, name: str):
    found = route("POST", f"/bedrock/model/{raw}/converse".encode(), b"")
    assert isinstance(found, Metered)
    assert found.path.model == name


@pytest.mark.parametrize(
    "path",
    [
        "",
        "model",
        "model/",
        "model//converse",
        "model/m",
        "model/m/",
        "model/m/converse/",
        "model/m/converse/more",
        "model/m/Converse",
        "model/m/countTokens",
        "model/m/async-invoke",
        "model/m/invoke-with-bidirectional-stream",
        "model/a/b/converse",
        "model/%FF/converse",
        "model/m/converse;a=b",
        "async-invoke",
        "guardrail/g/version/1/apply",
        "guardrail-checks/invoke",
        "v1/model/m/converse",
        "openai/v1/chat/completions",
    ],
)
def test_all_else_is_refused(path: str):
    found = route("POST", f"/bedrock/{path}".encode(), b"")
    assert isinstance(found, Unserved)
    assert found.refused.code is Code.ENDPOINT_NOT_METERED
    assert found.dialect is BEDROCK


@pytest.mark.parametrize("path", ["//bedrock/model/m/converse", "/x/../bedrock/model/m/converse"])
def test_tricks_with_a_path_are_refused(path: str):
    assert isinstance(route("POST", path.encode(), b""), Unserved)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "post"])
def test_another_method_is_refused_and_the_right_one_named(method: str):
    found = route(method, b"/bedrock/model/m/converse", b"")
    assert isinstance(found, Unserved)
    assert (found.refused.code, found.allow) == (Code.METHOD_NOT_ALLOWED, b"POST")


def test_the_models_are_listed():
    assert route("GET", b"/bedrock/foundation-models", b"") == Listing(BEDROCK)
    assert route("GET", b"/bedrock/foundation-models/a%2Fb%3A0", b"") == Listing(BEDROCK, "a/b:0")
    for path in ("foundation-models/", "foundation-models/a/b"):
        assert isinstance(route("GET", f"/bedrock/{path}".encode(), b""), Unserved)
    posted = route("POST", b"/bedrock/foundation-models", b"")
    assert isinstance(posted, Unserved)
    assert posted.allow == b"GET"


@given(st.binary(max_size=60))
def test_no_path_raises_or_is_metered_by_accident(rest: bytes):
    found = route("POST", b"/bedrock/" + rest, b"")
    if isinstance(found, Metered):
        assert rest.startswith(b"model/")
        assert rest.count(b"/") == 2
