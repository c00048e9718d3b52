"""Azure OpenAI: its own SDK and OpenAI's, at an Azure resource and at OpenAI, to the nano-dollar."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest

from tests.process.conversation import HELLO, WEATHER, said
from tests.process.gateway_process import Gateway
from tests.process.observing import (
    EMBEDDING_PRICE,
    PRICE,
    cost,
    embedding_cost,
    provider,
    running,
    trace,
    traces,
)
from tests.process.programs import run_node, run_sdk2
from tests.process.standins import AIMOCK_TEXT, Scripted, Standin

VERSION = "2025-04-01-preview"
CHEAP = dict.fromkeys(("input", "output"), "0.001") | {
    "context_tokens": 131_072,
    "hidden_reasoning": False,
}


@pytest.fixture(scope="module")
def gateway(scripted_session: Scripted, aimock_standin: Standin) -> Iterator[Gateway]:
    resource = {"dialect": "azure", "base_url": scripted_session.url, "key": scripted_session.key}
    other = {"dialect": "azure", "base_url": aimock_standin.url, "key": aimock_standin.key}
    providers = {"azure": resource, "aimock": other, "plain": provider(scripted_session)}
    config = {
        "providers": providers,
        "models": {"team": {"targets": [{"model": "azure/dear-one", "weight": 1}]}},
        "prices": {
            "azure/dear-one": PRICE,
            "azure/cheap-one": CHEAP,
            "azure/vectors": EMBEDDING_PRICE,
            "aimock/deployed": PRICE,
            "plain/gpt": PRICE,
        },
    }
    with running(config) as made:
        yield made


@pytest.fixture
def azure(gateway: Gateway) -> Iterator[openai.AzureOpenAI]:
    with openai.AzureOpenAI(
        azure_endpoint=f"{gateway.url}/azure",
        api_key=gateway.client_token,
        api_version=VERSION,
        max_retries=0,
    ) as made:
        yield made


def run(name: str) -> dict[str, str]:
    return {"x-gateway-run": name}


def test_azures_sdk_reaches_the_deployment_that_it_names(
    gateway: Gateway, azure: openai.AzureOpenAI, scripted: Scripted
):
    scripted.script(prompt_tokens=30, cached_tokens=10)
    answer = azure.chat.completions.create(
        model="dear-one", messages=HELLO, extra_headers=run("whole")
    )
    assert answer.usage is not None
    (served,) = scripted.settled(1)
    headers = served["headers"]
    assert headers["api-key"] == scripted.key
    assert "authorization" not in headers
    assert served["model"] == "dear-one"
    (found,) = traces(gateway, 1, run="whole")
    assert (found["dialect"], found["provider"]) == ("azure", "azure")
    assert Decimal(found["cost_usd"]) == cost(30, answer.usage.completion_tokens, 10)


@pytest.mark.parametrize("model", ["azure/dear-one", "team", "dear-one"])
def test_a_deployment_may_be_named_in_every_way(
    gateway: Gateway, azure: openai.AzureOpenAI, scripted: Scripted, model: str
):
    name = f"named-{model}".replace("/", "-")
    with azure.chat.completions.create(
        model=model, messages=HELLO, stream=True, extra_headers=run(name)
    ) as stream:
        chunks = list(stream)
    assert len(said(chunks).split()) == 16
    assert all(chunk.usage is None for chunk in chunks)
    (served,) = scripted.settled(1)
    assert served["model"] == "dear-one"
    (found,) = traces(gateway, 1, run=name)
    counted = served["prompt_tokens"], served["billed_completion_tokens"]
    assert Decimal(found["cost_usd"]) == cost(*counted)


def test_the_deployment_is_priced_whatever_the_body_says(gateway: Gateway, scripted: Scripted):
    answer = httpx.post(
        f"{gateway.url}/azure/openai/deployments/dear-one/chat/completions?api-version={VERSION}",
        json={"model": "cheap-one", "messages": HELLO, "max_tokens": 8},
        headers={"api-key": gateway.client_token},
    )
    assert answer.status_code == 200
    (served,) = scripted.settled(1)
    assert served["body"]["model"] == served["model"] == "dear-one"
    found = trace(gateway, answer.headers["x-gateway-trace"])
    assert found["model"] == "azure/dear-one"
    assert Decimal(found["cost_usd"]) == cost(served["prompt_tokens"], 8)


def test_the_bytes_are_the_providers_in_both_forms(gateway: Gateway, scripted: Scripted):
    scripted.script(answer_id="same", pad_bytes=20, comments=True)
    dated = f"deployments/dear-one/chat/completions?api-version={VERSION}"
    body = {"messages": HELLO, "max_tokens": 8, "model": "dear-one", "stream": True}
    options = {"stream_options": {"include_usage": True}}
    for path in (dated, "v1/chat/completions"):
        direct = httpx.post(
            f"{scripted.url}/openai/{path}", json=body | options, headers={"api-key": scripted.key}
        )
        answer = httpx.post(
            f"{gateway.url}/azure/openai/{path}",
            json=body | options,
            headers={"api-key": gateway.client_token},
        )
        assert answer.content == direct.content
        assert answer.status_code == 200


def test_azures_sdk_finds_all_else_that_it_calls(
    gateway: Gateway, azure: openai.AzureOpenAI, scripted: Scripted
):
    del gateway
    answer = azure.responses.create(model="dear-one", input="hello", max_output_tokens=5)
    assert len(answer.output_text.split()) == 5
    vectors = azure.embeddings.create(model="vectors", input=["a", "b"])
    assert len(vectors.data) == 2
    old = azure.completions.create(model="dear-one", prompt="hello", max_tokens=4)
    assert len(old.choices[0].text.split()) == 4
    listed = [model.id for model in azure.models.list()]
    assert {"team", "azure/dear-one", "plain/gpt"} <= set(listed)
    assert [served["path"] for served in scripted.settled(3)] == [
        "/responses",
        "/embeddings",
        "/completions",
    ]


def test_embeddings_are_charged_as_the_deployment(gateway: Gateway, azure: openai.AzureOpenAI):
    raw = azure.embeddings.with_raw_response.create(model="vectors", input=["one", "two words"])
    used = raw.parse().usage.prompt_tokens
    found = trace(gateway, raw.headers["x-gateway-trace"])
    assert Decimal(found["cost_usd"]) == embedding_cost(used)


@pytest.mark.parametrize("base", ["/v1", "/azure/openai/v1"])
@pytest.mark.parametrize("model", ["azure/dear-one", "plain/gpt"])
def test_openais_sdk_calls_both_under_both(
    gateway: Gateway, scripted: Scripted, base: str, model: str
):
    with openai.OpenAI(base_url=gateway.url + base, api_key=gateway.client_token) as client:
        answer = client.chat.completions.create(model=model, messages=HELLO, max_tokens=6)
        assert len((answer.choices[0].message.content or "").split()) == 6
        events = list(client.responses.create(model=model, input="hi", stream=True))
        assert events[-1].type == "response.completed"
    (chat, response) = scripted.settled(2)
    assert (chat["path"], response["path"]) == ("/chat/completions", "/responses")
    key = "api-key" if model.startswith("azure") else "authorization"
    assert key in chat["headers"]
    assert key in response["headers"]


def test_azures_sdk_calls_a_plain_provider_too(azure: openai.AzureOpenAI, scripted: Scripted):
    answer = azure.chat.completions.create(model="plain/gpt", messages=HELLO, tools=[WEATHER])
    assert answer.choices[0].finish_reason == "tool_calls"
    (served,) = scripted.settled(1)
    assert served["body"]["model"] == served["model"] == "gpt"
    assert served["headers"]["authorization"] == f"Bearer {scripted.key}"


@pytest.mark.parametrize("is_stream", [False, True])
def test_another_peoples_azure_is_understood(azure: openai.AzureOpenAI, *, is_stream: bool):
    made: Any = azure.chat.completions.create(model="deployed", messages=HELLO, stream=is_stream)
    text = said(list(made)) if is_stream else made.choices[0].message.content
    assert text == AIMOCK_TEXT


async def test_the_async_sdk_streams(gateway: Gateway, scripted: Scripted):
    del scripted
    async with openai.AsyncAzureOpenAI(
        azure_endpoint=f"{gateway.url}/azure", api_key=gateway.client_token, api_version=VERSION
    ) as client:
        stream = await client.chat.completions.create(
            model="dear-one", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert chunks[-1].usage is not None
    assert len(said(chunks).split()) == 16


async def test_a_token_of_entra_is_taken_for_the_gateways_key(gateway: Gateway, scripted: Scripted):
    del scripted
    async with openai.AsyncAzureOpenAI(
        azure_endpoint=f"{gateway.url}/azure",
        azure_ad_token=gateway.client_token,
        api_version=VERSION,
    ) as client:
        answer = await client.chat.completions.create(model="dear-one", messages=HELLO)
    assert answer.choices[0].message.content


def test_the_release_before_speaks_to_it_too(gateway: Gateway, scripted: Scripted):
    del scripted
    answer = run_sdk2(
        """
