"""From a configuration file to the models, prices, adapters and limits that calls meet."""

import sys
from datetime import date

import pytest

from gateway.app import banner, standing, trying
from gateway.config import parse
from gateway.core.health import Circuit
from gateway.core.ids import ModelName, Provider
from gateway.core.limits import Kill, KillScope, Limits, OnExcess
from gateway.core.pricing import DEFAULT_TIER
from gateway.errors import ConfigurationInvalid
from gateway.providers.adapter import Endpoint, Signing
from tests.fakes import START
from tests.unit.providers.asking import wanted

FILE = b"""
providers:
  local: {dialect: openai, base_url: "http://127.0.0.1:8000/v1", timeouts: {idle: 7s}, http_client: httpx}
  openai: {dialect: openai, base_url: "https://api.openai.com/v1", key: k}
models:
  fast: {targets: [{model: local/llama, weight: 3}, {model: openai/gpt-4o-mini, weight: 1}]}
prices:
  local/llama: {input: "0.11", output: "0.34", context_tokens: 8192, tiers: {priority: 2}, above: {tokens: 1000, input: "0.2", output: "0.5"}}
limits: {request_usd: "2", run_usd: null, output_tokens: 64, over_ceiling: refuse, require_run: true, timezone: Europe/Berlin}
"""
CONFIG = parse(FILE, {})
TODAY = date(2026, 11, 25)


def test_configured_and_published_prices_are_in_the_book():
    book = standing.standing(CONFIG, TODAY).directory.book
    llama = book.models[ModelName("local/llama")]
    base = llama.tiers[DEFAULT_TIER].base
    assert (base.input, base.output) == (110_000_000, 340_000_000)
    assert llama.tiers["priority"].base.input == 220_000_000
    assert llama.tiers[DEFAULT_TIER].above[0][0] == 1000
    assert llama.context_tokens == 8192
    assert ModelName("openai/gpt-4o-mini") in book.models
    assert "genai-prices" in book.version


def test_names_providers_and_their_time_outs_are_there():
    made = standing.standing(CONFIG, TODAY)
    assert [target.weight for target in made.directory.aliases["fast"]] == [3, 1]
    assert set(made.adapters) == {"local", "openai"}
    assert made.adapters[Provider("openai")].host.has_tiers
    assert made.timeouts[Provider("local")].idle_s == 7
    assert made.timeouts[Provider("openai")].idle_s == 60
    assert str(made.zone) == "Europe/Berlin"


def test_each_provider_is_asked_on_its_own_terms():
    file = b"""
providers:
  a: {dialect: openai, base_url: "http://a/v1", keys: [k1, "${K2}"], retries: 2, max_concurrent: 7}
  b: {dialect: openai, base_url: "http://b/v1", key: k3, circuit: {failures: 9, cool_down: 250ms}}
  c: {dialect: openai, base_url: "http://c/v1", circuit: null}
"""
    doors = standing.standing(parse(file, {"K2": "k2"}), TODAY).doors
    a, b, c = (doors[Provider(name)].terms for name in "abc")
    assert [key.reveal() for key in a.keys] == ["k1", "k2"]
    assert (a.retries, a.most_at_once, a.circuit) == (2, 7, Circuit(5, 10.0))
    assert [key.reveal() for key in b.keys] == ["k3"]
    assert (b.retries, b.most_at_once, b.circuit) == (0, None, Circuit(9, 0.25))
    assert (c.keys, c.circuit) == ((), None)


def test_places_tell_providers_apart():
    assert standing.places(CONFIG) == {
        ("127.0.0.1", 8000): "local",
        ("api.openai.com", 443): "openai",
    }
    assert standing.stock_places(CONFIG) == {("127.0.0.1", 8000)}


def test_limits_are_the_files_but_for_what_the_database_knows():
    kill = Kill(
        id="k",  # type: ignore[arg-type]
        scope=KillScope.ALL,
        scope_id="",
        project=None,
        reason="r",
        by="b",
        at=START,
    )
    now = standing.limits(CONFIG, Limits(kills=(kill,)))
    assert now.kills == (kill,)
    assert now.request_cap == 2 * 10**9
    assert now.run_cap is None
    assert now.output_ceiling == 64
    assert now.over_ceiling is OnExcess.REFUSE
    assert now.require_run


def test_a_price_that_lacks_its_half_is_refused():
    half = (
        b'providers: {x: {dialect: openai, base_url: "http://h/v1"}}\nprices: {x/m: {input: "1"}}'
    )
    with pytest.raises(ConfigurationInvalid):
        standing.standing(parse(half, {}), TODAY)


