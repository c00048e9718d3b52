"""A host with an OpenAI-compatible API at a base URL: bearer key, and the paths OpenAI gave them.

OpenAI itself is one of them. What hosts do differently is a value here, never a branch.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from gateway.core.ids import Provider
from gateway.errors import ConfigurationInvalid
from gateway.providers.adapter import Headers, PreparedRequest, Wanted

_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}


class Quirks(msgspec.Struct, frozen=True, kw_only=True):
    """How a host differs; see `adapter.Host` for what each means."""

    reports_usage: bool = True
    has_tiers: bool = False
    ceiling_field: str = "max_tokens"


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
        self._scheme, self._host, self._port, self._path = _place(provider, base_url)

    def request(
        self, wanted: Wanted, body: bytes, *, model: str, key: str | None, passed: Headers
    ) -> PreparedRequest:
        """Return the request of a call.

        The answer is asked for uncompressed, since it is read along. `host` and `content-length`
        are the HTTP client's to add.
        """
        del model  # the body names it
        streams = wanted.asked.stream
        headers = [
            (b"content-type", b"application/json"),
            (b"accept", b"text/event-stream" if streams else b"application/json"),
            (b"accept-encoding", b"identity"),
            *passed,
        ]
        if key is not None:
            headers.append((b"authorization", b"Bearer " + key.encode()))
        return PreparedRequest(
            method=b"POST",
            scheme=self._scheme,
            host=self._host,
            port=self._port,
            target=f"{self._path}/{wanted.endpoint}".encode(),
            headers=headers,
            body=body,
        )


def _place(provider: Provider, base_url: str) -> tuple[str, str, int, str]:
    """Return scheme, host, port and path of a base URL, the path without its last slash."""
    try:
        url = urlsplit(base_url)
        port = url.port
    except ValueError:
        raise _unusable(provider) from None
    is_plain = not (url.query or url.fragment or url.username or url.password)
    if url.scheme not in _PORTS or not url.hostname or not is_plain or not base_url.isascii():
        raise _unusable(provider)
    return url.scheme, url.hostname, port or _PORTS[url.scheme], url.path.rstrip("/")


def _unusable(provider: Provider) -> ConfigurationInvalid:
    """Return the failure. It does not quote the URL, which may hold a password."""
    return ConfigurationInvalid(
        f"The base URL of provider {provider} can't be used; "
        "write http:// or https://, a host, perhaps a port and a path, and nothing else."
    )
