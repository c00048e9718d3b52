"""Gemini's generateContent, its streams, embeddings and counts of tokens.

Sources: ai.google.dev/api (2026) and google-genai 3.6, whose types are made from the API's own
descriptions; its reader of streams is the strictest there is, and decides what a stream may hold.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from gateway.core.events import Event
from gateway.core.pricing import Model
from gateway.core.refusal import Refused
from gateway.providers.adapter import Answer, Change, Endpoint, Headers, Path, StreamReader, Wanted
from gateway.providers.dialects.generate_content import (
    answers,
    embeddings,
    refusals,
    request,
    rewrite,
)
from gateway.providers.dialects.generate_content.streams import ElementStream, EventStream
from gateway.providers.fields import no_such_body, read_object

_PASSED: Final = frozenset({b"user-agent", b"x-goog-api-client"})
"""None that names a client, a key or a place."""


class GenerateContent:
    """The dialect. It keeps nothing between calls."""

    name = "gemini"
    passed = _PASSED

    def read(self, path: Path, body: bytes) -> Wanted | Refused:
        """Return what a body asks for, or why it is refused."""
        found = read_object(body)
        if isinstance(found, Refused):
            return found
        match path.endpoint:
            case Endpoint.GENERATE_CONTENT | Endpoint.STREAM_GENERATE_CONTENT:
                return request.read(path, found)
            case Endpoint.EMBED_CONTENT | Endpoint.BATCH_EMBED_CONTENTS:
                return embeddings.read(path, found)
            case Endpoint.COUNT_TOKENS:
                return embeddings.read_count(path, found)
            case _:
                return no_such_body()

    def write(self, wanted: Wanted, change: Change) -> bytes:
        """Return the body to send."""
        return rewrite.write(wanted, change)

    def stream(self, wanted: Wanted, *, hides_usage: bool) -> StreamReader:
        """Return a reader of the streamed answer, whose usage always comes unasked."""
        del hides_usage
        kind = ElementStream if wanted.path.is_array else EventStream
        return kind(wanted.asked)

    def whole(self, wanted: Wanted, body: bytes, headers: Headers) -> Sequence[Event]:
        """Return what a complete answer says; nothing where it is not this API's answer at all."""
        del headers
        return answers.whole(body, wanted.asked)

    def refusal(self, refused: Refused) -> Answer:
        """Return a refusal for Google's SDKs."""
        return refusals.refusal(refused)

    def models(self, models: Iterable[Model], aliases: Iterable[str]) -> bytes:
        """Return the listing of models and operators' names."""
        return refusals.models(models, aliases)

    def model(self, model: Model | str) -> bytes:
        """Return one entry of the listing."""
        return refusals.model(model)