FALLBACKS = b"""
providers:
  x: {dialect: openai, base_url: "http://x/v1"}
  y: {dialect: openai, base_url: "http://y/v1"}
prices:
  x/m: {input: "1", output: "1"}
  y/m: {input: "1", output: "1"}
models:
  fast: {targets: [{model: x/m}, {model: y/m}], fallbacks: [y/m, %s]}
"""


def test_fallbacks_are_what_a_name_is_tried_with_next():
    directory = standing.standing(parse(FALLBACKS % b"x/m", {}), TODAY).directory
    names = {
        picked: [
            model.name for model in directory.fallbacks_of("fast", directory.book.models[picked])
        ]
        for picked in (ModelName("x/m"), ModelName("y/m"))
    }
    assert names == {"x/m": ["y/m"], "y/m": ["x/m"]}
    assert directory.fallbacks_of("x/m", directory.book.models[ModelName("x/m")]) == ()


def test_a_fallback_without_a_price_stops_the_start():
    with pytest.raises(ConfigurationInvalid) as caught:
        standing.standing(parse(FALLBACKS % b"x/other", {}), TODAY)
    assert str(caught.value) == (
        "$.models.fast.fallbacks[1]: found a model without a price, "
        "allowed is a priced model, or one under prices"
    )


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("{}", "http://127.0.0.1:9/v1"),
        ("{host: 0.0.0.0}", "http://127.0.0.1:9/v1"),
        ("{host: '::1'}", "http://[::1]:9/v1"),
        ("{host: gw.example, tls: {certificate: c, key: k}}", "https://gw.example:9/v1"),
    ],
)
def test_the_base_url_is_one_that_works_on_this_host(listen: str, url: str):
    assert banner.url(parse(f"listen: {listen}".encode(), {}), 9) == url


def test_only_a_start_with_the_sandbox_speaks_of_it():
    assert "sandbox" in " ".join(banner.again("u", parse(b"", {})))
    assert "sandbox" not in " ".join(banner.again("u", CONFIG))


def test_a_sandbox_beside_real_providers_asks_for_none():
    file = b"""providers:
      try: {dialect: openai, base_url: "sandbox:"}
      groq: {dialect: openai, base_url: "https://h/v1"}"""
    lines = " ".join(banner.again("u", parse(file, {})))
    assert "Providers: groq, and the built-in sandbox" in lines
    assert "OPENAI_API_KEY" not in lines


@pytest.mark.parametrize(
    ("file", "model"),
    [
        (b"", "sandbox/echo"),
        (b'providers: {try: {dialect: openai, base_url: "sandbox:"}}', "try/echo"),
        (FILE, "fast"),
        (
            b'providers: {openai: {dialect: openai, base_url: "https://api.openai.com/v1"}}',
            "openai/gpt-5-nano",
        ),
        (b'providers: {x: {dialect: openai, base_url: "http://h/v1"}}', "MODEL"),
    ],
)
def test_the_call_to_try_names_a_model_that_is_priced(file: bytes, model: str):
    config = parse(file, {})
    found = trying.to_try(config, standing.standing(config, TODAY).spoken)
    assert found == ("openai", model)


def test_a_later_start_says_how_to_get_a_token_and_a_link():
    lines = " ".join(banner.again("u", CONFIG))
    assert "tokens create" in lines
    assert "sign-in-link" in lines


BEDROCK = b"providers: {aws: {dialect: bedrock, base_url: 'https://%b', aws: {}}}"
BEDROCK_HOST = b"bedrock-runtime.eu-west-1.amazonaws.com"


def test_a_provider_that_signs_is_signed_for_its_region():
    made = standing.standing(parse(BEDROCK % BEDROCK_HOST, {}), TODAY)
    asked = made.adapters[Provider("aws")].host.request(
        wanted(Endpoint.CONVERSE), b"{}", model="m", key=None, passed=()
    )
    assert asked.signing == Signing("bedrock", "eu-west-1")


def test_without_what_signs_or_a_region_there_is_no_start(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConfigurationInvalid, match="names no AWS region"):
        standing.standing(parse(BEDROCK % b"bedrock.example.com", {}), TODAY)
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(ConfigurationInvalid, match=r"reasonrank-gateway\[bedrock\]"):
        standing.standing(parse(BEDROCK % BEDROCK_HOST, {}), TODAY)
