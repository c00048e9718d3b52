"""The harness: real SDKs against each stand-in, the ones of others and ours."""

import json
from collections.abc import Iterator

import openai
import pytest

from tests.process import standins
from tests.process.conversation import HELLO, MODEL, WEATHER, client_of, said
from tests.process.programs import ScriptFailed, run_node, run_sdk2
from tests.process.standins import AIMOCK_TEXT, Scripted, Standin


@pytest.fixture(params=["llmock_standin", "aimock_standin", "scripted"])
def sdk(request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    with client_of(request.getfixturevalue(request.param)) as client:
        yield client


def test_an_answer_has_text_and_usage(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(model=MODEL, messages=HELLO)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0


def test_a_stream_has_text_and_reports_usage_when_asked(sdk: openai.OpenAI) -> None:
    with sdk.chat.completions.create(
        model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    assert len(chunks) > 3
    assert said(chunks)
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


def test_an_offered_tool_is_called(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(model=MODEL, messages=HELLO, tools=[WEATHER])
    assert answer.choices[0].finish_reason == "tool_calls"
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert calls[0].function.name == "get_weather"
    assert isinstance(json.loads(calls[0].function.arguments), dict)


def test_a_tool_call_can_be_streamed(sdk: openai.OpenAI) -> None:
    with sdk.chat.completions.create(
        model=MODEL, messages=HELLO, tools=[WEATHER], stream=True
    ) as stream:
        deltas = [c.choices[0].delta for c in stream if c.choices]
    pieces = [call.function for delta in deltas for call in delta.tool_calls or [] if call.function]
    assert pieces[0].name == "get_weather"
    assert isinstance(json.loads("".join(piece.arguments or "" for piece in pieces)), dict)


def test_json_mode_gives_json(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(
        model=MODEL, messages=HELLO, response_format={"type": "json_object"}
    )
    assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)


def test_embeddings_are_given_for_each_input(sdk: openai.OpenAI) -> None:
    answer = sdk.embeddings.create(model="text-embedding-3-small", input=["one", "two words"])
    assert [item.index for item in answer.data] == [0, 1]
    assert len(answer.data[0].embedding) >= 3
    assert all(isinstance(number, float) for number in answer.data[0].embedding)


def test_models_are_listed(sdk: openai.OpenAI) -> None:
    assert [model.id for model in sdk.models.list()]


def test_aimock_says_what_its_fixture_says(aimock_standin: Standin) -> None:
    with client_of(aimock_standin) as client:
        answer = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=1)
    assert answer.choices[0].message.content == AIMOCK_TEXT, "and it does not honour max_tokens"


def test_the_sdk_of_the_release_before_runs_beside_ours(scripted: Scripted) -> None:
    answer = run_sdk2(
        """
import openai
client = openai.OpenAI(base_url=given["base_url"], api_key=given["key"])
made = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
answer({"version": openai.VERSION, "text": made.choices[0].message.content})
""",
        {"base_url": scripted.base_url, "key": scripted.key},
    )
    assert answer["version"].startswith("2.")
    assert len(answer["text"].split()) == 16


def test_the_typescript_sdk_runs_on_the_installed_node(scripted: Scripted) -> None:
    answer = run_node(
        """
import OpenAI from "openai";
const client = new OpenAI({ baseURL: given.base_url, apiKey: given.key });
const stream = await client.chat.completions.create(
  { model: "m", messages: [{ role: "user", content: "hi" }], stream: true });
let text = "";
for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
answer({ text });
""",
        {"base_url": scripted.base_url, "key": scripted.key},
    )
    assert len(answer["text"].split()) == 16


def test_a_script_that_fails_says_why() -> None:
    with pytest.raises(ScriptFailed, match="no such thing"):
        run_sdk2('raise ValueError("no such thing")', {})
    with pytest.raises(ScriptFailed, match="no such thing"):
        run_node('throw new Error("no such thing")', {})


def test_a_stand_in_that_does_not_start_says_why() -> None:
    with (
        pytest.raises(RuntimeError, match="tokenz"),
        standins.scripted(scripts={"m": {"tokenz": 1}}),
    ):
        pass
