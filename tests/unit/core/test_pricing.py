from typing import Any

import pytest
from hypothesis import given, strategies as st
from msgspec import structs

from gateway.core.calls import Asked
from gateway.core.events import Usage
from gateway.core.ids import ModelName, Provider
from gateway.core.money import NanoDollars
from gateway.core.pricing import (
    AUTO_TIER,
    DEFAULT_TIER,
    Model,
    Rates,
    Schedule,
    Vocabulary,
    affordable_output,
    cost,
    input_bound,
    is_tier_priced,
    output_bound,
    upper_bound,
)

PRICES = st.integers(0, 10**11)
TOKENS = st.integers(0, 1000)
MARK = 10**6  # nano-dollars per million: one nano-dollar a token


def rates(**given_rates: int) -> Rates:
    fields: dict[str, Any] = dict.fromkeys(Rates.__struct_fields__, 0)
    return Rates(**{**fields, **given_rates})


def flat(**given_rates: int) -> Schedule:
    return Schedule(rates(**given_rates))


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    drawn = st.builds(lambda prices: rates(**prices), st.fixed_dictionaries(ANY_RATES))
    cliffs = sorted(draw(st.sets(st.integers(0, 900), max_size=2)))
    return Schedule(draw(drawn), tuple((tokens, draw(drawn)) for tokens in cliffs))


ANY_RATES = dict.fromkeys(Rates.__struct_fields__, PRICES)
TIERS = st.sampled_from([None, DEFAULT_TIER, AUTO_TIER, "priority", "flex", "ultrafast"])


def model_of(tiers: dict[str, Schedule], **facts: int | bool | Vocabulary | None) -> Model:
    known: dict[str, Any] = {
        "max_output_tokens": None,
        "context_tokens": None,
        "vocabulary": Vocabulary.O200K,
        "hidden_reasoning": False,
    }
    name = ModelName("vendor/model")
    return Model(
        name=name,
        provider=Provider("vendor"),
        upstream_name="model",
        tiers=tiers,
        **{**known, **facts},
    )


MODELS = st.dictionaries(st.sampled_from(["priority", "flex"]), schedules(), max_size=2).flatmap(
    lambda others: schedules().map(lambda default: model_of({DEFAULT_TIER: default, **others}))
)
ASKED = st.builds(
    Asked,
    model=st.just("model"),
    choices=st.integers(1, 8),
    hides_input=st.booleans(),
    audio_output=st.booleans(),
    tier=TIERS,
)
PLAIN = Asked(model="model")


@given(MODELS, ASKED, TOKENS, TOKENS, st.data())
def test_no_usage_within_the_tokens_costs_more_than_the_bound(
    model: Model, asked: Asked, input_tokens: int, output_tokens: int, data: st.DataObject
):
    usage = data.draw(usages(asked, input_tokens, asked.choices * output_tokens))
    bound = upper_bound(model, asked, input_tokens, output_tokens)
    for tier in served_by(model, asked.tier):
        assert cost(model, usage, tier) <= bound


@st.composite
def usages(draw: st.DrawFn, asked: Asked, input_tokens: int, output_tokens: int) -> Usage:
    spread = draw(st.lists(st.integers(0, input_tokens), min_size=5, max_size=5).map(sorted))
    audio_output = draw(st.integers(0, output_tokens)) if asked.audio_output else 0
    return Usage(
        input=spread[0],
        cached=spread[1] - spread[0],
        cache_write=spread[2] - spread[1],
        audio_input=spread[3] - spread[2] if asked.hides_input else 0,
        cached_audio=spread[4] - spread[3] if asked.hides_input else 0,
        output=draw(st.integers(0, output_tokens - audio_output)),
        audio_output=audio_output,
        certain=draw(st.booleans()),
    )


def served_by(model: Model, asked: str | None) -> set[str | None]:
    """Every tier that an answer can name, where the gateway sent the tier asked for, or default."""
    if asked is None or asked == DEFAULT_TIER:
        return {None, DEFAULT_TIER}
    if asked in model.tiers:
        return {asked, DEFAULT_TIER}
    return {asked, AUTO_TIER, "new", *model.tiers}


