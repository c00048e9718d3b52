"""A key is found in an error, however the provider's JSON writes it."""

import json

import pytest
from hypothesis import given, strategies as st

from gateway.exchange.quoting import names_any

KEY = "ABSKQmVkcm9ja0FQSUtleS1h/b+c=="
ASCII = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=8, max_size=40)


@pytest.mark.parametrize(
    "written",
    [
        json.dumps({"message": f"bad key {KEY}"}),
        json.dumps({"message": f"bad key {KEY}"}).replace("/", "\\/"),
        json.dumps({"message": f"bad key {KEY}"}).replace("=", "\\u003d"),
        json.dumps({"message": "".join(f"\\u{ord(one):04X}" for one in KEY)}).replace("\\\\", "\\"),
        f"bad key {KEY}",
    ],
    ids=["plain", "slashes", "equals signs", "every character", "no JSON"],
)
def test_a_key_is_found(written: str):
    assert names_any(written.encode(), [b"another", KEY.encode()])
    assert not names_any(written.encode(), [b"another", KEY.encode() + b"x"])


@given(key=ASCII, before=st.text(), escaped=st.sets(st.integers(0, 39)))
def test_a_key_is_found_whichever_of_its_characters_are_escaped(
    key: str, before: str, escaped: set[int]
):
    written = "".join(
        f"\\u{ord(one):04x}" if at in escaped else json.dumps(one)[1:-1]
        for at, one in enumerate(key)
    )
    body = f'{{"error": "{json.dumps(before)[1:-1]}{written}"}}'
    assert json.loads(body)["error"] == before + key
    assert names_any(body.encode(), [key.encode()])


@given(st.binary(), st.binary(min_size=1))
def test_no_bytes_make_it_raise(answer: bytes, secret: bytes):
    assert names_any(answer, [secret]) or secret not in answer
