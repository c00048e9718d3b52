"""Anthropic's accounts: what of them is trusted, and what they cost to the nano-dollar."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from gateway.core.events import Usage
from gateway.core.ids import ModelName, Provider
from gateway.core.money import NanoDollars, NanoDollarsPerMillion
from gateway.core.pricing import DEFAULT_TIER, Model, Rates, Schedule, Vocabulary, cost
from gateway.providers.dialects.messages import accounts
from gateway.providers.dialects.messages.accounts import Counts


def rates(*thousandths: int) -> Rates:
    """Return rates in thousandths of a dollar: input, output, cached, written for 5 m and 1 h."""
    into, out, cached, short, long = (NanoDollarsPerMillion(each * 10**6) for each in thousandths)
    return Rates(
        input=into,
        output=out,
        cached_input=cached,
        cache_write=short,
        cache_write_1h=long,
        audio_input=into,
        audio_output=out,
        image_output=out,
    )


def model(**tiers: Schedule) -> Model:
    return Model(
        name=ModelName("anthropic/m"),
        provider=Provider("anthropic"),
        upstream_name="m",
        tiers=tiers,
        max_output_tokens=None,
        context_tokens=1_000_000,
        vocabulary=Vocabulary.UNKNOWN,
        hidden_reasoning=True,
    )


OPUS = model(
    default=Schedule(rates(5000, 25_000, 500, 6250, 10_000)),
    fast=Schedule(rates(10_000, 50_000, 1000, 12_500, 20_000)),
)
SONNET_4_5 = model(
    default=Schedule(
        rates(3000, 15_000, 300, 3750, 6000),
        ((200_000, rates(6000, 22_500, 600, 7500, 12_000)),),
    )
)
HAIKU_5_5 = model(
    default=Schedule(rates(100, 500, 10, 125, 200), ((100_000, rates(500, 2500, 50, 625, 1000)),))
)


def read(values: dict[str, Any]) -> Usage | None:
    counts = accounts.read(values)
    return None if counts is None else accounts.usage(counts)


def split(short: int, long: int) -> dict[str, object]:
    return {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long}


COSTS: list[tuple[str, Model, str | None, dict[str, Any], int]] = [
    ("plain", OPUS, None, {"input_tokens": 10, "output_tokens": 20}, 550_000),
    ("nothing said", OPUS, None, {"input_tokens": 0, "output_tokens": 0}, 0),
    ("one token in", HAIKU_5_5, None, {"input_tokens": 1, "output_tokens": 0}, 100),
    ("one cached token of Haiku", HAIKU_5_5, None,
     {"input_tokens": 0, "cache_read_input_tokens": 1, "output_tokens": 0}, 10),
    ("documented example", OPUS, DEFAULT_TIER,
     {"input_tokens": 2095, "cache_creation_input_tokens": 2051, "cache_read_input_tokens": 2051,
      "output_tokens": 503, "cache_creation": split(1051, 1000), "service_tier": "standard"},
     # 2095·5000 + 2051·500 + 1051·6250 + 1000·10000 + 503·25000, in nano-dollars
     10_475_000 + 1_025_500 + 6_568_750 + 10_000_000 + 12_575_000),
    ("no split is an hour", OPUS, None,
     {"input_tokens": 3, "cache_creation_input_tokens": 100, "output_tokens": 1},
     15_000 + 1_000_000 + 25_000),
    ("a null split is none", OPUS, None,
     {"input_tokens": 3, "cache_creation_input_tokens": 100, "cache_creation": None,
      "output_tokens": 1}, 15_000 + 1_000_000 + 25_000),
    ("five minutes", OPUS, None,
     {"input_tokens": 3, "cache_creation_input_tokens": 100, "cache_creation": split(100, 0),
      "output_tokens": 1}, 15_000 + 625_000 + 25_000),
    ("a split without its sum", OPUS, None,
     {"input_tokens": 3, "cache_creation": split(60, 40), "output_tokens": 1},
     15_000 + 375_000 + 400_000 + 25_000),
    ("what the split leaves is an hour", OPUS, None,
     {"input_tokens": 3, "cache_creation_input_tokens": 100, "cache_creation": split(60, 0),
      "output_tokens": 1}, 15_000 + 375_000 + 400_000 + 25_000),
    ("a split above its sum costs its dearest", OPUS, None,
     {"input_tokens": 3, "cache_creation_input_tokens": 10, "cache_creation": split(60, 40),
      "output_tokens": 1}, (3 + 100) * 10_000 + 25_000),
    ("nulls", OPUS, None,
     {"input_tokens": 9, "cache_creation_input_tokens": None, "cache_read_input_tokens": None,
      "output_tokens": 2, "server_tool_use": None, "iterations": None}, 95_000),
    ("integral floats", OPUS, None, {"input_tokens": 9.0, "output_tokens": 2.0}, 95_000),
    ("thinking is inside", OPUS, None,
     {"input_tokens": 9, "output_tokens": 200,
      "output_tokens_details": {"thinking_tokens": 150}}, 45_000 + 5_000_000),
    ("fast", OPUS, "fast", {"input_tokens": 9, "output_tokens": 2, "speed": "fast"}, 190_000),
    ("a tier without a price is the dearest", OPUS, "us",
     {"input_tokens": 9, "output_tokens": 2, "inference_geo": "us"}, 190_000),
    ("below a cliff", SONNET_4_5, None,
     {"input_tokens": 100_000, "cache_read_input_tokens": 100_000, "output_tokens": 1000},
     300_000_000 + 30_000_000 + 15_000_000),
    ("above a cliff, by what was cached", SONNET_4_5, None,
     {"input_tokens": 1, "cache_read_input_tokens": 200_000, "output_tokens": 1000},
     6000 + 120_000_000 + 22_500_000),
    ("above Haiku's cliff, by what was written", HAIKU_5_5, None,
     {"input_tokens": 1, "cache_creation_input_tokens": 100_000,
      "cache_creation": split(100_000, 0), "output_tokens": 10}, 500 + 62_500_000 + 25_000),
    ("compaction is beyond the totals", OPUS, None,
     {"input_tokens": 23_000, "output_tokens": 1000, "iterations": [
         {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3500,
          "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0},
         {"type": "message", "input_tokens": 23_000, "output_tokens": 1000,
          "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}]},
     203_000 * 5000 + 4500 * 25_000),
    ("compaction with a cache", OPUS, None,
     {"input_tokens": 5, "output_tokens": 5, "iterations": [
         {"type": "compaction", "input_tokens": 10, "output_tokens": 20,
          "cache_creation_input_tokens": 30, "cache_read_input_tokens": 40,
          "cache_creation": split(30, 0)}]},
     15 * 5000 + 25 * 25_000 + 30 * 6250 + 40 * 500),
    ("the message's own turns are inside", OPUS, None,
     {"input_tokens": 9, "output_tokens": 2, "iterations": [
         {"type": "message", "input_tokens": 9, "output_tokens": 2}]}, 95_000),
    ("an advisor is of another model, so all is the dearest", OPUS, None,
     {"input_tokens": 9, "output_tokens": 2, "iterations": [
         {"type": "advisor_message", "model": "x", "input_tokens": 100, "output_tokens": 50,
          "cache_creation_input_tokens": 0, "cache_read_input_tokens": 7}]},
     (9 + 107) * 10_000 + 52 * 25_000),
    ("a fallback likewise", OPUS, None,
     {"input_tokens": 9, "output_tokens": 2, "iterations": [
         {"type": "fallback_message", "model": "x", "input_tokens": 9, "output_tokens": 2}]},
     18 * 10_000 + 4 * 25_000),
    ("searches are billed beside the tokens", OPUS, None,
     {"input_tokens": 9, "output_tokens": 2, "server_tool_use": {"web_search_requests": 3}},
     95_000 + 30_000_000),
    ("no search", OPUS, None,
     {"input_tokens": 9, "output_tokens": 2,
      "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 3}}, 95_000),
]  # fmt: skip


@pytest.mark.parametrize(
    ("priced", "tier", "values", "nusd"), [row[1:] for row in COSTS], ids=[row[0] for row in COSTS]
)
def test_an_account_costs_what_it_says(
    priced: Model, tier: str | None, values: dict[str, Any], nusd: int
):
    usage = read(values)
    assert usage is not None
    assert cost(priced, usage, tier) == NanoDollars(nusd)


@pytest.mark.parametrize(
    "values",
    [
        {"input_tokens": "9", "output_tokens": 2},
        {"input_tokens": 9, "output_tokens": 2.5},
        {"input_tokens": -9, "output_tokens": 2},
        {"input_tokens": 9, "output_tokens": 10**9},
        {"input_tokens": True, "output_tokens": 2},
        {"input_tokens": 9},
        {"output_tokens": 2},
        {"input_tokens": None, "output_tokens": 2},
        {},
        {"input_tokens": 9, "output_tokens": 2, "cache_read_input_tokens": "1"},
        {"input_tokens": 9, "output_tokens": 2, "cache_creation": 7},
        {
            "input_tokens": 9,
            "output_tokens": 2,
            "cache_creation": {"ephemeral_5m_input_tokens": -1},
        },
        {"input_tokens": 9, "output_tokens": 2, "iterations": {"type": "compaction"}},
        {"input_tokens": 9, "output_tokens": 2, "iterations": [5]},
        {"input_tokens": 9, "output_tokens": 2, "server_tool_use": {"web_search_requests": "1"}},
        {"input_tokens": 9, "output_tokens": 2, "iterations": [{"type": "compaction"}]},
        {
            "input_tokens": 9,
            "output_tokens": 2,
            "iterations": [{"type": "compaction", "input_tokens": "1", "output_tokens": 1}],
        },
    ],
)
def test_what_is_not_sound_is_not_trusted(values: dict[str, Any]):
    assert read(values) is None


def test_only_thoughts_that_are_counts_are_told():
    for thought, told in ((3, 3), (9, 5), ("3", 0), (-1, 0), (None, 0)):
        details = {"thinking_tokens": thought}
        usage = read({"input_tokens": 1, "output_tokens": 5, "output_tokens_details": details})
        assert usage == Usage(input=1, output=5, reasoning=told)


def test_a_later_account_overwrites_what_it_tells_and_lowers_nothing():
    start = accounts.read(
        {
            "input_tokens": 25,
            "cache_creation_input_tokens": 100,
            "cache_creation": split(100, 0),
            "cache_read_input_tokens": 7,
            "output_tokens": 1,
        }
    )
    later = accounts.read({"input_tokens": 3, "cache_read_input_tokens": None, "output_tokens": 15})
    assert start is not None
    assert later is not None
    assert accounts.usage(accounts.merged(start, later)) == Usage(
        input=25, output=15, cached=7, cache_write_5m=100
    )


def test_the_opening_account_is_of_the_input_alone():
    counts = Counts(input=25, output=1, cached=7, thought=1)
    assert accounts.prompted(counts) == Usage(input=25, output=0, cached=7)
    assert accounts.prompted(Counts(cached=7)) is None


COUNT = st.one_of(st.none(), st.integers(-1, 5), st.floats(), st.text(max_size=1), st.booleans())
NAMES = st.sampled_from(
    [
        *("input_tokens", "output_tokens", "cache_read_input_tokens"),
        *("cache_creation_input_tokens", "ephemeral_5m_input_tokens", "thinking_tokens"),
    ]
)
ITERATION = st.dictionaries(NAMES | st.just("type"), COUNT | st.just("compaction"), max_size=4)
USAGE = st.dictionaries(
    NAMES
    | st.sampled_from(["cache_creation", "iterations", "server_tool_use", "output_tokens_details"]),
    COUNT | ITERATION | st.lists(ITERATION | COUNT, max_size=3),
    max_size=6,
)


@given(USAGE, USAGE)
def test_any_account_is_read_or_not_trusted(one: dict[str, Any], other: dict[str, Any]):
    found = [counts for values in (one, other) if (counts := accounts.read(values)) is not None]
    for counts in found:
        usage = accounts.usage(counts)
        assert usage is None or min(usage.input, usage.output, usage.cache_write) >= 0
    if len(found) == 2:
        accounts.usage(accounts.merged(*found))