@given(MODELS, ASKED, TOKENS, TOKENS, TOKENS, TOKENS)
def test_more_tokens_never_have_a_lower_bound(
    model: Model, asked: Asked, input_tokens: int, output_tokens: int, more: int, longer: int
):
    bound = upper_bound(model, asked, input_tokens, output_tokens)
    assert bound <= upper_bound(model, asked, input_tokens + more, output_tokens + longer)


@given(MODELS, TOKENS, TOKENS)
def test_auto_is_bounded_by_the_dearest_tier(model: Model, input_tokens: int, output_tokens: int):
    def bound(tier: str) -> int:
        asked = structs.replace(PLAIN, tier=tier)
        return upper_bound(model, asked, input_tokens, output_tokens)

    assert bound(AUTO_TIER) == bound("ultrafast") == max(map(bound, model.tiers))


@given(MODELS, ASKED, TOKENS, st.integers(-(10**6), 10**10))
def test_the_affordable_output_is_the_largest_that_fits(
    model: Model, asked: Asked, input_tokens: int, left: int
):
    output = affordable_output(model, asked, input_tokens, NanoDollars(left))
    assert 0 <= output <= 10**9
    if output > 0:
        assert upper_bound(model, asked, input_tokens, output) <= left
    if output < 10**9:
        assert upper_bound(model, asked, input_tokens, output + 1) > left


@given(MODELS, ASKED, TOKENS, st.integers(1, 10**6))
def test_what_was_bounded_is_affordable(
    model: Model, asked: Asked, input_tokens: int, output_tokens: int
):
    bound = upper_bound(model, asked, input_tokens, output_tokens)
    assert affordable_output(model, asked, input_tokens, bound) >= output_tokens


def test_free_output_is_affordable_up_to_what_is_believed():
    free = model_of({DEFAULT_TIER: flat(input=MARK)})
    assert affordable_output(free, PLAIN, 10, NanoDollars(10)) == 10**9
    assert affordable_output(free, PLAIN, 10, NanoDollars(9)) == 0


@pytest.mark.parametrize(
    ("own", "asked", "bound"),
    [
        ({"input": 2 * MARK, "output": 3 * MARK}, {}, 2 * 100 + 3 * 10),
        ({"input": 2 * MARK, "output": 3 * MARK}, {"choices": 4}, 2 * 100 + 3 * 10 * 4),
        ({"input": 2 * MARK, "cache_write": 5 * MARK}, {}, 500),
        ({"cache_write": 5 * MARK, "cache_write_1h": 8 * MARK}, {}, 800),
        ({"input": MARK, "cached_input": 2 * MARK}, {}, 200),
        ({"audio_input": 9 * MARK, "input": MARK}, {}, 100),
        ({"audio_input": 9 * MARK, "input": MARK}, {"hides_input": True}, 900),
        ({"audio_output": 9 * MARK, "output": MARK}, {}, 10),
        ({"audio_output": 9 * MARK, "output": MARK}, {"audio_output": True}, 90),
        ({"image_output": 7 * MARK, "output": MARK}, {}, 70),
        ({"per_request": 11, "input": MARK}, {}, 111),
        ({"input": 1}, {}, 1),  # 0.0001 of a nano-dollar, rounded up
        ({}, {}, 0),
    ],
)
def test_a_bound_takes_the_dearest_kind_that_a_request_can_use(
    own: dict[str, int], asked: dict[str, Any], bound: int
):
    model = model_of({DEFAULT_TIER: flat(**own)})
    assert upper_bound(model, structs.replace(PLAIN, **asked), 100, 10) == bound


@pytest.mark.parametrize(
    ("tier", "bound"),
    [(None, 200), ("default", 200), ("priority", 400), ("flex", 200), ("auto", 400), ("x", 400)],
)
def test_a_bound_takes_the_dearest_tier_that_a_request_can_land_on(tier: str | None, bound: int):
    prices = {DEFAULT_TIER: 2 * MARK, "priority": 4 * MARK, "flex": MARK}
    model = model_of({name: flat(input=price) for name, price in prices.items()})
    assert upper_bound(model, structs.replace(PLAIN, tier=tier), 100, 10) == bound


