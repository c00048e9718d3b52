"""OpenAI's Responses and legacy completions through the gateway, by real SDKs, to the nano-dollar."""

import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import httpx
import openai
import pydantic
import pytest

from tests.process.conversation import MODEL
from tests.process.gateway_process import Gateway
from tests.process.observing import PRICE, cost, provider, running, trace, traces
from tests.process.programs import run_node, run_sdk2
from tests.process.standins import AIMOCK_TEXT, Scripted, Standin

FUNCTION: Any = {
    "type": "function",
    "name": "get_weather",
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
RESPONSES, COMPLETIONS = "responses", "completions"


@pytest.fixture(scope="module")
def gateway(
    llmock_standin: Standin, aimock_standin: Standin, scripted_session: Scripted
) -> Iterator[Gateway]:
    places = {"llmock": llmock_standin, "aimock": aimock_standin, "stub": scripted_session}
    prices: dict[str, Any] = {f"{name}/{MODEL}": PRICE for name in places}
    prices["stub/thinker"] = PRICE | {"hidden_reasoning": True}
    prices["stub/windowless"] = {name: PRICE[name] for name in ("input", "output")}
    providers = {name: provider(place) for name, place in places.items()}
    with running({"providers": providers, "prices": prices}) as made:
        yield made


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with gateway.sdk() as made:
        yield made


def post(gateway: Gateway, path: str, body: Mapping[str, Any], **headers: str) -> httpx.Response:
    bearer = {"authorization": f"Bearer {gateway.client_token}"}
    return httpx.post(f"{gateway.url}{path}", json=body, headers=bearer | headers, timeout=30)


def asked(model: str, **more: object) -> dict[str, Any]:
    return {"model": model, "input": "hello there", "max_output_tokens": 64} | more


ANSWERS: list[dict[str, Any]] = [
    {},
    {"tools": [FUNCTION]},
    {"text": {"format": {"type": "json_object"}}},
]


@pytest.mark.parametrize("more", ANSWERS, ids=["text", "tool", "json"])
@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_the_bytes_are_the_providers(
    gateway: Gateway, scripted: Scripted, more: dict[str, Any], *, is_stream: bool
):
    scripted.script(answer_id="resp_same", prompt_tokens=30, cached_tokens=10, tokens=12)
    body = asked(MODEL, stream=is_stream, **more)
    direct = httpx.post(
        f"{scripted.base_url}/responses",
        json=body,
        headers={"authorization": f"Bearer {scripted.key}"},
    )
    answer = post(gateway, "/v1/responses", body | {"model": f"stub/{MODEL}"})
    assert answer.content == direct.content
    assert answer.headers["content-type"] == direct.headers["content-type"]
    (_, served) = scripted.settled(2)
    found = trace(gateway, answer.headers["x-gateway-trace"])
    counted = (30, served["billed_completion_tokens"])
    assert (found["input_tokens"], found["output_tokens"]) == counted
    assert Decimal(found["cost_usd"]) == cost(*counted, 10)
    assert (found["cost_basis"], found["outcome"]) == ("reported", "completed")
    assert (found["dialect"], found["endpoint"]) == ("openai", RESPONSES)


@pytest.mark.parametrize("name", ["llmock", "aimock"])
@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_the_stand_ins_of_others_are_understood(
    gateway: Gateway, client: openai.OpenAI, name: str, *, is_stream: bool
):
    run = f"{name}-{is_stream}"
    headers = {"x-gateway-run": run}
    if is_stream:
        with client.responses.stream(
            model=f"{name}/{MODEL}", input="hello", extra_headers=headers
        ) as stream:
            said = "".join(e.delta for e in stream if e.type == "response.output_text.delta")
            answer: Any = stream.get_final_response()
        assert said == answer.output_text
    else:
        answer = client.responses.create(
            model=f"{name}/{MODEL}", input="hello", extra_headers=headers
        )
    assert answer.output_text
    if name == "aimock":
        assert answer.output_text == AIMOCK_TEXT
    (found,) = traces(gateway, 1, run=run)
    used = answer.usage
    assert used.output_tokens > 0
    assert (found["input_tokens"], found["output_tokens"]) == (
        used.input_tokens,
        used.output_tokens,
    )
    assert Decimal(found["cost_usd"]) == cost(used.input_tokens, used.output_tokens)
    assert found["cost_basis"] == "reported"


class Weather(pydantic.BaseModel):
    city: str
    degrees: int


def test_structured_output_is_parsed(client: openai.OpenAI, scripted: Scripted):
    del scripted
    answer = client.responses.parse(model=f"stub/{MODEL}", input="hello", text_format=Weather)
    assert isinstance(answer.output_parsed, Weather)


def test_a_tool_is_called_and_its_answer_is_taken(client: openai.OpenAI, scripted: Scripted):
    scripted.script(tool_arguments={"city": "Paris"})
    said: Any = [{"role": "user", "content": "hello"}]
    answer = client.responses.create(model=f"stub/{MODEL}", input=said, tools=[FUNCTION])
    (call,) = answer.output
    assert call.type == "function_call"
    assert json.loads(call.arguments) == {"city": "Paris"}
    said += [call.model_dump(exclude_none=True)]
    said += [{"type": "function_call_output", "call_id": call.call_id, "output": "12 degrees"}]
    answer = client.responses.create(model=f"stub/{MODEL}", input=said, tools=[FUNCTION])
    assert answer.output_text


def test_what_goes_up_has_a_ceiling_and_nothing_else_new(client: openai.OpenAI, scripted: Scripted):
    client.responses.create(model=f"stub/{MODEL}", input="hello", store=False, metadata={"a": "b"})
    (served,) = scripted.settled(1)
    assert served["body"] == {
        "model": MODEL,
        "input": "hello",
        "store": False,
        "metadata": {"a": "b"},
        "max_output_tokens": 4096,
    }


def test_a_count_of_input_tokens_is_free(
    gateway: Gateway, client: openai.OpenAI, scripted: Scripted
):
    scripted.script(prompt_tokens=123)
    headers = {"x-gateway-run": "counted"}
    raw = client.responses.input_tokens.with_raw_response.count(
        model=f"stub/{MODEL}", input="hello", extra_headers=headers
    )
    assert raw.parse().input_tokens == 123
    assert raw.headers["x-gateway-estimate-usd"] == "0"
    (found,) = traces(gateway, 1, run="counted")
    assert (found["cost_usd"], found["endpoint"]) == ("0", "responses/input_tokens")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("previous_response_id", "resp_1"),
        ("conversation", "conv_1"),
        ("prompt", {"id": "pmpt_1"}),
        ("input", [{"type": "item_reference", "id": "msg_1"}]),
        ("input", [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]),
    ],
)
def test_input_that_is_elsewhere_is_held_for_by_the_whole_context(
    gateway: Gateway, field: str, value: object
):
    dry = {"x-gateway-dry-run": "true"}
    body = asked(f"stub/{MODEL}", **{"tool_choice": "none", field: value})
    estimate = post(gateway, "/v1/responses", body, **dry).json()
    assert estimate["input_tokens_bound"] == PRICE["context_tokens"]
    body["model"] = "stub/windowless"
    refused = post(gateway, "/v1/responses", body, **dry)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "bound_unknown")


