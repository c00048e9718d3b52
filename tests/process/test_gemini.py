"""Google's own SDK through the gateway: it hears what the provider says, and pays what that counts."""

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from google import genai
from google.genai import errors, types

from tests.process.gateway_process import Gateway
from tests.process.observing import run_at_rest, running, trace, traces
from tests.process.standins import Scripted, Standin

PRICE = {
    "input": "1.25",
    "cached_input": "0.125",
    "audio_input": "3",
    "output": "10",
    "audio_output": "20",
    "max_output_tokens": 8192,
    "context_tokens": 131_072,
    "hidden_reasoning": False,
}
PAINTED = {"image_output": "30"}
EMBEDDING_PRICE = {"input": "0.15", "output": "0", "hidden_reasoning": False}
SAID = "Say something about cats."
WEATHER = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="get_weather",
            parameters_json_schema={"type": "object", "properties": {"city": {"type": "string"}}},
        )
    ]
)


@pytest.fixture(scope="module")
def gateway(scripted_session: Scripted, aimock_standin: Standin) -> Iterator[Gateway]:
    providers = {
        "google": {"base_url": scripted_session.gemini_url, "key": scripted_session.key},
        "aimock": {"base_url": aimock_standin.gemini_url, "key": aimock_standin.key},
    }
    config = {
        "providers": {name: {"dialect": "gemini", **one} for name, one in providers.items()},
        "prices": {
            "google/m": PRICE,
            "google/painter": PRICE | PAINTED,
            "google/a/b:c": PRICE,
            "google/thinker": PRICE | {"hidden_reasoning": True},
            "google/embedder": EMBEDDING_PRICE,
            "aimock/m": PRICE,
            "aimock/embedder": EMBEDDING_PRICE,
        },
        "models": {"fast": {"targets": [{"model": "google/m"}]}},
    }
    with running(config) as made:
        yield made


def client_of(
    url: str, key: str, run: str | None = None, version: str | None = None
) -> genai.Client:
    """Return a client as its users make one: with a base URL and a key."""
    options = types.HttpOptions(base_url=url, api_version=version, timeout=30_000)
    if run is not None:
        options.headers = {"x-gateway-run": run}
    return genai.Client(api_key=key, http_options=options)


@pytest.fixture
def run(request: pytest.FixtureRequest) -> str:
    """A run of the test's own, so that its traces can be found."""
    return "".join(c if c.isalnum() else "-" for c in request.node.name)[:100]


@pytest.fixture
def sdk(gateway: Gateway, run: str) -> Iterator[genai.Client]:
    with client_of(f"{gateway.url}/gemini", gateway.client_token, run) as client:
        yield client


def the_trace(gateway: Gateway, run: str, count: int = 1) -> dict[str, Any]:
    found = traces(gateway, count, run=run)
    assert len(found) == count
    return found[-1]


def usd(**tokens: int) -> Decimal:
    """Return the dollars of so many tokens, by the names of `PRICE`, worked out by hand."""
    prices = PRICE | PAINTED
    micro = sum(Decimal(str(prices[name])) * count for name, count in tokens.items())
    return micro / 1_000_000


def direct(scripted: Scripted, version: str | None = None) -> genai.Client:
    return client_of(scripted.gemini_url, scripted.key, version=version)


def heard(answer: object) -> object:
    """Return an answer as plain data, without what belongs to the HTTP exchange."""
    if isinstance(answer, list):
        return [heard(one) for one in answer]
    assert isinstance(answer, types.GenerateContentResponse)
    return answer.model_dump(exclude={"sdk_http_response"}, mode="json")


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_an_answer_is_heard_as_the_provider_gave_it(
    gateway: Gateway, scripted: Scripted, run: str, version: str
) -> None:
    scripted.script("m", answer_id="same", prompt_tokens=30)
    sdk = client_of(f"{gateway.url}/gemini", gateway.client_token, run, version)
    answer = sdk.models.generate_content(model="google/m", contents=SAID)
    straight = direct(scripted, version)
    assert heard(answer) == heard(straight.models.generate_content(model="m", contents=SAID))
    through, _ = scripted.settled(2)
    assert through["target"] == f"/{version}/models/m:generateContent"
    kept = the_trace(gateway, run)
    assert (kept["dialect"], kept["endpoint"]) == ("gemini", "generateContent")
    assert Decimal(kept["cost_usd"]) == usd(input=30, output=16)
    assert (kept["cost_basis"], kept["outcome"]) == ("reported", "completed")


