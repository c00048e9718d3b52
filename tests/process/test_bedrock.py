"""boto3 through the gateway to Bedrock: a provider of ours that checks signatures, and aimock."""

import base64
import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
import trustme
from botocore.awsrequest import AWSRequest
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from tests.process.bedrock_provider import (
    ACCESS_KEY,
    EVENTS,
    HOLD,
    REGION,
    SECRET_KEY,
    SESSION_TOKEN,
    Answer,
    BedrockProvider,
    chunk,
    error,
    event,
    exception,
)
from tests.process.conftest import GatewayFactory
from tests.process.gateway_process import Gateway
from tests.process.standins import Standin, wait_until

TOKEN = "AWS_BEARER_TOKEN_BEDROCK"
PROVIDER_KEY = "bedrock-api-key-of-the-provider"
CLAUDE = "us.anthropic.claude-test-v1:0"
LLAMA = "meta.llama3-test-v1:0"
TITAN = "amazon.titan-embed-text-test"
SAID: Any = [{"role": "user", "content": [{"text": "hello there"}]}]
PRICE = {
    "input": "3.3",
    "output": "16.5",
    "cached_input": "0.33",
    "cache_write": "4.125",
    "cache_write_1h": "6.6",
    "context_tokens": 200000,
    "hidden_reasoning": False,
}
USAGE = {
    "inputTokens": 11,
    "outputTokens": 7,
    "totalTokens": 168,
    "cacheReadInputTokens": 100,
    "cacheWriteInputTokens": 50,
    "cacheDetails": [{"ttl": "5m", "inputTokens": 20}, {"ttl": "1h", "inputTokens": 30}],
}
COST = "0.0004653"
"""11 * 3,300 + 7 * 16,500 + 100 * 330 + 20 * 4,125 + 30 * 6,600 nano-dollars."""

WHOLE = json.dumps(
    {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hello, you."}]}},
        "stopReason": "end_turn",
        "usage": USAGE,
        "metrics": {"latencyMs": 5},
    },
    indent=1,
).encode()
DELTA = event("contentBlockDelta", {"delta": {"text": "Hello, "}, "contentBlockIndex": 0})
BEGUN = [event("messageStart", {"role": "assistant"}), DELTA]
STREAM = [
    *BEGUN,
    event("contentBlockDelta", {"delta": {"text": "you. ✓"}, "contentBlockIndex": 0}),
    event("contentBlockStop", {"contentBlockIndex": 0}),
    event("messageStop", {"stopReason": "end_turn"}),
    event("metadata", {"usage": USAGE, "metrics": {"latencyMs": 5}}),
]
CLAUDE_USAGE = {
    "input_tokens": 11,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 50,
    "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30},
    "output_tokens": 1,
}
CLAUDE_STREAM = [
    chunk({"type": "message_start", "message": {"role": "assistant", "usage": CLAUDE_USAGE}}),
    chunk({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hello, "}}),
    chunk({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "you."}}),
    chunk({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 7}}),
    chunk(
        {
            "type": "message_stop",
            "amazon-bedrock-invocationMetrics": {"inputTokenCount": 11, "outputTokenCount": 7},
        }
    ),
]
CLAUDE_BODY = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "hello"}],
}


@pytest.fixture(scope="module")
def provider() -> Iterator[BedrockProvider]:
    made = BedrockProvider(PROVIDER_KEY)
    with made.running():
        yield made