def test_what_the_provider_would_bill_beside_tokens_is_refused(
    client: openai.OpenAI, scripted: Scripted
):
    refused: list[dict[str, Any]] = [
        {"background": True},
        *({"tools": [{"type": kind}]} for kind in ("web_search", "image_generation", "shell")),
        {"tools": [{"type": "mcp", "server_label": "x", "server_url": "http://x"}]},
    ]
    for more in refused:
        with pytest.raises(openai.BadRequestError) as caught:
            client.responses.create(model=f"stub/{MODEL}", input="hello", **more)
        assert caught.value.code == "bound_unknown"
        assert caught.value.param in more
    assert scripted.seen() == []


STORED = [
    ("GET", "/v1/responses/resp_1"),
    ("DELETE", "/v1/responses/resp_1"),
    ("GET", "/v1/responses/resp_1/input_items"),
    ("POST", "/v1/responses/resp_1/cancel"),
    ("POST", "/v1/responses/compact"),
    ("POST", "/v1/conversations"),
    ("GET", "/v1/responses"),
    ("GET", "/azure/openai/responses/resp_1"),
    ("POST", "/azure/openai/v1/responses/compact"),
]


@pytest.mark.parametrize(("method", "path"), STORED)
def test_what_is_stored_there_is_not_reached(gateway: Gateway, method: str, path: str):
    headers = {"authorization": f"Bearer {gateway.client_token}"}
    answer = httpx.request(method, f"{gateway.url}{path}", headers=headers)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "endpoint_not_metered"


def test_a_web_socket_is_not_opened(gateway: Gateway):
    headers = {
        "authorization": f"Bearer {gateway.client_token}",
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version": "13",
    }
    answer = httpx.get(f"{gateway.url}/v1/responses", headers=headers)
    assert answer.status_code == 404


def test_the_sdks_own_errors_are_raised(client: openai.OpenAI, scripted: Scripted):
    with pytest.raises(openai.NotFoundError) as missing:
        client.responses.create(model="nobody/knows", input="hello")
    assert missing.value.code == "model_not_found"
    run = {"x-gateway-run": "poor", "x-gateway-run-cap-usd": "0.000001"}
    with pytest.raises(openai.APIStatusError) as poor:
        client.responses.create(model=f"stub/{MODEL}", input="hello", extra_headers=run)
    assert (poor.value.status_code, poor.value.code) == (402, "run_cap_exceeded")
    scripted.script(status=429)
    with pytest.raises(openai.RateLimitError) as slow:
        client.responses.create(model=f"stub/{MODEL}", input="hello")
    assert slow.value.code == "scripted_429"


