"""What crosses the gateway and what does not, in every form of every API: keys, tokens and headers."""

import json
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

import httpx
import pytest
from botocore.eventstream import EventStreamBuffer

from tests.process import spoken, standins
from tests.process.bedrock_provider import (
    EVENTS,
    HOLD,
    Answer,
    BedrockProvider,
    chunk,
    event,
    exception,
)
from tests.process.gateway_process import Gateway
from tests.process.observing import running
from tests.process.spoken import CLAUDE, FORMS, Form
from tests.process.standins import Scripted

NAMES = attrgetter("name")
KEY = "sk-the-key-of-the-provider-0123456789"
HIDDEN = "this-must-not-pass-the-gateway"
TO_PROVIDERS = (
    *("cookie", "forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "referer"),
    *("cf-connecting-ip", "proxy-authorization", "origin", "traceparent", "te", "trailer"),
    *("openai-organization", "openai-project", "x-goog-user-project", "anthropic-workspace-id"),
    *("x-amz-security-token", "x-amz-date", "x-amz-target", "amz-sdk-invocation-id"),
    *("x-stainless-os", "x-stainless-lang", "x-stainless-retry-count"),
    *("anthropic-dangerous-direct-browser-access", "x-gateway-label", "x-request-id", "x-canary"),
)
"""None of these goes on, in any dialect."""
TO_CLIENTS = (
    *(
        "set-cookie",
        "openai-organization",
        "openai-project",
        "anthropic-organization-id",
        "alt-svc",
    ),
    *("via", "strict-transport-security", "x-canary", "cf-ray", "x-amz-cf-id", "x-goog-project"),
    *("location", "www-authenticate"),
)
"""None of these comes back."""


@pytest.fixture(scope="module")
def bedrock() -> Iterator[BedrockProvider]:
    made = BedrockProvider(KEY)
    with made.running():
        yield made


@pytest.fixture(scope="module")
def scripted() -> Iterator[Scripted]:
    with standins.scripted(key=KEY) as made:
        yield made


@pytest.fixture(scope="module")
def gateway(scripted: Scripted, bedrock: BedrockProvider) -> Iterator[Gateway]:
    with running(spoken.config(scripted, bedrock)) as made:
        yield made


@pytest.fixture(autouse=True)
def empty(scripted: Scripted, bedrock: BedrockProvider) -> None:
    scripted.reset()
    bedrock.reset()


@pytest.fixture(params=FORMS, ids=NAMES)
def form(request: pytest.FixtureRequest) -> Form:
    found: Form = request.param
    return found


def ask(
    gateway: Gateway, form: Form, text: str = "hello", **headers: str
) -> tuple[httpx.Response, bytes]:
    """Return the answer and all of it, head and body, as one text."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if not {"authorization", "x-api-key", "api-key", "x-goog-api-key"} & named.keys():
        named["authorization"] = f"Bearer {gateway.client_token}"
    answer = httpx.post(gateway.url + form.path, json=form.body(text), headers=named, timeout=30)
    head = "".join(f"{name}: {value}\n" for name, value in answer.headers.items())
    return answer, head.encode() + answer.content


def upstream(form: Form, scripted: Scripted, bedrock: BedrockProvider) -> tuple[str, Any]:
    """Return the target and the headers of the one request that went up."""
    if form.is_bedrock:
        (asked,) = bedrock.seen
        return asked.target, asked.headers
    (seen,) = scripted.settled(1)
    return seen["target"], seen["headers"]


def well_answered(form: Form, headers: dict[str, str]) -> Answer:
    """Return what Bedrock answers a form with."""
    if not form.streams:
        usage = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}
        output = {"message": {"role": "assistant", "content": [{"text": "hi"}]}}
        whole: dict[str, Any] = {"output": output, "stopReason": "end_turn", "usage": usage}
        if "invoke" in form.name:
            whole = {"content": [{"type": "text", "text": "hi"}], "type": "message"}
            whole |= {"usage": {"input_tokens": 1, "output_tokens": 1}}
        return Answer([httpx.Response(200, json=whole).content], headers=headers)
    return Answer([*begun(form), *ended(form)], 200, EVENTS, headers)


def begun(form: Form) -> list[bytes]:
    if "invoke" in form.name:
        usage = {"input_tokens": 1, "output_tokens": 1}
        return [chunk({"type": "message_start", "message": {"role": "assistant", "usage": usage}})]
    return [event("messageStart", {"role": "assistant"})]


def ended(form: Form) -> list[bytes]:
    if "invoke" in form.name:
        stop = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 1}}
        return [chunk(stop), chunk({"type": "message_stop"})]
    usage = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}
    return [event("messageStop", {"stopReason": "end_turn"}), event("metadata", {"usage": usage})]


def test_headers_that_name_somebody_stay_on_their_side(
    gateway: Gateway, scripted: Scripted, bedrock: BedrockProvider, form: Form
) -> None:
    told = dict.fromkeys(TO_CLIENTS, HIDDEN) | {"x-request-id": "req_1", "request-id": "req_2"}
    scripted.script("model", headers=told)
    bedrock.answers[CLAUDE] = well_answered(form, told)
    given = dict.fromkeys(TO_PROVIDERS, HIDDEN) | {"x-gateway-label": f"a={HIDDEN}"}
    answer, whole = ask(gateway, form, **given)
    assert answer.status_code == 200, answer.text
    assert HIDDEN.encode() not in whole
    assert "server" not in answer.headers
    assert (answer.headers["x-request-id"], answer.headers["request-id"]) == ("req_1", "req_2")
    target, headers = upstream(form, scripted, bedrock)
    assert HIDDEN not in f"{target} {headers}"
    assert not [name for name in headers if name.startswith(("x-gateway", "x-stainless", "cf-"))]


@pytest.mark.parametrize(
    "place", ["authorization", "x-api-key", "api-key", "x-goog-api-key", "?key="]
)
def test_the_clients_token_goes_nowhere_and_the_providers_key_to_it_alone(
    gateway: Gateway, scripted: Scripted, bedrock: BedrockProvider, form: Form, place: str
) -> None:
    bedrock.answers[CLAUDE] = well_answered(form, {})
    token = gateway.client_token
    headers = {} if place == "?key=" else {place: token}
    if place == "authorization":
        headers = {place: f"bearer  {token}"}
    path = form.path
    if place == "?key=":
        path += ("&" if "?" in path else "?") + f"key={token}"
    answer = httpx.post(gateway.url + path, json=form.body("hello"), headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    assert KEY.encode() not in answer.content + str(answer.headers).encode()
    target, seen = upstream(form, scripted, bedrock)
    assert token not in f"{target} {seen}"
    assert KEY not in target
    assert [name for name, value in seen.items() if KEY in value] == [key_header(form)]


def key_header(form: Form) -> str:
    for start, header in (("azure", "api-key"), ("messages", "x-api-key"), ("gemini", "x-goog-api-key")):  # fmt: skip
        if form.name.startswith(start):
            return header
    return "authorization"


@pytest.mark.parametrize("status", [400, 401, 500])
def test_an_error_answer_does_not_bring_the_key(
    gateway: Gateway, scripted: Scripted, bedrock: BedrockProvider, form: Form, status: int
) -> None:
    body = {"message": f"bad key {KEY}", "error": {"message": f"bad key {KEY}"}}
    scripted.script("model", status=status, body=body)
    content = httpx.Response(200, json=body).content
    bedrock.answers[CLAUDE] = Answer([content], status, headers={"x-amzn-errortype": "E"})
    answer, whole = ask(gateway, form)
    assert answer.status_code == 502
    assert KEY.encode() not in whole
    trace = answer.headers["x-gateway-trace"]
    assert answer.headers["x-request-id"] == answer.headers["request-id"] == trace


@pytest.mark.parametrize("form", [form for form in FORMS if form.streams], ids=NAMES)
def test_an_error_event_does_not_bring_the_key_or_the_prompt(
    gateway: Gateway, scripted: Scripted, bedrock: BedrockProvider, form: Form
) -> None:
    prompt = "what is private in a prompt and is not to come back"
    for text in (f"bad key {KEY}", f"can't take: {prompt}"):
        frame = exception("modelStreamErrorException", text)
        bedrock.answers[CLAUDE] = Answer([*begun(form), frame], 200, EVENTS)
        if form.broken is not None:
            scripted.script("model", inserted=form.broken(text), inserted_at=2)
        answer, whole = ask(gateway, form, prompt)
        assert answer.status_code == 200, answer.text
        assert KEY.encode() not in whole
        assert prompt.encode() not in whole
        assert b"reported an error" in whole
        assert "reported an error" in str(error_in(events_of(form, answer.content)[-1]))


@pytest.mark.parametrize("form", [form for form in FORMS if form.streams], ids=NAMES)
def test_a_stream_that_is_killed_ends_with_one_error_of_its_api_and_not_as_if_complete(
    gateway: Gateway, scripted: Scripted, bedrock: BedrockProvider, form: Form
) -> None:
    scripted.script("model", ending="hang", ending_after=2)
    bedrock.answers[CLAUDE] = Answer([*begun(form), HOLD], 200, EVENTS)
    run = "killed-" + form.name.replace(" ", "-")
    headers = {"authorization": f"Bearer {gateway.client_token}", "x-gateway-run": run}
    asked = {"json": form.body("hello"), "headers": headers, "timeout": 30}
    received = b""
    with httpx.stream("POST", gateway.url + form.path, **asked) as answer:
        assert answer.status_code == 200
        for data in answer.iter_raw():
            if not received:
                order = {"scope": "run", "id": run, "reason": "a test"}
                gateway.admin("POST", "/kill", json=order).raise_for_status()
            received += data
    errors = [error for error in map(error_in, events_of(form, received)) if error is not None]
    (error,) = errors
    assert error_in(events_of(form, received)[-1]) == error
    assert "kill switch" in error
    if form.name == "messages streamed":
        last = events_of(form, received)[-1]
        assert last["request_id"] == answer.headers["x-gateway-trace"]
    for end in (b"[DONE]", b"message_stop", b"response.completed", b"messageStop", b"STOP"):
        assert end not in received


def events_of(form: Form, received: bytes) -> list[Any]:
    """Return what a stream's events say, as the API's own readers find it."""
    if form.is_bedrock:
        buffer = EventStreamBuffer()
        buffer.add_data(received)
        return [frame.to_response_dict() for frame in buffer]
    if form.name == "gemini array":
        found: list[Any] = json.loads(received)
        return found
    events = received.decode().replace("\r\n", "\n").removesuffix("\n\n").split("\n\n")
    return [json.loads(event.partition("data: ")[2]) for event in events]


def error_in(event: dict[str, Any]) -> str | None:
    """Return the message of an error, where the event is one as its API has it."""
    if "status_code" in event:  # as botocore has a frame
        is_error = event["headers"].get(":exception-type") == "validationException"
        return str(json.loads(event["body"])["message"]) if is_error else None
    error = event.get("error")
    return None if error is None else str(error["message"])


@pytest.mark.parametrize(
    "path", ["v1/files", "azure/x", "anthropic/v1/files", "gemini/v1/files", "bedrock/x"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_that_is_not_served_is_refused_by_name(
    gateway: Gateway, path: str, method: str
) -> None:
    answer = httpx.request(method, f"{gateway.url}/{path}")
    assert answer.status_code == 404
    names = ("x-gateway-trace", "x-request-id", "request-id")
    assert len({answer.headers.get(name) for name in names} - {None}) == 1
    assert answer.headers["x-should-retry"] == "false"
