"""The Gemini API at a base URL, Google's own or another's that has its paths."""

from typing import Final
from urllib.parse import quote

from gateway.core.ids import Provider
from gateway.providers.adapter import Headers, PreparedRequest, Wanted
from gateway.providers.places import unversioned

_VERSION: Final = "v1beta"
"""Where the client's path names none. The newest fields are only there."""


class GeminiHost:
    """One provider's place."""

    reports_usage = False
    has_tiers = False
    ceiling_field = "maxOutputTokens"

    def __init__(self, provider: Provider, base_url: str) -> None:
        """Take a base URL apart.

        Raises:
            ConfigurationInvalid: it can't be used, or ends in a version.
        """
        self.provider = provider
        self._place = unversioned(provider, base_url)

    def request(
        self, wanted: Wanted, body: bytes, *, model: str, key: str | None, passed: Headers
    ) -> PreparedRequest:
        """Return the request of a call, in the API's version that the client speaks.

        Of the client's query only what makes a stream of events is sent, by ourselves.
        """
        headers = list(passed)
        if key is not None:
            headers.append((b"x-goog-api-key", key.encode()))
        version = wanted.path.version or _VERSION
        method = f"{quote(model, safe='')}:{wanted.endpoint}"
        is_events = wanted.asked.stream and not wanted.path.is_array
        query = "?alt=sse" if is_events else ""
        return self._place.post(wanted, f"/{version}/models/{method}{query}", headers, body)