def test_a_stream_is_heard_as_the_provider_gave_it(
    gateway: Gateway, scripted: Scripted, sdk: genai.Client, run: str
) -> None:
    scripted.script("m", answer_id="same", prompt_tokens=30)
    asked = {"contents": SAID, "config": {"max_output_tokens": 9}}
    chunks = list(sdk.models.generate_content_stream(model="google/m", **asked))
    assert len(chunks) > 3
    straight = direct(scripted)
    again = straight.models.generate_content_stream(model="m", **asked)
    assert heard(chunks) == heard(list(again))
    through, _ = scripted.settled(2)
    assert through["target"] == "/v1/models/m:streamGenerateContent?alt=sse"
    kept = the_trace(gateway, run)
    assert kept["stream"] is True
    assert Decimal(kept["cost_usd"]) == usd(input=30, output=9)


@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")
def test_the_asynchronous_sdk_hears_the_same(
    gateway: Gateway, scripted: Scripted, sdk: genai.Client, run: str
) -> None:
    scripted.script("m", prompt_tokens=30, tokens=5)

    async def ask() -> tuple[str, str]:
        async with sdk.aio as asynchronous:
            models = asynchronous.models
            whole = await models.generate_content(model="fast", contents=SAID)
            stream = await models.generate_content_stream(model="fast", contents=SAID)
            return whole.text or "", "".join([chunk.text or "" async for chunk in stream])

    whole, streamed = asyncio.run(ask())
    assert whole == streamed
    assert len(whole.split()) == 5
    kept = traces(gateway, 2, run=run)
    assert [Decimal(one["cost_usd"]) for one in kept] == [usd(input=30, output=5)] * 2


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_function_is_called(
    gateway: Gateway, scripted: Scripted, sdk: genai.Client, run: str, is_stream: bool
) -> None:
    scripted.script("m", tool_arguments={"city": "Gen\u00e8ve"})
    config = types.GenerateContentConfig(
        tools=[WEATHER],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    asked: dict[str, Any] = {"model": "google/m", "contents": SAID, "config": config}
    answers = (
        list(sdk.models.generate_content_stream(**asked))
        if is_stream
        else [sdk.models.generate_content(**asked)]
    )
    calls = [call for answer in answers for call in answer.function_calls or ()]
    assert [(call.name, call.args) for call in calls] == [("get_weather", {"city": "Gen\u00e8ve"})]
    assert the_trace(gateway, run)["cost_basis"] == "reported"


USAGES: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "cached": (
        {
            "cachedContentTokenCount": 40,
            "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 40}],
        },
        {"input": 60, "cached_input": 40, "output": 20},
    ),
    "thoughts": ({"thoughtsTokenCount": 33, "totalTokenCount": 153}, {"input": 100, "output": 53}),
    "tool use": (
        {"toolUsePromptTokenCount": 7, "totalTokenCount": 127},
        {"input": 107, "output": 20},
    ),
    "audio": (
        {
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 30},
                {"modality": "AUDIO", "tokenCount": 70},
            ],
            "cachedContentTokenCount": 10,
            "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 10}],
        },
        # Cached audio has no price of its own here, so it costs as audio does.
        {"input": 30, "audio_input": 70, "output": 20},
    ),
    "speech": (
        {"candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 20}]},
        {"input": 100, "audio_output": 20},
    ),
    "image": (
        {
            "candidatesTokensDetails": [
                {"modality": "TEXT", "tokenCount": 3},
                {"modality": "IMAGE", "tokenCount": 17},
            ],
            "thoughtsTokenCount": 5,
            "totalTokenCount": 125,
        },
        {"input": 100, "output": 8, "image_output": 17},
    ),
    "a total that says more": ({"totalTokenCount": 131}, {"input": 100, "output": 31}),
}


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("name", list(USAGES))
def test_the_cost_is_that_of_each_kind_of_token_to_the_nano_dollar(
    gateway: Gateway, scripted: Scripted, sdk: genai.Client, run: str, name: str, is_stream: bool
) -> None:
    fields, tokens = USAGES[name]
    usage = {
        "promptTokenCount": 100,
        "candidatesTokenCount": 20,
        "totalTokenCount": 120,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 100}],
        # Images are told apart from text by these alone.
        "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 20}],
    }
    scripted.script("painter", tokens=3, usage_fields=usage | fields)
    if is_stream:
        list(sdk.models.generate_content_stream(model="google/painter", contents=SAID))
    else:
        sdk.models.generate_content(model="google/painter", contents=SAID)
    kept = the_trace(gateway, run)
    assert Decimal(kept["cost_usd"]) == usd(**tokens)
    assert kept["cost_basis"] == "reported"
    held = Decimal(run_at_rest(gateway, run)["spent_usd"])
    assert held == usd(**tokens)


