"""One model by its name, as SDKs retrieve it."""

import pytest

from gateway.core.refusal import Code
from gateway.providers.paths import Listing, Unserved
from gateway.providers.routes import OPENAI, route


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (b"/v1/models/gpt-4o", "gpt-4o"),
        (b"/v1/models/sandbox/echo", "sandbox/echo"),
        (b"/v1/models/sandbox%2Fecho", "sandbox/echo"),
        (b"/v1/models/a%252Fb", "a%2Fb"),
    ],
)
def test_a_name_is_decoded_once_and_looked_up(path: bytes, name: str):
    assert route("GET", path, b"") == Listing(OPENAI, name)


@pytest.mark.parametrize("path", [b"/v1/models/", b"/v1/models/%ff"])
def test_what_is_no_name_is_not_served(path: bytes):
    found = route("GET", path, b"")
    assert isinstance(found, Unserved)
    assert found.refused.code is Code.ENDPOINT_NOT_METERED


def test_a_model_is_not_deleted_here():
    assert isinstance(route("DELETE", b"/v1/models/gpt-4o", b""), Unserved)
