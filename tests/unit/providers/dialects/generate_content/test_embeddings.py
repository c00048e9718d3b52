"""What requests for embeddings and counts of tokens ask for."""

import json
from typing import Any

import pytest

from gateway.core.refusal import Code, Refused
from gateway.providers.adapter import Endpoint, Path, Wanted
from gateway.providers.dialects.generate_content import GenerateContent

ONE = Path(endpoint=Endpoint.EMBED_CONTENT, model="e", version="v1beta")
BATCH = Path(endpoint=Endpoint.BATCH_EMBED_CONTENTS, model="e", version="v1beta")
COUNT = Path(endpoint=Endpoint.COUNT_TOKENS, model="m", version="v1")


def content(**part: object) -> dict[str, Any]:
    return {"content": {"parts": [part or {"text": "one"}]}}


def read(path: Path, body: object) -> Wanted | Refused:
    return GenerateContent().read(path, json.dumps(body).encode())


def wanted(path: Path, body: object) -> Wanted:
    found = read(path, body)
    assert isinstance(found, Wanted), found
    return found


def test_one_embedding_reads_one_text():
    body = {**content(), "model": "models/e", "taskType": "X", "output_dimensionality": 3}
    asked = wanted(ONE, body).asked
    assert (asked.model, asked.prompts, asked.makes_output) == ("e", 1, False)
    assert (asked.stream, asked.hides_input, asked.is_free) == (False, False, False)
    assert asked.text_bytes == len(json.dumps(body, separators=(",", ":")))


def test_a_batch_reads_each_of_its_texts():
    asked = wanted(BATCH, {"requests": [{**content(), "model": "models/e"}] * 3}).asked
    assert (asked.prompts, asked.messages, asked.hides_input) == (3, 3, False)
    assert wanted(BATCH, {"requests": content()}).asked.prompts == 1


@pytest.mark.parametrize(
    "part", [{"inlineData": {"data": ""}}, {"file_data": {"file_uri": "x"}}, {"new": 1}]
)
def test_media_hide_the_input(part: dict[str, Any]):
    assert wanted(ONE, content(**part)).asked.hides_input
    assert wanted(BATCH, {"requests": [content(), content(**part)]}).asked.hides_input


def test_what_is_not_known_hides_the_input():
    assert wanted(ONE, {**content(), "new": "x"}).asked.hides_input
    assert wanted(BATCH, {"requests": [content()], "new": "x"}).asked.hides_input
    assert wanted(BATCH, {"requests": [{**content(), "new": "x"}]}).asked.hides_input


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (ONE, {}),
        (ONE, {"content": "one"}),
        (ONE, {**content(), "model": "models/f"}),
        (ONE, {**content(), "taskType": "a", "task_type": "b"}),
        (ONE, {**content(), "base_url": "http://x"}),
        (BATCH, {}),
        (BATCH, {"requests": []}),
        (BATCH, {"requests": ["one"]}),
        (BATCH, {"requests": [{}]}),
        (BATCH, {"requests": [content(), {**content(), "model": "models/dearer"}]}),
        (COUNT, {"model": "other"}),
        (COUNT, {"generateContentRequest": {"model": "models/other"}}),
        (COUNT, {"generateContentRequest": "x"}),
        (COUNT, {"generateContentRequest": {}, "generate_content_request": {}}),
    ],
)
def test_what_is_wrong_is_refused(path: Path, body: object):
    found = read(path, body)
    assert isinstance(found, Refused)
    assert found.code is Code.INVALID_REQUEST


def test_a_count_of_tokens_is_free_whatever_it_counts():
    whole = {"generateContentRequest": {"model": "models/m", "contents": [{"parts": []}]}}
    for body in ({"contents": [{"parts": [{"fileData": {}}]}]}, whole):
        asked = wanted(COUNT, body).asked
        assert (asked.model, asked.is_free, asked.makes_output) == ("m", True, False)
