import time
from unicodedata import combining, decomposition, normalize

import pytest
from hypothesis import example, given, settings, strategies as st

from gateway.core.tokens import (
    SLICE_BYTES,
    Tokenizers,
    Vocabulary,
    countable_bytes,
    is_quick,
    most_cuts,
    slices,
    text_bound,
    visible,
)

pytestmark = pytest.mark.filterwarnings("ignore:open_binary is deprecated")  # bpe_openai's own
KNOWN = [Vocabulary.CL100K, Vocabulary.O200K]
EVERY_CHARACTER = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
RESTLESS = [c for c in EVERY_CHARACTER if decomposition(c) or combining(c) > 0]
"""Characters that normalization changes, joins or moves."""


@pytest.fixture(scope="module")
def tokenizers() -> Tokenizers:
    loaded = Tokenizers()
    loaded.load()
    return loaded


def normalized_bytes(text: str) -> int:
    return len(normalize("NFKC", text).encode())


def test_no_character_grows_beyond_its_countable_bytes():
    assert [c for c in EVERY_CHARACTER if countable_bytes(c) < normalized_bytes(c)] == []


@given(st.text(st.sampled_from(RESTLESS) | st.sampled_from("aeou\u0323\u0328\u031b\u01d6\u1e79")))
@example("\u01d6\u0328" * 9)
@example("\u1e17\u0328" * 9)
def test_no_text_grows_beyond_its_countable_bytes(text: str):
    assert countable_bytes(text) >= normalized_bytes(text)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_countable_bytes_are_never_fewer_than_bytes(text: str):
    assert countable_bytes(text) >= len(text.encode())


@pytest.mark.parametrize(
    "text", ["plain", "“Grüße” — déjà vu « là »", "漢字とかな", "Привет, мир", "😀👍🏽", "한국어"]
)
def test_everyday_text_has_as_many_countable_bytes_as_bytes(text: str):
    assert countable_bytes(text) == len(text.encode())


def test_a_lone_surrogate_counts_as_three_bytes():
    assert countable_bytes("\ud800") == 3


def test_the_bound_of_a_byte_level_vocabulary_is_its_bytes():
    assert [text_bound(1001, known) for known in KNOWN] == [1001, 1001]


@pytest.mark.parametrize(("size", "bound"), [(0, 256), (1, 258), (100, 361), (101, 363)])
def test_the_bound_of_an_unknown_vocabulary_has_a_margin(size: int, bound: int):
    assert text_bound(size, Vocabulary.UNKNOWN) == bound


@pytest.mark.parametrize("vocabulary", KNOWN)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_no_text_has_more_tokens_than_its_bound(
    tokenizers: Tokenizers, vocabulary: Vocabulary, text: str
):
    counted = tokenizers.count(text, vocabulary)
    assert counted is not None
    assert counted <= text_bound(len(text.encode()), vocabulary)


@given(st.text(st.sampled_from("a é漢😀"), max_size=5), st.integers(1, 9000))
def test_slices_lose_nothing_and_are_short(text: str, times: int):
    parts = list(slices(text * times))
    assert "".join(parts) == text * times
    assert all(0 < len(part.encode()) <= SLICE_BYTES for part in parts)
    assert len(parts) <= most_cuts(text * times)


def test_nothing_is_counted_before_it_is_loaded():
    tokenizers = Tokenizers()
    assert not tokenizers.is_loaded
    assert tokenizers.count("text", Vocabulary.O200K) is None


def test_loading_twice_is_loading_once(tokenizers: Tokenizers):
    before = dict(tokenizers._encodings)
    tokenizers.load()
    assert tokenizers.is_loaded
    assert all(tokenizers._encodings[key] is value for key, value in before.items())


def test_an_unknown_vocabulary_is_never_counted(tokenizers: Tokenizers):
    assert tokenizers.count("text", Vocabulary.UNKNOWN) is None


@pytest.mark.parametrize(
    ("vocabulary", "text", "tokens"),
    [
        (Vocabulary.CL100K, "tiktoken is great!", 6),  # OpenAI cookbook, "How to count tokens"
        (Vocabulary.O200K, "tiktoken is great!", 6),
        (Vocabulary.CL100K, "antidisestablishmentarianism", 6),  # same
        (Vocabulary.O200K, "", 0),
        (Vocabulary.O200K, "\ud800", 1),
    ],
)
def test_counts_are_the_vocabularies_own(
    tokenizers: Tokenizers, vocabulary: Vocabulary, text: str, tokens: int
):
    assert tokenizers.count(text, vocabulary) == tokens


WORDS = st.sampled_from(["ab", " ", "  ", "\n", "12", "ion", "é", "漢", ".", "Zq"])


@pytest.mark.parametrize("vocabulary", KNOWN)
@settings(max_examples=20)
@given(words=st.lists(WORDS, min_size=1, max_size=20))
def test_a_count_in_slices_with_its_margin_covers_the_whole(
    tokenizers: Tokenizers, vocabulary: Vocabulary, words: list[str]
):
    block = "".join(words)
    text = block * (3 * SLICE_BYTES // len(block.encode()))
    whole = len(tokenizers._encodings[vocabulary].encode_ordinary(text))
    counted = tokenizers.count(text, vocabulary)
    assert counted is not None
    assert whole <= -(-counted * 102 // 100)


@pytest.mark.parametrize(
    ("size", "counted", "tokens"),
    [(0, None, 0), (1, None, 1), (7, None, 4), (40, 10, 11), (40, 11, 13), (40, 0, 0)],
)
def test_shown_text_is_estimated_upwards(size: int, counted: int | None, tokens: int):
    assert visible(size, counted) == tokens


HOSTILE = {
    "dashes": "-",
    "hashes": "#",
    "equals": "=",
    "slashes": "/",
    "one letter": "a",
    "blanks": " ",
    "line ends": "\n",
    "digits": "1",
    "CJK": "我能吞下玻璃而不伤身体",
    "combining marks": "a" + "\u0301" * 30,
    "emoji": "👩‍👩‍👧‍👦",
    "letters by chance": "qzvkxjwpgbmfycduhtsrlnioae",
    "base64": "gZ3+/aX0qPk9Lw7EoT2cVbN5mR8yUdHs",
}


@pytest.mark.parametrize("vocabulary", [Vocabulary.O200K, Vocabulary.CL100K])
def test_no_text_keeps_the_loop_busy_for_much_longer_than_prose(vocabulary: Vocabulary):
    """A slice of prose takes some 0.1 ms, so that no slice takes 5: measured by the thread's own time."""
    tokenizers = Tokenizers()
    tokenizers.load()

    def seconds(unit: str) -> float:
        part = next(iter(slices(unit * SLICE_BYTES)))
        times = []
        for _ in range(5):
            begun = time.thread_time()
            tokenizers.count(part, vocabulary)
            times.append(time.thread_time() - begun)
        return min(times)

    prose = max(seconds("The quick brown fox jumps over the lazy dog. "), 5e-5)
    slow = {name: ms for name, unit in HOSTILE.items() if (ms := seconds(unit) / prose) > 100}
    assert slow == {}


@pytest.mark.parametrize(("text", "is_quickly"), [("-" * 4096, True), ("-" * 4097, False)])
def test_long_runs_are_not_counted_at_once(text: str, *, is_quickly: bool):
    assert is_quick(text) is is_quickly
    assert is_quick("The quick brown fox. " * 1500)
