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
        """Return the request of a call, to be signed by whoever has credentials."""
        headers = list(passed)
        if key is not None and self._signing is None:
            headers.append((b"authorization", b"Bearer " + key.encode()))
        operation = _OPERATIONS.get(wanted.endpoint, wanted.endpoint.value)
        target = f"/model/{quote(model, safe='')}/{operation}"
        return self._place.post(wanted, target, headers, body, self._signing)


def _region(provider: Provider, host: str) -> str:
    found = _REGION.search(host)
    if found is None:
        raise ConfigurationInvalid(
            f"The base URL of provider {provider} names no AWS region; write it as aws: {{region: …}}."
        )
    return found[1]
