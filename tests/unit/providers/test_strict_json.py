"""Bodies that two parsers might read differently are refused, in linear time and without raising."""

import json
import sys

import pytest
from hypothesis import given, settings, strategies as st

from gateway.core.tokens import countable_bytes
from gateway.providers.strict_json import (
    MOST_CONTAINERS,
    MOST_NESTED,
    Body,
    Malformed,
    has_duplicates,
    read,
)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.sampled_from(["[", "{", '"', "\\", "\\\\", '\\"', "]", "}"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=30,
)
OBJECTS = st.dictionaries(st.text(max_size=4), VALUES)


def nested(levels: int) -> bytes:
    """Return an object with so many levels, itself among them."""
    return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


def reason(body: bytes) -> str:
    found = read(body)
    assert isinstance(found, Malformed)
    return found.reason


@settings(max_examples=40)
@given(OBJECTS, st.booleans(), st.sampled_from([None, 2]))
def test_a_sound_object_is_read_as_the_standard_library_reads_it(
    value: dict[str, object], ascii_only: bool, indent: int | None
):
    document = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    found = read(document)
    assert isinstance(found, Body)
    assert found.values == json.loads(document)
    assert list(found.members) == list(found.values)
    assert all(
        json.loads(bytes(found.members[name])) == found.values[name] for name in found.values
    )
    bound = countable_bytes(document.decode())  # what normalizes longer counts as long as that
    assert found.text_bytes <= bound + document.count(b"e")  # 1e16 may be written longer


@given(st.one_of(st.binary(max_size=60), st.text(st.sampled_from('{}[]":,\\ae1 \ud800'))))
def test_no_bytes_make_it_raise(body: bytes | str):
    data = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
    assert isinstance(read(data), Body | Malformed)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',
        b'{"x":[{"b":{"a":1,"c":2,"a":3}}]}',
        b'{ "a" : 1 , "a" : 2 }',
        b'{"stream_options":{"include_usage":true,"include_usage":false}}',
    ],
)
def test_a_member_named_twice_is_refused_at_any_depth(body: bytes):
    assert "twice" in reason(body)
    assert has_duplicates(body)


def test_the_same_name_in_two_objects_is_no_duplicate():
    assert isinstance(read(b'{"a":[{"b":1},{"b":2}],"b":{"b":{"a":1}}}'), Body)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'"a"', "not a JSON object"),
        (b"a=b&c=d", "not valid JSON"),
        (b'{"a":1} x', "not valid JSON"),
        (b'{"a":NaN}', "not valid JSON"),
        (b'{"a":-Infinity}', "not valid JSON"),
        (b'\xef\xbb\xbf{"a":1}', "not valid JSON"),
        ('{"a":1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a":"\xff"}', "not UTF-8"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),
        (b'{"a":"\\ud800"}', "not valid JSON"),
        (b'{"a":"\\udc00x"}', "not valid JSON"),
        (b'{"a":"\\ud800\\u0041"}', "not valid JSON"),
        (b'{"a":1e400}', "outside"),
        (b'{"a":1' + b"0" * 5000 + b"}", "outside"),
    ],
)
def test_what_readers_disagree_on_is_refused_and_said(body: bytes, said: str):
    assert said in reason(body)


def test_a_surrogate_pair_is_one_character():
    found = read(b'{"a":"\\ud83d\\ude00"}')
    assert isinstance(found, Body)
    assert found.values == {"a": "\U0001f600"}
    assert found.text_bytes == len('{"a":"\U0001f600"}'.encode())


def test_nesting_ends_at_its_limit():
    assert isinstance(read(nested(MOST_NESTED)), Body)
    assert "nested deeper" in reason(nested(MOST_NESTED + 1))


@pytest.mark.parametrize("text", ['"[[[[[[[[', "\\", '\\"', '[\\"]"{', "{" * 200])
def test_brackets_in_texts_are_not_nesting(text: str):
    body = json.dumps({"a": [text] * 40, text: [[1]] * 40}).encode()
    assert isinstance(read(body), Body)


def test_a_backslash_that_ends_a_text_does_not_hide_its_quote():
    body = json.dumps({"a": ["\\", "[" * 200, ""], "b": [{}] * 80}).encode()
    assert isinstance(read(body), Body)


@pytest.mark.parametrize(
    "body",
    [
        nested(20_000),
        b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
        b'{"a":' + b"[" * 200_000,
        b'{"a":[' + b"[]," * MOST_CONTAINERS + b"[]]}",
        b"[" * 1_000_000,
    ],
)
def test_what_would_break_a_parser_is_refused_without_parsing(body: bytes):
    limit = sys.getrecursionlimit()
    assert isinstance(read(body), Malformed)
    assert sys.getrecursionlimit() == limit


def test_spaces_and_escapes_are_not_counted_as_text():
    found = read(b'{ "a" : "\\u00e9" }')
    assert isinstance(found, Body)
    assert found.text_bytes == len('{"a":"é"}'.encode())
