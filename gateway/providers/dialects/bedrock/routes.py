"""Which path of Bedrock's runtime API means what. The model is in the path, percent-encoded."""

from collections.abc import Mapping
from typing import Final

from gateway.providers.adapter import Dialect, Endpoint, Path
from gateway.providers.dialects.bedrock.headers import HEEDED
from gateway.providers.paths import Listing, Metered, Routed, segment, unmetered, wrong_method

CALLS: Final[Mapping[bytes, Endpoint]] = {
    b"converse": Endpoint.CONVERSE,
    b"converse-stream": Endpoint.CONVERSE_STREAM,
    b"invoke": Endpoint.INVOKE,
    b"invoke-with-response-stream": Endpoint.INVOKE_STREAM,
    b"count-tokens": Endpoint.COUNT_TOKENS,
}
_LISTING: Final = b"foundation-models"


class BedrockApi:
    """The paths below `/bedrock`."""

    def __init__(self, dialect: Dialect) -> None:
        """Answer in `dialect`."""
        self._dialect = dialect
        served = [f"/bedrock/model/{{id}}/{call.decode()}" for call in CALLS]
        self.refusal = unmetered(dialect, [*served, f"/bedrock/{_LISTING.decode()}"])

    def __call__(self, method: str, rest: bytes, query: bytes) -> Routed:
        """Return what a request line means; `rest` follows `/bedrock/`."""
        del query
        first, _, more = rest.partition(b"/")
        if first == b"model":
            return self._call(method, more)
        if first != _LISTING:
            return self.refusal
        if method != "GET":
            return wrong_method(self._dialect, "GET")
        if rest == _LISTING:
            return Listing(self._dialect)
        one = None if b"/" in more else segment(more)
        return self.refusal if one is None else Listing(self._dialect, one)

    def _call(self, method: str, rest: bytes) -> Routed:
        """Return what a model's path means. Its id may hold `/` and `:`, but only encoded ones."""
        raw_name, _, operation = rest.partition(b"/")
        name, endpoint = segment(raw_name), CALLS.get(operation)
        if name is None or endpoint is None:
            return self.refusal
        if method != "POST":
            return wrong_method(self._dialect, "POST")
        return Metered(Path(endpoint=endpoint, model=name, heeds=HEEDED), self._dialect)
