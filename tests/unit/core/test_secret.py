"""A secret shows itself only where it is asked to."""

import copy
import json
import pickle
from collections.abc import Callable

import msgspec
import pytest

from gateway.core.secret import Secret

VALUE = "sk-canary-81a2"
SECRET = Secret(VALUE)


@pytest.mark.parametrize(
    "shown",
    [
        repr(SECRET),
        str(SECRET),
        f"{SECRET}",
        f"{SECRET!r:>40}",
        f"{SECRET} {SECRET!r}",
        repr([SECRET]),
    ],
)
def test_a_secret_is_masked_wherever_it_is_shown(shown: str):
    assert VALUE not in shown
    assert "******" in shown


@pytest.mark.parametrize(
    "encode", [json.dumps, msgspec.json.encode, msgspec.to_builtins, pickle.dumps]
)
def test_a_secret_is_not_encoded(encode: Callable[[object], object]):
    with pytest.raises(TypeError) as caught:
        encode({"key": SECRET})
    assert VALUE not in str(caught.value)


def test_a_secret_inside_a_struct_is_masked_and_not_encoded():
    holder = msgspec.defstruct("Holder", [("key", Secret)])(SECRET)
    assert VALUE not in repr(holder)
    with pytest.raises(TypeError):
        msgspec.json.encode(holder)


def test_a_secret_has_no_dictionary_to_look_into():
    with pytest.raises(TypeError):
        vars(SECRET)


def test_a_secret_is_opened_by_reveal():
    assert SECRET.reveal() == VALUE


def test_secrets_are_equal_when_their_values_are():
    assert Secret(VALUE) == SECRET
    assert hash(Secret(VALUE)) == hash(SECRET)
    assert Secret("other") != SECRET
    assert SECRET != VALUE


def test_a_secret_is_not_copied_into_another():
    with pytest.raises(TypeError):
        copy.deepcopy(SECRET)


def test_a_secret_can_hold_what_is_not_unicode():
    assert Secret("\udcff") == Secret("\udcff")
    assert Secret("\udcff") != Secret("\udcfe")
