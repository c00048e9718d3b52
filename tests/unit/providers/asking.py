"""Requests as a dialect reads them, for tests that need one and not its body."""

import msgspec

from gateway.core.calls import Asked
from gateway.providers.adapter import Endpoint, Path, Wanted


def wanted(endpoint: Endpoint = Endpoint.CHAT_COMPLETIONS, **asked: object) -> Wanted:
    """Return a request for an endpoint that asks for `asked` of the model `m`."""
    return Wanted(
        path=Path(endpoint=endpoint),
        asked=msgspec.convert({"model": "m"} | asked, Asked),
        fields={},
    )
