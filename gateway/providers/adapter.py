"""The protocols of this package: a provider is a host that speaks a dialect.

A dialect knows bodies: what a request asks for, how a ceiling is written into it, what an answer's
frames mean, what a refusal looks like to its SDK. A host knows places: URL, headers, signature.
Neither does I/O, so both are tested as a score: given these bytes, these events.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final, Protocol

import msgspec

from gateway.core.calls import Asked
from gateway.core.events import Event
from gateway.core.ids import Provider
from gateway.core.pricing import Model
from gateway.core.refusal import Code, Refused

Headers = Sequence[tuple[bytes, bytes]]


class Endpoint(StrEnum):
    """A metered path, by the name that traces and metrics use."""

    CHAT_COMPLETIONS = "chat/completions"
    COMPLETIONS = "completions"
    RESPONSES = "responses"
    RESPONSES_INPUT_TOKENS = "responses/input_tokens"
    EMBEDDINGS = "embeddings"
    MESSAGES = "messages"
    MESSAGES_COUNT_TOKENS = "messages/count_tokens"
    GENERATE_CONTENT = "generateContent"
    STREAM_GENERATE_CONTENT = "streamGenerateContent"
    COUNT_TOKENS = "countTokens"
    EMBED_CONTENT = "embedContent"
    BATCH_EMBED_CONTENTS = "batchEmbedContents"
    CONVERSE = "converse"
    CONVERSE_STREAM = "converse-stream"
    INVOKE = "invoke"
    INVOKE_STREAM = "invoke-with-response-stream"
    MODELS = "models"
    """The listing, which the gateway answers itself."""


class Path(msgspec.Struct, frozen=True, kw_only=True):
    """What a request's path and query say of a call, decoded once and checked.

    `model` is the name that the path asks for, None where the body does. `version` is the API's, as
    the client wrote it (Gemini's `v1beta`, Azure's `api-version`), None where the API has none.
    `is_array`: a stream is one JSON array and no server-sent events. `is_beta`: the client asked for
    the form of Anthropic's API that has its beta features. `heeds` are the names of the client's headers
    that bear on what the call costs, as its body does, and `headers` those of them that it has.
    """

    endpoint: Endpoint
    model: str | None = None
    version: str | None = None
    is_array: bool = False
    is_beta: bool = False
    heeds: frozenset[bytes] = frozenset()
    headers: Headers = ()


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A request as its dialect read it. `fields` are the body's members, raw and in order."""

    path: Path
    asked: Asked
    fields: Mapping[str, msgspec.Raw]
    wants_usage: bool = False
    """Whether the client itself asked for the usage that a stream reports."""
    stream_type: bytes = b"text/event-stream"
    """The media type of the answer, if it is the stream that was asked for."""

    @property
    def endpoint(self) -> Endpoint:
        """Which call this is."""
        return self.path.endpoint


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway changes in a request's body, and nothing else.

    `output_tokens` is written where it is not None (the ceiling, for one choice), `reports_usage` is
    set when a stream must be asked to report its usage, `names_tier` when a missing service tier
    must be said so that the provider's account default can't make the call dearer. `ceiling_field`
    is the host's, for a ceiling that the request did not name in a way that the host heeds.
    """

    model: str
    output_tokens: int | None
    ceiling_field: str = "max_completion_tokens"
    reports_usage: bool
    names_tier: bool


class Answer(msgspec.Struct, frozen=True):
    """A complete HTTP answer of our own making."""

    status: int
    headers: Headers
    body: bytes


class Piece(msgspec.Struct, frozen=True, gc=False):
    """What is passed on of a stream, byte for byte, and what it said. `relay` may be empty."""

    relay: bytes
    events: tuple[Event, ...]


class StreamReader(Protocol):
    """Reads one answer's body as it arrives. Sans-IO: it is fed, and keeps what is incomplete."""

    def feed(self, data: bytes) -> Iterable[Piece]:
        """Return the complete pieces so far. Any split of the same bytes gives the same events.

        Raises:
            FrameTooLong: one frame grows beyond the limit, so memory would not stay flat.
        """
        ...

    def end(self) -> Iterable[Piece]:
        """Return what was left when the body ended, a last frame without its blank line too."""
        ...

    def cut(self, refused: Refused) -> bytes:
        """Return what ends the stream early after all pieces so far: an error, never as if complete."""
        ...


