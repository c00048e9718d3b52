"""Which paths of Anthropic's API are served: those below its version that can be metered."""

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.providers.adapter import Dialect, Endpoint, Path
from gateway.providers.paths import (
    Listing,
    Metered,
    Routed,
    parameter,
    segment,
    unmetered,
    wrong_method,
)

_CALLS: Final[Mapping[bytes, Path]] = {
    b"v1/messages": Path(endpoint=Endpoint.MESSAGES),
    b"v1/messages/count_tokens": Path(endpoint=Endpoint.MESSAGES_COUNT_TOKENS),
}
_MODELS: Final = b"v1/models"


class AnthropicApi:
    """Anthropic's paths, below the one that its API is under here."""

    def __init__(self, shown: str, dialect: Dialect) -> None:
        """Answer in `dialect`; `shown` is the prefix that clients know the paths by."""
        self._dialect = dialect
        self.refusal = unmetered(
            dialect, [f"{shown}/{path.decode()}" for path in (*_CALLS, _MODELS)]
        )

    def __call__(self, method: str, rest: bytes, query: bytes) -> Routed:
        """Return what a request line means; `rest` follows the prefix."""
        call = _CALLS.get(rest)
        if call is not None:
            return self._call(method, call, query)
        if rest == _MODELS:
            is_read = method == "GET"
            return Listing(self._dialect) if is_read else wrong_method(self._dialect, "GET")
        if rest.startswith(_MODELS + b"/") and method == "GET":
            one = segment(rest.removeprefix(_MODELS + b"/"))
            return self.refusal if one is None else Listing(self._dialect, one)
        return self.refusal

    def _call(self, method: str, call: Path, query: bytes) -> Routed:
        if method != "POST":
            return wrong_method(self._dialect, "POST")
        is_beta = parameter(query, "beta") == "true"
        return Metered(msgspec.structs.replace(call, is_beta=is_beta), self._dialect)
