"""Clients that are no vendor's SDK: pointed at the gateway they say what they say of the provider."""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessage, BaseMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

from tests.process.conversation import WEATHER
from tests.process.gateway_process import Gateway
from tests.process.observing import (
    EMBEDDING_PRICE,
    PRICE,
    cost,
    embedding_cost,
    run_at_rest,
    running,
    traces,
)
from tests.process.programs import run_python
from tests.process.standins import Scripted

MODEL, EMBEDDER = "model", "embedder"
LIMIT = 20
QUESTION = "What is the weather like in Paris?"
SCRIPT = {"prompt_tokens": 40, "cached_tokens": 30, "tokens": 12, "answer_id": "answer-1"}


@pytest.fixture(scope="module")
def gateway(scripted_session: Scripted) -> Iterator[Gateway]:
    key = scripted_session.key
    providers = {
        "mock": {"dialect": "openai", "base_url": scripted_session.base_url, "key": key},
        "google": {"dialect": "gemini", "base_url": scripted_session.url, "key": key},
    }
    prices = {f"{name}/{MODEL}": PRICE for name in providers}
    prices[f"mock/{EMBEDDER}"] = EMBEDDING_PRICE
    with running({"providers": providers, "prices": prices}) as made:
        yield made


@pytest.fixture
def provider(scripted: Scripted) -> Scripted:
    scripted.script(MODEL, **SCRIPT)
    return scripted


def assert_paid(gateway: Gateway, provider: Scripted, run: str, calls: int) -> None:
    """Assert that a run's calls were charged what the provider's account says, and hold no more."""
    seen = provider.settled(calls)[-calls:]
    due = [price_of(served) for served in seen]
    kept = traces(gateway, calls, run=run)
    assert [Decimal(one["cost_usd"]) for one in kept] == due
    assert {(one["cost_basis"], one["outcome"]) for one in kept} == {("reported", "completed")}
    spent = run_at_rest(gateway, run)
    assert (Decimal(spent["spent_usd"]), spent["unsettled_usd"]) == (sum(due), "0")


def price_of(served: Mapping[str, Any]) -> Decimal:
    if served["model"] == EMBEDDER:
        return embedding_cost(served["prompt_tokens"])
    counts = ("prompt_tokens", "billed_completion_tokens", "cached_tokens")
    return cost(*(served[name] for name in counts))


def chain(base_url: str, key: str, model: str, run: str, **more: Any) -> ChatOpenAI:  # noqa: ANN401
    return ChatOpenAI(
        model=model,
        base_url=base_url,
        api_key=SecretStr(key),
        max_retries=0,
        default_headers={"x-gateway-run": run},
        max_completion_tokens=LIMIT,
        **more,
    )


def invoked(chat: ChatOpenAI) -> list[BaseMessage]:
    return [chat.invoke(QUESTION)]


def streamed(chat: ChatOpenAI) -> list[BaseMessage]:
    return list(chat.stream(QUESTION))


def with_tool(chat: ChatOpenAI) -> list[BaseMessage]:
    return [chat.bind_tools([WEATHER]).invoke(QUESTION)]


def with_streamed_tool(chat: ChatOpenAI) -> list[BaseMessage]:
    return list(chat.bind_tools([WEATHER]).stream(QUESTION))


def in_schema(chat: ChatOpenAI) -> list[BaseMessage]:
    schema = {"title": "it", "type": "object", "properties": {"degrees": {"type": "integer"}}}
    asked = chat.with_structured_output(schema, method="json_schema", include_raw=True)
    answer: Any = asked.invoke(QUESTION)
    assert answer["parsed"] == {"degrees": 1}
    return [answer["raw"]]