def streamed(client: openai.OpenAI, model: str, run: str) -> Iterator[Any]:
    yield from client.responses.create(
        model=model,
        input="hello",
        max_output_tokens=4000,
        stream=True,
        extra_headers={"x-gateway-run": run},
    )


def test_a_stream_that_an_operator_kills_raises_and_is_charged(
    gateway: Gateway, client: openai.OpenAI, scripted: Scripted
):
    scripted.script(tokens=4000, chunk_after=0.02)
    events = streamed(client, f"stub/{MODEL}", "killed")
    while next(events).type != "response.output_text.delta":
        pass
    body = {"scope": "run", "id": "killed", "project": "default", "reason": "test"}
    thrown = gateway.admin("POST", "/kill", json=body)
    assert thrown.is_success, thrown.text
    rest: list[Any] = []
    with pytest.raises(openai.APIError, match="kill switch") as caught:
        rest.extend(events)
    assert caught.value.code == "kill_switch"
    (served,) = scripted.settled(1)
    (found,) = traces(gateway, 1, run="killed")
    assert (found["outcome"], found["cost_basis"]) == ("killed", "metered")
    assert found["output_tokens"] > 0
    owed = Decimal(found["cost_usd"])
    assert owed >= cost(served["prompt_tokens"], found["output_tokens"] // 2)
    assert owed < Decimal(found["bound_usd"])


def test_a_cut_stream_says_so_with_the_number_that_is_next(gateway: Gateway, scripted: Scripted):
    scripted.script(tokens=4000, ignore_max_tokens=True)
    body = asked(f"stub/{MODEL}", stream=True, max_output_tokens=20)
    answer = post(gateway, "/v1/responses", body, **{"x-gateway-run": "cut"})
    *before, last, empty = answer.text.split("\n\n")
    assert empty == ""
    name, data = last.split("\n")
    said = json.loads(data.removeprefix("data: "))
    number = json.loads(before[-1].split("\n")[1].removeprefix("data: "))["sequence_number"]
    assert (name, said["type"], said["sequence_number"]) == ("event: error", "error", number + 1)
    assert said["code"] == said["error"]["code"] == "request_cap_exceeded"
    (found,) = traces(gateway, 1, run="cut")
    assert found["outcome"] == "cap_reached"
    assert Decimal(found["cost_usd"]) >= Decimal(found["bound_usd"])


@pytest.mark.parametrize("ending", ["truncate", "close"])
def test_a_stream_that_breaks_off_raises_and_a_thinkers_bound_is_owed(
    gateway: Gateway, client: openai.OpenAI, scripted: Scripted, ending: str
):
    scripted.script(ending=ending, tokens=20)
    with pytest.raises(openai.APIError) as caught:
        list(streamed(client, "stub/thinker", ending))
    assert caught.value.code == "upstream_error"
    (found,) = traces(gateway, 1, run=ending)
    assert (found["outcome"], found["cost_usd"]) == ("provider_lost", found["bound_usd"])


def test_the_providers_own_error_is_the_last_event_as_it_came(
    gateway: Gateway, client: openai.OpenAI, scripted: Scripted
):
    scripted.script(ending="error_event", tokens=20)
    *_, last = streamed(client, f"stub/{MODEL}", "broken")
    assert (last.type, last.code) == ("error", "server_error")
    (found,) = traces(gateway, 1, run="broken")
    assert (found["outcome"], found["cost_basis"]) == ("provider_error", "metered")


def test_a_failed_response_is_an_error(gateway: Gateway, client: openai.OpenAI, scripted: Scripted):
    error = {"code": "server_error", "message": "It failed."}
    failed = {"object": "response", "status": "failed", "error": error, "output": []}
    scripted.script(body=failed)
    with pytest.raises(openai.InternalServerError) as caught:
        client.responses.create(
            model=f"stub/{MODEL}", input="hello", extra_headers={"x-gateway-run": "failed"}
        )
    assert caught.value.code == "upstream_error"
    (found,) = traces(gateway, 1, run="failed")
    assert found["cost_usd"] == "0"


SDK2 = """
import openai
client = openai.OpenAI(base_url=given["base_url"], api_key=given["key"])
made = client.responses.create(model=given["model"], input="hello")
events = [e.type for e in client.responses.create(model=given["model"], input="hello", stream=True)]
old = client.completions.create(model=given["model"], prompt="hello", max_tokens=7)
answer({"text": made.output_text, "events": events, "old": old.choices[0].text})
"""
NODE = """
import OpenAI from "openai";
const client = new OpenAI({ baseURL: given.base_url, apiKey: given.key });
const made = await client.responses.create({ model: given.model, input: "hello" });
const events = [];
const stream = await client.responses.create({ model: given.model, input: "hello", stream: true });
for await (const event of stream) events.push(event.type);
const old = await client.completions.create({ model: given.model, prompt: "hello", max_tokens: 7 });
answer({ text: made.output_text, events, old: old.choices[0].text });
"""


Run = Callable[[str, object], dict[str, Any]]


@pytest.mark.parametrize(("run", "program"), [(run_sdk2, SDK2), (run_node, NODE)])
def test_other_sdks_understand_it_too(gateway: Gateway, scripted: Scripted, run: Run, program: str):
    del scripted
    place = {"base_url": gateway.base_url, "key": gateway.client_token, "model": f"stub/{MODEL}"}
    answer = run(program, place)
    assert len(answer["text"].split()) == 16
    assert len(answer["old"].split()) == 7
    assert answer["events"][0] == "response.created"
    assert answer["events"][-1] == "response.completed"


async def test_the_async_sdk_streams(gateway: Gateway, scripted: Scripted):
    del scripted
    async with gateway.async_sdk() as client:
        stream = await client.responses.create(
            model=f"stub/{MODEL}", input="hello", stream=True, max_output_tokens=3
        )
        kinds = [event.type async for event in stream]
    assert kinds.count("response.output_text.delta") == 3
    assert kinds[-1] == "response.incomplete"


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("counted", [False, True])
def test_legacy_completions_are_charged_to_the_token(
    gateway: Gateway, client: openai.OpenAI, scripted: Scripted, *, is_stream: bool, counted: bool
):
    scripted.script(prompt_tokens=40, tokens=30)
    run = f"legacy-{is_stream}-{counted}"
    more: Any = {"stream_options": {"include_usage": True}} if is_stream and counted else {}
    made: Any = client.completions.create(
        model=f"stub/{MODEL}",
        prompt="hello there",
        n=2,
        stream=is_stream,
        extra_headers={"x-gateway-run": run},
        **more,
    )
    chunks = list(made) if is_stream else [made]
    reported = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert bool(reported) == (counted or not is_stream)
    (served,) = scripted.settled(1)
    assert served["body"]["max_tokens"] == 16
    assert served["billed_completion_tokens"] == 32, "16 for each choice, as the API has it"
    (found,) = traces(gateway, 1, run=run)
    assert Decimal(found["cost_usd"]) == cost(40, 32)
    assert (found["endpoint"], found["cost_basis"]) == (COMPLETIONS, "reported")


def test_a_prompt_of_many_is_held_for_many_times(gateway: Gateway):
    dry = {"x-gateway-dry-run": "true"}
    body = {"model": f"stub/{MODEL}", "prompt": ["a", "b", "c"], "n": 2, "best_of": 4}
    estimate = post(gateway, "/v1/completions", body, **dry).json()
    assert estimate["output_tokens_bound"] == 3 * 4 * 16
    ids = post(gateway, "/v1/completions", body | {"prompt": [[1] * 500]}, **dry).json()
    assert 500 <= ids["input_tokens_bound"] < 1300


def test_a_prompt_may_be_scored_without_an_answer(gateway: Gateway, scripted: Scripted):
    body = {"model": f"stub/{MODEL}", "prompt": "a b c", "max_tokens": 0, "echo": True}
    answer = post(gateway, "/v1/completions", body | {"logprobs": 1})
    assert answer.status_code == 200
    (served,) = scripted.settled(1)
    assert (served["body"]["max_tokens"], served["billed_completion_tokens"]) == (0, 0)
    found = trace(gateway, answer.headers["x-gateway-trace"])
    assert Decimal(found["cost_usd"]) == cost(served["prompt_tokens"], 0)


def test_a_streamed_echo_is_not_taken_for_output(gateway: Gateway, scripted: Scripted):
    prompt = "one two three " * 200
    first = {"choices": [{"index": 0, "text": prompt, "finish_reason": None}]}
    scripted.script(inserted=f"data: {json.dumps(first)}\n\n", inserted_at=0, tokens=4)
    body = {"model": f"stub/{MODEL}", "prompt": prompt, "max_tokens": 4, "echo": True}
    answer = post(gateway, "/v1/completions", body | {"stream": True})
    assert answer.text.startswith(f"data: {json.dumps(first)}\n\n")
    assert answer.text.endswith("data: [DONE]\n\n")
    (served,) = scripted.settled(1)
    found = trace(gateway, answer.headers["x-gateway-trace"])
    assert (found["outcome"], found["cost_basis"]) == ("completed", "reported")
    assert Decimal(found["cost_usd"]) == cost(served["prompt_tokens"], 4)
