"""Which path of Gemini's API means what: its models' methods, in two versions of it.

`models/` may be followed by a name with slashes, written as they are or percent-encoded, and by a
colon and the method. Everything else of the API (files, caches, tuned models, `predict`, batches,
interactions, the OpenAI-shaped paths) is billed in ways that nobody meters here.
"""

from typing import Final

from gateway.providers.adapter import Dialect, Endpoint, Path
from gateway.providers.paths import (
    Listing,
    Metered,
    Routed,
    Unserved,
    parameter,
    segment,
    unmetered,
    wrong_method,
)

_VERSIONS: Final = {b"v1": "v1", b"v1beta": "v1beta"}
_METHODS: Final = {
    endpoint.value.encode(): endpoint
    for endpoint in (
        Endpoint.GENERATE_CONTENT,
        Endpoint.STREAM_GENERATE_CONTENT,
        Endpoint.COUNT_TOKENS,
        Endpoint.EMBED_CONTENT,
        Endpoint.BATCH_EMBED_CONTENTS,
    )
}
_MODELS: Final = b"models"
_SHOWN: Final = "/gemini/{v1,v1beta}/models"


class GeminiApi:
    """The API's paths, in a dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        served = [f"{_SHOWN}/{{model}}:{endpoint}" for endpoint in _METHODS.values()]
        self.refusal: Unserved = unmetered(dialect, [*served, _SHOWN, f"{_SHOWN}/{{model}}"])

    def __call__(self, method: str, rest: bytes, query: bytes) -> Routed:
        """Return what a request line means; `rest` follows the API's own segment."""
        version, _, path = rest.partition(b"/")
        if version not in _VERSIONS:
            return self.refusal
        if path == _MODELS:
            return Listing(self._dialect) if method == "GET" else self._wrong("GET")
        prefix, _, named = path.partition(b"/")
        if prefix != _MODELS or not named:
            return self.refusal
        return self._model(method, named, _VERSIONS[version], query)

    def _model(self, method: str, named: bytes, version: str, query: bytes) -> Routed:
        raw_name, _, operation = named.rpartition(b":")
        endpoint = _METHODS.get(operation)
        if endpoint is not None and method != "POST":
            return self._wrong("POST")
        name = segment(named if endpoint is None else raw_name)
        if name is None or (endpoint is None and method != "GET"):
            return self.refusal
        if endpoint is None:
            return Listing(self._dialect, name)
        streams = endpoint is Endpoint.STREAM_GENERATE_CONTENT
        is_array = streams and parameter(query, "alt") != "sse"
        path = Path(endpoint=endpoint, model=name, version=version, is_array=is_array)
        return Metered(path, self._dialect)

    def _wrong(self, allowed: str) -> Unserved:
        return wrong_method(self._dialect, allowed)
