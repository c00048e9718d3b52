import tomllib
from datetime import date, time
from decimal import Decimal
from pathlib import Path

import pytest
from genai_prices.data import providers as vendors
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider as Vendor,
    StartDateConstraint,
    TimeOfDateConstraint,
)
from hypothesis import given, strategies as st
from msgspec import structs

from gateway.core import price_tables
from gateway.core.events import Usage
from gateway.core.ids import ModelName, Provider
from gateway.core.pricing import (
    CliffOverride,
    Model,
    Override,
    PriceBook,
    Rates,
    Vocabulary,
    cost,
)
from gateway.errors import ConfigurationInvalid
from gateway.store.prices import _family, compile_book
from gateway.store.published import PACKAGED, models, vendor

TODAY = date(2026, 11, 25)
OPENAI = {Provider("openai"): "https://api.openai.com/v1"}
USD = 10**9  # nano-dollars per million tokens


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return compile_book({**OPENAI, Provider("sandbox"): "sandbox:"}, {}, TODAY)


def overridden(name: str, override: Override, places: dict[Provider, str] = OPENAI) -> Model:
    return compile_book(places, {ModelName(name): override}, TODAY).models[ModelName(name)]


@pytest.mark.parametrize(
    ("name", "tier", "usage", "nusd"),
    [
        ("openai/gpt-4o-mini", None, Usage(input=1000, output=500), 450_000),
        ("openai/gpt-4o-mini", "default", Usage(input=200, cached=800, output=10), 96_000),
        ("openai/gpt-4o-mini-2024-07-18", None, Usage(input=1, output=0), 150),
        ("openai/gpt-4o", "auto", Usage(input=10, output=1), 59_500),
        ("openai/gpt-4o", None, Usage(input=10, cached=5, output=1, certain=False), 47_500),
        ("openai/gpt-5-mini", "flex", Usage(input=0, cached=1, output=0), 13),
        ("openai/gpt-5-mini", "flex", Usage(input=1, cached=1, output=0), 138),
        ("openai/gpt-5", "priority", Usage(input=1000, cached=2000, output=3000), 63_000_000),
        ("openai/o3", None, Usage(input=100, output=50, reasoning=40), 600_000),
        (
            "openai/gpt-5.6-sol",
            None,
            Usage(input=1000, cached=2000, cache_write=3000, output=400),
            27_800_000,
        ),
        ("openai/gpt-5.6-sol", None, Usage(input=272_000, output=1), 1_088_020_000),
        ("openai/gpt-5.6-sol", None, Usage(input=272_001, output=1), 2_176_038_000),
        ("openai/gpt-5.6-sol", None, Usage(input=1, cached=272_000, output=0), 217_608_000),
        ("openai/gpt-5.6-sol", "flex", Usage(input=300_000, output=1000), 1_215_000_000),
        ("openai/gpt-5.6-sol", "fast", Usage(input=0, cache_write=10, output=10), 500_000),
        ("openai/gpt-5.6-sol", "ultrafast", Usage(input=1, output=0), 8000),
        (
            "openai/gpt-audio",
            None,
            Usage(input=100, audio_input=50, output=20, audio_output=30),
            3_970_000,
        ),
        ("openai/text-embedding-3-small", None, Usage(input=1234, output=0), 24_680),
        ("openai/text-embedding-3-large", None, Usage(input=7, output=0), 910),
        ("sandbox/echo", None, Usage(input=1, output=1), 3000),
    ],
)
def test_usage_costs_what_the_price_list_says(
    book: PriceBook, name: str, tier: str | None, usage: Usage, nusd: int
):
    assert cost(book.models[ModelName(name)], usage, tier) == nusd


