"""Elements out of bytes: however a body is split, the same elements, with every byte of them kept."""

import json
import time
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from gateway.providers.elements import Element, ElementFraming
from gateway.providers.framing import MOST_FRAME_BYTES, FrameTooLong

TEXTS = st.text(max_size=8) | st.sampled_from(['"', "\\", '\\"', "[", "]{", "},{", "\u2028"])
VALUES = st.recursive(
    TEXTS | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=3)
SOUP = st.lists(
    st.sampled_from([b"[", b"]", b"{", b"}", b'"', b"\\", b",", b" ", b"\r\n", b"x", b"\xff"]),
    max_size=40,
).map(b"".join)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    marks = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(marks)]


def elements(chunks: list[bytes]) -> list[Element]:
    read = ElementFraming()
    found = [element for chunk in chunks for element in read.feed(chunk)]
    return found + read.end()


def documents(data: bytes) -> list[bytes]:
    return [element.document for element in elements([data])]


@given(SOUP | SOUP.map(lambda soup: b"[" + soup) | st.binary(max_size=80), st.lists(st.integers(0)))
def test_a_split_changes_no_element(data: bytes, cuts: list[int]):
    whole = elements([data])
    assert elements(split(data, cuts)) == whole
    assert elements([data[at : at + 1] for at in range(len(data))]) == whole
    raw = b"".join(element.raw for element in whole)
    assert data.startswith(raw)
    assert raw == data or raw.rstrip(b" \t\r\n").endswith(b"]")


@given(
    st.lists(OBJECTS, max_size=5),
    st.sampled_from([",", ",\r\n", "\n, "]),
    st.sampled_from([None, 2]),
    st.lists(st.integers(0)),
)
def test_an_array_is_cut_into_what_it_was_made_of(
    values: list[object], comma: str, indent: int | None, cuts: list[int]
):
    written = [json.dumps(value, indent=indent, ensure_ascii=False) for value in values]
    data = f"[{comma.join(written)}\n]\n".encode("utf-8", "surrogatepass")
    found = elements(split(data, cuts))
    assert b"".join(element.raw for element in found) == data
    assert [element.document for element in found[:-1]] == [
        one.encode("utf-8", "surrogatepass") for one in written
    ]
    assert found[-1].document == b""


def test_an_element_is_complete_with_its_last_bracket():
    read = ElementFraming()
    assert read.feed(b'[{"a":1') == []
    assert read.feed(b"}") == [Element(b'[{"a":1}', b'{"a":1}')]
    assert read.feed(b",\r\n") == []
    assert read.feed(b'{"b":[2]}') == [Element(b',\r\n{"b":[2]}', b'{"b":[2]}')]
    assert not read.is_closed
    assert read.feed(b"\r\n]") == []
    assert read.is_closed
    assert read.end() == [Element(b"\r\n]", b"")]
    assert read.end() == []


def test_brackets_and_quotes_in_strings_are_text():
    for text in (b"]", b"}", b"{[", b'\\"}', b"\\\\", b'\\\\\\"]'):
        document = b'{"a":"' + text + b'"}'
        assert documents(b"[" + document + b"," + document + b"]") == [document, document, b""]


def test_a_backslash_and_what_it_escapes_may_come_apart():
    read = ElementFraming()
    assert read.feed(b'[{"a":"x\\') == []
    assert read.feed(b'"}') == []
    assert read.feed(b'"}') == [Element(b'[{"a":"x\\"}"}', b'{"a":"x\\"}"}')]


def test_an_empty_array_has_an_end_alone():
    assert elements([b" [ ] \n"]) == [Element(b" [ ] \n", b"")]
    assert elements([b""]) == []


def test_a_body_that_is_no_array_comes_whole_at_its_end():
    read = ElementFraming()
    assert read.feed(b' {"error":') == []
    assert not read.is_array
    assert read.feed(b"{}}") == []
    assert read.end() == [Element(b' {"error":{}}', b'{"error":{}}')]


def test_what_is_no_object_is_not_overlooked():
    assert documents(b'["a", 1, {"b":2}, null]') == [b'"a", 1, {"b":2}', b"null"]
    assert documents(b"[[1],[2]]") == [b"[1]", b"[2]", b""]
    assert documents(b"[}{}") == [b"}{}"]


def test_half_an_element_comes_at_the_end():
    assert elements([b'[{"a":1},{"b']) == [
        Element(b'[{"a":1}', b'{"a":1}'),
        Element(b',{"b', b'{"b'),
    ]


def test_what_follows_the_array_is_not_kept():
    assert elements([b"[{}]\n [{}] "]) == [Element(b"[{}", b"{}"), Element(b"]\n ", b"")]
    assert elements([b"[{}]", b"\n", b"x", b"\n"])[-1] == Element(b"]\n", b"")


@pytest.mark.parametrize("size", [1 << 16, 1 << 24])
@pytest.mark.parametrize(
    "long", [b'{"a":"' + b"x" * MOST_FRAME_BYTES + b'"}', b" " * (MOST_FRAME_BYTES + 1)]
)
def test_an_element_beyond_the_limit_is_a_failure_however_it_comes(size: int, long: bytes):
    data = b"[{}," + long + b",{}]"
    found: list[Element] = []

    def run() -> None:
        read = ElementFraming()
        for at in range(0, len(data), size):
            found.extend(read.feed(data[at : at + size]))
        read.end()

    with pytest.raises(FrameTooLong):
        run()
    assert [element.document for element in found] == [b"{}"]


@pytest.mark.parametrize(
    "data", [b"x" * 4096, b" " * 4096, (b"[" + b" " * 63) * 64, b'["' + b"x" * 4096]
)
def test_a_body_that_never_ends_is_bounded(data: bytes):
    read = ElementFraming()
    with pytest.raises(FrameTooLong):
        feed_on(read, data)
    with pytest.raises(FrameTooLong):
        read.feed(b"]")
    with pytest.raises(FrameTooLong):
        read.end()


def test_white_space_after_the_array_is_bounded():
    read = ElementFraming()
    read.feed(b"[]")
    with pytest.raises(FrameTooLong):
        feed_on(read, b" " * 4096)


def feed_on(read: ElementFraming, data: bytes) -> None:
    """Feed more than the limit."""
    for _ in range(MOST_FRAME_BYTES // len(data) + 2):
        read.feed(data)


@pytest.mark.parametrize("filling", [b"x", b"\\", b'\\"', b" "])
def test_the_cost_is_linear(filling: bytes):
    """A string of a megabyte in pieces of 64 bytes: quadratic work would take minutes."""
    read = ElementFraming()
    started = time.process_time()
    read.feed(b'[{"a":"')
    for _ in range(1 << 14):
        assert read.feed((filling * 64)[:64]) == []
    assert time.process_time() - started < 5
