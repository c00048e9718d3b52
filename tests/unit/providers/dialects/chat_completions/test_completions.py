"""What a legacy completion asks for, is sent as, and says when it is streamed."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st

from gateway.core.events import Delta, Finished, Usage
from gateway.core.refusal import Code, Refused
from gateway.providers.adapter import Change, Endpoint, Path, Wanted
from gateway.providers.dialects.chat_completions import ChatCompletions

DIALECT = ChatCompletions("openai")
PATH = Path(endpoint=Endpoint.COMPLETIONS)


def read(path: Path = PATH, **fields: object) -> Wanted | Refused:
    return DIALECT.read(path, json.dumps({"model": "m"} | fields).encode())


def wanted(**fields: object) -> Wanted:
    found = read(**fields)
    assert isinstance(found, Wanted), found
    return found


def sent(change: Change, **fields: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DIALECT.write(wanted(**fields), change))
    return found


@pytest.mark.parametrize(
    ("prompt", "prompts", "ids"),
    [
        ("Hello", 1, 0),
        ("", 1, 0),
        (["a", "b", "c"], 3, 0),
        ([1, 2, 3], 1, 3),
        ([[1, 2], [3]], 2, 3),
    ],
)
def test_each_prompt_is_read_once_and_answered_so_often(prompt: object, prompts: int, ids: int):
    asked = wanted(prompt=prompt, n=2, best_of=3).asked
    assert (asked.prompts, asked.choices, asked.token_ids) == (prompts, 3 * prompts, ids)
    assert asked.makes_output
    assert not asked.hides_input


@pytest.mark.parametrize(
    "prompt", [None, 5, {}, True, [], [None], ["a", 1], [[]], [1, True], [1, 1.5], ["a"] * 2049]
)
def test_a_prompt_is_text_or_ids(prompt: object):
    found = read(prompt=prompt)
    assert isinstance(found, Refused)
    assert (found.code, found.param) == (Code.INVALID_REQUEST, "prompt")


def test_token_ids_count_as_ids_and_not_as_digits():
    assert wanted(prompt=[100_000] * 1000).asked.text_bytes < 50
    assert wanted(prompt=["a" * 1000], suffix="b" * 500).asked.text_bytes > 1500


def test_white_space_between_token_ids_hides_no_text():
    body = b'{"model":"m","prompt":[1' + b" " * 5000 + b'],"suffix":"' + b"word " * 500 + b'"}'
    found = DIALECT.read(Path(endpoint=Endpoint.COMPLETIONS), body)
    assert isinstance(found, Wanted)
    assert found.asked.text_bytes > 2500


def test_a_suffix_is_read_with_each_prompt():
    one, many = wanted(prompt="a", suffix="b" * 500), wanted(prompt=["a"] * 10, suffix="b" * 500)
    assert (one.asked.schema_bytes, many.asked.schema_bytes) == (0, 9 * 502)
    assert wanted(prompt=["a"] * 10, suffix=None).asked.schema_bytes == 0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, 16),
        ({"max_tokens": None}, 16),
        ({"max_tokens": 0}, 0),
        ({"max_tokens": 500}, 500),
        ({"max_tokens": 5, "max_completion_tokens": 7}, 7),
    ],
)
def test_the_output_is_16_tokens_where_nothing_else_is_said(given: dict, expected: int):
    assert wanted(prompt="a", **given).asked.output_tokens == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("max_tokens", value) for value in (-1, 1.5, "9", True, 10**18)),
        *(("n", value) for value in (0, 129, "1", 1.0)),
        *(("best_of", value) for value in (0, 129)),
        *(("stream", "true"), ("echo", 1), ("service_tier", ""), ("api_base", "http://x")),
        *(("preset", "p"), ("models", ["x"])),
    ],
)
def test_a_field_that_money_depends_on_is_checked(name: str, value: object):
    found = read(**({"prompt": "a"} | {name: value}))
    assert isinstance(found, Refused)
    assert (found.code, found.param) == (Code.INVALID_REQUEST, name)


@pytest.mark.parametrize("field", ["prediction", "background"])
def test_what_no_bound_covers_is_refused(field: str):
    found = read(**({"prompt": "a"} | {field: True}))
    assert isinstance(found, Refused)
    assert found.code is Code.BOUND_UNKNOWN


def test_embedded_prompts_are_hidden_input():
    assert wanted(prompt="a", prompt_embeds="AAAA").asked.hides_input


def test_a_deployment_in_the_path_is_the_model():
    found = read(Path(endpoint=Endpoint.COMPLETIONS, model="d"), model="cheap", prompt="a")
    assert isinstance(found, Wanted)
    assert found.asked.model == "d"


CHANGE = Change(model="m", output_tokens=16, reports_usage=True, names_tier=True)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"max_tokens": 16}),
        ({"max_tokens": 400}, {"max_tokens": 16}),
        ({"max_tokens": 3}, {"max_tokens": 3}),
        ({"max_completion_tokens": 40}, {"max_completion_tokens": 16, "max_tokens": 16}),
    ],
)
def test_the_ceiling_is_always_said_in_the_old_words(given: dict, expected: dict):
    found = sent(CHANGE, prompt="a", **given)
    assert {name: found[name] for name in found if name.startswith("max")} == expected
    assert "service_tier" not in found
    assert "stream_options" not in found


def test_a_stream_is_asked_for_its_usage():
    options = {"include_usage": True}
    assert sent(CHANGE, prompt="a", stream=True)["stream_options"] == options
    assert wanted(prompt="a", stream=True, stream_options=options).wants_usage


def chunk(text: str, index: int = 0, reason: str | None = None) -> bytes:
    choice = {"text": text, "index": index, "logprobs": None, "finish_reason": reason}
    body = {"object": "text_completion", "choices": [choice]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def spoken(request: Wanted, *data: bytes) -> str:
    reader = DIALECT.stream(request, hides_usage=False)
    pieces = [piece for part in data for piece in reader.feed(part)]
    assert b"".join(piece.relay for piece in pieces) == b"".join(data)
    events = [event for piece in pieces for event in piece.events]
    return "".join(event.text for event in events if isinstance(event, Delta))


def test_text_and_usage_of_a_stream_are_heard():
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    end = b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n"
    reader = DIALECT.stream(wanted(prompt="a", stream=True), hides_usage=True)
    stream = chunk("Hel") + chunk("lo", reason="length")
    pieces = [*reader.feed(stream + end + b"data: [DONE]\n\n"), *reader.end()]
    assert b"".join(piece.relay for piece in pieces) == stream + b"data: [DONE]\n\n"
    events = [event for piece in pieces for event in piece.events]
    assert events[:2] == [Delta("Hel"), Delta("lo")]
    assert events[2:] == [Usage(input=3, output=2), Finished()]


def test_every_choice_of_every_prompt_ends_a_stream_without_its_mark():
    request = wanted(prompt=["a", "b"], n=2, stream=True)
    reader = DIALECT.stream(request, hides_usage=False)
    for index in range(4):
        assert list(reader.feed(chunk("x", index, "stop")))
    assert [piece.events for piece in reader.end()] == [(Finished(),)]
    short = DIALECT.stream(request, hides_usage=False)
    assert list(short.feed(chunk("x", 0, "stop")))
    assert list(short.end()) == []


def test_what_is_echoed_is_no_output():
    request = wanted(prompt=["Once upon", "Twice"], echo=True, stream=True, n=2)
    said = spoken(
        request,
        *(chunk("Once ", 0), chunk("upon a", 0), chunk("Once upon", 1), chunk(" day", 1)),
        *(chunk("Twice!", 2), chunk("Thrice", 3), chunk("Once upon", 0)),
    )
    assert said == " a day!ThriceOnce upon"


def test_echoed_ids_cant_be_told_from_output():
    found = read(prompt=[1, 2], echo=True, stream=True)
    assert isinstance(found, Refused)
    assert found.code is Code.BOUND_UNKNOWN
    wanted(prompt=[1, 2], echo=True)


@given(
    prompt=st.text(max_size=12),
    answer=st.text(max_size=12),
    cuts=st.lists(st.integers(0, 24), max_size=6),
)
def test_an_echo_is_taken_off_however_it_is_cut(prompt: str, answer: str, cuts: list[int]):
    whole = prompt + answer
    marks = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    parts = [whole[a:b] for a, b in pairwise(marks)]
    request = wanted(prompt=prompt, echo=True, stream=True)
    assert spoken(request, *map(chunk, parts)) == answer


def test_a_whole_completion_says_its_text_and_usage():
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    body = {"object": "text_completion", "choices": [{"text": "Hi", "index": 0}], "usage": usage}
    found = DIALECT.whole(wanted(prompt="a"), json.dumps(body).encode(), ())
    assert list(found) == [Delta("Hi"), Usage(input=3, output=2)]
