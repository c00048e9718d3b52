"""The provider's own account of a call: to the token where it is sound, and not trusted where it isn't."""

import msgspec
import pytest
from hypothesis import given, strategies as st

from gateway.core.events import Usage
from gateway.providers.dialects.bedrock import accounts

COUNTS = st.one_of(
    st.integers(-5, 10**10),
    st.floats(),
    st.text(max_size=3),
    st.none(),
    st.booleans(),
    st.lists(st.none()),
)


@pytest.mark.parametrize(
    ("values", "usage"),
    [
        ({"inputTokens": 5, "outputTokens": 3}, Usage(input=5, output=3)),
        ({"inputTokens": 5, "outputTokens": 3, "totalTokens": 8}, Usage(input=5, output=3)),
        ({"inputTokens": 5.0, "outputTokens": 3}, Usage(input=5, output=3)),
        ({"inputTokens": 5, "outputTokens": 3, "totalTokens": 20}, Usage(input=5, output=15)),
        (
            {
                "inputTokens": 5,
                "outputTokens": 3,
                "totalTokens": 38,
                "cacheReadInputTokens": 10,
                "cacheWriteInputTokens": 20,
            },
            Usage(input=5, output=3, cached=10, cache_write=20),
        ),
        (
            {
                "inputTokens": 5,
                "outputTokens": 3,
                "cacheWriteInputTokens": 20,
                "cacheDetails": [{"ttl": "5m", "inputTokens": 15}, {"ttl": "1h", "inputTokens": 5}],
            },
            Usage(input=5, output=3, cache_write=5, cache_write_5m=15),
        ),
        (
            {
                "inputTokens": 5,
                "outputTokens": 3,
                "cacheWriteInputTokens": 20,
                "cacheDetails": [{"ttl": "5m", "inputTokens": 15}],
            },
            Usage(input=5, output=3, cache_write=20),
        ),
        (
            {
                "inputTokens": 5,
                "outputTokens": 3,
                "cacheWriteInputTokens": 20,
                "cacheDetails": [{"ttl": "5m", "inputTokens": "20"}],
            },
            Usage(input=5, output=3, cache_write=20),
        ),
        (
            {"inputTokens": 5, "outputTokens": 3, "cacheReadInputTokenCount": 7},
            Usage(input=5, output=3, cached=7),
        ),
    ],
)
def test_converses_account(values: dict[str, object], usage: Usage):
    assert accounts.converse(values) == usage


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"inputTokens": 5},
        {"outputTokens": 3},
        {"inputTokens": None, "outputTokens": 3},
        {"inputTokens": "5", "outputTokens": 3},
        {"inputTokens": 5, "outputTokens": True},
        {"inputTokens": -5, "outputTokens": 3},
        {"inputTokens": 5, "outputTokens": 10**9},
        {"inputTokens": 5, "outputTokens": 3.5},
        {"inputTokens": 5, "outputTokens": 3, "totalTokens": "8"},
        {"inputTokens": 5, "outputTokens": 3, "cacheReadInputTokens": -1},
        {"inputTokens": 5, "outputTokens": 3, "cacheWriteInputTokens": "x"},
    ],
)
def test_an_account_that_is_not_sound_is_none(values: dict[str, object]):
    assert accounts.converse(values) is None


@pytest.mark.parametrize(
    ("values", "usage"),
    [
        ({"input_tokens": 5}, Usage(input=5, output=0)),
        (
            {"input_tokens": 5, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 9},
            Usage(input=5, output=0, cached=7, cache_write=9),
        ),
        (
            {
                "input_tokens": 5,
                "cache_creation_input_tokens": 9,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 4,
                    "ephemeral_1h_input_tokens": 5,
                },
            },
            Usage(input=5, output=0, cache_write=5, cache_write_5m=4),
        ),
        (
            {
                "input_tokens": 5,
                "cache_creation_input_tokens": 2,
                "cache_creation": {"ephemeral_5m_input_tokens": 4},
            },
            Usage(input=5, output=0, cache_write=4),
        ),
        ({"input_tokens": "5"}, None),
        ({"input_tokens": 5, "cache_read_input_tokens": 1.5}, None),
    ],
)
def test_anthropics_input(values: dict[str, object], usage: Usage | None):
    assert accounts.anthropic_input(values) == usage


@given(
    st.dictionaries(
        st.sampled_from(["inputTokens", "outputTokens", "totalTokens", "cacheDetails"]), COUNTS
    )
)
def test_no_account_is_negative_or_raises(values: dict[str, object]):
    usage = accounts.converse(values)
    if usage is not None:
        assert min(usage.input, usage.output, usage.cached, usage.written) >= 0


@pytest.mark.parametrize(
    ("pairs", "usage"),
    [
        ([(b"5", b"3")], Usage(input=5, output=3)),
        ([(b"5", b"3"), (b"5", b"3")], None),
        ([(b"-5", b"3")], None),
        ([(b"5", b"x")], None),
        ([(b"5", b"1e3")], None),
        ([(b"5", b"9" * 30)], None),
        ([(b"5", "\u0663".encode())], None),
        ([], None),
    ],
)
def test_headers_count_where_each_is_there_once(
    pairs: list[tuple[bytes, bytes]], usage: Usage | None
):
    given_ = [
        pair
        for heard, spoken in pairs
        for pair in (
            (b"x-amzn-bedrock-input-token-count", heard),
            (b"x-amzn-bedrock-output-token-count", spoken),
        )
    ]
    assert accounts.headers(given_, makes_output=True) == usage


def test_an_embeddings_headers_need_no_output():
    given_ = [(b"x-amzn-bedrock-input-token-count", b"5")]
    assert accounts.headers(given_, makes_output=False) == Usage(input=5, output=0)
    assert accounts.headers(given_, makes_output=True) is None


@pytest.mark.parametrize(
    ("document", "is_sound"),
    [
        (b'{"usage":{"inputTokens":1}}', True),
        (b'{"usage":{"inputTokens":1,"inputTokens":2}}', False),
        (b'{"usage":{"inputTokens":1},"usage":{"inputTokens":2}}', False),
        (b'{"text":"\\"usage\\"","usage":{"inputTokens":1}}', True),
        (b'{"x":{"usage":{"a":1}},"usage":{"inputTokens":1}}', True),
        (b'{"usage":[1]}', False),
        (b'{"usage":null}', False),
        (b"{}", False),
        (b'{"pad":"' + b"x" * 70_000 + b'","usage":{"inputTokens":1}}', True),
        (b'{"usage":{},"pad":"' + b"x" * 70_000 + b'","usage":{"inputTokens":1}}', False),
    ],
)
def test_an_account_that_can_be_read_in_two_ways_is_none(document: bytes, is_sound: bool):
    raw = msgspec.json.decode(document, type=dict[str, msgspec.Raw]).get("usage", msgspec.Raw(b""))
    assert (accounts.sound(raw, document) is not None) == is_sound