@given(st.sampled_from([v for v in vendors if v.id in {"openai", "groq", "mistral", "x-ai"}]))
def test_every_published_input_price_is_in_the_book_or_its_model_is_not(vendor: Vendor):
    book = compile_book({Provider("p"): f"{vendor.api_pattern.replace(chr(92), '')}/v1"}, {}, TODAY)
    for published in vendor.models:
        model = book.models.get(ModelName(f"p/{published.id}"))
        price = getattr(published.prices, "input_mtok", None)
        if model is not None and isinstance(price, Decimal):
            assert model.tiers["default"].base.input >= price * USD


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4o-mini-2024-07-18",
        "gpt-5-2025-08-07",
        "gpt-5-nano-2025-08-07",
        "gpt-4.1-mini",
        "o4-mini",
        "gpt-6-sol",
        "gpt-rosalind-research",
        "text-embedding-ada-002",
    ],
)
def test_an_id_that_is_spelt_out_has_a_price(book: PriceBook, name: str):
    model = book.models[ModelName(f"openai/{name}")]
    assert (model.name, model.provider, model.upstream_name) == (f"openai/{name}", "openai", name)


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4o-mini-2099-01-01",
        "GPT-4o-mini",
        "gpt-5-nano-2099-01-01",
        "gpt-4o-audio-preview",  # its audio has no published price
        "gpt-4o-mini-search-preview",  # bills a search for each call
        "o3-deep-research",
        "whisper-1",  # billed by the hour
        "omni-moderation-latest",  # no price is not a price of zero
        "claude-opus-5",
    ],
)
def test_a_guess_has_no_price(book: PriceBook, name: str):
    assert ModelName(f"openai/{name}") not in book.models


def test_a_missing_price_is_that_of_the_dearest_relative(book: PriceBook):
    assert book.models[ModelName("openai/gpt-4o")].tiers["default"].base == Rates(
        input=2_500_000_000,
        output=10_000_000_000,
        cached_input=1_250_000_000,
        cached_audio_input=1_250_000_000,
        cache_write=2_500_000_000,
        cache_write_1h=2_500_000_000,
        audio_input=2_500_000_000,
        audio_output=10_000_000_000,
        image_output=10_000_000_000,
    )


def test_a_tier_without_cliffs_of_its_own_has_none(book: PriceBook):
    tiers = book.models[ModelName("openai/gpt-5.5")].tiers
    assert tiers["priority"].above == ()
    assert [tokens for tokens, _ in tiers["default"].above] == [272_000]
    assert set(tiers) == {"default", "flex", "priority", "fast"}


def test_a_price_holds_from_its_first_day():
    def price(day: date) -> int:
        return (
            compile_book(OPENAI, {}, day).models[ModelName("openai/o3")].tiers["default"].base.input
        )

    assert [price(date(2025, 6, 9)), price(date(2025, 6, 10))] == [10 * USD, 2 * USD]


PLACE = "https://v/v1"


def vendor_of(*models: ModelInfo) -> Vendor:
    return Vendor(id="v", name="V", api_pattern="https://v", models=list(models))


def chat_price(usd: int) -> ModelPrice:
    return ModelPrice(input_mtok=Decimal(usd), output_mtok=Decimal(usd))


@pytest.mark.parametrize("by_day", [3, 30])
def test_prices_that_change_with_the_hour_are_taken_at_their_dearest(by_day: int):
    listed = [
        ConditionalPrice(StartDateConstraint(date(2026, 1, 1)), prices=chat_price(99)),
        ConditionalPrice(StartDateConstraint(date(2026, 2, 1)), prices=chat_price(10)),
        ConditionalPrice(TimeOfDateConstraint(time(6), time(18)), prices=chat_price(by_day)),
    ]
    (model,) = models(vendor_of(ModelInfo("m", ClauseEquals("m"), prices=listed)), PLACE, TODAY)
    bases = [table.base["input"] for table in model.facts.tiers["default"]]
    assert set(bases) == {10 * USD, by_day * USD}
    filled = price_tables.model(Provider("v"), "m", model.facts).tiers["default"].base
    assert filled.input == filled.cached_input == max(10, by_day) * USD


def test_a_price_under_another_condition_may_apply():
    dearer = PriceVariant({"route": "eu"}, chat_price(7))
    batch = PriceVariant({"processing": "batch"}, chat_price(50))
    info = ModelInfo("m", ClauseEquals("m"), prices=chat_price(5), price_variants=[dearer, batch])
    (model,) = models(vendor_of(info), PLACE, TODAY)
    filled = price_tables.model(Provider("v"), "m", model.facts)
    assert set(filled.tiers) == {"default"}
    assert filled.tiers["default"].base.input == 7 * USD