class Dialect(Protocol):
    """One API's bodies."""

    name: str
    passed: frozenset[bytes]
    """The client's headers that go on to the provider, in lower case."""

    def read(self, path: Path, body: bytes) -> Wanted | Refused:
        """Return what a request asks for, checked, or why it is refused. Never raises."""
        ...

    def write(self, wanted: Wanted, change: Change) -> bytes:
        """Return the body to send: the client's own members, but for what `change` says."""
        ...

    def stream(self, wanted: Wanted, *, hides_usage: bool) -> StreamReader:
        """Return a reader of a streamed answer; it takes out usage that the client did not ask for."""
        ...

    def whole(self, wanted: Wanted, body: bytes, headers: Headers) -> Sequence[Event]:
        """Return what a complete answer of status 200 says; `Broken` if it is an error in disguise.

        Nothing where it is no answer of this API at all; `Opaque` where it says nothing of use.
        """
        ...

    def refusal(self, refused: Refused) -> Answer:
        """Return a refusal as this dialect's SDKs expect it, so that each raises its own type."""
        ...

    def models(self, models: Iterable[Model], aliases: Iterable[str]) -> bytes:
        """Return the model listing of these models and names."""
        ...

    def model(self, model: Model | str) -> bytes:
        """Return one entry of the listing: a model's, or that of an operator's name."""
        ...


class Signing(msgspec.Struct, frozen=True):
    """For what a request is to be signed, by AWS Signature Version 4, before it leaves."""

    service: str
    region: str


class PreparedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What goes upstream. `target` is the path with its query, percent-encoded."""

    method: bytes
    scheme: str
    host: str
    port: int
    target: bytes
    headers: Headers
    body: bytes
    signing: Signing | None = None


class Host(Protocol):
    """One provider's place. Built from its configured base URL; holds no key."""

    provider: Provider
    reports_usage: bool
    """Whether a stream may be asked to report its usage (some refuse the field)."""
    has_tiers: bool
    """Whether a missing service tier is answered by the account's default, which may be dearer."""
    ceiling_field: str
    """The field that certainly bounds this host's output, where a dialect has several."""

    def request(
        self, wanted: Wanted, body: bytes, *, model: str, key: str | None, passed: Headers
    ) -> PreparedRequest:
        """Return the request of a call with the body that the dialect wrote.

        `model` is the provider's own name for it; `passed` are the client's headers that may go on.
        """
        ...


class Adapter(msgspec.Struct, frozen=True):
    """A provider: where it is, and the names of the dialects that it understands.

    `states_cost`: what it says that it bills is what a call costs, whatever the prices are.
    """

    host: Host
    speaks: frozenset[str]
    states_cost: bool = False


STATUS: Final[Mapping[Code, int]] = {
    Code.INVALID_REQUEST: 400,
    Code.PRICE_UNKNOWN: 400,
    Code.RUN_REQUIRED: 400,
    Code.BOUND_UNKNOWN: 400,
    Code.TOKEN_INVALID: 401,
    Code.REQUEST_CAP_EXCEEDED: 402,
    Code.RUN_CAP_EXCEEDED: 402,
    Code.MONTH_BUDGET_EXCEEDED: 402,
    Code.TOKEN_BUDGET_EXCEEDED: 402,
    Code.PROJECT_BUDGET_EXCEEDED: 402,
    Code.MODEL_BUDGET_EXCEEDED: 402,
    Code.SCOPE_MISSING: 403,
    Code.MODEL_NOT_ALLOWED: 403,
    Code.KILL_SWITCH: 403,
    Code.CONTENT_NOT_ALLOWED: 403,
    Code.MODEL_NOT_FOUND: 404,
    Code.ENDPOINT_NOT_METERED: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.BODY_TOO_LARGE: 413,
    Code.UNSUPPORTED_MEDIA_TYPE: 415,
    Code.RATE_LIMITED: 429,
    Code.TOO_MANY_STREAMS: 429,
    Code.UPSTREAM_ERROR: 502,
    Code.LEDGER_UNAVAILABLE: 503,
    Code.DRAINING: 503,
    Code.UPSTREAM_TIMEOUT: 504,
}
"""The HTTP status of every refusal, in every dialect and in the admin API."""
