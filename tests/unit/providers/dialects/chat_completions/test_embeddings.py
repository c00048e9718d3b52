"""What an embeddings request asks for."""

import json

import pytest

from gateway.core.refusal import Code, Refused
from gateway.providers.adapter import Change, Endpoint, Path, Wanted
from gateway.providers.dialects.chat_completions import ChatCompletions

DIALECT = ChatCompletions("openai")


def read(**fields: object) -> Wanted | Refused:
    return DIALECT.read(
        Path(endpoint=Endpoint.EMBEDDINGS), json.dumps({"model": "e"} | fields).encode()
    )


def wanted(**fields: object) -> Wanted:
    found = read(**fields)
    assert isinstance(found, Wanted), found
    return found


@pytest.mark.parametrize(
    ("given", "prompts", "ids", "is_hidden"),
    [
        ("Hello", 1, 0, False),
        (["a", "b", "c"], 3, 0, False),
        ([1, 2, 3], 1, 3, False),
        ([[1, 2], [3]], 2, 3, False),
        ([{"image": "x"}], 1, 0, True),
        (["a", [1]], 2, 0, True),
        ([1, True], 2, 0, True),
        ([1, 1.5], 2, 0, True),
        ([[1], ["a"]], 2, 0, True),
    ],
)
def test_inputs_are_counted(given: object, prompts: int, ids: int, is_hidden: bool):
    asked = wanted(input=given).asked
    assert (asked.prompts, asked.token_ids, asked.hides_input) == (prompts, ids, is_hidden)
    assert not asked.makes_output
    assert asked.output_tokens is None
    assert not asked.stream


def test_token_ids_count_as_ids_and_not_as_digits():
    assert wanted(input=[100_000] * 1000).asked.text_bytes < 50
    assert wanted(input=["a" * 1000]).asked.text_bytes > 1000


@pytest.mark.parametrize("given", [None, 5, {}, True])
def test_an_input_is_text_or_ids(given: object):
    found = read(input=given)
    assert isinstance(found, Refused)
    assert found.param == "input"


def test_embeddings_are_not_streamed():
    found = read(input="a", stream=True)
    assert isinstance(found, Refused)
    assert found.param == "stream"
    wanted(input="a", stream=False)


def test_a_place_is_not_the_requests_to_choose():
    found = read(input="a", api_base="http://x")
    assert isinstance(found, Refused)
    assert found.param == "api_base"


def test_the_listing_is_not_read():
    found = DIALECT.read(Path(endpoint=Endpoint.MODELS), b'{"model":"e","messages":[]}')
    assert isinstance(found, Refused)
    assert found.code is Code.ENDPOINT_NOT_METERED


def test_embeddings_have_no_tiers_to_name_and_no_output_to_bound():
    change = Change(model="m", output_tokens=None, reports_usage=True, names_tier=True)
    written = json.loads(DIALECT.write(wanted(input="a"), change))
    assert written == {"model": "m", "input": "a"}
