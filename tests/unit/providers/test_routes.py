"""Which path means what."""

import pytest
from hypothesis import given, strategies as st

from gateway.core.refusal import Code
from gateway.providers.adapter import Dialect, Endpoint, Path
from gateway.providers.paths import Listing, Metered, Unserved
from gateway.providers.routes import (
    ANTHROPIC,
    AZURE,
    AZURE_RESPONSES,
    BEDROCK,
    GEMINI,
    OPENAI,
    OPENAI_RESPONSES,
    Elsewhere,
    route,
)


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


def test_responses_are_spoken_by_a_dialect_of_their_own():
    for path, endpoint in (
        ("responses", Endpoint.RESPONSES),
        ("responses/input_tokens", Endpoint.RESPONSES_INPUT_TOKENS),
    ):
        found = Metered(Path(endpoint=endpoint), OPENAI_RESPONSES)
        assert route("POST", f"/v1/{path}".encode(), b"") == found
        found = Metered(Path(endpoint=endpoint), AZURE_RESPONSES)
        assert route("POST", f"/azure/openai/v1/{path}".encode(), b"") == found
    assert (OPENAI_RESPONSES.name, AZURE_RESPONSES.name) == (OPENAI.name, AZURE.name)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", b"/v1/responses"),
        ("GET", b"/v1/responses/r1"),
        ("DELETE", b"/v1/responses/r1"),
        ("POST", b"/v1/responses/r1/cancel"),
        ("GET", b"/azure/openai/v1/responses"),
        ("GET", b"/azure/openai/responses/r1"),
    ],
)
def test_a_stored_response_and_a_web_socket_are_not_metered(method: str, path: bytes):
    found = route(method, path, b"")
    assert isinstance(found, Unserved)
    assert found.refused.code is Code.ENDPOINT_NOT_METERED


@pytest.mark.parametrize("form", ["v1", "deployments/d%2F1"])
@pytest.mark.parametrize("endpoint", ["chat/completions", "completions", "embeddings"])
def test_azure_has_its_deployments_and_its_v1(form: str, endpoint: str):
    model = None if form == "v1" else "d/1"
    path = f"/azure/openai/{form}/{endpoint}".encode()
    wanted = Path(endpoint=Endpoint(endpoint), model=model)
    assert route("POST", path, b"") == Metered(wanted, AZURE)
    dated = Path(endpoint=Endpoint(endpoint), model=model, version="2024-10-21")
    assert route("POST", path, b"api-version=2024-10-21&x=1") == Metered(dated, AZURE)
    twice = b"api-version=2024-10-21&api-version=2025-01-01"
    assert route("POST", path, twice) == Metered(wanted, AZURE), "two are as good as none"
    found = route("GET", path, b"")
    assert isinstance(found, Unserved)
    assert (found.refused.code, found.allow) == (Code.METHOD_NOT_ALLOWED, b"POST")


def test_azures_sdk_finds_what_has_no_deployment_in_its_path():
    dated = Path(endpoint=Endpoint.RESPONSES, version="2025-04-01-preview")
    query = b"api-version=2025-04-01-preview"
    assert route("POST", b"/azure/openai/responses", query) == Metered(dated, AZURE_RESPONSES)
    assert route("GET", b"/azure/openai/models", query) == Listing(AZURE)
    assert route("GET", b"/azure/openai/v1/models/m%2F1", b"") == Listing(AZURE, "m/1")


@pytest.mark.parametrize(
    "path",
    [
        *("/azure", "/azure/", "/azure/openai", "/azure/openai/deployments", "/azure/openai/files"),
        *("/azure/openai/deployments/d", "/azure/openai/deployments/d/images/generations"),
        *("/azure/openai/deployments//chat/completions", "/azure/openai/deployments/d/responses"),
        *("/azure/openai/deployments/%ff/embeddings", "/azure/openai/v1/images/generations"),
        *("/azure/openai/chat/completions", "/azure/openai/assistants", "/azure/v1/responses"),
        *("/azure/openai/deployments/d/extensions/chat/completions", "/azure/openai/batches"),
    ],
)
def test_what_of_azure_nobody_meters_is_refused(path: str):
    found = route("POST", path.encode(), b"api-version=2024-10-21")
    assert isinstance(found, Unserved)
    assert found.refused.code is Code.ENDPOINT_NOT_METERED
    assert "/azure/openai/v1/responses" in found.refused.message


def test_models_are_only_read():
    found = route("POST", b"/v1/models", b"")
    assert isinstance(found, Unserved)
    assert (found.refused.code, found.allow) == (Code.METHOD_NOT_ALLOWED, b"GET")


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/responses/r1", "/v1/responses/r1/cancel", "/v1/responses/compact"),
        *("/v1/responses/r1/input_items", "/v1/responses/input_tokens/"),
        *("/v1/conversations", "/v1/images/generations", "/v1/completions/c1"),
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
    [b"/", b"/status", b"/api/v1/runs", b"/api/v1/chat/completions", b"/v10/x", b"/models/x"],
)
def test_other_paths_are_elsewhere(path: bytes):
    assert route("GET", path, b"") == Elsewhere()


@given(st.binary(max_size=40))
def test_only_the_exact_paths_are_served(path: bytes):
    served = {
        *(b"/v1/chat/completions", b"/v1/completions", b"/v1/embeddings", b"/v1/models"),
        *(b"/v1/responses", b"/v1/responses/input_tokens"),
    }
    assert path in served or isinstance(route("POST", path, b""), Unserved | Elsewhere)


def test_geminis_paths_are_routed_and_no_other_spelling_of_them():
    found = route("POST", b"/gemini/v1/models/google%2Fm:generateContent", b"key=secret")
    path = Path(endpoint=Endpoint.GENERATE_CONTENT, model="google/m", version="v1")
    assert found == Metered(path, GEMINI)
    assert route("GET", b"/gemini/v1beta/models", b"") == Listing(GEMINI)
    for raw in (b"/gemini", b"//gemini/v1/models", b"/%67emini/v1/models/m:generateContent"):
        refused = route("POST", raw, b"")
        assert isinstance(refused, Unserved)
        assert (refused.dialect, refused.refused.code) == (GEMINI, Code.ENDPOINT_NOT_METERED)


@pytest.mark.parametrize(
    ("path", "dialect", "prefix"),
    [
        ("/v1/messages", ANTHROPIC, "/anthropic"),
        ("/v1/messages/count_tokens", ANTHROPIC, "/anthropic"),
        ("/v1beta/models/m:generateContent", GEMINI, "/gemini"),
        ("/v1/models/m:streamGenerateContent", GEMINI, "/gemini"),
        ("//v1beta/x", GEMINI, "/gemini"),
        ("/openai/deployments/d/chat/completions", AZURE, "/azure"),
        ("/model/m/converse", BEDROCK, "/bedrock"),
    ],
)
def test_an_sdk_with_another_apis_base_url_is_told_its_own(
    path: str, dialect: Dialect, prefix: str
):
    found = route("POST", path.encode(), b"")
    assert isinstance(found, Unserved)
    assert (found.refused.code, found.dialect) == (Code.ENDPOINT_NOT_METERED, dialect)
    assert f"under {prefix}:" in found.refused.message