@pytest.mark.parametrize(
    ("name", "prices", "is_sold"),
    [
        ("chat", {"input_mtok": 1, "output_mtok": 1}, True),
        ("chat", {"input_mtok": 1}, False),
        ("chat", {"output_mtok": 1}, False),
        ("chat", {}, False),
        ("chat", {"input_mtok": 1, "output_mtok": 1, "input_gpixels": 1}, False),
        ("chat", {"input_mtok": 1, "output_mtok": 1, "web_searches_kcount": 1}, True),
        ("embed-1", {"input_mtok": 1}, True),
        ("audio-1", {"input_mtok": 1, "output_mtok": 1}, False),
        ("audio-1", {"input_mtok": 1, "output_mtok": 1, "input_audio_mtok": 1}, True),
    ],
)
def test_a_model_is_priced_if_all_it_is_sure_to_bill_is(
    name: str, prices: dict[str, int], *, is_sold: bool
):
    price = ModelPrice(**{key: Decimal(usd) for key, usd in prices.items()})
    info = ModelInfo(name, ClauseEquals(name), prices=price)
    assert bool(list(models(vendor_of(info), PLACE, TODAY))) is is_sold


def test_a_price_for_each_request_is_counted_once():
    places = {Provider("pplx"): "https://api.perplexity.ai"}
    sonar = compile_book(places, {}, TODAY).models[ModelName("pplx/sonar")]
    assert cost(sonar, Usage(input=0, output=0), None) == 12_000_000


@pytest.mark.parametrize(
    ("name", "vocabulary", "thinks"),
    [
        ("gpt-4o", Vocabulary.O200K, False),
        ("gpt-4.1-mini", Vocabulary.O200K, False),
        ("gpt-4", Vocabulary.CL100K, False),
        ("gpt-4-turbo-2024-04-09", Vocabulary.CL100K, False),
        ("gpt-3.5-turbo", Vocabulary.CL100K, False),
        ("text-embedding-3-large", Vocabulary.CL100K, False),
        ("gpt-5", Vocabulary.O200K, True),
        ("gpt-5.6-sol", Vocabulary.O200K, True),
        ("gpt-6.1-terra", Vocabulary.O200K, True),
        ("o1", Vocabulary.O200K, True),
        ("o4-mini", Vocabulary.O200K, True),
        ("gpt-oss-20b", Vocabulary.O200K, True),
        ("gpt-audio", Vocabulary.UNKNOWN, True),
    ],
)
def test_a_family_has_its_vocabulary(
    book: PriceBook, name: str, vocabulary: Vocabulary, *, thinks: bool
):
    model = book.models[ModelName(f"openai/{name}")]
    assert (model.vocabulary, model.hidden_reasoning) == (vocabulary, thinks)


def test_a_model_of_another_vendor_may_have_any_vocabulary():
    groq = compile_book({Provider("groq"): "https://api.groq.com/openai/v1"}, {}, TODAY).models
    assert groq[ModelName("groq/openai/gpt-oss-120b")].vocabulary is Vocabulary.O200K
    llama = groq[ModelName("groq/llama-3.3-70b-versatile")]
    assert (llama.vocabulary, llama.hidden_reasoning) == (Vocabulary.UNKNOWN, False)


@pytest.mark.parametrize(
    ("name", "thinks"),
    [
        ("meta-llama/Llama-3.3-70B-Instruct-Turbo", False),
        ("us.meta.llama4-scout-17b-instruct-v1:0", False),
        ("anthropic.claude-3-haiku-20240307-v1:0", False),
        ("claude-3-5-sonnet", False),
        ("claude-3-7-sonnet-latest", True),
        ("claude-opus-5-5", True),
        ("gemini-2.0-flash", False),
        ("gemini-2.0-flash-thinking-exp", True),
        ("gemini-2.5-flash", True),
        ("gemma-3-27b-it", False),
        ("gemma-4-31b-it", True),
        ("llama-3.1-nemotron-ultra-253b-v1", True),
        ("deepseek-r1-distill-llama-70b", True),
        ("llama-3.1-405b-reasoning", True),
        ("mixtral-8x7b-32768", False),
        ("openai/gpt-4o-mini", False),
        ("openai/gpt-4o:thinking", True),
        ("grok-4-fast-non-reasoning", True),
    ],
)
def test_only_models_from_before_thinking_are_sure_not_to(name: str, *, thinks: bool):
    assert _family(name)[1] is thinks


@pytest.mark.parametrize(
    ("name", "tokens"),
    [("gpt-4o", 134_400), ("gpt-4.1", 1_050_000), ("gpt-3.5-turbo", 16_385), ("ada", None)],
)
def test_a_round_window_may_be_larger_than_published(
    book: PriceBook, name: str, tokens: int | None
):
    assert book.models[ModelName(f"openai/{name}")].context_tokens == tokens