def test_embeddings_cost_their_input(
    gateway: Gateway, scripted: Scripted, sdk: genai.Client, run: str
) -> None:
    answer = sdk.models.embed_content(model="google/embedder", contents=["one", "two words"])
    assert answer.embeddings is not None
    assert [len(one.values or ()) > 2 for one in answer.embeddings] == [True, True]
    (served,) = scripted.settled(1)
    assert served["path"] == ":batchEmbedContents"
    assert {one["model"] for one in served["body"]["requests"]} == {"models/embedder"}
    kept = the_trace(gateway, run)
    assert kept["endpoint"] == "batchEmbedContents"
    assert Decimal(kept["cost_usd"]) == Decimal("0.15") * served["prompt_tokens"] / 1_000_000
    assert kept["cost_basis"] == "reported"


def test_embeddings_without_an_account_cost_their_bound(
    gateway: Gateway, scripted: Scripted, sdk: genai.Client, run: str
) -> None:
    scripted.script("embedder", usage="never")
    sdk.models.embed_content(model="google/embedder", contents="one")
    kept = the_trace(gateway, run)
    assert (kept["cost_basis"], kept["cost_usd"]) == ("metered", kept["bound_usd"])
    assert Decimal(kept["cost_usd"]) > 0


def test_counting_tokens_is_free(
    gateway: Gateway, scripted: Scripted, sdk: genai.Client, run: str
) -> None:
    scripted.script("m", prompt_tokens=77)
    assert sdk.models.count_tokens(model="google/m", contents=SAID).total_tokens == 77
    kept = the_trace(gateway, run)
    assert (kept["endpoint"], kept["cost_usd"], kept["bound_usd"]) == ("countTokens", "0", "0")
    assert len(scripted.settled(1)) == 1


def test_models_are_listed_and_each_is_found(sdk: genai.Client) -> None:
    listed = {model.name: model for model in sdk.models.list()}
    assert {"models/fast", "models/google/m", "models/aimock/m"} <= listed.keys()
    one = sdk.models.get(model="google/m")
    assert one.name == "models/google/m"
    assert (one.input_token_limit, one.output_token_limit) == (131_072, 8192)
    assert "generateContent" in (one.supported_actions or ())
    assert sdk.models.get(model="models/fast").name == "models/fast"


def test_names_with_slashes_and_colons_reach_the_provider_as_one_segment(
    gateway: Gateway, scripted: Scripted, sdk: genai.Client, run: str
) -> None:
    answer = sdk.models.generate_content(model="google/a/b:c", contents=SAID)
    assert answer.text
    url = f"{gateway.url}/gemini/v1/models/google%2Fa%2Fb%3Ac:generateContent"
    body = {"contents": [{"parts": [{"text": SAID}]}]}
    assert httpx.post(url, json=body, headers=bearing(gateway)).status_code == 200
    targets = [one["target"] for one in scripted.settled(2)]
    assert targets == ["/v1/models/a%2Fb%3Ac:generateContent"] * 2
    assert the_trace(gateway, run)["model"] == "google/a/b:c"