Asked = Callable[[ChatOpenAI], list[BaseMessage]]
CHAINS: dict[str, tuple[Asked, dict[str, Any]]] = {
    "invoke": (invoked, {}),
    "stream": (streamed, {"stream_usage": True}),
    "unasked-usage": (streamed, {"stream_usage": False}),
    "tool": (with_tool, {}),
    "streamed-tool": (with_streamed_tool, {"stream_usage": True}),
    "schema": (in_schema, {}),
    "responses": (invoked, {"use_responses_api": True}),
    "responses-stream": (streamed, {"use_responses_api": True}),
    "responses-tool": (with_tool, {"use_responses_api": True}),
}


@pytest.mark.parametrize("name", list(CHAINS))
def test_langchain_hears_what_it_hears_directly(
    gateway: Gateway, provider: Scripted, name: str
) -> None:
    ask, more = CHAINS[name]
    run = f"langchain-{name}"
    direct = ask(chain(provider.base_url, provider.key, MODEL, run, **more))
    through = ask(chain(gateway.base_url, gateway.client_token, f"mock/{MODEL}", run, **more))
    assert [heard(one) for one in through] == [heard(one) for one in direct]
    assert any(one.content or getattr(one, "tool_calls", None) for one in through)
    assert_paid(gateway, provider, run, 1)


def heard(message: BaseMessage) -> dict[str, Any]:
    """Return what LangChain made of an answer, but for the ids that it gives itself."""
    assert isinstance(message, AIMessage)
    return message.model_dump(exclude={"id"})


async def test_langchain_asks_asynchronously(gateway: Gateway, provider: Scripted) -> None:
    chat = chain(gateway.base_url, gateway.client_token, f"mock/{MODEL}", "langchain-async")
    whole = await chat.ainvoke(QUESTION)
    said = "".join([str(chunk.content) async for chunk in chat.astream(QUESTION)])
    assert whole.content == said
    assert len(said.split()) == SCRIPT["tokens"]
    assert_paid(gateway, provider, "langchain-async", 2)


@pytest.mark.parametrize("dimensions", [None, 8])
def test_langchain_embeds(gateway: Gateway, provider: Scripted, dimensions: int | None) -> None:
    run = f"langchain-embeddings-{dimensions}"

    def embeddings(base_url: str, key: str, model: str) -> list[list[float]]:
        embedder = OpenAIEmbeddings(
            model=model,
            base_url=base_url,
            api_key=SecretStr(key),
            max_retries=0,
            default_headers={"x-gateway-run": run},
            dimensions=dimensions,
            check_embedding_ctx_length=False,  # it would fetch a vocabulary
        )
        return embedder.embed_documents(["one", "two words"])

    direct = embeddings(provider.base_url, provider.key, EMBEDDER)
    through = embeddings(gateway.base_url, gateway.client_token, f"mock/{EMBEDDER}")
    assert through == direct
    assert [len(vector) for vector in through] == [dimensions or 1536] * 2
    assert_paid(gateway, provider, run, 1)


def test_langchain_raises_the_refusal_of_a_cap(gateway: Gateway, provider: Scripted) -> None:
    run = "langchain-capped"
    capped = {"x-gateway-run": run, "x-gateway-run-cap-usd": "0.00000001"}
    chat = chain(gateway.base_url, gateway.client_token, f"mock/{MODEL}", run)
    with pytest.raises(openai.APIStatusError, match="cap") as refused:
        chat.invoke(QUESTION, extra_headers=capped)
    assert (refused.value.status_code, refused.value.code) == (402, "run_cap_exceeded")
    assert provider.seen() == []


