"""What is sent on: the client's own bytes, but for what the gateway must change."""

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from msgspec import structs

from gateway.providers.adapter import Change, Endpoint, Path, Wanted
from gateway.providers.dialects.chat_completions import ChatCompletions

DIALECT = ChatCompletions("openai")
UNCHANGED = Change(model="m", output_tokens=None, reports_usage=False, names_tier=False)


def wanted(body: bytes) -> Wanted:
    found = DIALECT.read(Path(endpoint=Endpoint.CHAT_COMPLETIONS), body)
    assert isinstance(found, Wanted), found
    return found


def body(**fields: object) -> bytes:
    whole = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]} | fields
    return json.dumps(whole, separators=(",", ":")).encode()


def sent(change: Change, **fields: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DIALECT.write(wanted(body(**fields)), change))
    return found


def test_without_a_change_the_bytes_are_the_clients():
    original = b'{"messages":[ {"role":"user","content":"\\u00e9"} ],"x":1.10,"y":1e2,"model":"m"}'
    assert DIALECT.write(wanted(original), UNCHANGED) == original


def test_the_model_is_named_as_the_provider_names_it():
    change = structs.replace(UNCHANGED, model='vendor/model:"x"')
    assert sent(change)["model"] == 'vendor/model:"x"'


NEW, OLD = "max_completion_tokens", "max_tokens"


@pytest.mark.parametrize(
    ("given", "host_field", "expected"),
    [
        ({}, NEW, {NEW: 50}),
        ({}, OLD, {OLD: 50}),
        ({OLD: None}, NEW, {OLD: None, NEW: 50}),
        ({OLD: None, NEW: None}, OLD, {OLD: 50, NEW: None}),
        ({OLD: 100}, NEW, {OLD: 50}),
        ({OLD: 20}, NEW, {OLD: 20}),
        ({NEW: 100}, NEW, {NEW: 50}),
        ({NEW: 20}, OLD, {NEW: 20, OLD: 50}),
        ({NEW: 100, OLD: 20}, NEW, {NEW: 50, OLD: 20}),
    ],
)
def test_a_ceiling_is_written_where_the_host_heeds_it(
    given: dict[str, Any], host_field: str, expected: dict[str, Any]
):
    change = structs.replace(UNCHANGED, output_tokens=50, ceiling_field=host_field)
    found = sent(change, **given)
    assert {name: found[name] for name in (NEW, OLD) if name in found} == expected


def test_a_stream_is_asked_for_its_usage_beside_its_other_options():
    change = structs.replace(UNCHANGED, reports_usage=True)
    options = {"include_usage": False, "include_obfuscation": False}
    assert sent(change, stream=True, stream_options=options)["stream_options"] == {
        "include_usage": True,
        "include_obfuscation": False,
    }
    for none in ({}, {"stream_options": None}):
        assert sent(change, stream=True, **none)["stream_options"] == {"include_usage": True}


def test_what_is_not_streamed_is_not_asked_for_its_usage():
    change = structs.replace(UNCHANGED, reports_usage=True)
    assert "stream_options" not in sent(change)
    options = {"include_usage": False}
    assert sent(change, stream=False, stream_options=options)["stream_options"] == options


def test_a_missing_tier_is_named_and_a_given_one_kept():
    change = structs.replace(UNCHANGED, names_tier=True)
    assert sent(change)["service_tier"] == "default"
    assert sent(change, service_tier=None)["service_tier"] == "default"
    assert sent(change, service_tier="flex")["service_tier"] == "flex"
    assert "service_tier" not in sent(UNCHANGED)


OTHER_FIELDS = st.dictionaries(
    st.text(max_size=5).map("x-".__add__),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=8,
    ),
)


@settings(max_examples=50)
@given(
    others=OTHER_FIELDS,
    ceilings=st.dictionaries(st.sampled_from([NEW, OLD]), st.integers(1, 10**7)),
    change=st.builds(
        Change,
        model=st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20),
        output_tokens=st.none() | st.integers(1, 10**7),
        ceiling_field=st.sampled_from([NEW, OLD]),
        reports_usage=st.booleans(),
        names_tier=st.booleans(),
    ),
    stream=st.booleans(),
)
def test_what_is_written_reads_back_as_what_was_decided(
    others: dict[str, Any], ceilings: dict[str, int], change: Change, stream: bool
):
    before = wanted(body(**others, **ceilings, stream=stream))
    after = wanted(DIALECT.write(before, change))
    assert after.asked.model == change.model
    assert after.asked.stream == stream
    assert after.wants_usage == (stream and change.reports_usage)
    assert (after.asked.tier == "default") == change.names_tier
    if change.output_tokens is not None:
        assert after.asked.output_tokens is not None
        assert after.asked.output_tokens <= change.output_tokens
    for name in others:
        assert bytes(after.fields[name]) == bytes(before.fields[name])
    assert bytes(after.fields["messages"]) == bytes(before.fields["messages"])