import openai
client = openai.AzureOpenAI(
    azure_endpoint=given["url"], api_key=given["key"], api_version=given["version"], max_retries=0)
said = [{"role": "user", "content": "hi"}]
made = client.chat.completions.create(model="dear-one", messages=said)
stream = client.chat.completions.create(model="dear-one", messages=said, stream=True)
deployed = openai.AzureOpenAI(azure_endpoint=given["url"], api_key=given["key"],
    azure_deployment="dear-one", api_version=given["version"], max_retries=0)
try:
    client.chat.completions.create(model="nobody", messages=said)
except openai.NotFoundError as error:
    refused = error.code
answer({
    "text": made.choices[0].message.content,
    "chunks": "".join(c.choices[0].delta.content or "" for c in stream if c.choices),
    "deployed": deployed.chat.completions.create(model="x", messages=said).model,
    "response": client.responses.create(model="dear-one", input="hi").output_text,
    "refused": refused,
})
""",
        {
            "url": f"{gateway.url}/azure",
            "key": gateway.client_token,
            "version": VERSION,
        },
    )
    texts = [answer[name] for name in ("text", "chunks", "response")]
    assert [len(text.split()) for text in texts] == [16, 16, 16]
    assert (answer["deployed"], answer["refused"]) == ("dear-one", "model_not_found")


def test_the_sdks_own_errors_are_raised(azure: openai.AzureOpenAI, scripted: Scripted):
    with pytest.raises(openai.NotFoundError):
        azure.chat.completions.create(model="nobody/knows", messages=HELLO)
    with pytest.raises(openai.APIStatusError) as poor:
        azure.chat.completions.create(
            model="dear-one",
            messages=HELLO,
            extra_headers=run("poor") | {"x-gateway-run-cap-usd": "0.000001"},
        )
    assert (poor.value.status_code, poor.value.code) == (402, "run_cap_exceeded")
    with pytest.raises(openai.AuthenticationError):
        azure.with_options(api_key="gwk_live_unknown").chat.completions.create(
            model="dear-one", messages=HELLO
        )
    with pytest.raises(openai.NotFoundError) as unmetered:
        azure.images.generate(model="dear-one", prompt="a cat")
    assert unmetered.value.code == "endpoint_not_metered"
    denied = {"statusCode": 401, "message": "Access denied due to invalid subscription key"}
    scripted.script(status=401, body=denied)
    with pytest.raises(openai.InternalServerError) as ours:
        azure.chat.completions.create(model="dear-one", messages=HELLO)
    assert (ours.value.status_code, ours.value.code) == (502, "upstream_error")
    filtered = {"error": {"code": "content_filter", "message": "Filtered.", "status": 400}}
    scripted.script(status=400, body=filtered)
    with pytest.raises(openai.BadRequestError) as theirs:
        azure.chat.completions.create(model="dear-one", messages=HELLO)
    assert theirs.value.code == "content_filter"


def test_a_first_chunk_of_filters_alone_is_passed_on(
    azure: openai.AzureOpenAI, gateway: Gateway, scripted: Scripted
):
    first = {"choices": [], "prompt_filter_results": [{"prompt_index": 0}], "model": "", "id": ""}
    scripted.script(inserted=f"data: {json.dumps(first)}\n\n", inserted_at=0)
    with azure.chat.completions.create(
        model="dear-one", messages=HELLO, stream=True, extra_headers=run("filtered")
    ) as stream:
        chunks = list(stream)
    assert len(said(chunks).split()) == 16
    (found,) = traces(gateway, 1, run="filtered")
    assert found["cost_basis"] == "reported"


def test_the_typescript_sdk_speaks_to_it_too(gateway: Gateway, scripted: Scripted):
    del scripted
    answer = run_node(
        """
import { AzureOpenAI } from "openai";
const client = new AzureOpenAI({
  endpoint: given.url, apiKey: given.key, apiVersion: given.version, maxRetries: 0 });
const messages = [{ role: "user", content: "hi" }];
const made = await client.chat.completions.create({ model: "dear-one", messages });
const stream = await client.chat.completions.create({ model: "team", messages, stream: true });
let text = "";
for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
const response = await client.responses.create({ model: "dear-one", input: "hi" });
let refused = "";
try {
  await client.chat.completions.create({ model: "nobody", messages });
} catch (error) {
  refused = `${error.status} ${error.code}`;
}
answer({ made: made.choices[0].message.content, text, response: response.output_text, refused });
""",
        {"url": f"{gateway.url}/azure", "key": gateway.client_token, "version": VERSION},
    )
    texts = [answer[name] for name in ("made", "text", "response")]
    assert [len(text.split()) for text in texts] == [16, 16, 16]
    assert answer["refused"] == "404 model_not_found"
