"""A request's tokens are those of the text that the model reads, however it was written down."""

import json

import anyio
import pytest
from hypothesis import given, strategies as st

from gateway.core.pricing import Vocabulary
from gateway.core.tokens import Tokenizers
from gateway.exchange.counting import TokenCounter, unescaped


async def counted(body: bytes, vocabulary: Vocabulary = Vocabulary.CL100K) -> int:
    counter = TokenCounter(Tokenizers())
    async with anyio.create_task_group() as group:
        group.start_soon(counter.run)
        found = await counter.count_body(body, vocabulary)
        group.cancel_scope.cancel()
    assert found is not None
    return found


@pytest.mark.parametrize("word", [r"\brief", r"\base", r"\u0001", r"\ud83e\udd80", r"\u0f00"])
@pytest.mark.parametrize("vocabulary", [Vocabulary.CL100K, Vocabulary.O200K])
async def test_an_escape_hides_no_token(word: str, vocabulary: Vocabulary):
    """cl100k has a token for a backslash and `brief`, and none for a backspace and `rief`."""
    written = f'"{word * 200}"'
    text = json.loads(written)
    assert await counted(written.encode(), vocabulary) >= await counted(text.encode(), vocabulary)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.booleans())
def test_what_is_escaped_is_read_as_json_means_it(text: str, is_ascii: bool):
    assert unescaped(json.dumps(text, ensure_ascii=is_ascii)) == f'"{text}"'


@given(st.text(st.sampled_from(r"\u\"ad8")))
def test_any_text_can_be_read(text: str):
    assert isinstance(unescaped(text).encode(), bytes)
