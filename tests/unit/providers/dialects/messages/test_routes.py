"""Which of Anthropic's paths are served, and which are refused."""

import pytest

from gateway.core.refusal import Code
from gateway.providers.adapter import Endpoint, Path
from gateway.providers.paths import Listing, Metered, Unserved
from gateway.providers.routes import ANTHROPIC, route


@pytest.mark.parametrize("query", [b"", b"beta=false", b"beta", b"x=true", b"beta=true&beta=true"])
def test_calls_are_routed(query: bytes):
    assert route("POST", b"/anthropic/v1/messages", query) == Metered(
        Path(endpoint=Endpoint.MESSAGES), ANTHROPIC
    )


def test_the_beta_form_is_told():
    for path, endpoint in (
        (b"/anthropic/v1/messages", Endpoint.MESSAGES),
        (b"/anthropic/v1/messages/count_tokens", Endpoint.MESSAGES_COUNT_TOKENS),
    ):
        found = route("POST", path, b"beta=true")
        assert found == Metered(Path(endpoint=endpoint, is_beta=True), ANTHROPIC)


def test_models_are_listed():
    assert route("GET", b"/anthropic/v1/models", b"limit=20&beta=true") == Listing(ANTHROPIC)
    one = route("GET", b"/anthropic/v1/models/anthropic%2Fclaude-opus-5", b"")
    assert one == Listing(ANTHROPIC, "anthropic/claude-opus-5")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", b"/anthropic/v1/messages", b"POST"),
        ("DELETE", b"/anthropic/v1/messages/count_tokens", b"POST"),
        ("POST", b"/anthropic/v1/models", b"GET"),
    ],
)
def test_another_method_is_refused(method: str, path: bytes, allow: bytes):
    found = route(method, path, b"")
    assert isinstance(found, Unserved)
    assert (found.refused.code, found.allow) == (Code.METHOD_NOT_ALLOWED, allow)
    assert found.dialect is ANTHROPIC


@pytest.mark.parametrize(
    "path",
    [
        *("/anthropic/v1/messages/batches", "/anthropic/v1/messages/batches/b/results"),
        *("/anthropic/v1/complete", "/anthropic/v1/files", "/anthropic/v1/agents"),
        *("/anthropic/v1/skills", "/anthropic/v1/organizations/x", "/anthropic/v1/sessions"),
        *("/anthropic/v2/messages", "/anthropic/messages", "/anthropic/v1", "/anthropic"),
        *("/anthropic/", "/anthropic/v1/messages/", "/anthropic//v1/messages", "/Anthropic/../anthropic"),
        *("/anthropic/v1/messages%2Fcount_tokens", "/anthropic/v1/models/%FF"),
        *("/anthropic/v1/../v1/messages", "/x/../anthropic/v1/messages", "//anthropic/v1/messages"),
        *("/anthropic;a=b/v1/messages", "/%61nthropic/v1/messages"),
    ],
)  # fmt: skip
def test_what_nobody_meters_is_refused_in_its_own_shape(path: str):
    for method in ("GET", "POST"):
        found = route(method, path.encode(), b"")
        assert isinstance(found, Unserved), path
        assert found.refused.code is Code.ENDPOINT_NOT_METERED
        assert found.dialect is ANTHROPIC
        assert (
            "/anthropic/v1/messages, /anthropic/v1/messages/count_tokens" in found.refused.message
        )
