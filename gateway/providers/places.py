"""Where a provider is, taken from its configured base URL once, at start; and requests to it."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from gateway.core.ids import Provider
from gateway.errors import ConfigurationInvalid
from gateway.providers.adapter import Headers, PreparedRequest, Signing, Wanted

_JSON: Final = b"application/json"
_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[A-Za-z0-9._:-]+")
_PATH: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
"""What RFC 3986 (3.3) lets be in a path: nothing else can be sent as the target of a request."""

_VERSIONS: Final = frozenset({"v1", "v1alpha", "v1beta"})


class Place(msgspec.Struct, frozen=True):
    """A base URL's parts. `path` is percent-encoded and has no last slash; it may be empty."""

    scheme: str
    host: str
    port: int
    path: str

    def post(
        self,
        wanted: Wanted,
        target: str,
        headers: Headers,
        body: bytes,
        signing: Signing | None = None,
    ) -> PreparedRequest:
        """Return the request of a call; `target` follows the base URL, `headers` our own.

        The answer is asked for uncompressed, since it is read along. `host` and `content-length` are
        the HTTP client's to add.
        """
        accepted = wanted.stream_type if wanted.asked.stream else _JSON
        ours = [
            (b"content-type", _JSON),
            (b"accept", accepted),
            (b"accept-encoding", b"identity"),
        ]
        return PreparedRequest(
            method=b"POST",
            scheme=self.scheme,
            host=self.host,
            port=self.port,
            target=f"{self.path}{target}".encode(),
            headers=[*ours, *headers],
            body=body,
            signing=signing,
        )


def place(provider: Provider, base_url: str) -> Place:
    """Return the parts of a base URL.

    Raises:
        ConfigurationInvalid: it is not an http or https URL with a host, or holds more than a host,
            port and path.
    """
    try:
        url = urlsplit(base_url)
        port = url.port
    except ValueError:
        raise _unusable(provider) from None
    is_plain = not (url.query or url.fragment or url.username or url.password)
    can_be_sent = _HOST.fullmatch(url.hostname or "") and _PATH.fullmatch(url.path)
    # Python takes line ends and tabs out of a URL, and spaces off its ends, without a word.
    if url.scheme not in _PORTS or not is_plain or not can_be_sent or port == 0:
        raise _unusable(provider)
    if not base_url.isascii() or not base_url.isprintable() or " " in base_url:
        raise _unusable(provider)
    return Place(url.scheme, url.hostname or "", port or _PORTS[url.scheme], url.path.rstrip("/"))


def unversioned(provider: Provider, base_url: str) -> Place:
    """Return the parts of a base URL that ends before its API's version, as the vendor's SDK has it.

    Raises:
        ConfigurationInvalid: as `place`, or it ends in a version, which each call has anyway.
    """
    found = place(provider, base_url)
    last = found.path.rpartition("/")[2]
    if last in _VERSIONS:
        raise ConfigurationInvalid(
            f"The base URL of provider {provider} ends in a version; write it without /{last}."
        )
    return found


def _unusable(provider: Provider) -> ConfigurationInvalid:
    """Return the failure. It does not quote the URL, which may hold a password."""
    return ConfigurationInvalid(
        f"The base URL of provider {provider} can't be used; "
        "write http:// or https://, a host, perhaps a port and a path, and nothing else."
    )