def bearing(gateway: Gateway, **more: str) -> dict[str, str]:
    return {"x-goog-api-key": gateway.client_token, **more}


# The bytes themselves.

BODY = {"contents": [{"parts": [{"text": SAID}]}]}
FORMS = {
    "whole": ":generateContent",
    "events": ":streamGenerateContent?alt=sse",
    "array": ":streamGenerateContent",
}


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("write_bytes", [0, 1, 7])
def test_the_clients_bytes_are_the_providers(
    gateway: Gateway, scripted: Scripted, run: str, form: str, write_bytes: int
) -> None:
    scripted.script(
        "m", answer_id="same", write_bytes=write_bytes, text='"]} \u2028 },{ \\" \U0001f408'
    )
    path = f"/v1beta/models/google%2Fm{FORMS[form]}"
    headers = bearing(gateway) | {"x-gateway-run": run}
    answer = httpx.post(f"{gateway.url}/gemini{path}", json=BODY, headers=headers)
    given = httpx.post(
        f"{scripted.gemini_url}/v1beta/models/m{FORMS[form]}",
        json=BODY,
        headers={"x-goog-api-key": scripted.key},
    )
    assert answer.status_code == 200
    assert answer.content == given.content
    assert answer.headers["content-type"] == given.headers["content-type"]
    if form == "array":
        assert isinstance(json.loads(answer.content), list)
    kept = the_trace(gateway, run)
    assert (kept["cost_basis"], kept["outcome"]) == ("reported", "completed")


@pytest.mark.parametrize("ending", ["close", "reset", "truncate"])
def test_an_array_that_breaks_off_ends_in_an_error_element(
    gateway: Gateway, scripted: Scripted, run: str, ending: str
) -> None:
    scripted.script("m", ending=ending, ending_after=3, prompt_tokens=30)
    url = f"{gateway.url}/gemini/v1/models/google%2Fm:streamGenerateContent"
    answer = httpx.post(url, json=BODY, headers=bearing(gateway) | {"x-gateway-run": run})
    *chunks, last = answer.json()
    assert len(chunks) == 3
    assert last["error"]["status"] == "UNAVAILABLE"
    kept = the_trace(gateway, run)
    assert kept["outcome"] == "provider_lost"
    assert Decimal(kept["cost_usd"]) >= usd(input=30, output=3)


def test_an_array_whose_provider_reports_an_error_passes_it_on(
    gateway: Gateway, scripted: Scripted, run: str
) -> None:
    scripted.script("m", ending="error_event", ending_after=2)
    url = f"{gateway.url}/gemini/v1/models/google%2Fm:streamGenerateContent"
    answer = httpx.post(url, json=BODY, headers=bearing(gateway) | {"x-gateway-run": run})
    *chunks, last = answer.json()
    assert len(chunks) == 2
    assert last["error"]["message"] == "as the script says"
    assert the_trace(gateway, run)["outcome"] == "provider_error"


def test_what_googles_reader_dies_of_does_not_reach_it(
    scripted: Scripted, sdk: genai.Client
) -> None:
    scripted.script("m", comments=True)
    straight = direct(scripted)
    with pytest.raises(errors.UnknownApiResponseError):
        list(straight.models.generate_content_stream(model="m", contents=SAID))
    chunks = list(sdk.models.generate_content_stream(model="google/m", contents=SAID))
    assert len("".join(chunk.text or "" for chunk in chunks).split()) == 16


# Failures.


