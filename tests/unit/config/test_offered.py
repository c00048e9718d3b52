"""The providers that the environment offers where the configuration names none."""

import pytest

from gateway.config import parse
from gateway.config.offered import OFFERS, offered
from gateway.core.ids import Provider
from gateway.errors import ConfigurationInvalid

ENVIRONMENTS: dict[str, dict[str, str]] = {
    "openai": {"OPENAI_API_KEY": "key-1"},
    "anthropic": {"ANTHROPIC_API_KEY": "key-1"},
    "gemini": {"GEMINI_API_KEY": "key-1"},
    "azure": {
        "AZURE_OPENAI_ENDPOINT": "https://acme.openai.azure.com/",
        "AZURE_OPENAI_API_KEY": "key-1",
    },
    "bedrock": {"AWS_BEARER_TOKEN_BEDROCK": "key-1", "AWS_REGION": "eu-west-1"},
}
URLS = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
    "azure": "https://acme.openai.azure.com",
    "bedrock": "https://bedrock-runtime.eu-west-1.amazonaws.com",
}


def test_every_offer_is_tried_here():
    assert {offer.name for offer in OFFERS} == set(ENVIRONMENTS) == set(URLS)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_provider_is_offered_by_its_own_sdks_variables(name: str):
    (found,) = parse(b"", ENVIRONMENTS[name]).providers.items()
    assert found[0] == name
    assert (found[1].dialect, found[1].base_url) == (name, URLS[name])
    assert found[1].key is not None
    assert found[1].key.reveal() == "key-1"


def test_all_that_there_is_a_key_for_is_offered():
    whole = {key: value for each in ENVIRONMENTS.values() for key, value in each.items()}
    assert set(parse(b"limits: {month_usd: 1}", whole).providers) == set(ENVIRONMENTS)


@pytest.mark.parametrize(
    ("name", "variable"), [(name, each) for name, one in ENVIRONMENTS.items() for each in one]
)
def test_half_of_what_a_provider_needs_offers_nothing(name: str, variable: str):
    some = {key: value for key, value in ENVIRONMENTS[name].items() if key != variable}
    assert offered(some) == offered(some | {variable: ""}) == {}
    assert [one.is_sandbox for one in parse(b"", some).providers.values()] == [True]


def test_a_file_that_names_providers_has_no_others():
    file = b'providers: {own: {dialect: openai, base_url: "http://127.0.0.1/v1"}}'
    whole = {key: value for each in ENVIRONMENTS.values() for key, value in each.items()}
    assert list(parse(file, whole).providers) == ["own"]


def test_an_empty_section_of_a_file_leaves_it_at_the_sandbox():
    config = parse(b"providers: {}", ENVIRONMENTS["openai"])
    assert config.providers[Provider("sandbox")].is_sandbox


def test_an_endpoint_that_is_no_url_names_the_variable_and_not_its_value():
    environ = ENVIRONMENTS["azure"] | {"AZURE_OPENAI_ENDPOINT": "acme-5f1e"}
    with pytest.raises(ConfigurationInvalid, match="AZURE_OPENAI_ENDPOINT") as caught:
        parse(b"", environ)
    assert "acme-5f1e" not in str(caught.value)
