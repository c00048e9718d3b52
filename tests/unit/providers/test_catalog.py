"""Which provider is which host, and what it understands."""

import pytest

from gateway.core.ids import Provider
from gateway.errors import ConfigurationInvalid
from gateway.providers.adapter import Adapter
from gateway.providers.catalog import adapter
from gateway.providers.hosts.azure import AzureHost
from gateway.providers.hosts.gemini import GeminiHost
from gateway.providers.hosts.sandbox import SandboxHost


def compatible(base_url: str, name: str = "p", *, reports_usage: bool | None = None) -> Adapter:
    return adapter(Provider(name), "openai", base_url, reports_usage=reports_usage)


@pytest.mark.parametrize(
    ("base_url", "reports_usage", "has_tiers", "ceiling_field"),
    [
        ("https://api.openai.com/v1", True, True, "max_completion_tokens"),
        ("https://eu.api.openai.com/v1", True, True, "max_completion_tokens"),
        ("https://x.openai.azure.com/openai/v1", True, False, "max_completion_tokens"),
        ("https://api.groq.com/openai/v1", True, False, "max_completion_tokens"),
        ("https://openrouter.ai/api/v1", False, False, "max_completion_tokens"),
        ("https://api.mistral.ai/v1", False, False, "max_tokens"),
        ("https://api.x.ai/v1", True, False, "max_completion_tokens"),
        ("https://api.deepseek.com", True, False, "max_tokens"),
        ("https://api.together.xyz/v1", True, False, "max_tokens"),
        ("https://notapi.mistral.ai.example/v1", True, False, "max_tokens"),
        ("http://127.0.0.1:8000/v1", True, False, "max_tokens"),
    ],
)
def test_hosts_are_known_by_name(
    base_url: str, reports_usage: bool, has_tiers: bool, ceiling_field: str
):
    host = compatible(base_url).host
    assert host.reports_usage is reports_usage
    assert host.has_tiers is has_tiers
    assert host.ceiling_field == ceiling_field
    assert host.provider == "p"


def test_the_operator_knows_better():
    assert compatible("https://api.mistral.ai/v1", reports_usage=True).host.reports_usage
    assert not compatible("http://x/v1", reports_usage=False).host.reports_usage


def test_a_bill_is_believed_from_openrouter_alone():
    assert compatible("https://openrouter.ai/api/v1").states_cost
    assert compatible("http://127.0.0.1:1/v1", "openrouter").states_cost
    assert not compatible("https://api.x.ai/v1").states_cost
    assert not compatible("https://api.groq.com/openai/v1", "openrouter").states_cost
    assert not compatible("http://vllm/v1").states_cost


def test_azure_is_spoken_to_by_openais_clients_and_its_own():
    found = adapter(Provider("azure"), "azure", "https://x.openai.azure.com", reports_usage=False)
    assert isinstance(found.host, AzureHost)
    assert found.speaks == compatible("http://x/v1").speaks == {"openai", "azure"}
    assert not found.host.reports_usage
    assert not found.host.has_tiers
    assert found.host.ceiling_field == "max_completion_tokens"


def test_gemini_is_spoken_to_by_its_own_clients():
    found = adapter(Provider("google"), "gemini", "https://generativelanguage.googleapis.com")
    assert isinstance(found.host, GeminiHost)
    assert found.speaks == {"gemini"}
    assert not found.host.reports_usage
    assert not found.states_cost


def test_openai_behind_another_address_is_still_openai():
    assert compatible("http://127.0.0.1:1/v1", "openai").host.has_tiers


def test_the_sandbox_has_its_own_host():
    found = adapter(Provider("sandbox"), "openai", "sandbox:")
    assert isinstance(found.host, SandboxHost)
    assert "openai" in found.speaks


def test_an_unknown_dialect_stops_the_start():
    with pytest.raises(ConfigurationInvalid, match="openai"):
        adapter(Provider("p"), "smalltalk", "http://x")
    with pytest.raises(ConfigurationInvalid):
        compatible("http://[::1")
