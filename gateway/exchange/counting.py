"""Tokenizers beside the event loop: loaded when a count is first wanted, and never waited for by it.

Loading takes half a second of a worker thread and over 100 MB, so a gateway that never needs a count
never pays for it. Until it is done a count is not known, and what is bounded by bytes stays so.
"""

import json
import re
from typing import Final

import anyio

from gateway.core.pricing import Vocabulary
from gateway.core.tokens import Tokenizers, slices

_MOST_COUNTED_BYTES: Final = 1024 * 1024
"""A larger request is bounded by its bytes: counting it would keep the interpreter busy for long."""


class TokenCounter:
    """Counts by OpenAI's public vocabularies."""

    def __init__(self, tokenizers: Tokenizers) -> None:
        self._tokenizers = tokenizers
        self._is_wanted = anyio.Event()
        self._is_loaded = anyio.Event()

    async def run(self) -> None:
        """Load the vocabularies once a count is wanted."""
        await self._is_wanted.wait()
        await anyio.to_thread.run_sync(self._tokenizers.load)
        self._is_loaded.set()

    def count(self, text: str, vocabulary: Vocabulary) -> int | None:
        """Return a short text's tokens at once; None where the vocabulary is not loaded yet."""
        self._is_wanted.set()
        return self._tokenizers.count(text, vocabulary)

    async def count_body(self, body: bytes, vocabulary: Vocabulary) -> int | None:
        r"""Return a request's tokens, slice by slice; None where it is too large to be counted.

        `body` is JSON, or several JSON values. What it escapes is counted as the text that the model
        reads: an escape and what follows it may be one token (`\brief` of cl100k) where the text has
        two, and five where the text has one (`\u65e5`).
        """
        if vocabulary is Vocabulary.UNKNOWN or len(body) > _MOST_COUNTED_BYTES:
            return None
        self._is_wanted.set()
        await self._is_loaded.wait()
        written = body.decode(errors="replace")
        read = written
        if "\\" in written:
            read = await anyio.to_thread.run_sync(unescaped, written)
        return await self._count_text(read, vocabulary)

    async def _count_text(self, text: str, vocabulary: Vocabulary) -> int | None:
        total = 0
        for part in slices(text):
            counted = self._tokenizers.count(part, vocabulary)
            if counted is None:
                return None
            total += counted
            await anyio.lowlevel.checkpoint()
        return total


def unescaped(written: str) -> str:
    """Return JSON with what its strings escape put in its place; for counting, as it is JSON no more."""
    return _ESCAPES.sub(_meant, written)


def _meant(escapes: re.Match[str]) -> str:
    try:
        meant = str(json.loads(f'"{escapes[0]}"'))
    except ValueError:
        return escapes[0]
    return meant.encode(errors="replace").decode()


_ESCAPES: Final = re.compile(r"(?:\\(?:u[0-9a-fA-F]{4}|[^u]))+")
