"""Anthropic's messages and its count of tokens, as its own API speaks them.

Sources: Anthropic's API reference, and its SDK's types, stream reader and exceptions (anthropic 2.13).
Nothing is put into a request: under newer API versions even a default may be refused.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from gateway.core.events import Event
from gateway.core.pricing import Model
from gateway.core.refusal import Refused
from gateway.providers.adapter import Answer, Change, Endpoint, Headers, Path, Wanted
from gateway.providers.dialects.messages import listing, refusals, request, rewrite, wholes
from gateway.providers.dialects.messages.streams import MessagesStream
from gateway.providers.fields import no_such_body, read_object

_PASSED: Final = frozenset(
    {b"user-agent", b"anthropic-version", b"anthropic-beta", b"idempotency-key"}
)
"""None that names a client, a key, a workspace or a person. No beta bills anything without a member of
the body that is read here; the last that did, `context-1m-2025-08-07`, was retired in April 2026."""


class Messages:
    """The dialect. It keeps nothing between calls."""

    name = "anthropic"
    passed = _PASSED

    def read(self, path: Path, body: bytes) -> Wanted | Refused:
        """Return what a body asks for, or why it is refused."""
        found = read_object(body)
        if isinstance(found, Refused):
            return found
        match path.endpoint:
            case Endpoint.MESSAGES:
                return request.read(path, found)
            case Endpoint.MESSAGES_COUNT_TOKENS:
                return request.read_count(path, found)
            case _:
                return no_such_body()

    def write(self, wanted: Wanted, change: Change) -> bytes:
        """Return the body to send."""
        return rewrite.write(wanted, change)

    def stream(self, wanted: Wanted, *, hides_usage: bool) -> MessagesStream:
        """Return a reader of the streamed answer, which reports usage whoever asks."""
        del hides_usage
        return MessagesStream(wanted.fields)

    def whole(self, wanted: Wanted, body: bytes, headers: Headers) -> Sequence[Event]:
        """Return what a complete answer says; nothing where it is not this API's answer at all."""
        del headers
        if wanted.endpoint is Endpoint.MESSAGES_COUNT_TOKENS:
            return wholes.count(body)
        return wholes.message(body, wanted.fields)

    def refusal(self, refused: Refused) -> Answer:
        """Return a refusal for Anthropic's SDKs."""
        return refusals.refusal(refused)

    def models(self, models: Iterable[Model], aliases: Iterable[str]) -> bytes:
        """Return the listing of models and operators' names."""
        return listing.models(models, aliases)

    def model(self, model: Model | str) -> bytes:
        """Return one entry of the listing."""
        return listing.model(model)