@pytest.mark.parametrize(("input_tokens", "bound"), [(99, 99), (100, 100), (101, 202)])
def test_a_bound_reaches_a_cliff_with_the_first_token_above_it(input_tokens: int, bound: int):
    model = model_of({DEFAULT_TIER: Schedule(rates(input=MARK), ((100, rates(input=2 * MARK)),))})
    assert upper_bound(model, PLAIN, input_tokens, 0) == bound


def test_a_cliff_that_makes_output_cheaper_does_not_lower_a_bound():
    cliff = ((100, rates(input=MARK)),)
    model = model_of({DEFAULT_TIER: Schedule(rates(input=MARK, output=MARK), cliff)})
    assert upper_bound(model, PLAIN, 101, 50) == 151


def test_only_tiers_in_the_book_are_priced():
    model = model_of({DEFAULT_TIER: flat(), "flex": flat()})
    answers = {tier: is_tier_priced(model, tier) for tier in (None, "auto", "flex", "priority")}
    assert answers == {None: True, "auto": True, "flex": True, "priority": False}


@pytest.mark.parametrize(
    ("asked", "tokens"),
    [
        ({}, 400),
        ({"text_bytes": 1000}, 1400),
        ({"text_bytes": 1000, "messages": 3}, 1424),
        ({"text_bytes": 1000, "tools": 2}, 1000 + 2500 + 32),
        ({"text_bytes": 1000, "schema_bytes": 200}, 1600),
        ({"text_bytes": 10, "token_ids": 77}, 487),
        ({"text_bytes": 9601}, 10_000),
        ({"text_bytes": 9601, "prompts": 3}, 10_001),
        ({"hides_input": True}, 10_000),
        ({"hides_input": True, "prompts": 3}, 30_000),
    ],
)
def test_input_is_bounded_by_its_bytes_and_the_window(asked: dict[str, Any], tokens: int):
    model = model_of({DEFAULT_TIER: flat()}, context_tokens=10_000)
    assert input_bound(structs.replace(PLAIN, **asked), model) == tokens


def test_without_a_window_text_is_bounded_and_hidden_input_is_not():
    model = model_of({DEFAULT_TIER: flat()})
    assert input_bound(structs.replace(PLAIN, text_bytes=10**6), model) == 10**6 + 400
    assert input_bound(structs.replace(PLAIN, hides_input=True), model) is None


def test_an_unknown_vocabulary_has_a_wider_bound_that_no_count_narrows():
    model = model_of({DEFAULT_TIER: flat()}, vocabulary=Vocabulary.UNKNOWN)
    asked = structs.replace(PLAIN, text_bytes=1000, schema_bytes=100)
    expected = (1050 + 256) + (105 + 256) + 400
    assert input_bound(asked, model) == expected
    assert input_bound(asked, model, counted=5) == expected


@pytest.mark.parametrize(("counted", "tokens"), [(0, 402), (100, 504), (101, 506), (990, 1400)])
def test_a_count_narrows_the_bound_with_a_margin(counted: int, tokens: int):
    model = model_of({DEFAULT_TIER: flat()})
    assert input_bound(structs.replace(PLAIN, text_bytes=1000), model, counted) == tokens


FIGURES = st.integers(0, 10**6)


@given(
    st.builds(
        Asked,
        model=st.just("model"),
        text_bytes=FIGURES,
        token_ids=FIGURES,
        messages=FIGURES,
        tools=FIGURES,
        schema_bytes=FIGURES,
        prompts=st.integers(1, 9),
    ),
    st.sampled_from(Vocabulary),
    st.none() | FIGURES,
    st.sampled_from(["text_bytes", "token_ids", "messages", "tools", "schema_bytes", "prompts"]),
    FIGURES,
)
def test_more_of_anything_never_lowers_the_input_bound(
    asked: Asked, vocabulary: Vocabulary, window: int | None, field: str, more: int
):
    model = model_of({DEFAULT_TIER: flat()}, vocabulary=vocabulary, context_tokens=window)
    larger = structs.replace(asked, **{field: getattr(asked, field) + more})
    before, after = input_bound(asked, model), input_bound(larger, model)
    assert before is not None
    assert after is not None
    assert before <= after