def test_a_stream_that_is_killed_raises_and_is_settled(
    gateway: Gateway, scripted: Scripted, sdk: genai.Client, run: str
) -> None:
    scripted.script("m", tokens=2000, chunk_after=0.02, prompt_tokens=30)
    stream = sdk.models.generate_content_stream(model="google/m", contents=SAID)
    for _ in range(3):
        next(stream)
    killed = gateway.admin("POST", "/kill", json={"scope": "run", "id": run, "reason": "a test"})
    assert killed.is_success, killed.text
    with pytest.raises(errors.ClientError) as caught:
        list(stream)
    assert (caught.value.code, caught.value.status) == (403, "PERMISSION_DENIED")
    (served,) = scripted.settled(1)
    kept = the_trace(gateway, run)
    assert kept["outcome"] == "killed"
    produced = usd(input=30, output=served["billed_completion_tokens"])
    assert produced <= Decimal(kept["cost_usd"]) < Decimal(kept["bound_usd"])
    at_rest = run_at_rest(gateway, run)
    assert (at_rest["spent_usd"], at_rest["unsettled_usd"]) == (kept["cost_usd"], "0")
    with pytest.raises(errors.ClientError, match="a test"):
        sdk.models.generate_content(model="google/m", contents=SAID)


def test_a_cut_stream_of_a_model_that_may_think_costs_its_bound(
    gateway: Gateway, scripted: Scripted, sdk: genai.Client, run: str
) -> None:
    scripted.script("thinker", ending="close", ending_after=3)
    with pytest.raises(errors.ServerError) as caught:
        list(sdk.models.generate_content_stream(model="google/thinker", contents=SAID))
    assert (caught.value.code, caught.value.status) == (502, "UNAVAILABLE")
    kept = the_trace(gateway, run)
    assert (kept["cost_basis"], kept["cost_usd"]) == ("bound", kept["bound_usd"])


def test_a_call_that_does_not_fit_is_refused_as_google_refuses(
    gateway: Gateway, scripted: Scripted, run: str
) -> None:
    sdk = client_of(f"{gateway.url}/gemini", gateway.client_token, run)
    capped = types.HttpOptions(headers={"x-gateway-run": run, "x-gateway-run-cap-usd": "0.00001"})
    with pytest.raises(errors.ClientError) as caught:
        sdk.models.generate_content(
            model="google/m", contents=SAID * 100, config={"http_options": capped}
        )
    assert (caught.value.code, caught.value.status) == (402, "FAILED_PRECONDITION")
    assert "$" in (caught.value.message or "")
    (reason,) = caught.value.details["error"]["details"]
    assert (reason["reason"], reason["domain"]) == ("RUN_CAP_EXCEEDED", "gateway")
    assert scripted.seen() == []


