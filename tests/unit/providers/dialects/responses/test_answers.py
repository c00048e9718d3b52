"""What complete responses say, and what is not a response."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from gateway.core.events import Broken, Delta, Event, Opaque, Served, Usage
from gateway.core.refusal import Code, Refused
from gateway.providers.adapter import Endpoint
from gateway.providers.dialects.responses import Responses
from tests.unit.providers.asking import wanted

DIALECT = Responses("openai")
USAGE = {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}
OUTPUT: list[dict[str, Any]] = [
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm. "}]},
    {"type": "message", "content": [{"text": "Hello"}, {"refusal": "no"}]},
    {"type": "function_call", "name": "f", "arguments": "{}"},
    {"type": "custom_tool_call", "name": "g", "input": "x"},
]


def answer(**fields: object) -> bytes:
    plain = {"id": "resp_1", "object": "response", "status": "completed", "model": "m-1"}
    rest = {"service_tier": "default", "error": None, "output": OUTPUT, "usage": USAGE}
    return json.dumps(plain | rest | fields).encode()


def whole(document: bytes) -> list[Event]:
    return list(DIALECT.whole(wanted(Endpoint.RESPONSES), document, ()))


def test_an_answer_says_who_what_and_how_much():
    assert whole(answer()) == [
        Served("m-1", "default"),
        Delta("Hm. Hellonof{}gx"),
        Usage(input=9, output=4),
    ]
    assert whole(b"\n\n " + answer()) == whole(answer())


def test_an_incomplete_answer_is_an_answer():
    details = {"reason": "max_output_tokens"}
    assert whole(answer(status="incomplete", incomplete_details=details))[-1] == Usage(
        input=9, output=4
    )


def test_a_failed_answer_is_broken():
    error = {"code": "server_error", "message": "no"}
    assert Broken() in whole(answer(status="failed", error=error))
    assert Broken() in whole(answer(status="cancelled"))
    assert whole(b'{"error":{"message":"no"}}') == [Broken()]


@pytest.mark.parametrize("tier", ["auto", None, "", "x" * 300])
def test_a_tier_that_names_none_says_nothing(tier: str | None):
    assert whole(answer(service_tier=tier))[0] == Served("m-1", None)


@pytest.mark.parametrize(
    "document", [b"", b"null", b"[]", b'"text"', b"{}", b'{"object":"response"}', b"<html>"]
)
def test_what_is_no_response_says_nothing(document: bytes):
    assert whole(document) == []


def test_an_answer_without_usage_or_text_is_opaque():
    assert whole(b'{"output":[]}') == [Opaque()]


def test_strange_items_count_with_all_their_text():
    found = whole(answer(output=[{"type": "message", "content": "Hello"}, {"code": "x"}]))
    texts = [event.text for event in found if isinstance(event, Delta)]
    assert sorted("".join(texts)) == sorted("message" + "Hello" + "x")


@pytest.mark.parametrize(
    "strange", ['"usage":{"input_tokens":1,"output_tokens":1}', '"x":NaN', '"x":1,"x":2']
)
def test_an_account_that_can_be_read_in_two_ways_is_none(strange: str):
    document = answer()[:-1] + b"," + strange.encode() + b"}"
    assert not any(isinstance(event, Usage) for event in whole(document))
    assert whole(document)[:2] == whole(answer())[:2]


def test_a_count_of_tokens_is_an_answer():
    asked = wanted(Endpoint.RESPONSES_INPUT_TOKENS, is_free=True)
    body = b'{"object":"response.input_tokens","input_tokens":11}'
    assert list(DIALECT.whole(asked, body, ())) == [Opaque()]
    assert list(DIALECT.whole(asked, b'{"error":{"message":"no"}}', ())) == [Broken()]
    assert list(DIALECT.whole(asked, b'{"input_tokens":"11"}', ())) == []
    assert list(DIALECT.whole(asked, b"no", ())) == []


def test_refusals_and_listings_are_openais():
    refused = DIALECT.refusal(Refused(Code.KILL_SWITCH, "Stopped."))
    assert refused.status == 403
    assert json.loads(refused.body)["error"]["code"] == "kill_switch"
    assert json.loads(DIALECT.model("fast"))["id"] == "fast"
    assert json.loads(DIALECT.models([], ["fast"]))["data"][0]["id"] == "fast"


@given(st.binary(max_size=300))
def test_any_bytes_are_read(document: bytes):
    whole(document)
    whole(b'{"output":[' + document + b'],"usage":{}}')
