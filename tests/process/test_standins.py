"""The harness: real SDKs against each stand-in, the ones of others and ours."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import boto3
import openai
import pytest
from google import genai
from google.genai import types

from tests.process import standins
from tests.process.conversation import HELLO, MODEL, WEATHER, client_of, said
from tests.process.programs import ScriptFailed, run_node, run_sdk2
from tests.process.standins import AIMOCK_TEXT, AIMOCK_USAGE, Scripted, Standin


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


@pytest.mark.parametrize("name", ["llmock_standin", "aimock_standin"])
def test_the_stand_ins_of_others_answer_anthropic_with_usage(
    request: pytest.FixtureRequest, name: str
) -> None:
    standin: Standin = request.getfixturevalue(name)
    said: list[anthropic.types.MessageParam] = [{"role": "user", "content": "hello"}]
    with anthropic.Anthropic(base_url=standin.anthropic_url, api_key=standin.key) as client:
        whole = client.messages.create(model=MODEL, max_tokens=99, messages=said)
        with client.messages.stream(model=MODEL, max_tokens=99, messages=said) as stream:
            streamed = stream.get_final_message()
    for answer in (whole, streamed):
        assert answer.content[0].type == "text"
        assert answer.content[0].text
        assert answer.usage.output_tokens > 0


@pytest.mark.parametrize("name", ["llmock_standin", "aimock_standin"])
def test_the_stand_ins_of_others_answer_gemini_with_usage(
    request: pytest.FixtureRequest, name: str
) -> None:
    standin: Standin = request.getfixturevalue(name)
    where = types.HttpOptions(base_url=standin.gemini_url, api_version="v1beta")
    client = genai.Client(api_key=standin.key, http_options=where)
    whole = client.models.generate_content(model=MODEL, contents="hello")
    streamed = list(client.models.generate_content_stream(model=MODEL, contents="hello"))
    assert whole.text == "".join(chunk.text or "" for chunk in streamed)
    for answer in (whole, streamed[-1]):
        assert answer.usage_metadata is not None
        assert (answer.usage_metadata.candidates_token_count or 0) > 0


@pytest.mark.parametrize("name", ["llmock_standin", "aimock_standin"])
def test_the_stand_ins_of_others_answer_responses_with_usage(
    request: pytest.FixtureRequest, name: str
) -> None:
    with client_of(request.getfixturevalue(name)) as client:
        whole = client.responses.create(model=MODEL, input="hello")
        with client.responses.stream(model=MODEL, input="hello") as stream:
            streamed = stream.get_final_response()
    assert whole.output_text == streamed.output_text != ""
    for answer in (whole, streamed):
        assert answer.usage is not None
        assert answer.usage.output_tokens > 0


def test_aimock_answers_azure_and_bedrock(aimock_standin: Standin) -> None:
    said: Any = [{"role": "user", "content": [{"text": "hello"}]}]
    with openai.AzureOpenAI(
        azure_endpoint=aimock_standin.url, api_key="k", api_version="2024-10-21"
    ) as azure:
        answer = azure.chat.completions.create(model="deployed", messages=HELLO)
    assert answer.choices[0].message.content == AIMOCK_TEXT
    bedrock = boto3.client(
        "bedrock-runtime",
        endpoint_url=aimock_standin.url,
        region_name="us-east-1",
        aws_access_key_id="id",
        aws_secret_access_key="secret",
    )
    whole = bedrock.converse(modelId="anthropic.claude", messages=said)
    assert whole["output"]["message"]["content"] == [{"text": AIMOCK_TEXT}]
    assert whole["usage"]["outputTokens"] == AIMOCK_USAGE["completion_tokens"]
    tools: Any = {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": {}}}}]}
    streamed = bedrock.converse_stream(modelId="anthropic.claude", messages=said, toolConfig=tools)
    events = list(streamed["stream"])
    deltas = [e["contentBlockDelta"]["delta"] for e in events if "contentBlockDelta" in e]
    arguments = "".join(delta["toolUse"]["input"] for delta in deltas)
    assert json.loads(arguments) == {"city": "Paris"}
    assert events[-1]["metadata"]["usage"]["inputTokens"] == AIMOCK_USAGE["prompt_tokens"]


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