@pytest.mark.parametrize(
    ("name", "place", "is_priced"),
    [
        ("openai", "https://api.openai.com/v1", True),
        ("mine", "https://api.openai.com/v1", True),
        ("openai", "http://127.0.0.1:9000/v1", True),
        ("mine", "http://127.0.0.1:9000/v1", False),
        ("openai", "https://eu.api.openai.com/v1", False),  # costs a tenth more
        ("mine", "https://llm.example.com/v1", False),
    ],
)
def test_a_vendor_is_known_by_its_address_or_its_name(name: str, place: str, *, is_priced: bool):
    models = compile_book({Provider(name): place}, {}, TODAY).models
    assert (ModelName(f"{name}/gpt-4o") in models) is is_priced
    assert bool(models) is is_priced


def test_the_sandbox_is_there_under_the_name_it_was_given():
    models = compile_book({Provider("try"): "sandbox:"}, {}, TODAY).models
    assert set(models) == {"try/echo", "try/slow"}
    echo = models[ModelName("try/echo")]
    assert (echo.max_output_tokens, echo.context_tokens) == (4096, 128_000)
    assert (echo.vocabulary, echo.hidden_reasoning) == (Vocabulary.UNKNOWN, False)


LOCAL = {Provider("vllm"): "http://10.0.0.7:8000/v1"}


def test_a_model_nobody_publishes_has_the_operators_prices():
    override = Override(input=2, output=3, per_request=5, max_output_tokens=7, context_tokens=9)
    model = overridden("vllm/my/model", override, LOCAL)
    assert model.upstream_name == "my/model"
    assert model.tiers["default"].base == Rates(
        input=2,
        output=3,
        cached_input=2,
        cached_audio_input=2,
        cache_write=2,
        cache_write_1h=2,
        audio_input=2,
        audio_output=3,
        image_output=3,
        per_request=5,
    )
    assert (model.max_output_tokens, model.context_tokens) == (7, 9)
    assert (model.vocabulary, model.hidden_reasoning) == (Vocabulary.UNKNOWN, True)


def test_a_name_says_nothing_of_a_model_on_an_unknown_host():
    model = overridden("vllm/gpt-4o", Override(input=2, output=3, hidden_reasoning=False), LOCAL)
    assert (model.vocabulary, model.hidden_reasoning) == (Vocabulary.UNKNOWN, False)


@pytest.mark.parametrize(
    ("override", "missing"),
    [
        (Override(input=1), "no output"),
        (Override(output=1), "no input"),
        (Override(max_output_tokens=1), "no input and no output"),
    ],
)
def test_a_new_model_needs_a_price_of_input_and_output(override: Override, missing: str):
    with pytest.raises(ConfigurationInvalid, match=rf'^\$\.prices\["vllm/m"\]: found {missing},'):
        overridden("vllm/m", override, LOCAL)


def test_an_override_of_a_provider_that_is_not_there_has_no_effect():
    assert compile_book({}, {ModelName("gone/m"): Override()}, TODAY).models == {}


def test_an_override_leaves_what_it_does_not_say():
    model = overridden("openai/gpt-4o", Override(max_output_tokens=16_384))
    plain = compile_book(OPENAI, {}, TODAY).models[ModelName("openai/gpt-4o")]
    assert model == structs.replace(plain, max_output_tokens=16_384)


def test_an_override_replaces_the_price_and_what_is_filled_in_from_it():
    base = overridden("openai/gpt-4o", Override(input=9 * USD)).tiers["default"].base
    assert (base.input, base.cache_write, base.audio_input) == (9 * USD, 9 * USD, 9 * USD)
    assert (base.cached_input, base.output) == (1_250_000_000, 10 * USD)


def test_an_override_makes_no_published_cliff_or_tier_cheaper():
    tiers = overridden("openai/gpt-5.6-sol", Override(input=1 * USD, output=70 * USD)).tiers
    assert (tiers["default"].base.input, tiers["default"].base.output) == (1 * USD, 70 * USD)
    above = tiers["default"].above[0][1]
    assert (above.input, above.output) == (8 * USD, 70 * USD)
    assert (tiers["priority"].base.input, tiers["priority"].base.output) == (8 * USD, 70 * USD)
    assert (tiers["flex"].base.input, tiers["flex"].base.output) == (2 * USD, 70 * USD)