LITELLM = """
import asyncio, warnings
warnings.simplefilter("ignore")  # of what it does to its own types
import litellm
litellm.suppress_debug_info = True
said = [{"role": "user", "content": given["question"]}]

def usage(answer):
    found = answer.usage
    return [found.prompt_tokens, found.completion_tokens]

def chat(model, at, limited):
    def texts(chunks):
        return "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices)
    asked = {"model": model, "messages": said, **at, **limited}
    whole = litellm.completion(**asked)
    counted = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(litellm.completion(**asked, **counted))
    unasked = list(litellm.completion(**asked, stream=True))
    awaited = asyncio.run(litellm.acompletion(**asked))
    return {
        "texts": [whole.choices[0].message.content, texts(chunks), texts(unasked),
                  awaited.choices[0].message.content],
        "usage": [usage(whole), usage(chunks[-1]), usage(awaited)],
    }

def completion(model, at, limited):
    made = litellm.text_completion(model=model, prompt=given["question"], **at, **limited)
    return {"texts": [made.choices[0].text], "usage": [usage(made)]}

def responses(model, at, limited):
    made = litellm.responses(
        model=model, input=given["question"], max_output_tokens=given["limit"], **at)
    usage = [made.usage.input_tokens, made.usage.output_tokens]
    return {"texts": [made.output[0].content[0].text], "usage": [usage]}

def embedding(model, at, limited):
    made = litellm.embedding(model=model, input=["one", "two"], **at)
    return {"vectors": [one["embedding"] for one in made.data], "usage": [usage(made)]}

kinds = {"chat": chat, "completion": completion, "responses": responses, "embedding": embedding}
heard = {}
for name, asked in given["asked"].items():
    at = {"api_base": asked["base"], "api_key": asked["key"],
          "extra_headers": {"x-gateway-run": asked["run"]}}
    heard[name] = kinds[asked["kind"]](asked["model"], at, {"max_tokens": given["limit"]})
answer(heard)
"""
"""All in one process: to import it takes longer than all the rest."""
LITELLM_KINDS = {
    # What is asked, by which of its providers, of which of ours, at which path, for which model.
    "chat": ("chat", "openai", "mock", "openai", MODEL),
    "gemini": ("chat", "gemini", "google", "gemini", MODEL),
    "completion": ("completion", "text-completion-openai", "mock", "openai", MODEL),
    "responses": ("responses", "openai", "mock", "openai", MODEL),
    "embedding": ("embedding", "openai", "mock", "openai", EMBEDDER),
}


@pytest.fixture(scope="module")
def litellm(gateway: Gateway, scripted_session: Scripted) -> dict[str, Any]:
    """What litellm heard: `chat` is through the gateway, `chat directly` is not."""
    scripted_session.reset()
    scripted_session.script(MODEL, **SCRIPT)
    direct = {"openai": scripted_session.base_url, "gemini": f"{scripted_session.url}/v1beta"}
    through = {"openai": gateway.base_url, "gemini": f"{gateway.url}/gemini/v1beta"}
    asked: dict[str, dict[str, str]] = {}
    for name, (kind, vendor, provider, path, model) in LITELLM_KINDS.items():
        shared = {"kind": kind, "run": f"litellm-{name}"}
        asked[name] = {
            **shared,
            "base": through[path],
            "key": gateway.client_token,
            "model": f"{vendor}/{provider}/{model}",
        }
        asked[f"{name} directly"] = {
            **shared,
            "base": direct[path],
            "key": scripted_session.key,
            "model": f"{vendor}/{model}",
        }
    return run_python(LITELLM, {"question": QUESTION, "limit": LIMIT, "asked": asked})


@pytest.mark.parametrize("name", list(LITELLM_KINDS))
def test_litellm_hears_what_it_hears_directly(
    gateway: Gateway, litellm: dict[str, Any], name: str
) -> None:
    through = litellm[name]
    assert through == litellm[f"{name} directly"]
    if name == "embedding":
        due = [embedding_cost(through["usage"][0][0])]
    else:
        texts: list[str] = through["texts"]
        assert {len(text.split()) for text in texts} == {SCRIPT["tokens"]}
        assert {tuple(usage) for usage in through["usage"]} == {(40, 12)}
        due = [cost(40, 12, 30)] * len(texts)
    kept = traces(gateway, len(due), run=f"litellm-{name}")
    assert [Decimal(one["cost_usd"]) for one in kept] == due
    assert {one["cost_basis"] for one in kept} == {"reported"}