def test_the_ceiling_is_written_into_the_config(
    gateway: Gateway, scripted: Scripted, run: str
) -> None:
    url = f"{gateway.url}/gemini/v1beta/models/google%2Fm:generateContent"
    headers = bearing(gateway) | {"x-gateway-max-output-tokens": "5"}
    for body in (BODY, BODY | {"generation_config": {"max_output_tokens": 9, "top_k": 3}}):
        answer = httpx.post(url, json=body, headers=headers).json()
        assert answer["candidates"][0]["finishReason"] == "MAX_TOKENS"
    bare, snake = (one["body"] for one in scripted.settled(2))
    assert bare["generationConfig"] == {"maxOutputTokens": 5}
    assert snake["generation_config"] == {"max_output_tokens": 5, "top_k": 3}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"tools": [types.Tool(google_search=types.GoogleSearch())]}, "searches are billed"),
        ({"tools": [types.Tool(code_execution=types.ToolCodeExecution())]}, "runs code"),
        ({"tools": [types.Tool(url_context=types.UrlContext())]}, "pages are billed"),
    ],
)
def test_tools_without_a_bound_are_refused(
    scripted: Scripted, sdk: genai.Client, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(errors.ClientError, match=message) as caught:
        sdk.models.generate_content(
            model="google/m", contents=SAID, config=types.GenerateContentConfig(**config)
        )
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")
    assert scripted.seen() == []


def test_media_are_bounded_by_the_window(
    gateway: Gateway, scripted: Scripted, sdk: genai.Client, run: str
) -> None:
    image = types.Part.from_bytes(data=b"\x89PNG", mime_type="image/png")
    sdk.models.generate_content(
        model="google/m", contents=[image, SAID], config={"max_output_tokens": 10}
    )
    kept = the_trace(gateway, run)
    assert Decimal(kept["bound_usd"]) == usd(audio_input=131_072, output=10), "audio may be in it"


def test_a_call_can_be_estimated(gateway: Gateway, scripted: Scripted, sdk: genai.Client) -> None:
    body = BODY | {"generationConfig": {"maxOutputTokens": 10, "candidateCount": 2}}
    path = "/gemini/v1beta/models/google%2Fm:generateContent"
    found = gateway.admin("POST", "/estimate", json={"path": path, "body": body}).json()
    assert (found["model"], found["output_tokens_bound"], found["admitted"]) == (
        *("google/m", 20),
        True,
    )
    dry = types.HttpOptions(headers={"x-gateway-dry-run": "true"})
    config = types.GenerateContentConfig(max_output_tokens=10, candidate_count=2, http_options=dry)
    answer = sdk.models.generate_content(model="google/m", contents=SAID, config=config)
    assert answer.text is None
    assert scripted.seen() == []


def test_errors_of_the_provider_pass_and_cost_nothing(
    gateway: Gateway, scripted: Scripted, sdk: genai.Client, run: str
) -> None:
    scripted.script("m", status=503)
    with pytest.raises(errors.ServerError) as caught:
        sdk.models.generate_content(model="google/m", contents=SAID)
    assert (caught.value.code, caught.value.status) == (503, "UNAVAILABLE")
    scripted.script("m", status=429)
    with pytest.raises(errors.ClientError) as refused:
        list(sdk.models.generate_content_stream(model="google/m", contents=SAID))
    assert (refused.value.code, refused.value.status) == (429, "RESOURCE_EXHAUSTED")
    assert [one["cost_usd"] for one in traces(gateway, 2, run=run)] == ["0", "0"]


@pytest.mark.parametrize("is_array", [False, True])
def test_an_error_with_status_200_is_no_success(
    gateway: Gateway, scripted: Scripted, run: str, is_array: bool
) -> None:
    error = {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}
    scripted.script("m", body=error)
    path = FORMS["array" if is_array else "events"]
    url = f"{gateway.url}/gemini/v1/models/google%2Fm{path}"
    answer = httpx.post(url, json=BODY, headers=bearing(gateway) | {"x-gateway-run": run})
    found = answer.json()
    assert found == [error] if is_array else found["error"]["code"] == answer.status_code == 502
    kept = the_trace(gateway, run)
    assert (kept["outcome"], kept["cost_usd"]) == ("provider_error", "0")


@pytest.mark.parametrize(
    "path",
    [
        *("v1beta/models/google%2Fm:predict", "v1beta/cachedContents", "v1beta/interactions"),
        *("v1beta/openai/chat/completions", "v1beta/tunedModels/m:generateContent", "v1beta/files"),
        "v2/models/m:generateContent",
    ],
)
def test_what_nobody_meters_is_refused_in_googles_shape(
    gateway: Gateway, scripted: Scripted, path: str
) -> None:
    answer = httpx.post(f"{gateway.url}/gemini/{path}", json=BODY, headers=bearing(gateway))
    error = answer.json()["error"]
    assert (answer.status_code, error["status"]) == (404, "NOT_FOUND")
    assert error["details"][0]["reason"] == "ENDPOINT_NOT_METERED"
    assert scripted.seen() == []


@pytest.mark.parametrize("value", ["100", -1, 0, 1.5, True, 10**18])
def test_numbers_are_not_coerced(gateway: Gateway, scripted: Scripted, value: object) -> None:
    url = f"{gateway.url}/gemini/v1/models/google%2Fm:generateContent"
    body = BODY | {"generationConfig": {"maxOutputTokens": value}}
    answer = httpx.post(url, json=body, headers=bearing(gateway))
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("generationConfig.maxOutputTokens must")
    assert scripted.seen() == []


# Keys.


def test_keys_do_not_cross(gateway: Gateway, scripted: Scripted, sdk: genai.Client) -> None:
    answer = sdk.models.generate_content(model="google/m", contents=SAID)
    (served,) = scripted.settled(1)
    assert served["headers"]["x-goog-api-key"] == scripted.key
    assert gateway.client_token not in json.dumps(served)
    assert "x-gateway-run" not in served["headers"]
    assert answer.sdk_http_response is not None
    assert scripted.key not in json.dumps(answer.sdk_http_response.headers)
    # The SDK closes a client that nobody holds, in the midst of a call.
    stranger = client_of(f"{gateway.url}/gemini", scripted.key)
    with pytest.raises(errors.ClientError) as caught:
        stranger.models.generate_content(model="google/m", contents=SAID)
    assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")


def test_a_key_in_the_query_is_taken_and_told_nobody(gateway: Gateway, scripted: Scripted) -> None:
    made = gateway.admin("POST", "/tokens", json={"name": "query", "scopes": ["llm:call"]})
    key = made.raise_for_status().json()["token"]
    url = f"{gateway.url}/gemini/v1/models/google%2Fm:streamGenerateContent"
    answer = httpx.post(url, params={"key": key, "alt": "sse"}, json=BODY)
    assert answer.content.startswith(b"data: ")
    ident = answer.headers["x-gateway-trace"]
    assert trace(gateway, ident)["outcome"] == "completed"
    listing = httpx.get(f"{gateway.url}/gemini/v1beta/models", params={"key": key})
    assert listing.json()["models"]
    (served,) = scripted.settled(1)
    assert served["target"] == "/v1/models/m:streamGenerateContent?alt=sse"
    assert key not in json.dumps(served)
    printed = gateway.stdout() + gateway.stderr() + gateway.metrics()
    assert ident in printed, "the call is in the log"
    assert key not in printed
    two = httpx.post(url, params={"key": key}, json=BODY, headers=bearing(gateway))
    assert two.status_code == 401


# Somebody else's idea of Gemini's API.


def test_another_stand_in_answers_streams_calls_and_embeds(
    gateway: Gateway, aimock_standin: Standin, run: str
) -> None:
    through = client_of(f"{gateway.url}/gemini", gateway.client_token, run, "v1beta")
    straight = client_of(aimock_standin.gemini_url, aimock_standin.key, version="v1beta")
    asked: dict[str, Any] = {"contents": SAID}
    whole = through.models.generate_content(model="aimock/m", **asked)
    assert whole.text
    assert whole.text == straight.models.generate_content(model="m", **asked).text
    streamed = list(through.models.generate_content_stream(model="aimock/m", **asked))
    again = list(straight.models.generate_content_stream(model="m", **asked))
    assert [one.text for one in streamed] == [one.text for one in again]
    assert len(streamed) > 1
    config = types.GenerateContentConfig(
        tools=[WEATHER],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    with pytest.warns(UserWarning, match="FUNCTION_CALL"):
        called = through.models.generate_content(model="aimock/m", config=config, **asked)
    assert [call.args for call in called.function_calls or ()] == [{"city": "Paris"}]
    # It has no batches, which the SDK asks for.
    url = f"{gateway.url}/gemini/v1beta/models/aimock%2Fembedder:embedContent"
    content = {"content": {"parts": [{"text": "one"}]}}
    embedded = httpx.post(url, json=content, headers=bearing(gateway) | {"x-gateway-run": run})
    assert embedded.json()["embedding"]["values"]
    kept = traces(gateway, 4, run=run)
    assert {one["outcome"] for one in kept} == {"completed"}
    assert {one["cost_basis"] for one in kept[:3]} == {"reported"}
    counted = whole.usage_metadata
    assert counted is not None
    prompt, candidates = counted.prompt_token_count or 0, counted.candidates_token_count or 0
    assert Decimal(kept[0]["cost_usd"]) == usd(input=prompt, output=candidates)
