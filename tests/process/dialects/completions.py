"""OpenAI's legacy completions: a prompt, or several, each of text or of token ids."""

import itertools
from collections.abc import Iterator

from tests.process.dialects import chat
from tests.process.produced import Asked, Dialect, Frame, Json, Produced
from tests.process.script import tokens_of

DEFAULT_LIMIT = 16


def asked(model: str, body: Json) -> Asked:
    prompts = inputs(body.get("prompt", ""))
    limit = body.get("max_tokens")
    return Asked(
        model=model or str(body.get("model")),
        text="\n".join(prompt for prompt in prompts if isinstance(prompt, str)),
        charged=sum(map(tokens_in, prompts)),
        limit=DEFAULT_LIMIT if limit is None else limit,
        choices=int(body.get("n") or 1) * len(prompts),
        is_stream=bool(body.get("stream")),
        wants_usage=chat.wants_usage(body),
        script=chat.said_in_metadata(body),
    )


def inputs(given: str | list[str] | list[int] | list[list[int]]) -> list[str | list[int]]:
    """Return the texts, or arrays of token ids, that one is or several are given as."""
    match given:
        case str() | [int(), *_]:
            return [given]
        case _:
            return list(given)


def tokens_in(given: str | list[int]) -> int:
    return tokens_of(given) if isinstance(given, str) else len(given)


def whole(produced: Produced) -> Json:
    choices = [
        {"text": one.text, "index": index, "logprobs": None, "finish_reason": one.finish}
        for index, one in enumerate(produced.choices)
    ]
    answer = chat.envelope(produced, "text_completion", choices)
    if produced.reports_usage:
        answer["usage"] = chat.usage(produced, produced.counts())
    return answer


def frames(produced: Produced) -> Iterator[Frame]:
    return chat.with_usage(produced, "text_completion", _content_frames(produced))


def _content_frames(produced: Produced) -> Iterator[Frame]:
    turns = itertools.zip_longest(*(choice.pieces for choice in produced.choices))
    for turn in turns:
        for index, piece in enumerate(turn):
            if piece is not None:
                yield _said(produced, index, piece.text, tokens=piece.tokens)
    for index, choice in enumerate(produced.choices):
        yield _said(produced, index, "", finish=choice.finish)


def _said(
    produced: Produced, index: int, text: str, *, finish: str | None = None, tokens: int = 0
) -> Frame:
    choice = {"text": text, "index": index, "logprobs": None, "finish_reason": finish}
    return Frame(chat.envelope(produced, "text_completion", [choice]), tokens)


COMPLETIONS = Dialect("cmpl-", asked, whole, frames, chat.error, done=b"data: [DONE]\n\n")
