"""Which of Gemini's paths means what."""

import pytest
from hypothesis import given, strategies as st

from gateway.core.refusal import Code
from gateway.providers.adapter import Endpoint, Path
from gateway.providers.dialects.generate_content import GenerateContent
from gateway.providers.dialects.generate_content.routes import GeminiApi
from gateway.providers.paths import Listing, Metered, Routed, Unserved

DIALECT = GenerateContent()
API = GeminiApi(DIALECT)


def post(rest: bytes, query: bytes = b"") -> Routed:
    return API("POST", rest, query)


def path(rest: bytes, query: bytes = b"") -> Path:
    found = post(rest, query)
    assert isinstance(found, Metered), found
    assert found.dialect is DIALECT
    return found.path


@pytest.mark.parametrize("version", ["v1", "v1beta"])
@pytest.mark.parametrize(
    ("method", "endpoint"),
    [
        ("generateContent", Endpoint.GENERATE_CONTENT),
        ("countTokens", Endpoint.COUNT_TOKENS),
        ("embedContent", Endpoint.EMBED_CONTENT),
        ("batchEmbedContents", Endpoint.BATCH_EMBED_CONTENTS),
    ],
)
def test_the_methods_of_models_are_metered(version: str, method: str, endpoint: Endpoint):
    found = path(f"{version}/models/gemini-2.5-pro:{method}".encode())
    assert found == Path(endpoint=endpoint, model="gemini-2.5-pro", version=version)


@pytest.mark.parametrize(
    ("query", "is_array"),
    [
        (b"", True),
        (b"alt=sse", False),
        (b"key=secret&alt=sse", False),
        (b"alt=json", True),
        (b"alt=sse&alt=json", True),
        (b"alt=SSE", True),
        (b"xalt=sse", True),
    ],
)
def test_a_stream_is_an_array_unless_it_asks_for_events(query: bytes, is_array: bool):
    found = path(b"v1/models/m:streamGenerateContent", query)
    assert found.endpoint is Endpoint.STREAM_GENERATE_CONTENT
    assert found.is_array is is_array
    assert not path(b"v1/models/m:generateContent", query).is_array


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (b"google/gemini", "google/gemini"),
        (b"google%2Fgemini", "google/gemini"),
        (b"google%252Fgemini", "google%2Fgemini"),
        (b"a%3Ab", "a:b"),
        (b"a:b", "a:b"),
        (b"..%2F..", "../.."),
        (b"m%20", "m "),
        (b"%EF%BD%8D", "\uff4d"),
        (b"M", "M"),
    ],
)
def test_a_models_name_is_decoded_once(written: bytes, name: str):
    assert path(b"v1/models/" + written + b":generateContent").model == name
    found = API("GET", b"v1/models/" + written, b"")
    assert found == Listing(DIALECT, name)


def test_models_are_listed():
    assert API("GET", b"v1beta/models", b"pageSize=50") == Listing(DIALECT)


@pytest.mark.parametrize(
    "rest",
    [
        *("", "v1", "v1/", "v1/models/", "v1/models/m", "v1/models/:generateContent"),
        *(
            "v2/models/m:generateContent",
            "models/m:generateContent",
            "v1beta1/models/m:countTokens",
        ),
        *("v1beta/models/m:predict", "v1beta/models/m:predictLongRunning", "v1/models/m:"),
        *("v1beta/models/m:batchGenerateContent", "v1beta/models/m:asyncBatchEmbedContent"),
        *("v1beta/models/m:generateMessage", "v1beta/models/m:GenerateContent"),
        *("v1beta/models/m:generateContent/", "v1beta/models/m:generateContent%20"),
        *("v1beta/models/m%3AgenerateContent", "v1beta/models/m:generate%43ontent"),
        *("v1beta/interactions", "v1beta/cachedContents", "v1beta/files", "upload/v1beta/files"),
        *("v1beta/tunedModels", "v1beta/tunedModels/m:generateContent", "v1beta/batches"),
        *("v1beta/openai/chat/completions", "v1beta/openai/models", "v1beta/corpora"),
        *("v1beta/fileSearchStores", "v1beta/dynamic/d:generateContent", "ws/x"),
        *("v1//models/m:generateContent", "./v1/models/m:generateContent"),
        *("v1/models;a=b/m:generateContent", "%76%31/models/m:generateContent"),
        "v1/models/%ff:generateContent",
    ],
)
def test_what_nobody_meters_is_refused(rest: str):
    found = post(rest.encode())
    assert isinstance(found, Unserved)
    assert (found.refused.code, found.allow) == (Code.ENDPOINT_NOT_METERED, None)
    assert "/gemini/{v1,v1beta}/models/{model}:generateContent" in found.refused.message


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "post"])
def test_another_method_is_refused_and_the_right_one_named(method: str):
    found = API(method, b"v1/models/m:generateContent", b"")
    assert isinstance(found, Unserved)
    assert (found.refused.code, found.allow) == (Code.METHOD_NOT_ALLOWED, b"POST")


def test_the_listing_is_only_read():
    found = post(b"v1/models")
    assert isinstance(found, Unserved)
    assert (found.refused.code, found.allow) == (Code.METHOD_NOT_ALLOWED, b"GET")


@given(st.binary(max_size=40), st.binary(max_size=20))
def test_no_path_makes_it_raise(rest: bytes, query: bytes):
    assert isinstance(post(rest, query), Routed)
    assert isinstance(post(b"v1/models/" + rest, query), Routed)
