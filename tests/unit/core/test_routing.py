"""From the name a client asks for to the model it means."""

from collections import Counter

import pytest
from hypothesis import given, strategies as st

from gateway.core.ids import ModelName, Provider
from gateway.core.pricing import DEFAULT_TIER, Model, PriceBook, Rates, Schedule, Vocabulary
from gateway.core.refusal import Code, Refused
from gateway.core.routing import WeightedModel, directory, pick

RATES = Rates(
    input=1,
    output=1,
    cached_input=1,
    cache_write=1,
    cache_write_1h=1,
    audio_input=1,
    audio_output=1,
    image_output=1,
)


def model(name: str) -> Model:
    provider, _, own = name.partition("/")
    return Model(
        name=ModelName(name),
        provider=Provider(provider),
        upstream_name=own,
        tiers={DEFAULT_TIER: Schedule(RATES)},
        max_output_tokens=None,
        context_tokens=None,
        vocabulary=Vocabulary.UNKNOWN,
        hidden_reasoning=False,
    )


BOOK = PriceBook(
    "1",
    {m.name: m for m in map(model, ["openai/gpt-4o", "azure/gpt-4o", "openai/gpt-5", "groq/a/b"])},
)
FAST = (
    WeightedModel(ModelName("openai/gpt-5"), 95),
    WeightedModel(ModelName("groq/a/b"), 5),
)
NAMES = directory(BOOK, [Provider("openai"), Provider("azure"), Provider("groq")], {"fast": FAST})


@pytest.mark.parametrize(
    ("asked", "found"),
    [("openai/gpt-4o", "openai/gpt-4o"), ("gpt-5", "openai/gpt-5"), ("a/b", "groq/a/b")],
)
def test_a_full_name_and_a_bare_one_that_is_unique_are_found(asked: str, found: str):
    answer = NAMES.find(asked, "r1")
    assert isinstance(answer, Model)
    assert answer.name == found


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("gpt-4o", Code.MODEL_NOT_FOUND),
        ("nobody/gpt-4o", Code.MODEL_NOT_FOUND),
        ("gpt-7", Code.MODEL_NOT_FOUND),
        ("", Code.MODEL_NOT_FOUND),
        ("openai/gpt-7", Code.PRICE_UNKNOWN),
        ("OpenAI/gpt-4o", Code.MODEL_NOT_FOUND),
        ("openai/gpt-4o ", Code.PRICE_UNKNOWN),
    ],
)
def test_any_other_name_is_refused_without_being_quoted(asked: str, code: Code):
    answer = NAMES.find(asked, "r1")
    assert isinstance(answer, Refused)
    assert answer.code is code
    assert "gpt-7" not in answer.message


def test_an_ambiguous_name_is_refused_with_the_choice():
    answer = NAMES.find("gpt-4o", "r1")
    assert isinstance(answer, Refused)
    assert "openai/gpt-4o" in answer.message
    assert "azure/gpt-4o" in answer.message


@pytest.mark.parametrize(
    ("count", "end"), [(5, "e/4."), (8, "e/4 and 3 more, which the listing of models has.")]
)
def test_a_refusal_names_a_few_models_and_says_how_many_more_there_are(count: int, end: str):
    models = {one.name: one for one in (model(f"e/{n}") for n in range(count))}
    answer = directory(PriceBook("1", models), [Provider("e")], {}).find("nope", "r1")
    assert isinstance(answer, Refused)
    assert answer.message.endswith(end)


def test_a_run_always_meets_the_same_model_behind_a_name():
    assert len({pick(FAST, "run-7") for _ in range(20)}) == 1


def test_runs_are_spread_by_weight():
    picks = Counter(pick(FAST, f"run-{i}") for i in range(10_000))
    assert 9_300 <= picks[ModelName("openai/gpt-5")] <= 9_700
    assert pick((WeightedModel(ModelName("a"), 0), WeightedModel(ModelName("b"), 1)), "x") == "b"


MANY = tuple(WeightedModel(ModelName(f"p{number}/m"), number % 3) for number in range(6))
SELLERS = [target.model.partition("/")[0] for target in MANY]


@given(st.text(max_size=12), st.sets(st.sampled_from(SELLERS)))
def test_a_run_whose_target_is_shut_moves_and_no_other_run_does(run: str, shut: set[str]):
    names = directory(
        PriceBook("1", {m.name: m for m in map(model, [t.model for t in MANY])}), [], {"many": MANY}
    )
    home = names.find("many", run)
    found = names.find("many", run, lambda provider: provider not in shut)
    assert isinstance(home, Model)
    assert isinstance(found, Model)
    weights = {target.model: target.weight for target in MANY}
    is_any_open = any(weights[t.model] and t.model.partition("/")[0] not in shut for t in MANY)
    if home.provider in shut and is_any_open:
        assert found.provider not in shut
        assert weights[found.name] > 0
        assert names.find("many", run, lambda provider: provider not in shut) == found
    else:
        assert found == home


def test_runs_that_move_are_spread_by_weight_too():
    targets = tuple(
        WeightedModel(ModelName(f"p{n}/m"), weight) for n, weight in enumerate((5, 3, 1))
    )
    names = directory(
        PriceBook("1", {m.name: m for m in map(model, [t.model for t in targets])}),
        [],
        {"x": targets},
    )
    found = Counter(
        answer.provider
        for number in range(4000)
        if isinstance(answer := names.find("x", f"run-{number}", lambda p: p != "p0"), Model)
    )
    assert found["p0"] == 0
    assert 2.5 < found["p1"] / found["p2"] < 3.6


def test_a_sibling_is_another_model_of_the_same_provider():
    found = NAMES.find("openai/gpt-4o", "r1")
    assert isinstance(found, Model)
    other = NAMES.sibling(found, "gpt-5")
    assert other is not None
    assert other.name == "openai/gpt-5"
    assert NAMES.sibling(found, "gpt-4o") is None
    assert NAMES.sibling(found, "a/b") is None
