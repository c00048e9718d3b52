"""What one JSON answer says, a chunk of a stream or a whole one: text, usage, who served it.

The usual shape is decoded by type, and nothing but what is acted on becomes a Python object. What
does not fit is read again, slowly, and there every text of a candidate counts as output.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from gateway.core.calls import Asked
from gateway.core.events import Broken, Delta, Event, Opaque, Served, Thinking, Usage
from gateway.providers import lenient_json
from gateway.providers.dialects.generate_content import accounts
from gateway.providers.dialects.generate_content.tiers import tier_served
from gateway.providers.lenient_json import label, string, strings


class Blob(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Media. Its bytes are not its tokens."""

    mime_type: str | None = None


class Code(msgspec.Struct, frozen=True, gc=False):
    """Code that the model wrote, to be run by the vendor."""

    code: str | None = None


class Part(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One piece of output. `thought` marks a text as the summary of thoughts."""

    text: str | None = None
    thought: bool | None = None
    function_call: dict[str, Any] | None = None
    executable_code: Code | None = None
    inline_data: Blob | None = None


class Content(msgspec.Struct, frozen=True, gc=False):
    """What a candidate consists of."""

    parts: list[Part] | None = None


class Candidate(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One candidate, or a piece of it. `read_slowly` is all text of one that has no usual shape."""

    index: int = 0
    content: Content | None = None
    finish_reason: str | None = None
    read_slowly: str = ""


class Feedback(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What is said of the prompt: why there is no candidate."""

    block_reason: str | None = None


class Embedding(msgspec.Struct, frozen=True, gc=False):
    """One embedding, but for its vector. Some models count its tokens here."""

    statistics: dict[str, Any] | None = None


class Answer(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One chunk or answer, of any of the API's calls."""

    candidates: list[Candidate] | None = None
    usage_metadata: dict[str, Any] | None = None
    model_version: str | None = None
    prompt_feedback: Feedback | None = None
    error: Any = None
    embedding: Embedding | None = None
    embeddings: list[Embedding] | None = None
    total_tokens: int | None = None


def read(document: bytes) -> Answer | None:
    """Return what a JSON document says; None where it is not a JSON object to anyone."""
    try:
        return _DECODER.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _read_slowly(document)


def produced(answer: Answer) -> str:
    """Return all that the model produced in an answer, of all its candidates.

    Of media their type stands for them: something was produced that no text tells the size of.
    """
    return "".join(map(_text, answer.candidates or ()))


def thinks_unseen(answer: Answer) -> bool:
    """Return whether an answer shows more having been produced than its text.

    Thoughts are shown as a summary at most; media are not counted by their bytes.
    """
    usage = answer.usage_metadata
    if usage and usage.get("thoughtsTokenCount"):
        return True
    return any(part.thought or part.inline_data is not None for part in _parts(answer))


def is_blocked(answer: Answer) -> bool:
    """Return whether the prompt was refused, so that no candidate comes."""
    feedback = answer.prompt_feedback
    return feedback is not None and bool(feedback.block_reason)


def usage(answer: Answer, document: bytes, asked: Asked) -> Usage | None:
    """Return an answer's account if it has one that can be trusted."""
    values = answer.usage_metadata
    if not values:
        return _counted_embeddings(answer)
    return None if _is_ambiguous(document) else accounts.read(values, asked)


def served(answer: Answer) -> Served | None:
    """Return who an answer says served it; None where it says nothing of that."""
    name = label((answer.model_version or "").removeprefix("models/"))
    tier = tier_served(answer.usage_metadata) if answer.usage_metadata else None
    return None if name is None and tier is None else Served(name, tier)


def whole(document: bytes, asked: Asked) -> Sequence[Event]:
    """Return what a complete answer says, its usage last; nothing where it is no answer at all."""
    answer = read(document)
    if answer is None or not _is_answer(answer):
        return ()
    return tuple(_events(answer, document, asked)) or (Opaque(),)


def _events(answer: Answer, document: bytes, asked: Asked) -> Iterator[Event]:
    by = served(answer)
    if by is not None:
        yield by
    if text := produced(answer):
        yield Delta(text)
    if thinks_unseen(answer):
        yield Thinking()
    if answer.error:
        yield Broken()
    reported = usage(answer, document, asked)
    if reported is not None:
        yield reported


def _is_answer(answer: Answer) -> bool:
    if answer.candidates is not None or answer.prompt_feedback is not None or answer.error:
        return True
    counts = (answer.usage_metadata, answer.embedding, answer.embeddings, answer.total_tokens)
    return any(count is not None for count in counts)


def _parts(answer: Answer) -> Iterator[Part]:
    for candidate in answer.candidates or ():
        if candidate.content is not None:
            yield from candidate.content.parts or ()


def _text(candidate: Candidate) -> str:
    parts = candidate.content.parts if candidate.content is not None else None
    if not parts:
        return candidate.read_slowly
    if len(parts) == 1:
        return _said(parts[0])
    return "".join(map(_said, parts))


def _said(part: Part) -> str:
    text = part.text or ""
    if part.function_call is not None:
        text += _called(part.function_call)
    if part.executable_code is not None:
        text += part.executable_code.code or ""
    if part.inline_data is not None:
        text += part.inline_data.mime_type or "?"
    return text


def _called(call: dict[str, Any]) -> str:
    """Return a call's name and arguments, written shortly; its id and flags are not the model's."""
    kept = [call[name] for name in ("args", "partialArgs") if call.get(name)]
    written = "".join(_WRITER.encode(value).decode() for value in kept)
    return (string(call.get("name")) or "") + written


def _counted_embeddings(answer: Answer) -> Usage | None:
    """Return the sum of the tokens of all embeddings, where each says how many it has."""
    embeddings = answer.embeddings or ([answer.embedding] if answer.embedding else [])
    counts = [one.statistics.get("tokenCount") for one in embeddings if one.statistics]
    if not embeddings or len(counts) < len(embeddings):
        return None
    tokens = [accounts.count(count) for count in counts if count is not None]
    if len(tokens) < len(embeddings) or not all(tokens):
        return None  # no text has no tokens at all, so that a zero means that nobody counted
    return Usage(input=sum(filter(None, tokens)), output=0)


def _is_ambiguous(document: bytes) -> bool:
    """Return whether an account may be read in two ways, having a member twice, or being there twice."""
    if document.count(_ACCOUNT) > 1 and lenient_json.names_own_twice(document):
        return True
    try:
        account = _ACCOUNTS.decode(document).usage_metadata
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return lenient_json.names_twice(document)
    return lenient_json.names_twice(bytes(account))


def _read_slowly(document: bytes) -> Answer | None:
    values = lenient_json.read(document)
    if values is None:
        return None
    candidates, reported = values.get("candidates"), values.get("usageMetadata")
    feedback = values.get("promptFeedback")
    total = values.get("totalTokens")
    return Answer(
        candidates=list(map(_candidate, candidates)) if isinstance(candidates, list) else None,
        usage_metadata=reported if isinstance(reported, dict | None) else {},
        model_version=string(values.get("modelVersion")),
        prompt_feedback=Feedback(string(feedback.get("blockReason")))
        if isinstance(feedback, dict)
        else None,
        error=values.get("error"),
        embedding=Embedding() if isinstance(values.get("embedding"), dict) else None,
        embeddings=[Embedding()] if isinstance(values.get("embeddings"), list) else None,
        total_tokens=total if type(total) is int else None,
    )


def _candidate(value: object) -> Candidate:
    if not isinstance(value, dict):
        return Candidate()
    index = value.get("index")
    return Candidate(
        index=index if type(index) is int else 0,
        finish_reason=string(value.get("finishReason")),
        read_slowly="".join(strings(value.get("content"))),
    )


class _Accounts(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The part of an answer that is an account, as it came."""

    usage_metadata: msgspec.Raw = lenient_json.ABSENT


_ACCOUNT: Final = b'"usageMetadata"'
_DECODER: Final = msgspec.json.Decoder(Answer)
_ACCOUNTS: Final = msgspec.json.Decoder(_Accounts)
_WRITER: Final = msgspec.json.Encoder()
