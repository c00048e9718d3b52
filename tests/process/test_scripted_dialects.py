"""The scripted provider in every API it speaks: real SDKs understand it, and its account is right."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai import types

from tests.process.conversation import HELLO, WEATHER, client_of
from tests.process.standins import Scripted

MODEL = "m"
WORDS = 16


@pytest.fixture
def claude(scripted: Scripted) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=scripted.url, api_key=scripted.key, max_retries=0) as client:
        yield client


@pytest.fixture
def gemini(scripted: Scripted) -> genai.Client:
    return genai.Client(api_key=scripted.key, http_options=types.HttpOptions(base_url=scripted.url))


@pytest.fixture
def sdk(scripted: Scripted) -> Iterator[openai.OpenAI]:
    with client_of(scripted) as client:
        yield client


def account(scripted: Scripted, *names: str) -> list[Any]:
    """Return what the account says of its one request."""
    (served,) = scripted.settled(1)
    assert served["outcome"] == "complete"
    return [served[name] for name in names]


TOKENS = ("prompt_tokens", "billed_completion_tokens")
SAID: list[anthropic.types.MessageParam] = [{"role": "user", "content": "hello there"}]
CLAUDE_WEATHER: anthropic.types.ToolParam = {
    "name": "get_weather",
    "input_schema": WEATHER["function"]["parameters"],
}


def test_anthropic_answers_and_counts(scripted: Scripted, claude: anthropic.Anthropic) -> None:
    scripted.script(MODEL, prompt_tokens=30, cached_tokens=10, cache_write_tokens=5)
    answer = claude.messages.create(model=MODEL, max_tokens=7, messages=SAID)
    assert (answer.stop_reason, len(text_of(answer).split())) == ("max_tokens", 7)
    usage = answer.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (15, 10)
    assert (usage.cache_creation_input_tokens, usage.output_tokens) == (5, 7)
    assert account(scripted, *TOKENS) == [30, 7]


def text_of(answer: anthropic.types.Message) -> str:
    return "".join(block.text for block in answer.content if block.type == "text")


def test_anthropic_streams_and_accumulates(scripted: Scripted, claude: anthropic.Anthropic) -> None:
    scripted.script(MODEL, reasoning_tokens=4, thinks_aloud=True)
    with claude.messages.stream(model=MODEL, max_tokens=100, messages=SAID) as stream:
        said = "".join(stream.text_stream)
        answer = stream.get_final_message()
    assert (len(said.split()), text_of(answer)) == (WORDS, said)
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert (answer.stop_reason, answer.usage.output_tokens) == ("end_turn", WORDS + 4)
    assert account(scripted, "chunks", *TOKENS) == [WORDS + 4, answer.usage.input_tokens, WORDS + 4]


@pytest.mark.parametrize("is_stream", [False, True])
def test_anthropic_calls_tools(
    scripted: Scripted, claude: anthropic.Anthropic, *, is_stream: bool
) -> None:
    scripted.script(MODEL, tool_arguments={"city": "Paris"})
    asked: Any = {"model": MODEL, "max_tokens": 99, "messages": SAID, "tools": [CLAUDE_WEATHER]}
    if is_stream:
        with claude.messages.stream(**asked) as stream:
            answer = stream.get_final_message()
    else:
        answer = claude.messages.create(**asked)
    (call,) = answer.content
    assert call.type == "tool_use"
    assert (call.name, call.input) == ("get_weather", {"city": "Paris"})
    assert answer.stop_reason == "tool_use"


def test_counting_is_free(scripted: Scripted, claude: anthropic.Anthropic) -> None:
    scripted.script(MODEL, prompt_tokens=123)
    counted = claude.messages.count_tokens(model=MODEL, messages=SAID)
    assert counted.input_tokens == 123
    assert account(scripted, *TOKENS) == [0, 0]


def test_anthropic_refuses_and_breaks_off_in_its_own_shape(
    scripted: Scripted, claude: anthropic.Anthropic
) -> None:
    scripted.script(MODEL, status=529)
    with pytest.raises(anthropic.APIStatusError) as refused:
        claude.messages.create(model=MODEL, max_tokens=9, messages=SAID)
    assert refused.value.type == "overloaded_error"
    scripted.script(MODEL, ending="error_event", ending_after=2)
    with (
        pytest.raises(anthropic.APIStatusError, match="as the script says"),
        claude.messages.stream(model=MODEL, max_tokens=9, messages=SAID) as stream,
    ):
        list(stream)
    assert scripted.settled(2)[1]["completion_tokens"] == 2


def test_gemini_answers_and_counts(scripted: Scripted, gemini: genai.Client) -> None:
    scripted.script(MODEL, prompt_tokens=30, cached_tokens=10, reasoning_tokens=3)
    answer = gemini.models.generate_content(
        model=MODEL, contents="hello", config={"max_output_tokens": 9}
    )
    usage = answer.usage_metadata
    assert usage is not None
    assert answer.candidates is not None
    assert answer.candidates[0].finish_reason == "MAX_TOKENS"
    assert (usage.prompt_token_count, usage.cached_content_token_count) == (30, 10)
    assert (usage.candidates_token_count, usage.thoughts_token_count) == (6, 3)
    assert len((answer.text or "").split()) == 6
    assert account(scripted, *TOKENS) == [30, 9]


def test_gemini_streams(scripted: Scripted, gemini: genai.Client) -> None:
    scripted.script(MODEL, reasoning_tokens=3, thinks_aloud=True)
    chunks = list(gemini.models.generate_content_stream(model=MODEL, contents="hello"))
    parts = [part for chunk in chunks for part in chunk.parts or []]
    assert len([part for part in parts if part.thought]) == 3
    said = "".join(part.text or "" for part in parts if not part.thought)
    assert len(said.split()) == WORDS
    last = chunks[-1].usage_metadata
    assert last is not None
    assert (last.candidates_token_count, last.thoughts_token_count) == (WORDS, 3)
    assert account(scripted, "chunks", "billed_completion_tokens") == [WORDS + 3, WORDS + 3]


def test_gemini_streams_an_array_unless_asked_for_events(scripted: Scripted) -> None:
    asked = {"contents": [{"parts": [{"text": "hello"}]}], "labels": {"script": '{"tokens": 2}'}}
    answer = httpx.post(
        f"{scripted.url}/v1beta/models/{MODEL}:streamGenerateContent",
        json=asked,
        headers={"x-goog-api-key": scripted.key},
    )
    assert answer.headers["content-type"] == "application/json"
    texts = [one["candidates"][0]["content"]["parts"][0]["text"] for one in answer.json()]
    assert texts == [" the", " cat", ""]


def test_gemini_calls_functions_counts_and_embeds(scripted: Scripted, gemini: genai.Client) -> None:
    function = types.FunctionDeclaration(name="get_weather", parameters_json_schema={})
    called = gemini.models.generate_content(
        model=MODEL,
        contents="hello",
        config=types.GenerateContentConfig(tools=[types.Tool(function_declarations=[function])]),
    )
    assert called.function_calls is not None
    assert called.function_calls[0].name == "get_weather"
    assert gemini.models.count_tokens(model=MODEL, contents="hello").total_tokens == 3 + 3 + 2
    embedded = gemini.models.embed_content(model=MODEL, contents=["one", "two words"])
    assert embedded.embeddings is not None
    assert [one.values[0] for one in embedded.embeddings if one.values] == [0.0, 1.0]
    billed = [(one["path"], one["prompt_tokens"]) for one in scripted.settled(3)]
    assert billed[1:] == [(":countTokens", 0), (":batchEmbedContents", 1 + 3)]


def test_gemini_refuses_in_its_own_shape(scripted: Scripted, gemini: genai.Client) -> None:
    scripted.script(MODEL, status=429)
    with pytest.raises(genai.errors.ClientError) as refused:
        gemini.models.generate_content(model=MODEL, contents="hello")
    assert (refused.value.code, refused.value.status) == (429, "RESOURCE_EXHAUSTED")


def test_responses_answer_and_count(scripted: Scripted, sdk: openai.OpenAI) -> None:
    scripted.script(MODEL, prompt_tokens=30, cached_tokens=10, reasoning_tokens=3)
    answer = sdk.responses.create(model=MODEL, input="hello", max_output_tokens=9)
    assert (answer.status, len(answer.output_text.split())) == ("incomplete", 6)
    usage = answer.usage
    assert usage is not None
    assert (usage.input_tokens, usage.input_tokens_details.cached_tokens) == (30, 10)
    assert (usage.output_tokens, usage.output_tokens_details.reasoning_tokens) == (9, 3)
    assert account(scripted, *TOKENS) == [30, 9]


def test_responses_stream_and_accumulate(scripted: Scripted, sdk: openai.OpenAI) -> None:
    scripted.script(MODEL, reasoning_tokens=2, thinks_aloud=True)
    with sdk.responses.stream(model=MODEL, input="hello") as stream:
        numbers = [event.sequence_number for event in stream]
        answer = stream.get_final_response()
    assert numbers == list(range(len(numbers)))
    assert len(answer.output_text.split()) == WORDS
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert account(scripted, "chunks", "billed_completion_tokens") == [WORDS + 2, WORDS + 2]


def test_responses_call_functions(scripted: Scripted, sdk: openai.OpenAI) -> None:
    scripted.script(MODEL, tool_arguments={"city": "Paris"})
    tools: Any = [{"type": "function", "name": "get_weather", "parameters": {}, "strict": False}]
    whole = sdk.responses.create(model=MODEL, input="hello", tools=tools)
    with sdk.responses.stream(model=MODEL, input="hello", tools=tools) as stream:
        streamed = stream.get_final_response()
    for answer in (whole, streamed):
        (call,) = answer.output
        assert call.type == "function_call"
        assert json.loads(call.arguments) == {"city": "Paris"}


def test_responses_break_off_with_an_event(scripted: Scripted, sdk: openai.OpenAI) -> None:
    scripted.script(MODEL, ending="error_event", ending_after=1)
    events = list(sdk.responses.create(model=MODEL, input="hello", stream=True))
    assert events[-1].type == "error"
    assert events[-1].sequence_number == len(events) - 1
    assert sdk.responses.input_tokens.count(model=MODEL, input="hello").input_tokens > 0


@pytest.mark.parametrize("is_stream", [False, True])
def test_legacy_completions_take_several_prompts(
    scripted: Scripted, sdk: openai.OpenAI, *, is_stream: bool
) -> None:
    asked: Any = {"model": MODEL, "prompt": ["hello", "there"], "max_tokens": 3, "n": 2}
    if is_stream:
        chunks = list(
            sdk.completions.create(**asked, stream=True, stream_options={"include_usage": True})
        )
        usage = chunks[-1].usage
        texts = [c.text for chunk in chunks for c in chunk.choices if c.text]
        assert len(texts) == 4 * 3
    else:
        answer = sdk.completions.create(**asked)
        usage = answer.usage
        assert [len(one.text.split()) for one in answer.choices] == [3, 3, 3, 3]
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (4, 12)
    assert account(scripted, *TOKENS) == [4, 12]


@pytest.mark.parametrize("is_v1", [False, True])
def test_azure_names_the_model_in_either_place(scripted: Scripted, *, is_v1: bool) -> None:
    headers = {"api-key": scripted.key}
    path = "/openai/v1/chat/completions" if is_v1 else "/openai/deployments/m/chat/completions"
    model = "m" if is_v1 else "another"
    answer = httpx.post(
        f"{scripted.url}{path}?api-version=2025-04-01-preview",
        json={"model": model, "messages": HELLO},
        headers=headers,
    )
    assert answer.json()["model"] == "m"
    assert account(scripted, "model", "path") == ["m", "/chat/completions"]


def test_what_is_told_for_the_next_is_for_one_request(
    scripted: Scripted, sdk: openai.OpenAI
) -> None:
    scripted.next(tokens=2)
    scripted.next(tokens=3)
    words = [
        len(sdk.responses.create(model=MODEL, input="hello").output_text.split()) for _ in range(3)
    ]
    assert words == [2, 3, WORDS]


def test_a_script_comes_in_what_each_api_has_for_it(
    scripted: Scripted, sdk: openai.OpenAI, claude: anthropic.Anthropic
) -> None:
    script = {"tokens": 2, "usage_fields": {"output_tokens": 77}}
    by_user = claude.messages.create(
        model=MODEL,
        max_tokens=9,
        messages=SAID,
        metadata={"user_id": json.dumps({"script": script})},
    )
    by_metadata = sdk.responses.create(
        model=MODEL, input="hello", metadata={"script": json.dumps(script)}
    )
    assert by_metadata.usage is not None
    assert (by_user.usage.output_tokens, by_metadata.usage.output_tokens) == (77, 77)
    assert [one["completion_tokens"] for one in scripted.settled(2)] == [2, 2]


def test_models_are_listed_as_each_client_knows_them(
    scripted: Scripted, sdk: openai.OpenAI, claude: anthropic.Anthropic, gemini: genai.Client
) -> None:
    listed = [
        [one.id for one in sdk.models.list()],
        [one.id for one in claude.models.list()],
        [one.name for one in gemini.models.list(config={"query_base": True})],
    ]
    assert listed == [["gpt-4o-mini"], ["gpt-4o-mini"], ["models/gpt-4o-mini"]]
