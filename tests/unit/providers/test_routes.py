"""Which path means what."""

import pytest
from hypothesis import given, strategies as st

from gateway.core.refusal import Code
from gateway.providers.adapter import Endpoint, Path
from gateway.providers.paths import Listing, Metered, Unserved
from gateway.providers.routes import OPENAI, Elsewhere, route


def test_the_served_paths_are_routed():
    assert route("POST", b"/v1/chat/completions", b"") == Metered(
        Path(endpoint=Endpoint.CHAT_COMPLETIONS), OPENAI
    )
    assert route("POST", b"/v1/completions", b"") == Metered(
        Path(endpoint=Endpoint.COMPLETIONS), OPENAI
    )
    assert route("POST", b"/v1/embeddings", b"") == Metered(
        Path(endpoint=Endpoint.EMBEDDINGS), OPENAI
    )
    assert route("GET", b"/v1/models", b"") == Listing(OPENAI)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "post"])
def test_another_method_is_refused_and_the_right_one_named(method: str):
    found = route(method, b"/v1/chat/completions", b"")
    assert isinstance(found, Unserved)
    assert (found.refused.code, found.allow) == (Code.METHOD_NOT_ALLOWED, b"POST")


def test_models_are_only_read():
    found = route("POST", b"/v1/models", b"")
    assert isinstance(found, Unserved)
    assert (found.refused.code, found.allow) == (Code.METHOD_NOT_ALLOWED, b"GET")


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/responses", "/v1/responses/r1", "/v1/images/generations"),
        *("/v1/images/edits", "/v1/audio/speech", "/v1/audio/transcriptions", "/v1/batches"),
        *("/v1/files", "/v1/realtime", "/v1/videos", "/v1/moderations", "/v1/fine_tuning/jobs"),
        *(
            "/v1/containers",
            "/v1/live",
            "/v1/decisions",
            "/v1/beta/x",
            "/v1/anything",
            "/v1/",
            "/v1",
        ),
    ],
)
def test_what_nobody_meters_is_refused(path: str):
    found = route("POST", path.encode(), b"")
    assert isinstance(found, Unserved)
    assert (found.refused.code, found.allow) == (Code.ENDPOINT_NOT_METERED, None)
    assert path in {"/v1", "/v1/"} or path not in found.refused.message


@pytest.mark.parametrize(
    "path",
    [
        b"//v1/chat/completions",
        b"/v1//chat/completions",
        b"/v1/chat/completions/",
        b"/v1/./chat/completions",
        b"/x/../v1/chat/completions",
        b"/v1/../v1/chat/completions",
        b"/v1/chat%2Fcompletions",
        b"/%76%31/chat/completions",
        b"/v1/chat/completions;a=b",
        b"/v1;a=b/chat/completions",
        b"/%2e/v1/chat/completions",
        b"/%2E%2E/v1/chat/completions",
        b"\\v1\\chat\\completions",
        b"/v1/chat/completions%20",
        b"/v1/Chat/Completions",
        b"/v1/chat/completions\x00",
        b" /v1/chat/completions",
    ],
)
def test_a_path_is_taken_literally(path: bytes):
    found = route("POST", path, b"")
    assert isinstance(found, Unserved)
    assert found.refused.code is Code.ENDPOINT_NOT_METERED


@pytest.mark.parametrize(
    "path",
    [b"/", b"/status", b"/api/v1/runs", b"/api/v1/chat/completions", b"/v10/x", b"/v1beta/models"],
)
def test_other_paths_are_elsewhere(path: bytes):
    assert route("GET", path, b"") == Elsewhere()


@given(st.binary(max_size=40))
def test_only_the_exact_paths_are_served(path: bytes):
    served = {
        *(b"/v1/chat/completions", b"/v1/completions", b"/v1/embeddings", b"/v1/models"),
    }
    assert path in served or isinstance(route("POST", path, b""), Unserved | Elsewhere)
