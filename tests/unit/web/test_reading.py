import json

import msgspec
import pytest
from hypothesis import given, strategies as st

from gateway.web import reading
from gateway.web.problems import Problem
from gateway.web.shapes import FORMS, Body, Digest, Dollars, Labelled, Labels, Life, Model, Name


class Order(Body, frozen=True, kw_only=True):
    name: Name | None = None
    count: int | None = None
    text: str = ""
    labels: Labels = msgspec.field(default_factory=dict)


def refused(raw: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        reading.decode(raw, Order)
    assert caught.value.status == 400
    return caught.value


def test_a_body_is_read():
    order = reading.decode(b'{"name": "a.b", "count": 3, "labels": {"team": "x"}}', Order)
    assert order == Order(name="a.b", count=3, labels={"team": "x"})


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"\xef\xbb\xbf{}",
        b'{"count": NaN}',
        b'{"count": Infinity}',
        b'{"text": "\xff"}',
        b'{"text": "\\ud800"}',
        b'{"text": "\\u0000"}',
        b'{"text": "a\\nb"}',
        b'{"count": 1e400}',
        b"[" * 10_000 + b"]" * 10_000,
        b'{"count": ' + b"1" * 5000 + b"}",
        b"{} {}",
    ],
)
def test_what_is_not_plain_json_is_refused(raw: bytes):
    refused(raw)


def test_a_member_that_comes_twice_is_refused_at_any_depth():
    assert "twice" in refused(b'{"count": 1, "count": 1}').message
    assert "twice" in refused(b'{"labels": {"a": "1", "a": "2"}}').message


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b'{"nmae": "x"}', "nmae"),
        (b'{"count": "5"}', "count"),
        (b'{"count": 1.0}', "count"),
        (b'{"count": true}', "count"),
        (b'{"count": 1e3}', "count"),
        (b'{"name": "a b"}', "name"),
        (b'{"name": "a\\n"}', "name"),
        (b'{"labels": {"a": 5}}', "labels[...]"),
        (b'{"text": "\\u001b[31m"}', "text"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(raw: bytes, param: str):
    assert refused(raw).param == param


def test_a_refusal_does_not_quote_the_body():
    problem = refused(json.dumps({"name": "secret words"}).encode())
    assert "secret" not in f"{problem.message}{problem.param}"


def read(raw: bytes) -> Order | int:
    """Return what a body says, or the status it is refused with."""
    try:
        return reading.decode(raw, Order)
    except Problem as problem:
        return problem.status


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: json.dumps(text).encode()))
def test_any_bytes_are_read_or_refused(raw: bytes):
    assert isinstance(read(raw), Order) or read(raw) == 400


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["name", "count", "text", "labels", "x"]), VALUES))
def test_any_object_is_read_as_it_is_or_refused(value: dict[str, object]):
    found = read(json.dumps(value).encode())
    if isinstance(found, Order):
        told = msgspec.to_builtins(found)
        assert {name: told[name] for name in value} == value
    else:
        assert found == 400


class Formed(Body, frozen=True, kw_only=True):
    name: Name | None = None
    cap_usd: Dollars | None = None
    models: list[Model] | None = None
    expires: Life | None = None
    label: Labelled | None = None
    digest: Digest | None = None


@pytest.mark.parametrize(
    ("raw", "param", "form"),
    [
        (b'{"name": "a b"}', "name", "A-Za-z0-9._:-"),
        (b'{"cap_usd": "-3"}', "cap_usd", "US dollars such as 2.50"),
        (b'{"cap_usd": "1e3"}', "cap_usd", "US dollars such as 2.50"),
        (b'{"cap_usd": 1.5}', "cap_usd", "in quotes"),
        (b'{"models": ["gpt-5"]}', "models[0]", "provider/model"),
        (b'{"expires": "1y"}', "expires", "30d"),
        (b'{"digest": "e0364c43"}', "digest", "64 hexadecimal digits"),
        (b'{"label": "a"}', "label", "name=value"),
    ],
)
def test_what_has_the_wrong_form_is_told_the_right_one(raw: bytes, param: str, form: str):
    with pytest.raises(Problem) as caught:
        reading.decode(raw, Formed)
    assert form in caught.value.message
    assert "Its form is wrong" not in caught.value.message
    assert (caught.value.param or "").startswith(param.partition("[")[0])


def test_every_form_has_words():
    assert all(words.startswith("It is not ") for words in FORMS.values())
