"""A provider's JSON, read leniently."""

import json

import pytest
from hypothesis import given, strategies as st

from gateway.providers.lenient_json import (
    label,
    names_own_twice,
    names_twice,
    read,
    string,
    strings,
)


def test_what_is_json_only_to_some_is_read():
    assert read(b'{"a":"\xff","b":"\\ud800"}') == {"a": "\ufffd", "b": "\ud800"}
    assert list(map(read, (b"[]", b"no", b"", b"[" * 20_000))) == [None] * 4


def test_every_text_is_found_and_can_be_encoded():
    found = sorted(strings({"a": ["x", {"b": "\ud800"}], "c": 1, "d": None}))
    assert found == ["?", "x"]


def test_a_label_is_a_short_printable_name():
    assert label("gpt-5") == "gpt-5"
    assert [label(name) for name in (None, "", "a\n", "x" * 257)] == [None] * 4
    assert (string("a"), string(5)) == ("a", None)


@pytest.mark.parametrize(
    ("value", "own", "anywhere"),
    [
        (b'{"a":1,"b":{"c":2}}', False, False),
        (b' { "a" : 1 , "b c" : [ { "d" : 2 } ] }\n', False, False),
        (b'{"a":1,"a":1}', True, True),
        (b'{"a":1,"\\u0061":2}', True, True),
        (b'{"\\u00e9":1}', False, False),
        (b'{"b":{"c":2,"c":3}}', False, True),
        (b'{"a":1.10}', False, False),
        (b'{"a":NaN}', True, True),
        (b"{", True, True),
        (b"\xff", True, True),
        (b"[" * 20_000, True, True),
    ],
)
def test_members_that_stand_twice_are_found(value: bytes, own: bool, anywhere: bool):
    assert names_own_twice(value) == own
    assert names_twice(value) == anywhere


def test_a_large_object_is_not_read_slowly():
    large = b'"x":"' + b"a" * 100_000 + b'"'
    assert not names_own_twice(b"{" + large + b',"y":1}')
    assert names_own_twice(b"{" + large + b',"y":1,"y":2}')
    assert names_own_twice(b"{" + large + b',"\\u0079":1}'), "it may be another y"


@given(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=4))
def test_no_object_of_pythons_has_a_member_twice(value: dict[str, object]):
    for written in (json.dumps(value), json.dumps(value, indent=2, ensure_ascii=False)):
        data = written.encode("utf-8", "surrogatepass")
        assert not names_own_twice(data)


@given(st.binary(max_size=100))
def test_any_bytes_are_read(document: bytes):
    read(document)
    names_twice(document)
    names_own_twice(document)
