import string
from uuid import UUID

import pytest
from hypothesis import given, strategies as st

from gateway.core.ids import UUID7_ENTROPY_BYTES, is_run_name, uuid7

TIMES_MS = st.integers(0, (1 << 48) - 1)
ENTROPY = st.binary(min_size=UUID7_ENTROPY_BYTES, max_size=UUID7_ENTROPY_BYTES)
ALLOWED = string.ascii_letters + string.digits + "._:-"


@given(TIMES_MS, ENTROPY)
def test_an_id_is_a_uuid_of_version_7(unix_ms: int, entropy: bytes):
    text = uuid7(unix_ms, entropy)
    parsed = UUID(text)
    assert str(parsed) == text
    assert (parsed.version, parsed.variant) == (7, "specified in RFC 4122")


@given(TIMES_MS, ENTROPY)
def test_an_id_keeps_its_time_and_all_other_bits(unix_ms: int, entropy: bytes):
    value = UUID(uuid7(unix_ms, entropy)).int
    assert value >> 80 == unix_ms
    free = (1 << 80) - 1 ^ 0xF << 76 ^ 0x3 << 62
    assert value & free == int.from_bytes(entropy) & free


@given(TIMES_MS, TIMES_MS, ENTROPY, ENTROPY)
def test_a_later_id_sorts_later(earlier: int, later: int, some: bytes, other: bytes):
    if earlier < later:
        assert uuid7(earlier, some) < uuid7(later, other)


def test_the_example_of_the_standard_comes_out():
    # RFC 9562, appendix A.6: 2022-02-22 14:22:22 -05:00, rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F
    entropy = ((0xCC3 << 64) | 0x18C4DC0C0C07398F).to_bytes(UUID7_ENTROPY_BYTES)
    assert uuid7(0x017F22E279B0, entropy) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@given(st.binary(max_size=40).filter(lambda entropy: len(entropy) != UUID7_ENTROPY_BYTES))
def test_another_amount_of_entropy_is_not_taken(entropy: bytes):
    with pytest.raises(ValueError, match=r"10 random bytes"):
        uuid7(0, entropy)


@given(st.text(ALLOWED, min_size=1, max_size=128))
def test_a_run_may_have_any_name_of_its_alphabet(name: str):
    assert is_run_name(name)


@given(st.text() | st.text(ALLOWED + "\n /é"))
def test_a_run_name_is_what_its_alphabet_and_length_allow(name: str):
    assert is_run_name(name) is (1 <= len(name) <= 128 and set(name) <= set(ALLOWED))


@pytest.mark.parametrize("name", ["", "a" * 129, "a\n", "a b", "a/b", "é", "\u0661"])
def test_other_run_names_are_not_taken(name: str):
    assert not is_run_name(name)
