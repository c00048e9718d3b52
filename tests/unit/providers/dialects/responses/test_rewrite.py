"""What is sent on: the client's own bytes, but for what the gateway must change."""

import json
from typing import Any

import pytest
from msgspec import structs

from gateway.providers.adapter import Change, Endpoint, Path, Wanted
from gateway.providers.dialects.responses import Responses

DIALECT = Responses("openai")
UNCHANGED = Change(model="m", output_tokens=None, reports_usage=True, names_tier=False)


def wanted(body: bytes, endpoint: Endpoint = Endpoint.RESPONSES) -> Wanted:
    found = DIALECT.read(Path(endpoint=endpoint), body)
    assert isinstance(found, Wanted), found
    return found


def sent(change: Change, **fields: object) -> dict[str, Any]:
    body = json.dumps({"model": "m", "input": "Hi"} | fields).encode()
    found: dict[str, Any] = json.loads(DIALECT.write(wanted(body), change))
    return found


def test_without_a_change_the_bytes_are_the_clients():
    original = (
        b'{"input":[ {"role":"user","content":"\\u00e9"} ],"x":1.10,"stream":true,"model":"m"}'
    )
    assert DIALECT.write(wanted(original), UNCHANGED) == original


def test_the_model_is_named_as_the_provider_names_it():
    assert sent(structs.replace(UNCHANGED, model='v/m:"x"'))["model"] == 'v/m:"x"'


@pytest.mark.parametrize(("given", "expected"), [(None, 50), (100, 50), (20, 20)])
def test_the_ceiling_is_lowered_or_set(given: int | None, expected: int):
    change = structs.replace(UNCHANGED, output_tokens=50, ceiling_field="max_tokens")
    assert sent(change, max_output_tokens=given)["max_output_tokens"] == expected
    found = sent(change)
    assert found["max_output_tokens"] == 50
    assert "max_tokens" not in found


def test_a_missing_tier_is_named_and_a_given_one_kept():
    change = structs.replace(UNCHANGED, names_tier=True)
    assert sent(change)["service_tier"] == "default"
    assert sent(change, service_tier=None)["service_tier"] == "default"
    assert sent(change, service_tier="flex")["service_tier"] == "flex"
    assert "service_tier" not in sent(UNCHANGED)


def test_a_stream_needs_no_asking_for_its_usage():
    assert "stream_options" not in sent(UNCHANGED, stream=True)


def test_of_a_count_only_the_model_changes():
    change = structs.replace(UNCHANGED, model="n", output_tokens=5, names_tier=True)
    counted = wanted(b'{"model":"m","input":"Hi"}', Endpoint.RESPONSES_INPUT_TOKENS)
    assert DIALECT.write(counted, change) == b'{"model":"n","input":"Hi"}'
