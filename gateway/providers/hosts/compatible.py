"""A host with an OpenAI-compatible API at a base URL: bearer key, and the paths OpenAI gave them.

OpenAI itself is one of them. What hosts do differently is a value here, never a branch.
"""

import msgspec

from gateway.core.ids import Provider
from gateway.providers.adapter import Headers, PreparedRequest, Wanted
from gateway.providers.places import place


class Quirks(msgspec.Struct, frozen=True, kw_only=True):
    """How a host differs; see `adapter.Host` and `adapter.Adapter` for what each means."""

    reports_usage: bool = True
    has_tiers: bool = False
    ceiling_field: str = "max_tokens"
    states_cost: bool = False


class CompatibleHost:
    """One provider's place."""

    def __init__(self, provider: Provider, base_url: str, quirks: Quirks) -> None:
        """Take a base URL apart.

        Raises:
            ConfigurationInvalid: it is not an http or https URL with a host, or holds more than a
                host, port and path.
        """
        self.provider = provider
        self.reports_usage = quirks.reports_usage
        self.has_tiers = quirks.has_tiers
        self.ceiling_field = quirks.ceiling_field
        self._place = place(provider, base_url)

    def request(
        self, wanted: Wanted, body: bytes, *, model: str, key: str | None, passed: Headers
    ) -> PreparedRequest:
        """Return the request of a call."""
        del model  # the body names it
        headers = list(passed)
        if key is not None:
            headers.append((b"authorization", b"Bearer " + key.encode()))
        return self._place.post(wanted, f"/{wanted.endpoint}", headers, body)
