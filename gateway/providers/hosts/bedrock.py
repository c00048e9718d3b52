"""Amazon Bedrock's runtime in one region: the model in the path, and an API key or AWS's signature.

A signature depends on the time and on credentials that change, so it is made where the request
leaves; here is only said for what.
"""

import re
from typing import Final
from urllib.parse import quote

import msgspec

from gateway.core.ids import Provider
from gateway.errors import ConfigurationInvalid
from gateway.providers.adapter import Endpoint, Headers, PreparedRequest, Signing, Wanted
from gateway.providers.places import place

SERVICE: Final = "bedrock"
"""What requests to `bedrock-runtime` are signed for (botocore 1.44, the API's `signingName`)."""
_REGION: Final = re.compile(
    r"bedrock-runtime(?:-fips)?\.([a-z]{2}(?:-[a-z]+)+-\d+)\.(?:vpce\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)$"
)
_OPERATIONS: Final = {Endpoint.COUNT_TOKENS: "count-tokens"}
"""What Bedrock calls a call that has another API's name here."""
_STREAM: Final = b"application/vnd.amazon.eventstream"


class Account(msgspec.Struct, frozen=True):
    """That requests are signed for the gateway's own AWS account; `region` None is the URL's."""

    region: str | None = None


class BedrockHost:
    """One provider's place."""

    reports_usage = False
    has_tiers = False
    ceiling_field = "maxTokens"

    def __init__(self, provider: Provider, base_url: str, account: Account | None) -> None:
        """Take a base URL apart. Requests are signed for `account`; None sends the provider's key.

        Raises:
            ConfigurationInvalid: the URL can't be used, or names no region and none is given.
        """
        self.provider = provider
        self._place = place(provider, base_url)
        self._signing = None
        if account is not None:
            region = account.region or _region(provider, self._place.host)
            self._signing = Signing(SERVICE, region)

    def request(
        self, wanted: Wanted, body: bytes, *, model: str, key: str | None, passed: Headers
    ) -> PreparedRequest:
        """Return the request of a call.

        The answer is asked for uncompressed, since it is read along. `host` and `content-length`
        are the HTTP client's to add, and the signature whoever has credentials.
        """
        accepted = _STREAM if wanted.asked.stream else b"application/json"
        headers = [
            (b"content-type", b"application/json"),
            (b"accept", accepted),
            (b"accept-encoding", b"identity"),
            *passed,
        ]
        if key is not None and self._signing is None:
            headers.append((b"authorization", b"Bearer " + key.encode()))
        operation = _OPERATIONS.get(wanted.endpoint, wanted.endpoint.value)
        target = f"{self._place.path}/model/{quote(model, safe='')}/{operation}"
        return PreparedRequest(
            method=b"POST",
            scheme=self._place.scheme,
            host=self._place.host,
            port=self._place.port,
            target=target.encode(),
            headers=headers,
            body=body,
            signing=self._signing,
        )


def _region(provider: Provider, host: str) -> str:
    found = _REGION.search(host)
    if found is None:
        raise ConfigurationInvalid(
            f"The base URL of provider {provider} names no AWS region; write it as aws: {{region: …}}."
        )
    return found[1]
