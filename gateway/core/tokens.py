"""How many tokens a text can be: bounded by its bytes, and counted where that is too coarse.

No token is shorter than a byte, so bytes bound the tokens of every byte-level vocabulary at no cost.
Counting is exact for OpenAI's public vocabularies, and dear: half a second and over 100 MB at its
first use, and it keeps the interpreter busy. So it is loaded on request, outside the event loop, and
done in slices; until then a count is not known, which is an answer (`docs/pricing.md`, "Tokens").
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bpe_openai import Encoding


class Vocabulary(StrEnum):
    """Which tokenizer gives a model's own count; UNKNOWN where only bytes bound it."""

    CL100K = "cl100k_base"
    O200K = "o200k_base"
    UNKNOWN = "unknown"


SLICE_BYTES: Final = 2048
"""The most that one call of a tokenizer is given: some 2.5 ms of the worst text that there is, a run of
dashes, for which o200k has tokens of many lengths; 0.1 ms of any other (`docs/pricing.md`)."""
_SHORTEST_SHOWN_BYTES: Final = 2
"""Bytes of a token, on average, that no natural text or code goes below."""


class Tokenizers:
    """OpenAI's public vocabularies, once they are loaded. `count` fits `core.meter.CountTokens`."""

    def __init__(self) -> None:
        self._encodings: dict[Vocabulary, Encoding] = {}

    @property
    def is_loaded(self) -> bool:
        """Whether texts can be counted."""
        return bool(self._encodings)

    def load(self) -> None:
        """Load them, which takes about a second: call it in a worker thread. Idempotent."""
        if self._encodings:
            return
        from bpe_openai import get_encoding  # noqa: PLC0415  # costs 0.5 s, and most never count

        known = (Vocabulary.CL100K, Vocabulary.O200K)
        self._encodings = {vocabulary: get_encoding(vocabulary.value) for vocabulary in known}

    def count(self, text: str, vocabulary: Vocabulary) -> int | None:
        """Return the tokens of a text, counted slice by slice; None where that can't be known (yet).

        A cut can add a token or two to what the whole text has. A caller that must not keep the event
        loop busy counts `slices` one by one, with a pause after each.
        """
        encoding = self._encodings.get(vocabulary)
        if encoding is None:
            return None
        return sum(len(encoding.encode_ordinary(part)) for part in slices(text))


def is_quick(text: str) -> bool:
    """Return whether a text of up to 32,768 characters is counted within 5 ms, all at once."""
    return len(text) <= 2 * SLICE_BYTES or not any(run in text for run in _SLOW)


_SLOW: Final = tuple(64 * character for character in "-=*/#_~.+")
"""What tokenizers are slow for: runs of which their vocabularies have tokens of many lengths."""


def most_cuts(text: str) -> int:
    """Return how many parts `slices` makes of a text, at most."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return 1 + size // (SLICE_BYTES - 3)


def slices(text: str) -> Iterator[str]:
    """Cut a text into parts of at most `SLICE_BYTES` of UTF-8 each."""
    if text.isascii():
        starts = range(0, len(text), SLICE_BYTES)
        return (text[start : start + SLICE_BYTES] for start in starts)
    return _cut(text.encode("utf-8", "surrogatepass"))


def _cut(written: bytes) -> Iterator[str]:
    """Cut UTF-8 between characters."""
    start = 0
    while start < len(written):
        end = start + SLICE_BYTES
        while end < len(written) and written[end] & 0xC0 == 0x80:
            end -= 1
        yield written[start:end].decode("utf-8", "surrogatepass")
        start = end


def text_bound(countable_bytes: int, vocabulary: Vocabulary) -> int:
    """Return the most tokens that a text of so many `countable_bytes` can be.

    A vendor that publishes no vocabulary is taken to use SentencePiece with byte fallback: a token a
    byte of the normalized text at worst, and some for its own marks.
    """
    if vocabulary is Vocabulary.UNKNOWN:
        return -(-countable_bytes * 105 // 100) + 256
    return countable_bytes


def visible(text_bytes: int, counted: int | None) -> int:
    """Return the most output tokens that shown text can have been, for a call cut before its usage.

    `counted` is our own count in the model's vocabulary, None where there is none.
    """
    if counted is None:
        return -(-text_bytes // _SHORTEST_SHOWN_BYTES)
    return -(-counted * 11 // 10)


def countable_bytes(text: str) -> int:
    """Return the UTF-8 bytes that a text can have after a tokenizer normalized it (NFKC) or did not.

    SentencePiece normalizes before it splits, which makes some characters longer: by up to 30 bytes
    (U+FDFA). Normalizing here would be exact, and quadratic for a text made of combining marks; so
    the characters that may grow are counted, each at the most that its kind grows. Lone surrogates,
    which no JSON text should hold, count as three bytes.
    """
    if text.isascii():
        return len(text)
    size = len(text.encode("utf-8", "surrogatepass"))
    return size + 3 * len(_GROWS.findall(text)) + 30 * len(_GROWS_MUCH.findall(text))


# From the Unicode Character Database 14.0 (a test compares it with Python's own): every character
# whose NFKC form has more bytes of UTF-8; and the marks that compose with a letter before another
# mark can (U+0328 after U+01D6), which leaves that one uncomposed. Some neighbours are within.
_GROWS: Final = re.compile(
    "[\u00a8\u00af\u00b4\u00b8\u00bc-\u00be\u013f\u0140\u0149\u01c4-\u01c6\u02d8-\u02dd"
    "\u031b\u0323-\u0328\u032d\u032e\u0330\u0331\u0338\u0344\u037a\u0384\u0385\u0587\u0675-\u0678"
    "\u0958-\u095f\u09dc-\u09df\u0a33-\u0a36\u0a59-\u0a5e\u0b5c\u0b5d\u0e33\u0eb3\u0edc\u0edd"
    "\u0f43\u0f4d\u0f52\u0f57\u0f5c\u0f69\u0f73-\u0f76\u0f78\u0f81\u0f93\u0f9d\u0fa2\u0fa7\u0fac\u0fb9"
    "\u1fc1\u1fcd-\u1fcf\u1fdd-\u1fdf\u1fed\u1fee\u2033\u2036\u2150-\u215f\u2167\u2177\u2189"
    "\u222c\u222f\u247d-\u2487\u2adc\u309b-\u309f\u30ff\u3200-\u321c\u321f-\u3243\u327c\u327d"
    "\u32c0-\u32cb\u32ff\u3358-\u337e\u3380-\u33ad\u33b0-\u33fe\ufa6c\ufacf-\ufad7"
    "\ufb13-\ufb4f\ufbdd-\ufdf1\ufe71-\ufe7f\ufef5-\ufefc\U0001f12a\U0001f200\U0001f201]"
)
_GROWS_MUCH: Final = re.compile(
    "[\u0f77\u0f79\u2034\u2037\u2057\u222d\u2230\u2a0c\u321d\u321e\u3300-\u3357\u337f\u33ae\u33af"
    "\ufdf2-\ufdfc\U0001d15e-\U0001d164\U0001d1bb-\U0001d1c0\U0001f240-\U0001f248]"
)
