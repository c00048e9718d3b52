"""Real tokenizers, as they come with packages that the tests use; and what a prompt is to them.

OpenAI's vocabularies and Qwen's (Voyage's is the same but for special tokens) come with bpe-openai,
Claude's (as published for Claude 2; it normalizes as SentencePiece does) and DeepSeek's with litellm.
"""

from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from bpe_openai import get_encoding
from tokenizers import Tokenizer

from tests.bounds.conversations import IMAGE_TOKENS, Request

Count = Callable[[str], int]

_PER_MESSAGE: Final = 4
"""Marks around a message: `<|start|>`, `<|message|>`, `<|end|>`, and one for its name. Source:
OpenAI's cookbook, `How_to_count_tokens_with_tiktoken`."""
_PRIMING: Final = 3
_PER_TOOL: Final = 12
"""Words around a tool in a namespace, beside its own JSON."""


@cache
def tokenizers() -> Mapping[str, Count]:
    """Return every tokenizer at hand, by the family of models that it is of."""
    return {
        "o200k": _openai("o200k_base"),
        "cl100k": _openai("cl100k_base"),
        "Qwen": _openai("voyage3_base"),
        "Claude": _packaged("anthropic_tokenizer.json"),
        "DeepSeek": _packaged("deepseek_tokenizer.json"),
    }


def input_tokens(request: Request, count: Count) -> int:
    """Return how many tokens a vendor bills of a request, by its tokenizer and the framing it documents."""
    text = sum(count(part) for part in (*request.parts, *request.rendered_tools))
    frame = _PER_MESSAGE * len(request.parts) + _PER_TOOL * len(request.rendered_tools) + _PRIMING
    shown = IMAGE_TOKENS * request.images + request.ids
    return text + shown + (frame if request.is_framed else 0)


def _openai(name: str) -> Count:
    encoding = get_encoding(name)
    return lambda text: len(encoding.encode_ordinary(text))


def _packaged(name: str) -> Count:
    package = find_spec("litellm")
    assert package is not None
    assert package.origin is not None
    folder = Path(package.origin).parent / "litellm_core_utils/tokenizers"
    tokenizer = Tokenizer.from_file(str(folder / name))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
