"""Azure's OpenAI: a resource of the operator's own, whose deployments are its models.

It has two forms. A client that names a deployment in the path and a version in the query is passed on
so, since the version says which fields there are; any other goes to the v1 API, where the body names
the deployment (learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle, November 2026).
Responses never had a deployment in their path.
"""

from typing import Final
from urllib.parse import quote

from gateway.core.ids import Provider
from gateway.errors import ConfigurationInvalid
from gateway.providers.adapter import Endpoint, Headers, PreparedRequest, Wanted
from gateway.providers.places import place

_API: Final = "/openai"
_RESPONSES: Final = frozenset({Endpoint.RESPONSES, Endpoint.RESPONSES_INPUT_TOKENS})


class AzureHost:
    """One resource's place. Its tiers belong to its deployments, which are priced as they are."""

    has_tiers = False
    ceiling_field = "max_completion_tokens"

    def __init__(self, provider: Provider, base_url: str, *, reports_usage: bool) -> None:
        """Take a base URL apart: that of the resource, without the API's own path.

        Raises:
            ConfigurationInvalid: it can't be used, or goes on into the API.
        """
        self.provider = provider
        self.reports_usage = reports_usage
        self._place = place(provider, base_url)
        if "openai" in self._place.path.split("/"):
            raise ConfigurationInvalid(
                f"The base URL of provider {provider} goes on after its resource; "
                "write it as https://NAME.openai.azure.com, without /openai."
            )

    def request(
        self, wanted: Wanted, body: bytes, *, model: str, key: str | None, passed: Headers
    ) -> PreparedRequest:
        """Return the request of a call."""
        headers = list(passed)
        if key is not None:
            headers.append((b"api-key", key.encode()))
        return self._place.post(wanted, f"{_API}/{_target(wanted, model)}", headers, body)


def _target(wanted: Wanted, deployment: str) -> str:
    """Return path and query within the API, in the form that the client spoke."""
    path, version = wanted.path, wanted.path.version
    if version is None:
        return f"v1/{path.endpoint}"
    query = f"api-version={quote(version, safe='')}"
    if path.model is not None:
        return f"deployments/{quote(deployment, safe='')}/{path.endpoint}?{query}"
    is_dated = version[:1].isdigit() and path.endpoint in _RESPONSES
    return f"{path.endpoint}?{query}" if is_dated else f"v1/{path.endpoint}?{query}"
