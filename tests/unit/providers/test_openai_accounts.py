"""The provider's account: its conventions made one, and nothing trusted that is not sound."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, strategies as st

from gateway.core.events import Usage
from gateway.providers.openai_accounts import CHAT, RESPONSES, billed, read as read_named

PLAIN = {"prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 140}


def read(values: dict[str, Any], *, makes_output: bool) -> Usage | None:
    return read_named(values, CHAT, makes_output=makes_output)


def chat(**fields: object) -> Usage | None:
    return read(PLAIN | fields, makes_output=True)


def details(**fields: object) -> dict[str, Any]:
    return {"prompt_tokens_details": fields}


def test_the_parts_of_the_input_are_taken_out_of_it():
    found = chat(**details(cached_tokens=30, cache_write_tokens=20, audio_tokens=10))
    assert found == Usage(input=40, output=40, cached=30, cache_write=20, audio_input=10)


def test_reasoning_stays_inside_the_output_and_audio_leaves_it():
    found = chat(completion_tokens_details={"reasoning_tokens": 25, "audio_tokens": 10})
    assert found == Usage(input=100, output=30, audio_output=10, reasoning=25)


def test_output_is_never_less_than_the_total_leaves_for_it():
    outside = chat(total_tokens=200, completion_tokens_details={"reasoning_tokens": 60})
    assert outside == Usage(input=100, output=100, reasoning=60)
    assert chat(total_tokens=200) == Usage(input=100, output=100)
    assert chat(total_tokens=110) == Usage(input=100, output=40)


def test_more_reasoning_than_output_was_counted_outside_it():
    found = chat(total_tokens=None, completion_tokens_details={"reasoning_tokens": 60})
    assert found == Usage(input=100, output=100, reasoning=60)


def test_a_cache_hit_in_deepseeks_words_is_one():
    assert chat(prompt_cache_hit_tokens=64, prompt_cache_miss_tokens=36) == Usage(
        input=36, output=40, cached=64
    )


def test_whole_floats_are_counts():
    assert chat(prompt_tokens=100.0, completion_tokens=40.0) == Usage(input=100, output=40)


def test_null_details_say_nothing():
    found = chat(prompt_tokens_details=None, completion_tokens_details=None)
    assert found == Usage(input=100, output=40)
    assert chat(**details(cached_tokens=None)) == Usage(input=100, output=40)


@pytest.mark.parametrize("name", list(PLAIN))
@pytest.mark.parametrize("value", ["40", -1, 10**9, 10**30, 1.5, True, [], {}, float("nan")])
def test_a_figure_that_is_no_count_spoils_the_account(name: str, value: object):
    assert chat(**{name: value}) is None


@pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens"])
def test_half_an_account_is_none(name: str):
    assert chat(**{name: None}) is None
    assert read({}, makes_output=True) is None
    assert read({"total_tokens": 5}, makes_output=False) is None


def test_an_embedding_has_only_a_prompt():
    assert read({"prompt_tokens": 7, "total_tokens": 7}, makes_output=False) == Usage(
        input=7, output=0
    )


@pytest.mark.parametrize(
    "bad",
    [
        {"cached_tokens": 101},
        {"cached_tokens": 60, "cache_write_tokens": 60},
        {"cached_tokens": "30"},
        {"cached_tokens": -5},
        {"cached_tokens": 10**9},
    ],
)
def test_parts_that_contradict_the_whole_earn_no_credit(bad: dict[str, Any]):
    assert chat(**details(**bad)) == Usage(input=100, output=40, certain=False)


@pytest.mark.parametrize("bad", ["x", [], 5])
def test_details_of_no_known_shape_earn_no_credit(bad: object):
    if bad:
        heard = Usage(input=0, audio_input=100, output=40, certain=False)
        assert chat(prompt_tokens_details=bad) == heard
        spoken = Usage(input=100, output=0, audio_output=40, certain=False)
        assert chat(completion_tokens_details=bad) == spoken


@pytest.mark.parametrize(
    ("audio", "counted"), [(10, 10), (101, 100), ("10", 100), (True, 100), (-1, 100)]
)
def test_input_that_may_be_audio_stays_so(audio: object, counted: int):
    assert chat(**details(audio_tokens=audio, cached_tokens=95)) == Usage(
        input=100 - counted, audio_input=counted, output=40, certain=False
    )


def test_more_audio_than_output_is_all_audio():
    found = chat(completion_tokens_details={"audio_tokens": 50})
    assert found == Usage(input=100, output=0, audio_output=40, certain=False)


COUNTS = st.one_of(st.none(), st.integers(-5, 10**9), st.floats(), st.text(max_size=2))
PARTS = st.one_of(
    st.none(),
    st.text(max_size=1),
    st.dictionaries(
        st.sampled_from(
            ["cached_tokens", "cache_write_tokens", "audio_tokens", "reasoning_tokens"]
        ),
        COUNTS,
    ),
)


@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys([*PLAIN, "prompt_cache_hit_tokens"], COUNTS)
        | dict.fromkeys(["prompt_tokens_details", "completion_tokens_details"], PARTS),
    ),
    st.booleans(),
)
def test_an_account_never_says_less_than_it_was_given(values: dict[str, Any], makes_output: bool):
    found = read(values, makes_output=makes_output)
    if found is None:
        return
    parts = (found.input, found.cached, found.cache_write, found.audio_input)
    assert min(*parts, found.output, found.audio_output, found.reasoning) >= 0
    assert sum(parts) == values["prompt_tokens"]
    assert found.output + found.audio_output >= (values.get("completion_tokens") or 0)
    assert found.reasoning <= found.output


def test_responses_call_the_same_figures_otherwise():
    said = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20},
        "output_tokens": 40,
        "output_tokens_details": {"reasoning_tokens": 25},
        "total_tokens": 140,
    }
    found = read_named(said, RESPONSES, makes_output=True)
    assert found == Usage(input=50, output=40, cached=30, cache_write=20, reasoning=25)
    assert read_named(said, CHAT, makes_output=True) is None


@pytest.mark.parametrize(
    ("account", "nusd"),
    [
        (b"{}", None),
        (b'{"cost":null}', None),
        (b'{"cost":0}', 0),
        (b'{"cost":0.00014}', 140_000),
        (b'{"cost":1.4e-4}', 140_000),
        (b'{"cost":"0.00014"}', 140_000),
        (b'{"cost":0.1234567891}', 123_456_790),
        (b'{"cost":0.123456789' + b"0" * 90 + b"1}", 123_456_790),
        (b'{"cost":1e-300}', 1),
        (b'{"cost":-0.1}', None),
        (b'{"cost":1e999}', None),
        (b'{"cost":1e10}', None),
        (b'{"cost":"NaN"}', None),
        (b'{"cost":"sNaN"}', None),
        (b'{"cost":"Infinity"}', None),
        (b'{"cost":NaN}', None),
        (b'{"cost":true}', None),
        (b'{"cost":{"total":1}}', None),
        (b'{"cost":0.01,"is_byok":false,"cost_details":{"upstream_inference_cost":2}}', 10_000_000),
        (
            b'{"cost":0.01,"is_byok":true,"cost_details":{"upstream_inference_cost":2}}',
            2_010_000_000,
        ),
        (b'{"cost":0.01,"cost_details":{"upstream_inference_cost":2}}', 2_010_000_000),
        (b'{"cost":0.01,"is_byok":true,"cost_details":{"upstream_inference_cost":-2}}', 10_000_000),
        (b'{"cost":0.01,"is_byok":true,"cost_details":null}', 10_000_000),
        (b'{"cost_in_usd_ticks":10}', 1),
        (b'{"cost_in_usd_ticks":37756000}', 3_775_600),
        (b'{"cost_in_usd_ticks":37756001}', 3_775_601),
        (b'{"cost_in_usd_ticks":-1}', None),
        (b'{"cost_in_usd_ticks":100,"cost":0.5}', 500_000_000),
        (b"nothing", None),
        (b"\xff", None),
        (b"[" * 20_000, None),
    ],
)
def test_what_is_billed_is_read_from_its_digits(account: bytes, nusd: int | None):
    assert billed(account) == nusd


@given(st.decimals(0, 10**9, allow_nan=False, allow_infinity=False))
def test_an_amount_is_never_read_as_less_or_a_nano_dollar_more(amount: Decimal):
    found = billed(b'{"cost":%s}' % str(amount).encode())
    assert found is not None
    assert 0 <= Fraction(found) - Fraction(amount) * 10**9 < 1


@given(st.binary())
def test_no_account_makes_it_raise(account: bytes):
    billed(account)
    billed(b'{"cost":' + account + b"}")
