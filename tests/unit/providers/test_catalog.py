"""Which path means what, and which provider speaks what."""

import pytest
from hypothesis import given, strategies as st

from gateway.core.ids import Provider
from gateway.core.refusal import Code
from gateway.errors import ConfigurationInvalid
from gateway.providers.adapter import Adapter, Endpoint
from gateway.providers.catalog import OPENAI, Elsewhere, Listing, Metered, Unserved, adapter, route
from gateway.providers.hosts.sandbox import SandboxHost


def test_the_served_paths_are_routed():
    assert route("POST", b"/v1/chat/completions") == Metered(Endpoint.CHAT_COMPLETIONS, OPENAI)
    assert route("POST", b"/v1/embeddings") == Metered(Endpoint.EMBEDDINGS, OPENAI)
    assert route("GET", b"/v1/models") == Listing(OPENAI)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "post"])
def test_another_method_is_refused_and_the_right_one_named(method: str):
    found = route(method, b"/v1/chat/completions")
    assert isinstance(found, Unserved)
    assert (found.refused.code, found.allow) == (Code.METHOD_NOT_ALLOWED, b"POST")


def test_models_are_only_read():
    found = route("POST", b"/v1/models")
    assert isinstance(found, Unserved)
    assert (found.refused.code, found.allow) == (Code.METHOD_NOT_ALLOWED, b"GET")


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/completions", "/v1/responses", "/v1/responses/r1", "/v1/images/generations"),
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
    found = route("POST", path.encode())
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
    found = route("POST", path)
    assert isinstance(found, Unserved)
    assert found.refused.code is Code.ENDPOINT_NOT_METERED


@pytest.mark.parametrize(
    "path",
    [b"/", b"/status", b"/api/v1/runs", b"/api/v1/chat/completions", b"/v10/x", b"/v1beta/models"],
)
def test_other_paths_are_elsewhere(path: bytes):
    assert route("GET", path) == Elsewhere()


@given(st.binary(max_size=40))
def test_only_the_exact_paths_are_served(path: bytes):
    served = {b"/v1/chat/completions", b"/v1/embeddings", b"/v1/models"}
    assert path in served or isinstance(route("POST", path), Unserved | Elsewhere)


def compatible(base_url: str, name: str = "p", *, reports_usage: bool | None = None) -> Adapter:
    return adapter(Provider(name), "openai", base_url, reports_usage=reports_usage)


@pytest.mark.parametrize(
    ("base_url", "reports_usage", "has_tiers", "ceiling_field"),
    [
        ("https://api.openai.com/v1", True, True, "max_completion_tokens"),
        ("https://eu.api.openai.com/v1", True, True, "max_completion_tokens"),
        ("https://x.openai.azure.com/openai/v1", True, False, "max_completion_tokens"),
        ("https://api.groq.com/openai/v1", True, False, "max_completion_tokens"),
        ("https://openrouter.ai/api/v1", False, False, "max_completion_tokens"),
        ("https://api.mistral.ai/v1", False, False, "max_tokens"),
        ("https://notapi.mistral.ai.example/v1", True, False, "max_tokens"),
        ("http://127.0.0.1:8000/v1", True, False, "max_tokens"),
    ],
)
def test_hosts_are_known_by_name(
    base_url: str, reports_usage: bool, has_tiers: bool, ceiling_field: str
):
    host = compatible(base_url).host
    assert host.reports_usage is reports_usage
    assert host.has_tiers is has_tiers
    assert host.ceiling_field == ceiling_field
    assert host.provider == "p"


def test_the_operator_knows_better():
    assert compatible("https://api.mistral.ai/v1", reports_usage=True).host.reports_usage
    assert not compatible("http://x/v1", reports_usage=False).host.reports_usage


def test_openai_behind_another_address_is_still_openai():
    assert compatible("http://127.0.0.1:1/v1", "openai").host.has_tiers


def test_the_sandbox_has_its_own_host():
    found = adapter(Provider("sandbox"), "openai", "sandbox:")
    assert isinstance(found.host, SandboxHost)
    assert found.dialect is OPENAI


def test_an_unknown_dialect_stops_the_start():
    with pytest.raises(ConfigurationInvalid, match="openai"):
        adapter(Provider("p"), "smalltalk", "http://x")
    with pytest.raises(ConfigurationInvalid):
        compatible("http://[::1")
