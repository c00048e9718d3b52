"""Anthropic's own API at a base URL, and others that keep to it: a key, a version, and their paths."""

from typing import Final

from gateway.core.ids import Provider
from gateway.providers.adapter import Headers, PreparedRequest, Wanted
from gateway.providers.places import unversioned

_VERSION: Final = b"anthropic-version"
_OLDEST_VERSION: Final = b"2023-06-01"
"""What the API requires a version for: the only one there was before November 2026."""


class AnthropicHost:
    """One provider's place."""

    reports_usage = False
    has_tiers = False
    ceiling_field = "max_tokens"

    def __init__(self, provider: Provider, base_url: str) -> None:
        """Take a base URL apart, which ends before the API's own version.

        Raises:
            ConfigurationInvalid: it can't be used, or ends in a version.
        """
        self.provider = provider
        self._place = unversioned(provider, base_url)

    def request(
        self, wanted: Wanted, body: bytes, *, model: str, key: str | None, passed: Headers
    ) -> PreparedRequest:
        """Return the request of a call, of the version that the client speaks."""
        del model  # the body names it
        headers = list(passed)
        if all(name != _VERSION for name, _ in passed):
            headers.append((_VERSION, _OLDEST_VERSION))
        if key is not None:
            headers.append((b"x-api-key", key.encode()))
        query = "?beta=true" if wanted.path.is_beta else ""
        return self._place.post(wanted, f"/v1/{wanted.endpoint}{query}", headers, body)