@pytest.mark.parametrize(
    ("asked", "ceiling", "most", "window", "tokens"),
    [
        (None, None, None, None, None),
        (50, None, None, None, 50),
        (50, 40, None, None, 40),
        (50, 60, 30, None, 30),
        (50, 60, 70, 20, 20),
        (None, None, None, 20, 20),
        (None, 40, 70, None, 40),
        (0, 40, 70, None, 0),
    ],
)
def test_output_is_bounded_by_the_lowest_of_all_limits(
    asked: int | None, ceiling: int | None, most: int | None, window: int | None, tokens: int | None
):
    model = model_of({DEFAULT_TIER: flat()}, max_output_tokens=most, context_tokens=window)
    assert output_bound(structs.replace(PLAIN, output_tokens=asked), model, ceiling) == tokens


def test_a_request_without_output_has_none():
    asked = structs.replace(PLAIN, makes_output=False)
    assert output_bound(asked, model_of({DEFAULT_TIER: flat()}), None) == 0


DISTINCT = rates(
    input=3 * MARK,
    output=50 * MARK,
    cached_input=MARK,
    cache_write=4 * MARK,
    cache_write_1h=4 * MARK,
    audio_input=700 * MARK,
    cached_audio_input=80 * MARK,
    audio_output=9000 * MARK,
    image_output=50 * MARK,
    per_request=100_000,
)


@pytest.mark.parametrize(
    ("usage", "amount"),
    [
        (Usage(input=0, output=0), 100_000),
        (Usage(input=2, output=3), 100_000 + 6 + 150),
        (Usage(input=2, output=3, reasoning=3), 100_000 + 6 + 150),
        (Usage(input=2, output=3, cached=5), 100_000 + 6 + 5 + 150),
        (Usage(input=2, output=3, cache_write=5), 100_000 + 6 + 20 + 150),
        (Usage(input=2, output=3, audio_input=5), 100_000 + 6 + 3500 + 150),
        (Usage(input=2, output=3, cached_audio=5), 100_000 + 6 + 400 + 150),
        (Usage(input=2, output=3, audio_output=5), 100_000 + 6 + 150 + 45_000),
        (Usage(input=2, output=3, cached=5, certain=False), 100_000 + 7 * 4 + 150),
        (
            Usage(input=2, output=3, audio_input=1, audio_output=1, certain=False),
            100_000 + 3 * 700 + 4 * 9000,
        ),
    ],
)
def test_each_line_costs_its_own_price(usage: Usage, amount: int):
    assert cost(model_of({DEFAULT_TIER: Schedule(DISTINCT)}), usage, None) == amount


@pytest.mark.parametrize(
    ("input_tokens", "amount"), [(100, 100), (101, 202), (200, 400), (201, 603), (10**6, 3 * 10**6)]
)
def test_the_last_cliff_that_was_passed_prices_the_whole_request(input_tokens: int, amount: int):
    cliffs = ((100, rates(input=2 * MARK)), (200, rates(input=3 * MARK)))
    model = model_of({DEFAULT_TIER: Schedule(rates(input=MARK), cliffs)})
    assert cost(model, Usage(input=input_tokens, output=0), None) == amount


@given(MODELS, TIERS, st.data())
def test_more_usage_never_costs_less_below_the_next_cliff(
    model: Model, tier: str | None, data: st.DataObject
):
    model = model_of({name: Schedule(s.base) for name, s in model.tiers.items()})
    usage = data.draw(usages(structs.replace(PLAIN, hides_input=True, audio_output=True), 900, 900))
    field = data.draw(st.sampled_from(["input", "cached", "cache_write", "output"]))
    more = structs.replace(usage, **{field: getattr(usage, field) + data.draw(TOKENS)})
    assert cost(model, usage, tier) <= cost(model, more, tier)


@given(MODELS, st.data())
def test_contradicting_numbers_never_cost_less_than_the_same_numbers_trusted(
    model: Model, data: st.DataObject
):
    usage = data.draw(usages(structs.replace(PLAIN, hides_input=True, audio_output=True), 900, 900))
    trusted, doubted = (structs.replace(usage, certain=certain) for certain in (True, False))
    assert cost(model, doubted, None) >= cost(model, trusted, None)