def test_an_operators_cliff_takes_the_place_of_the_published_ones():
    override = Override(cached_input=USD, above=CliffOverride(tokens=100, input=6 * USD))
    schedule = overridden("openai/gpt-5.6-sol", override).tiers["default"]
    assert [tokens for tokens, _ in schedule.above] == [100]
    above = schedule.above[0][1]
    assert (above.input, above.output) == (6 * USD, 20 * USD)
    # what it does not say is as dear as its relative above the cliff
    assert (above.cached_input, above.cache_write) == (6 * USD, 6 * USD)


def test_what_a_cliff_does_not_say_is_not_cheaper_than_below_it():
    override = Override(audio_input=50 * USD, above=CliffOverride(tokens=100, input=6 * USD))
    assert (
        overridden("openai/gpt-4o", override).tiers["default"].above[0][1].audio_input == 50 * USD
    )


@given(st.integers(1, 10**9), st.integers(0, 10**12))
def test_a_tiers_factor_is_exact_and_rounded_up(ppm: int, price: int):
    override = Override(input=price, output=price, per_request=price, tiers_ppm={"t": ppm})
    tier = overridden("vllm/m", override, LOCAL).tiers["t"].base
    scaled = -(-price * ppm // 10**6)
    assert (tier.input, tier.cached_input, tier.per_request) == (scaled, scaled, scaled)


def test_a_factor_of_the_default_tier_scales_it():
    tiers = overridden(
        "openai/gpt-4o", Override(tiers_ppm={"default": 1_100_000, "x": 2_000_000})
    ).tiers
    assert (tiers["default"].base.input, tiers["x"].base.input) == (2_750_000_000, 5 * USD)


def test_the_version_names_its_sources():
    said = {ModelName("openai/gpt-4o"): Override(input=1)}
    more = {ModelName("openai/gpt-4o"): Override(input=2)}
    sandbox = {Provider("sandbox"): "sandbox:"}

    def version(places: dict[Provider, str], overrides: dict[ModelName, Override]) -> str:
        return compile_book(places, overrides, TODAY).version

    assert version(OPENAI, {}) == "genai-prices 0.2.3"
    assert version(sandbox, {}) == "sandbox"
    assert version({**OPENAI, **sandbox}, {}) == "genai-prices 0.2.3 + sandbox"
    assert version(OPENAI, said).startswith("genai-prices 0.2.3 + overrides ")
    assert version(OPENAI, said) == version(OPENAI, dict(said)) != version(OPENAI, more)


def test_every_price_of_every_vendor_can_be_compiled():
    book = compile_book({Provider(v.id): "http://localhost/v1" for v in vendors}, {}, TODAY)
    assert len(book.models) > 3000
    for model in book.models.values():
        for schedule in model.tiers.values():
            cliffs = [tokens for tokens, _ in schedule.above]
            assert cliffs == sorted(set(cliffs))
            for rates in (schedule.base, *(rates for _, rates in schedule.above)):
                assert all(getattr(rates, field) >= 0 for field in Rates.__struct_fields__)


def test_the_packages_list_is_of_the_day_of_its_release():
    lock = tomllib.loads(Path("uv.lock").read_text(encoding="utf-8"))
    (package,) = [one for one in lock["package"] if one["name"] == "genai-prices"]
    assert f"genai-prices {package['version']}" == PACKAGED.version
    assert package["sdist"]["upload-time"][:10] == str(PACKAGED.published_on)


@pytest.mark.parametrize(
    ("place", "vendor_id"),
    [
        ("https://api.anthropic.com", "anthropic"),
        ("https://generativelanguage.googleapis.com", "google"),
        ("https://aiplatform.googleapis.com/v1/projects/p", "google"),
        ("https://europe-west4-aiplatform.googleapis.com/v1/projects/p", None),  # may cost more
        ("https://bedrock-runtime.us-east-1.amazonaws.com", "aws"),
        ("https://bedrock-runtime.eu-central-1.amazonaws.com/openai/v1", "aws"),
        ("https://mine.openai.azure.com/openai/v1", "azure"),
        ("https://api.mistral.ai/v1", "mistral"),
        ("https://api.groq.com/openai/v1", "groq"),
        ("https://api.deepseek.com", "deepseek"),
        ("https://api.x.ai/v1", "x-ai"),
        ("https://openrouter.ai/api/v1", "openrouter"),
        ("https://api.together.xyz/v1", "together"),
        ("http://localhost:11434/v1", None),
    ],
)
def test_each_vendor_is_found_by_its_address(place: str, vendor_id: str | None):
    found = vendor(PACKAGED, place, "mine")
    assert (None if found is None else found.id) == vendor_id


def bedrock(region: str) -> PriceBook:
    place = f"https://bedrock-runtime.{region}.amazonaws.com"
    return compile_book({Provider("bedrock"): place}, {}, TODAY)


@pytest.mark.parametrize(
    ("name", "is_at_home", "is_elsewhere"),
    [
        ("global.anthropic.claude-haiku-4-5-20251001-v1:0", True, True),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", True, True),
        ("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", True, True),
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", True, False),
        ("global.anthropic.claude-opus-4-5-20251101-v1:0", True, True),
        ("amazon.nova-lite-v1:0", True, False),  # dearer in Europe
        ("us.amazon.nova-premier-v1:0", True, False),
        ("us.meta.llama3-3-70b-instruct-v1:0", True, False),
        ("eu.amazon.nova-lite-v1:0", False, False),
        ("regional.anthropic.claude-haiku-5-5", False, False),  # is no id of AWS's
        ("us-gov.anthropic.claude-3-haiku-20240307-v1:0", False, False),
    ],
)
def test_an_id_of_bedrock_has_a_price_where_it_is_certain(
    name: str, *, is_at_home: bool, is_elsewhere: bool
):
    full = ModelName(f"bedrock/{name}")
    found = [full in bedrock(region).models for region in ("us-east-1", "eu-central-1")]
    assert found == [is_at_home, is_elsewhere]


@pytest.mark.parametrize(
    ("name", "host", "is_priced"),
    [
        ("aws", "bedrock-mantle.us-east-1.api.aws", True),
        ("aws", "bedrock-mantle.eu-central-1.api.aws", False),
        ("aws", "bedrock-runtime-fips.us-west-2.amazonaws.com", False),
        ("aws", "127.0.0.1", True),
        ("bedrock", "127.0.0.1", False),
    ],
)
def test_a_region_is_known_by_every_host_that_names_one(name: str, host: str, *, is_priced: bool):
    models = compile_book({Provider(name): f"https://{host}/v1"}, {}, TODAY).models
    assert (ModelName(f"{name}/amazon.nova-lite-v1:0") in models) is is_priced


def test_a_call_that_stays_in_a_geography_costs_a_tenth_more():
    models = bedrock("eu-central-1").models
    there, anywhere = (
        models[ModelName(f"bedrock/{where}.anthropic.claude-haiku-4-5-20251001-v1:0")]
        for where in ("eu", "global")
    )
    assert there.tiers["default"].base.input == anywhere.tiers["default"].base.input * 11 // 10


@pytest.mark.parametrize(
    ("name", "spelt"),
    [
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("claude-3-haiku-20240307", "claude-3-haiku"),
    ],
)
def test_a_dated_id_of_anthropics_costs_what_its_model_does(name: str, spelt: str):
    models = compile_book({Provider("a"): "https://api.anthropic.com"}, {}, TODAY).models
    assert models[ModelName(f"a/{name}")].tiers == models[ModelName(f"a/{spelt}")].tiers


@pytest.mark.parametrize(
    ("tier", "write", "write_1h"),
    [("default", 5, 8), ("us", 5.5, 8.8), ("fast", 10, 16), ("fast+us", 11, 17.6)],
)
def test_a_place_costs_more_in_every_tier_of_anthropics(tier: str, write: float, write_1h: float):
    models = compile_book({Provider("a"): "https://api.anthropic.com"}, {}, TODAY).models
    base = models[ModelName("a/claude-opus-5-5")].tiers[tier].base
    assert (base.cache_write, base.cache_write_1h) == (write * USD, write_1h * USD)


def test_a_claude_costs_twice_its_input_to_keep_for_an_hour_whoever_sells_it():
    models = compile_book({Provider("or"): "https://openrouter.ai/api/v1"}, {}, TODAY).models
    base = models[ModelName("or/anthropic/claude-haiku-4.5")].tiers["default"].base
    assert (base.input, base.cache_write, base.cache_write_1h) == (USD, 1_250_000_000, 2 * USD)
