"""Amazon Bedrock's runtime API: Converse, and Invoke with the bodies of the vendors that it hosts.

Sources: the model of the API in botocore 1.44 (`bedrock-runtime`, 2023-09-30), and
docs.aws.amazon.com/bedrock.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from gateway.core.events import Event
from gateway.core.pricing import Model
from gateway.core.refusal import Refused
from gateway.providers.adapter import Answer, Change, Endpoint, Headers, Path, Wanted
from gateway.providers.dialects.bedrock import (
    converse_answers,
    converse_request,
    counting,
    families,
    headers,
    invoke_answers,
    invoke_request,
    refusals,
    rewrite,
)
from gateway.providers.dialects.bedrock.streams import BedrockStream, ChunkEvents, ConverseEvents
from gateway.providers.fields import no_such_body, read_object

_PASSED: Final = frozenset({b"user-agent", headers.TIER, headers.LATENCY})
"""None that names a client, a key or a place, or would be billed unseen."""


class Bedrock:
    """The dialect. It keeps nothing between calls."""

    name = "bedrock"
    passed = _PASSED

    def read(self, path: Path, body: bytes) -> Wanted | Refused:
        """Return what a body asks for, or why it is refused."""
        found = read_object(body)
        if isinstance(found, Refused):
            return found
        match path.endpoint:
            case Endpoint.CONVERSE | Endpoint.CONVERSE_STREAM:
                return converse_request.read(path, found)
            case Endpoint.INVOKE | Endpoint.INVOKE_STREAM:
                return invoke_request.read(path, found)
            case Endpoint.COUNT_TOKENS:
                return counting.read(path, found)
            case _:
                return no_such_body()

    def write(self, wanted: Wanted, change: Change) -> bytes:
        """Return the body to send."""
        return rewrite.write(wanted, change)

    def stream(self, wanted: Wanted, *, hides_usage: bool) -> BedrockStream:
        """Return a reader of the streamed answer. Usage is never asked for, so none is hidden."""
        del hides_usage
        asked = wanted.asked
        if wanted.endpoint is Endpoint.INVOKE_STREAM:
            return BedrockStream(ChunkEvents(families.family(asked.model)))
        return BedrockStream(ConverseEvents(asked.tier))

    def whole(self, wanted: Wanted, body: bytes, headers: Headers) -> Sequence[Event]:
        """Return what a complete answer says; nothing where it is not this API's answer at all."""
        asked = wanted.asked
        if wanted.endpoint is Endpoint.COUNT_TOKENS:
            return counting.whole(body)
        if wanted.endpoint in {Endpoint.CONVERSE, Endpoint.CONVERSE_STREAM}:
            return converse_answers.whole(body, asked.tier)
        return invoke_answers.whole(body, headers, families.family(asked.model))

    def refusal(self, refused: Refused) -> Answer:
        """Return a refusal for AWS's SDKs."""
        return refusals.refusal(refused)

    def models(self, models: Iterable[Model], aliases: Iterable[str]) -> bytes:
        """Return the listing of models and operators' names."""
        return refusals.models(models, aliases)

    def model(self, model: Model | str) -> bytes:
        """Return one entry of the listing."""
        return refusals.model(model)
