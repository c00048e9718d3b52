"""OpenAI's chat completions, legacy completions and embeddings, as its own API and many hosts' speak them.

Sources: OpenAI's API reference and its SDKs' types and stream readers (openai 2.54 and 3.57); what
other hosts do differently is said where it matters.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from gateway.core.events import Event
from gateway.core.pricing import Model
from gateway.core.refusal import Refused
from gateway.providers import openai_refusals as refusals
from gateway.providers.adapter import Answer, Change, Endpoint, Headers, Path, Wanted
from gateway.providers.dialects.chat_completions import (
    answers,
    completions,
    embeddings,
    request,
    rewrite,
)
from gateway.providers.dialects.chat_completions.streams import ChatStream
from gateway.providers.fields import no_such_body, read_object

_PASSED: Final = frozenset({b"user-agent", b"openai-beta", b"idempotency-key"})
"""None that names a client, a key or a place."""


class ChatCompletions:
    """The dialect. It keeps nothing between calls."""

    passed = _PASSED

    def __init__(self, name: str) -> None:
        """Take the name under which calls are recorded: Azure's clients speak the same."""
        self.name = name

    def read(self, path: Path, body: bytes) -> Wanted | Refused:
        """Return what a body asks for, or why it is refused."""
        found = read_object(body)
        if isinstance(found, Refused):
            return found
        match path.endpoint:
            case Endpoint.CHAT_COMPLETIONS:
                return request.read(path, found)
            case Endpoint.COMPLETIONS:
                return completions.read(path, found)
            case Endpoint.EMBEDDINGS:
                return embeddings.read(path, found)
            case _:
                return no_such_body()

    def write(self, wanted: Wanted, change: Change) -> bytes:
        """Return the body to send."""
        return rewrite.write(wanted, change)

    def stream(self, wanted: Wanted, *, hides_usage: bool) -> ChatStream:
        """Return a reader of the streamed answer."""
        is_legacy = wanted.endpoint is Endpoint.COMPLETIONS
        return ChatStream(
            choices=wanted.asked.choices,
            hides_usage=hides_usage,
            echoed=completions.echoed(wanted) if is_legacy else (),
        )

    def whole(self, wanted: Wanted, body: bytes, headers: Headers) -> Sequence[Event]:
        """Return what a complete answer says; nothing where it is not this API's answer at all."""
        del headers
        return answers.whole(body, makes_output=wanted.asked.makes_output)

    def refusal(self, refused: Refused) -> Answer:
        """Return a refusal for OpenAI's SDKs."""
        return refusals.refusal(refused)

    def models(self, models: Iterable[Model], aliases: Iterable[str]) -> bytes:
        """Return the listing of models and operators' names."""
        return refusals.models(models, aliases)

    def model(self, model: Model | str) -> bytes:
        """Return one entry of the listing."""
        return refusals.model(model)