@pytest.fixture(autouse=True)
def empty(provider: BedrockProvider) -> None:
    provider.reset()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with `ca.pem`, `server.pem`, `server.key`; httpx trusts the authority meanwhile."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued.private_key_pem.write_to_path(folder / "server.key")
    for index, one in enumerate(issued.cert_chain_pems):
        one.write_to_path(folder / "server.pem", append=index > 0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
        yield folder


def config(certificates: Path, providers: dict[str, Any]) -> dict[str, Any]:
    names = [f"{name}/{model}" for name in providers for model in (CLAUDE, LLAMA, TITAN)]
    files = {
        "certificate": str(certificates / "server.pem"),
        "key": str(certificates / "server.key"),
    }
    return {
        "listen": {"tls": files},
        "providers": providers,
        "prices": dict.fromkeys(names, PRICE),
        "limits": {"output_tokens": 200, "short_budget": "refuse"},
    }


@pytest.fixture(scope="module")
def gateway(
    module_gateway_factory: GatewayFactory, provider: BedrockProvider, certificates: Path
) -> Gateway:
    return module_gateway_factory(
        config(
            certificates,
            {
                "signed": {
                    "dialect": "bedrock",
                    "base_url": provider.url,
                    "aws": {"region": REGION},
                },
                "keyed": {"dialect": "bedrock", "base_url": provider.url, "key": PROVIDER_KEY},
            },
        ),
        environment={
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_SESSION_TOKEN": SESSION_TOKEN,
        },
    )


def endpoint(gateway: Gateway) -> str:
    return f"https://127.0.0.1:{gateway.port}/bedrock"


@pytest.fixture(autouse=True)
def token(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where boto3 looks for a Bedrock API key, with each call, is the gateway's token."""
    monkeypatch.setenv(TOKEN, gateway.client_token)


def client(
    gateway: Gateway, certificates: Path, *, service: str = "bedrock-runtime", **headers: str
) -> BaseClient:
    """A boto3 client as a team makes it: all that it is given is the endpoint."""
    made: BaseClient = boto3.Session().client(
        service,
        region_name=REGION,
        endpoint_url=endpoint(gateway),
        verify=str(certificates / "ca.pem"),
        config=Config(retries={"total_max_attempts": 1}, read_timeout=30),
    )

    def add(request: AWSRequest, **_: object) -> None:
        for name, value in headers.items():
            request.headers[name.replace("_", "-")] = value

    made.meta.events.register("before-sign.*", add)
    return made


@pytest.fixture
def sdk(gateway: Gateway, certificates: Path, token: None) -> BaseClient:
    return client(gateway, certificates)


def post(gateway: Gateway, operation: str, model: str, body: object) -> httpx.Response:
    """The same call without an SDK, to see the bytes of the answer."""
    name = model.replace("/", "%2F").replace(":", "%3A")
    return httpx.post(
        f"{endpoint(gateway)}/model/{name}/{operation}",
        json=body,
        headers={"authorization": f"Bearer {gateway.client_token}"},
        timeout=30,
    )


def trace(gateway: Gateway, run: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        found[:] = gateway.admin("GET", "/traces", params={"run": run}).json()["data"]
        return bool(found)

    wait_until(is_there, f"a trace of {run}")
    return found[0]


def text(stream: Iterable[dict[str, Any]]) -> str:
    deltas = [one["contentBlockDelta"]["delta"] for one in stream if "contentBlockDelta" in one]
    return "".join(delta.get("text", "") for delta in deltas)


@pytest.mark.parametrize(("name", "signed"), [("signed", "signature"), ("keyed", "bearer")])
def test_converse_answers_and_costs_to_the_nano_dollar(
    gateway: Gateway, sdk: BaseClient, provider: BedrockProvider, name: str, signed: str
):
    provider.answers[CLAUDE] = Answer([WHOLE])
    answer = sdk.converse(modelId=f"{name}/{CLAUDE}", messages=SAID)
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert answer["output"]["message"]["content"] == [{"text": "Hello, you."}]
    assert headers["x-gateway-cost-usd"] == COST
    assert headers["x-gateway-model"] == f"{name}/{CLAUDE}"
    assert headers["x-amzn-requestid"] == "of-the-provider"
    (asked,) = provider.seen
    assert asked.signed == signed
    assert asked.target == "/model/us.anthropic.claude-test-v1%3A0/converse"
    assert json.loads(asked.body) == {"messages": SAID, "inferenceConfig": {"maxTokens": 200}}
    assert gateway.client_token not in json.dumps(asked.headers)
    assert {one for one in asked.headers if one.startswith("amz-sdk")} == set()


def test_the_bytes_of_every_answer_pass_unchanged(gateway: Gateway, provider: BedrockProvider):
    provider.answers[CLAUDE] = Answer([WHOLE])
    assert post(gateway, "converse", f"signed/{CLAUDE}", {"messages": SAID}).content == WHOLE
    provider.answers[CLAUDE] = Answer(STREAM, media_type=EVENTS)
    streamed = post(gateway, "converse-stream", f"signed/{CLAUDE}", {"messages": SAID})
    assert streamed.content == b"".join(STREAM)
    assert streamed.headers["content-type"] == EVENTS
    everything = b"".join(STREAM)
    bytewise = [everything[at : at + 7] for at in range(0, len(everything), 7)]
    provider.answers[CLAUDE] = Answer(bytewise, media_type=EVENTS)
    streamed = post(gateway, "converse-stream", f"keyed/{CLAUDE}", {"messages": SAID})
    assert streamed.content == everything
    assert {one.signed for one in provider.seen} == {"signature", "bearer"}


def test_a_stream_of_converse_is_read_by_boto3_and_costs_to_the_nano_dollar(
    gateway: Gateway, certificates: Path, provider: BedrockProvider
):
    provider.answers[CLAUDE] = Answer(STREAM, media_type=EVENTS)
    sdk = client(gateway, certificates, x_gateway_run="converse-stream")
    answer = sdk.converse_stream(
        modelId=f"signed/{CLAUDE}", messages=SAID, inferenceConfig={"maxTokens": 1000}
    )
    events = list(answer["stream"])
    assert text(events) == "Hello, you. ✓"
    assert events[-1]["metadata"]["usage"] == USAGE
    assert json.loads(provider.seen[0].body)["inferenceConfig"] == {"maxTokens": 200}
    ended = trace(gateway, "converse-stream")
    assert (ended["cost_usd"], ended["cost_basis"]) == (COST, "reported")
    assert (ended["dialect"], ended["endpoint"]) == ("bedrock", "converse-stream")
    assert ended["outcome"] == "completed"
    assert (ended["input_tokens"], ended["output_tokens"]) == (161, 7)


def test_invoke_takes_the_vendors_body_and_counts_in_it(
    gateway: Gateway, sdk: BaseClient, provider: BedrockProvider
):
    usage = {**CLAUDE_USAGE, "output_tokens": 7}
    whole = json.dumps(
        {"type": "message", "content": [{"type": "text", "text": "Hi"}], "usage": usage}
    )
    provider.answers[CLAUDE] = Answer([whole.encode()])
    answer = sdk.invoke_model(modelId=f"signed/{CLAUDE}", body=json.dumps(CLAUDE_BODY))
    assert answer["body"].read() == whole.encode()
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-gateway-cost-usd"] == COST
    assert json.loads(provider.seen[0].body) == CLAUDE_BODY
    assert provider.seen[0].target.endswith("/invoke")


def test_invoke_is_counted_by_headers_where_the_body_does_not_count(
    sdk: BaseClient, provider: BedrockProvider
):
    counts = {"x-amzn-bedrock-input-token-count": "9", "x-amzn-bedrock-output-token-count": "4"}
    provider.answers[LLAMA] = Answer([b'{"generation":"Hi"}'], headers=counts)
    answer = sdk.invoke_model(
        modelId=f"signed/{LLAMA}", body=b'{"prompt": "hello"}', contentType="application/json"
    )
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-gateway-cost-usd"] == "0.0000957"  # 9 * 3,300 + 4 * 16,500
    assert headers["x-amzn-bedrock-output-token-count"] == "4"
    assert json.loads(provider.seen[0].body) == {"prompt": "hello", "max_gen_len": 200}


def test_an_embedding_costs_its_input_alone(sdk: BaseClient, provider: BedrockProvider):
    provider.answers[TITAN] = Answer([b'{"embedding":[0.5],"inputTextTokenCount":5}'])
    answer = sdk.invoke_model(modelId=f"keyed/{TITAN}", body=b'{"inputText": "some text"}')
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-gateway-cost-usd"] == "0.0000165"
    assert provider.seen[0].body == b'{"inputText":"some text"}'


def test_a_stream_of_invoke_is_read_by_boto3_and_costs_to_the_nano_dollar(
    gateway: Gateway, certificates: Path, provider: BedrockProvider
):
    provider.answers[CLAUDE] = Answer(CLAUDE_STREAM, media_type=EVENTS)
    sdk = client(gateway, certificates, x_gateway_run="invoke-stream")
    answer = sdk.invoke_model_with_response_stream(
        modelId=f"keyed/{CLAUDE}", body=json.dumps(CLAUDE_BODY)
    )
    chunks = [json.loads(one["chunk"]["bytes"]) for one in answer["body"]]
    assert [one["type"] for one in chunks][-1] == "message_stop"
    ended = trace(gateway, "invoke-stream")
    assert (ended["cost_usd"], ended["cost_basis"]) == (COST, "reported")
    assert provider.seen[0].target.endswith("/invoke-with-response-stream")


def test_a_count_of_tokens_is_free(gateway: Gateway, sdk: BaseClient, provider: BedrockProvider):
    provider.answers[CLAUDE] = Answer([b'{"inputTokens":5}'])
    answer = sdk.count_tokens(modelId=f"signed/{CLAUDE}", input={"converse": {"messages": SAID}})
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert (answer["inputTokens"], headers["x-gateway-cost-usd"]) == (5, "0")
    assert provider.seen[0].target.endswith("/count-tokens")


@pytest.mark.parametrize(
    ("operation", "media_type"), [("converse", None), ("invoke", "text/plain"), ("invoke", "")]
)
def test_another_type_of_body_is_refused(
    gateway: Gateway, provider: BedrockProvider, operation: str, media_type: str | None
):
    headers = {"authorization": f"Bearer {gateway.client_token}"}
    if media_type is not None:
        headers["content-type"] = media_type
    url = f"{endpoint(gateway)}/model/signed%2F{CLAUDE.replace(':', '%3A')}/{operation}"
    answer = httpx.post(url, content=json.dumps(CLAUDE_BODY), headers=headers)
    assert (answer.status_code, answer.json()["__type"]) == (400, "ValidationException")
    assert provider.seen == []


def refused(call: Callable[..., object], **arguments: object) -> tuple[str, int, str]:
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    response = raised.value.response
    error = response["Error"]
    return error["Code"], response["ResponseMetadata"]["HTTPStatusCode"], error["Message"]


def test_a_cap_that_is_too_small_is_a_budget_exception(
    gateway: Gateway, certificates: Path, provider: BedrockProvider
):
    headers = {"x_gateway_run": "small", "x_gateway_run_cap_usd": "0.0001"}
    sdk = client(gateway, certificates, **headers)
    code, status, message = refused(sdk.converse, modelId=f"signed/{CLAUDE}", messages=SAID)
    assert (code, status) == ("BudgetExceededException", 402)
    assert "run" in message
    assert provider.seen == []


def test_refusals_raise_the_exceptions_that_boto3_knows(sdk: BaseClient, provider: BedrockProvider):
    with pytest.raises(sdk.exceptions.ResourceNotFoundException, match="not enabled here"):
        sdk.converse(modelId="no-such-model", messages=SAID)
    with pytest.raises(sdk.exceptions.ValidationException, match="guardrails are billed apart"):
        sdk.converse(
            modelId=f"signed/{CLAUDE}",
            messages=SAID,
            guardrailConfig={"guardrailIdentifier": "abc", "guardrailVersion": "1"},
        )
    with pytest.raises(sdk.exceptions.ValidationException, match="guardrails are billed apart"):
        sdk.invoke_model(
            modelId=f"signed/{CLAUDE}",
            body=json.dumps(CLAUDE_BODY),
            guardrailIdentifier="abc",
            guardrailVersion="1",
        )
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
    with pytest.raises(sdk.exceptions.ValidationException, match="may stand for any model"):
        sdk.converse(modelId=arn, messages=SAID)
    assert provider.seen == []


def test_a_strangers_token_is_refused(
    gateway: Gateway,
    certificates: Path,
    provider: BedrockProvider,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv(TOKEN, "gwk_live_unknown")
    sdk = client(gateway, certificates)
    code, status, message = refused(sdk.converse, modelId=f"signed/{CLAUDE}", messages=SAID)
    assert (code, status) == ("UnrecognizedClientException", 401)
    assert TOKEN in message
    assert provider.seen == []


def test_a_signature_of_the_client_is_no_token(
    gateway: Gateway,
    certificates: Path,
    provider: BedrockProvider,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv(TOKEN)
    signing = boto3.client(
        "bedrock-runtime",
        region_name=REGION,
        endpoint_url=endpoint(gateway),
        verify=str(certificates / "ca.pem"),
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
    )
    code, status, message = refused(signing.converse, modelId=f"signed/{CLAUDE}", messages=SAID)
    assert (code, status) == ("UnrecognizedClientException", 401)
    assert "AWS signatures are not accepted" in message
    assert provider.seen == []


@pytest.mark.parametrize(
    "path",
    [
        "/model/m/countTokens",
        "/model/m/invoke-with-bidirectional-stream",
        "/async-invoke",
        "/guardrail/g/version/1/apply",
        "/model/a/b/converse",
        "/model//converse",
    ],
)
def test_what_is_not_metered_is_refused_as_bedrock_would(gateway: Gateway, path: str):
    raw = httpx.URL(endpoint(gateway)).copy_with(raw_path=f"/bedrock{path}".encode())
    answer = httpx.post(raw, json={}, headers={"authorization": f"Bearer {gateway.client_token}"})
    assert answer.status_code == 404
    assert answer.headers["x-amzn-errortype"] == "ResourceNotFoundException"
    assert answer.json()["__type"] == "ResourceNotFoundException"


def test_the_providers_own_errors_pass_but_for_those_about_our_account(
    sdk: BaseClient, provider: BedrockProvider
):
    kind, slow = "application/x-amz-json-1.1", "Too many requests, please wait."
    provider.answers[CLAUDE] = error(429, "ThrottlingException", slow, media_type=kind)
    with pytest.raises(sdk.exceptions.ThrottlingException, match=slow):
        sdk.converse(modelId=f"signed/{CLAUDE}", messages=SAID)
    provider.answers[CLAUDE] = error(403, "AccessDeniedException", f"{ACCESS_KEY} may not")
    code, status, message = refused(sdk.converse, modelId=f"signed/{CLAUDE}", messages=SAID)
    assert (code, status) == ("ModelErrorException", 502)
    assert ACCESS_KEY not in message


def test_the_listing_is_of_what_the_token_may_use(gateway: Gateway, certificates: Path):
    control = client(gateway, certificates, service="bedrock")
    listed = [one["modelId"] for one in control.list_foundation_models()["modelSummaries"]]
    assert f"signed/{CLAUDE}" in listed
    one = control.get_foundation_model(modelIdentifier=f"signed/{CLAUDE}")
    assert one["modelDetails"]["modelName"] == CLAUDE


def test_a_killed_stream_raises_in_boto3_and_pays_for_what_it_showed(
    gateway: Gateway, certificates: Path, provider: BedrockProvider
):
    provider.answers[CLAUDE] = Answer([*BEGUN, HOLD, *STREAM[2:]], media_type=EVENTS)
    sdk = client(gateway, certificates, x_gateway_run="killed")
    whole = sdk.converse_stream(modelId=f"signed/{CLAUDE}", messages=SAID)["stream"]
    stream = iter(whole)
    assert "messageStart" in next(stream)
    assert next(stream)["contentBlockDelta"]["delta"]["text"] == "Hello, "
    said = {"scope": "run", "id": "killed", "reason": "a test"}
    assert gateway.admin("POST", "/kill", json=said).status_code < 300
    with closing(whole), pytest.raises(EventStreamError) as raised:
        list(stream)
    assert raised.value.response["Error"]["Code"] == "validationException"
    assert "kill switch" in raised.value.response["Error"]["Message"]
    ended = trace(gateway, "killed")
    assert (ended["outcome"], ended["cost_basis"]) == ("killed", "metered")
    assert 0 < float(ended["cost_usd"]) < float(ended["bound_usd"])
    wait_until(lambda: provider.seen[0].is_gone, "the provider sees that its caller left")
    code, status, _ = refused(sdk.converse, modelId=f"signed/{CLAUDE}", messages=SAID)
    assert (code, status) == ("AccessDeniedException", 403)


@pytest.mark.parametrize("rest", [b"", DELTA[:30]], ids=["between frames", "within one"])
def test_a_stream_that_breaks_off_raises_and_its_whole_frames_were_passed(
    gateway: Gateway, certificates: Path, provider: BedrockProvider, rest: bytes
):
    run = f"broken-{len(rest)}"
    pieces = [*BEGUN, rest] if rest else BEGUN
    provider.answers[CLAUDE] = Answer(pieces, media_type=EVENTS, cuts=True)
    sdk = client(gateway, certificates, x_gateway_run=run)
    stream = sdk.converse_stream(modelId=f"keyed/{CLAUDE}", messages=SAID)["stream"]
    with closing(stream), pytest.raises(EventStreamError):
        list(stream)
    assert trace(gateway, run)["outcome"] == "provider_lost"


def test_a_damaged_frame_is_not_passed_on(
    gateway: Gateway, certificates: Path, provider: BedrockProvider
):
    damaged = bytearray(DELTA)
    damaged[-6] ^= 1
    provider.answers[CLAUDE] = Answer([*BEGUN, bytes(damaged)], media_type=EVENTS)
    sdk = client(gateway, certificates, x_gateway_run="damaged")
    stream = sdk.converse_stream(modelId=f"keyed/{CLAUDE}", messages=SAID)["stream"]
    with closing(stream), pytest.raises(EventStreamError):
        list(stream)
    ended = trace(gateway, "damaged")
    assert (ended["outcome"], ended["cost_basis"]) == ("provider_lost", "metered")


def test_an_exception_of_the_provider_passes_and_ends_the_call(
    gateway: Gateway, certificates: Path, provider: BedrockProvider
):
    said = exception("throttlingException", "Slow down, please.")
    provider.answers[CLAUDE] = Answer([*BEGUN, said], media_type=EVENTS)
    streamed = post(gateway, "converse-stream", f"signed/{CLAUDE}", {"messages": SAID})
    assert streamed.content == b"".join([*BEGUN, said])
    sdk = client(gateway, certificates, x_gateway_run="exception")
    stream = sdk.converse_stream(modelId=f"signed/{CLAUDE}", messages=SAID)["stream"]
    with closing(stream), pytest.raises(EventStreamError, match="Slow down") as raised:
        list(stream)
    assert raised.value.response["Error"]["Code"] == "throttlingException"
    assert trace(gateway, "exception")["outcome"] == "provider_error"


@pytest.mark.parametrize("body", [b'{"message":"Try again later."}', WHOLE], ids=["error", "whole"])
def test_a_stream_that_is_answered_in_one_piece_is_an_error_and_no_empty_answer(
    gateway: Gateway, certificates: Path, provider: BedrockProvider, body: bytes
):
    provider.answers[CLAUDE] = Answer([body])
    run = f"one-piece-{len(body)}"
    sdk = client(gateway, certificates, x_gateway_run=run)
    code, status, _ = refused(sdk.converse_stream, modelId=f"keyed/{CLAUDE}", messages=SAID)
    assert (code, status) == ("ModelErrorException", 502)
    ended = trace(gateway, run)
    least = float(COST) if body is WHOLE else 0.0  # it was billed, if to no avail
    assert least <= float(ended["cost_usd"]) <= (float(ended["bound_usd"]) if least else 0.0)


def test_a_compressed_stream_is_passed_on_plain(
    gateway: Gateway, sdk: BaseClient, provider: BedrockProvider
):
    packed = gzip.compress(b"".join(STREAM))
    provider.answers[CLAUDE] = Answer(
        [packed[:50], packed[50:]], media_type=EVENTS, headers={"content-encoding": "gzip"}
    )
    streamed = post(gateway, "converse-stream", f"signed/{CLAUDE}", {"messages": SAID})
    assert streamed.content == b"".join(STREAM)
    assert "content-encoding" not in streamed.headers


def test_a_stream_without_its_account_is_complete_and_charged_for_what_it_showed(
    gateway: Gateway, certificates: Path, provider: BedrockProvider
):
    provider.answers[CLAUDE] = Answer(STREAM[:-1], media_type=EVENTS)
    sdk = client(gateway, certificates, x_gateway_run="no-account")
    stream = sdk.converse_stream(modelId=f"keyed/{CLAUDE}", messages=SAID)["stream"]
    with closing(stream):
        assert text(stream) == "Hello, you. \u2713"
    ended = trace(gateway, "no-account")
    assert (ended["outcome"], ended["cost_basis"]) == ("completed", "metered")
    assert 0 < float(ended["cost_usd"]) <= float(ended["bound_usd"])


def test_a_client_that_leaves_ends_the_providers_stream_too(
    gateway: Gateway, certificates: Path, provider: BedrockProvider
):
    provider.answers[CLAUDE] = Answer([*BEGUN, HOLD, *STREAM[2:]], media_type=EVENTS)
    sdk = client(gateway, certificates, x_gateway_run="left")
    stream = sdk.converse_stream(modelId=f"signed/{CLAUDE}", messages=SAID)["stream"]
    assert "messageStart" in next(iter(stream))
    stream.close()
    wait_until(lambda: provider.seen[0].is_gone, "the provider sees that its caller left")
    ended = trace(gateway, "left")
    assert (ended["outcome"], ended["cost_basis"]) == ("client_gone", "metered")


def test_without_credentials_nothing_is_sent_and_nothing_charged(
    gateway_factory: GatewayFactory,
    provider: BedrockProvider,
    certificates: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    signed = {"dialect": "bedrock", "base_url": provider.url, "aws": {"region": REGION}}
    lost = gateway_factory(
        config(certificates, {"signed": signed}),
        environment={
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
            "AWS_CONFIG_FILE": "/nowhere",
        },
    )
    monkeypatch.setenv(TOKEN, lost.client_token)
    sdk = client(lost, certificates, x_gateway_run="no-credentials")
    code, status, _ = refused(sdk.converse, modelId=f"signed/{CLAUDE}", messages=SAID)
    assert (code, status) == ("ModelErrorException", 502)
    assert provider.seen == []
    assert trace(lost, "no-credentials")["cost_usd"] == "0"


def test_aimock_answers_both_kinds_of_calls(
    gateway_factory: GatewayFactory,
    aimock_standin: Standin,
    certificates: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    mock = {"dialect": "bedrock", "base_url": aimock_standin.url, "key": aimock_standin.key}
    gateway = gateway_factory(config(certificates, {"mock": mock}))
    monkeypatch.setenv(TOKEN, gateway.client_token)
    sdk = client(gateway, certificates)
    whole = sdk.converse(modelId=f"mock/{CLAUDE}", messages=SAID)
    said = whole["output"]["message"]["content"][0]["text"]
    assert said
    # Of a stream's text it sends a `contentBlockStart` that boto3 can't read, so a tool is called.
    tools = {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": {}}}}]}
    streamed = sdk.converse_stream(modelId=f"mock/{CLAUDE}", messages=SAID, toolConfig=tools)
    deltas = [
        one["contentBlockDelta"]["delta"]
        for one in streamed["stream"]
        if "contentBlockDelta" in one
    ]
    assert json.loads("".join(delta["toolUse"]["input"] for delta in deltas)) == {"city": "Paris"}
    body = json.dumps(CLAUDE_BODY)
    invoked = json.loads(sdk.invoke_model(modelId=f"mock/{CLAUDE}", body=body)["body"].read())
    assert invoked["content"][0]["text"] == said


def test_base64_of_a_chunk_is_the_vendors_json():
    """What the stand-in sends is what boto3 decodes: the test's own premise."""
    assert base64.b64encode(b"{}") in chunk({})
