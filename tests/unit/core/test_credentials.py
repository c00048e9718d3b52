"""What the gateway hands out, against published examples and against whatever is sent as one."""

import string

import pytest
from hypothesis import given, strategies as st

from gateway.core import credentials

ENTROPY = bytes(range(0x64, 0x84))
TOKEN = "gwk_live_No287qEH4uQv9vBo5cxQTXAw02KFtzjuPbCrH1FrBEB30Nu6D"
HASH = "04c17277b676834c89c2ff71de62fab92b582191994eeceade174a20439363f5"
BASE62 = string.digits + string.ascii_letters


def test_a_token_is_made_of_its_random_bytes():
    assert credentials.token(ENTROPY) == TOKEN
    assert credentials.prefix(TOKEN) == "gwk_live_No2"


def test_what_is_kept_of_a_token_is_its_keyed_hash():
    assert credentials.keyed_hash(b"\x5c" * 32, TOKEN).hex() == HASH
    assert credentials.keyed_hash(b"\x5d" * 32, TOKEN).hex() != HASH


@given(st.binary(min_size=32, max_size=32), st.from_regex(r"[a-z]{1,16}", fullmatch=True))
def test_every_token_is_one(entropy: bytes, environment: str):
    token = credentials.token(entropy, environment)
    assert credentials.is_token(token)
    assert len(token) == len(f"gwk_{environment}_") + 49


@given(st.integers(0, len(TOKEN) - 1), st.sampled_from(BASE62 + "_-\0é"))
def test_one_changed_character_makes_it_none(place: int, character: str):
    changed = TOKEN[:place] + character + TOKEN[place + 1 :]
    assert credentials.is_token(changed) == (changed == TOKEN)


@given(st.text())
def test_no_text_breaks_the_check(text: str):
    assert not credentials.is_token(text)
    assert len(credentials.keyed_hash(b"k" * 32, text)) == len(credentials.plain_hash(text)) == 32


@pytest.mark.parametrize(
    "text", [TOKEN + "\n", " " + TOKEN, TOKEN[:-1], TOKEN.upper(), "gwk__" + "0" * 49]
)
def test_what_is_nearly_a_token_is_none(text: str):
    assert not credentials.is_token(text)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_secrets_of_different_bytes_differ(one: bytes, other: bytes):
    assert (credentials.secret(one) == credentials.secret(other)) == (one == other)
    assert len(credentials.secret(one)) == 43


@pytest.mark.parametrize("count", [0, 31, 33])
def test_a_secret_takes_exactly_32_random_bytes(count: int):
    with pytest.raises(ValueError, match="32 random bytes"):
        credentials.secret(bytes(count))


def test_a_pepper_is_known_again_and_told_from_another():
    check = credentials.pepper_check(bytes(32))
    assert credentials.are_same(check, credentials.pepper_check(bytes(32)))
    assert not credentials.are_same(check, credentials.pepper_check(bytes(31) + b"\x01"))
    with pytest.raises(ValueError, match="at least 32 bytes"):
        credentials.pepper_check(bytes(31))
