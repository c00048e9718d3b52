"""What an answer consists of, whatever API it is asked for by: pieces of text, and what they cost.

A dialect (`dialects/`) reads a request into `Asked` and writes a `Produced` as that API writes it.
Between the two there is one reckoning, so that the account means the same for every API.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.process import script as scripts
from tests.process.script import Piece, Script

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request wants, in no API's words."""

    model: str
    text: str
    """Of the whole prompt; what is echoed."""
    charged: int
    """Tokens of the prompt, unless the script sets them."""
    limit: int | None = None
    """The most output tokens of one choice, thought included."""
    choices: int = 1
    tool: str | None = None
    """The tool to call, where one is offered and may be called."""
    schema: Json | None = None
    """JSON that fits it is to be said; {} is any object."""
    is_stream: bool = False
    wants_usage: bool = False
    """Asks for usage where the API gives it on request alone."""
    is_array: bool = False
    """The stream is to be a JSON array (Gemini without `alt=sse`)."""
    script: Mapping[str, Any] = field(default_factory=dict)
    """What the request itself says of its script."""
    body: Json = field(default_factory=dict)
    """Where the answer depends on more of it: vectors have the size that is asked for."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What one choice says: prose, or the arguments of one call of a tool."""

    pieces: list[Piece]
    finish: str
    """stop, length or tool_calls, as OpenAI says it."""
    tool: str | None

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Frame:
    """One event of a stream; `tokens` is what it adds to the output, 0 for mere structure."""

    payload: Json
    tokens: int = 0
    name: str = ""
    """Of the event, where the API names its events."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The bill at one moment of an answer: what a usage object is made of."""

    prompt: int
    """All of it; cached and written are parts."""
    cached: int
    written: int
    completion: int
    """Thought included."""
    reasoning: int


@dataclass(frozen=True, slots=True)
class Produced:
    """A whole answer, decided before its first byte."""

    id: str
    asked: Asked
    script: Script
    choices: list[Choice]
    prompt_tokens: int
    thought: list[Piece]
    """Of all choices together."""

    @property
    def model(self) -> str:
        return self.asked.model

    @property
    def reasoning_tokens(self) -> int:
        return sum(piece.tokens for piece in self.thought)

    @property
    def hidden_tokens(self) -> int:
        """Return the tokens that no event carries."""
        return 0 if self.script.thinks_aloud else self.reasoning_tokens

    @property
    def completion_tokens(self) -> int:
        said = (piece.tokens for choice in self.choices for piece in choice.pieces)
        return self.reasoning_tokens + sum(said)

    def counts(self, completion_tokens: int | None = None) -> Counts:
        """Return the bill once so much was produced (None: all), extras included."""
        produced = self.completion_tokens if completion_tokens is None else completion_tokens
        return Counts(
            prompt=self.prompt_tokens,
            cached=self.script.cached_tokens,
            written=self.script.cache_write_tokens,
            completion=produced + self.script.extra_billed_tokens,
            reasoning=self.reasoning_tokens,
        )

    @property
    def reports_usage(self) -> bool:
        return self.script.usage != "never"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one API reads and writes; each module of `dialects/` offers one for each endpoint."""

    prefix: str
    """Of the ids of its answers."""
    asked: Callable[[str, Json], Asked]
    """Reads the model that the path names ("" where it names none) and the body."""
    whole: Callable[[Produced], Json]
    frames: Callable[[Produced], Iterator[Frame]] | None
    """None where the endpoint has no streams."""
    error: Callable[[int, str, str], Json]
    """The body of a refusal: status, code, message."""
    error_frame: Callable[[Json, int], Frame] = lambda body, count: Frame(body)
    """That body as an event, after so many events."""
    done: bytes = b""
    """What comes after the last event."""
    line_end: bytes = b"\n"
    is_free: bool = False
    """Counts and says so; produces nothing, and charges nothing."""


def produce(answer_id: str, script: Script, asked: Asked) -> Produced:
    """Decide an answer. A limit is for thought and speech together, as everywhere."""
    limit = asked.limit
    thinking = script.reasoning_tokens
    if limit is not None and not script.ignore_max_tokens:
        thinking = min(thinking, limit)
        limit -= thinking
    charged = asked.charged if script.prompt_tokens is None else script.prompt_tokens
    return Produced(
        id=answer_id,
        asked=asked,
        script=script,
        choices=[_choice(script, asked, limit) for _ in range(asked.choices)],
        prompt_tokens=charged,
        thought=scripts.thought(script, thinking * asked.choices),
    )


def _choice(script: Script, asked: Asked, limit: int | None) -> Choice:
    said = asked.text if script.echo else script.text
    if asked.tool is not None:
        arguments = {"text": said} if script.echo else script.tool_arguments
        pieces, finish = scripts.speech(script, scripts.json_text(arguments), limit)
        return Choice(pieces, "tool_calls" if finish == "stop" else finish, asked.tool)
    answer = scripts.json_answer(script, asked.schema)
    pieces, finish = scripts.speech(script, answer or said, limit)
    return Choice(pieces, finish, None)


USAGE_MARK: Json = {"usage is": "elsewhere"}
"""Stands for a usage object that is written as no encoder would."""


def usage_body(produced: Produced, counts: Json) -> Json:
    """Return a usage object as the script has it: some fields changed, or another altogether."""
    if produced.script.usage_text is not None:
        return dict(USAGE_MARK)
    return {**counts, **produced.script.usage_fields}
