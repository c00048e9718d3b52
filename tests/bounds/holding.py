"""What the gateway would hold for a request, and what the vendor would bill of its input."""

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from functools import cache
from random import Random
from typing import Final

import msgspec

from gateway.core.events import Usage
from gateway.core.ids import ModelName, Provider
from gateway.core.pricing import DEFAULT_TIER, Model, Vocabulary, cost
from gateway.core.tokens import Tokenizers
from gateway.exchange.counting import unescaped
from gateway.exchange.offers import Offer, offer
from gateway.providers.adapter import Wanted
from gateway.store.prices import compile_book
from tests.bounds import conversations as forms, texts, truth
from tests.bounds.conversations import Conversation, Request

SEED: Final = 20261125
WINDOW: Final = 10**6
"""Larger than any request here: a bound must come from its bytes, unless a picture hides them."""
_TODAY: Final = date(2026, 11, 25)
_PLACES: Final = {
    Provider("openai"): "https://api.openai.com/v1",
    Provider("anthropic"): "https://api.anthropic.com",
    Provider("google"): "https://generativelanguage.googleapis.com",
    Provider("bedrock"): "https://bedrock-runtime.us-east-1.amazonaws.com",
    Provider("deepseek"): "https://api.deepseek.com",
    Provider("together"): "https://api.together.xyz/v1",
}
_ANY: Final = ("o200k", "cl100k", "Qwen", "Claude", "DeepSeek")

Form = Callable[[Conversation], Request]


class Family(msgspec.Struct, frozen=True):
    """Requests of one form to one model; `vocabularies`: any of them may be its own."""

    form: Form
    model: str
    vocabularies: tuple[str, ...]

    @property
    def name(self) -> str:
        """What it is called in a table."""
        return f"{self.form.__name__} to {self.model}"


FAMILIES: Final = (
    Family(forms.chat, "openai/gpt-4o", ("o200k",)),
    Family(forms.chat, "openai/gpt-4", ("cl100k",)),
    Family(forms.chat, "deepseek/deepseek-chat", ("DeepSeek",)),
    Family(forms.chat, "together/Qwen/Qwen3.5-9B", ("Qwen",)),
    Family(forms.responses, "openai/gpt-5.6-sol", ("o200k",)),
    Family(forms.messages, "anthropic/claude-opus-5-5", ("Claude",)),
    Family(forms.gemini, "google/gemini-2.5-flash", _ANY),
    Family(forms.converse, "bedrock/us.amazon.nova-lite-v1:0", _ANY),
    Family(forms.embeddings, "openai/text-embedding-3-small", ("cl100k",)),
    Family(forms.completions, "openai/gpt-3.5-turbo-instruct", ("cl100k",)),
)


class Held(msgspec.Struct, frozen=True):
    """A request of a family, what was held for it, and the input that its vendor may bill."""

    request: Request
    model: Model
    wanted: Wanted
    bytes_bound: Offer
    counted_bound: Offer | None
    input_tokens: int

    @property
    def dearest(self) -> Usage:
        """The dearest that it may turn out: all input written to a cache, all output made."""
        choices = self.wanted.asked.choices if self.wanted.asked.makes_output else 0
        return Usage(
            input=0,
            cache_write=min(self.input_tokens, WINDOW * self.wanted.asked.prompts),
            output=forms.MOST_OUTPUT * choices,
        )

    @property
    def cost(self) -> int:
        """What that would cost."""
        return cost(self.model, self.dearest, DEFAULT_TIER)


def conversations(
    count: int, kinds: tuple[texts.Kind, ...] = texts.KINDS, most: int = 3000
) -> Iterator[Conversation]:
    """Yield so many conversations of up to some `most` characters, the same each time."""
    chance = Random(SEED)  # noqa: S311  # the same for everyone
    return (forms.conversation(chance, most, kinds) for _ in range(count))


def held(family: Family, conversation: Conversation) -> Held:
    """Return what would be held for a conversation."""
    request, model = family.form(conversation), models()[family.model]
    wanted = request.dialect.read(request.path, request.body)
    assert isinstance(wanted, Wanted), wanted
    counted = counted_tokens(wanted, model.vocabulary)
    return Held(
        request,
        model,
        wanted,
        _offer(model, wanted, None),
        None if counted is None else _offer(model, wanted, counted),
        max(truth.input_tokens(request, truth.tokenizers()[name]) for name in family.vocabularies),
    )


def counted_tokens(wanted: Wanted, vocabulary: Vocabulary) -> int | None:
    """Return what the gateway counts of a request, as `TokenCounter.count_body` does off its loop."""
    if vocabulary is Vocabulary.UNKNOWN:
        return None
    written = b" ".join(bytes(raw) for raw in wanted.fields.values()).decode(errors="replace")
    return counter().count(unescaped(written), vocabulary)


@cache
def counter() -> Tokenizers:
    """Return the gateway's own tokenizers, loaded."""
    made = Tokenizers()
    made.load()
    return made


@cache
def models() -> Mapping[str, Model]:
    """Return the models, each with one window."""
    book = compile_book(_PLACES, {}, _TODAY)
    names = [ModelName(family.model) for family in FAMILIES]
    return {
        name: msgspec.structs.replace(book.models[name], context_tokens=WINDOW) for name in names
    }


def _offer(model: Model, wanted: Wanted, counted: int | None) -> Offer:
    found = offer(model, wanted.asked, None, counted)
    assert isinstance(found, Offer), found
    return found
