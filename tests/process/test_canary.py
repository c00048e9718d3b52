"""No text of a call is kept anywhere: not in the database, on disk, in a log or in a metric.

A text that exists nowhere else is put wherever a client or a provider can put one; then everything
that the gateway leaves behind is searched for it, in the ways in which it may be written down.
"""

import asyncio
import base64
import contextlib
import json
import re
import secrets
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest

from tests.process import spoken, standins
from tests.process.bedrock_provider import EVENTS, Answer, BedrockProvider, chunk, event, exception
from tests.process.canaries import Canaries, files_below, relations, search
from tests.process.conversation import HELLO, WEATHER
from tests.process.gateway_process import Gateway
from tests.process.observing import PRICE, running, trace
from tests.process.spoken import CLAUDE, FORMS, Form
from tests.process.standins import Scripted

MODEL = "mock/model"
KEPT_RUN = "run-" + secrets.token_hex(12)
"""What is kept by contract: the search has to find it, or it could find nothing."""


canary = Canaries()


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Scripted]:
    with standins.scripted(key="sk-" + canary("the provider's key")) as made:
        yield made


@pytest.fixture(scope="module")
def amazon() -> Iterator[BedrockProvider]:
    made = BedrockProvider("key-" + canary("the key of Bedrock"))
    with made.running():
        yield made


@pytest.fixture(scope="module")
def gateway(stand_in: Scripted, amazon: BedrockProvider) -> Iterator[Gateway]:
    config = spoken.config(stand_in, amazon)
    for provider in config["providers"].values():
        provider["key"] = "${PROVIDER_KEY}" if provider["key"] == stand_in.key else "${AMAZON_KEY}"
    config["prices"] |= {"mock/killed": PRICE, "mock/slow": PRICE}
    config["models"] = {"team": {"targets": [{"model": "mock/slow"}], "fallbacks": [MODEL]}}
    config["timeouts"] = {"first_byte": "1s"}
    keys = {"PROVIDER_KEY": stand_in.key, "AMAZON_KEY": amazon.key}
    with running(config, environment=keys) as made:
        yield made


def said(where: str) -> list[Any]:
    return [
        {"role": "system", "content": canary(f"{where}: system prompt")},
        {"role": "user", "content": canary(f"{where}: prompt"), "name": canary(f"{where}: name")},
    ]


def others(where: str) -> dict[str, Any]:
    """Return members of a request that carry text and are not its messages."""
    return {
        "user": canary(f"{where}: user"),
        "stop": [canary(f"{where}: stop")],
        "extra_headers": {
            "x-gateway-run": KEPT_RUN,
            "x-canary": canary(f"{where}: a header"),
            canary(f"{where}: a header's name"): "1",
            "user-agent": canary(f"{where}: user agent"),
            "openai-organization": canary(f"{where}: organization"),
            "x-request-id": canary(f"{where}: request id"),
            "cookie": f"a={canary(f'{where}: cookie')}",
        },
        "extra_query": {"a": canary(f"{where}: query")},
        "extra_body": {canary(f"{where}: member"): canary(f"{where}: unknown member")},
    }


def whole(gateway: Gateway, stand_in: Scripted) -> None:
    stand_in.script("model", echo=True, headers={"x-canary": canary("whole: provider's header")})
    with gateway.sdk() as client:
        answer = client.chat.completions.create(
            model=MODEL, messages=said("whole"), **others("whole")
        )
    assert canary("whole: prompt") in (answer.choices[0].message.content or "")


def streamed(gateway: Gateway, stand_in: Scripted) -> None:
    for size in (1, 1000):
        stand_in.script("model", echo=True, tokens_per_chunk=size)
        with (
            gateway.sdk() as client,
            client.chat.completions.create(
                model=MODEL, messages=said("streamed"), stream=True, **others("streamed")
            ) as stream,
        ):
            text = "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
        assert canary("streamed: prompt") in text


def tools(gateway: Gateway, stand_in: Scripted) -> None:
    stand_in.script("model", echo=True, tokens_per_chunk=1000)
    tool = {**WEATHER["function"], "description": canary("tool: description")}
    asked: dict[str, Any] = {
        "model": MODEL,
        "messages": said("tool"),
        "tools": [{"type": "function", "function": tool}],
        "metadata": {"a": canary("tool: metadata")},
    }
    with gateway.sdk() as client:
        answer = client.chat.completions.create(**asked)
        with client.chat.completions.create(**asked, stream=True) as stream:
            assert list(stream)
    (call,) = answer.choices[0].message.tool_calls or []
    assert canary("tool: prompt") in call.to_json()


def embedded(gateway: Gateway, stand_in: Scripted) -> None:
    with gateway.sdk() as client:
        client.embeddings.create(model=MODEL, input=[canary("embedded"), "b"], user=canary("user"))


def named_by_the_provider(gateway: Gateway, stand_in: Scripted) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": canary("answered: text")}}
    body = {
        "id": canary("answered: id"),
        "object": "chat.completion",
        "created": 0,
        "model": canary("answered: model"),
        "service_tier": canary("answered: tier"),
        "system_fingerprint": canary("answered: fingerprint"),
        "choices": [{**choice, "finish_reason": canary("answered: reason")}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, canary("answered: usage"): 1},
    }
    stand_in.script("model", body=body)
    with gateway.sdk() as client:
        answer = client.chat.completions.create(model=MODEL, messages=HELLO)
    assert answer.model == canary("answered: model")


def refused(gateway: Gateway, stand_in: Scripted) -> None:
    with gateway.sdk() as client:
        poor = {"x-gateway-run": "poor", "x-gateway-run-cap-usd": "0.000001"}
        asked: list[dict[str, Any]] = [
            {"model": canary("refused: model")},
            {"model": f"mock/{canary('refused: model of a provider')}"},
            {"model": MODEL, "extra_headers": poor},
            {"model": MODEL, "max_tokens": canary("refused: max_tokens")},
            {"model": MODEL, "service_tier": canary("refused: tier")},
            {"model": MODEL, "extra_headers": {"x-gateway-run": "!" + canary("refused: bad run")}},
            {"model": MODEL, "extra_headers": {"x-gateway-x": canary("refused: control")}},
            {
                "model": MODEL,
                "extra_headers": {f"x-gateway-{canary('refused: control name')}": "1"},
            },
        ]
        for one in asked:
            with pytest.raises(openai.APIStatusError):
                client.chat.completions.create(messages=said("refused"), **one)


def malformed(gateway: Gateway, stand_in: Scripted) -> None:
    name, value = canary("malformed: member"), canary("malformed: value")
    for body in (
        f'{{"{name}": 1, "{name}": "{value}"}}',
        f'{{"{name}": NaN, "a": "{value}"}}',
        f'{{"{name}": "{value}',
        f"{value}",
    ):
        headers = {"authorization": f"Bearer {gateway.client_token}"}
        headers["content-type"] = "application/json"
        answer = httpx.post(f"{gateway.base_url}/chat/completions", content=body, headers=headers)
        assert answer.status_code == 400, answer.text


def from_strangers(gateway: Gateway, stand_in: Scripted) -> None:
    with httpx.Client(base_url=gateway.url) as client:
        for header, value in (
            ("authorization", f"Bearer {canary('strangers: token')}"),
            ("authorization", f"Bearer gwk_live_{canary('strangers: likely token')}aaaaaaaaa"),
            ("authorization", canary("strangers: scheme")),
            ("x-api-key", canary("strangers: API key")),
            ("x-goog-api-key", canary("strangers: other API key")),
        ):
            for path in ("/v1/chat/completions", "/api/v1/runs", "/console", "/nowhere"):
                client.post(path, content=b"{}", headers={header: value})
        path = f"/v1/models?key={canary('strangers: key in the URL')}"
        assert client.get(path).status_code == 401


def in_addresses(gateway: Gateway, stand_in: Scripted) -> None:
    text = canary("address")
    headers = {"authorization": f"Bearer {gateway.admin_token}", "referer": f"{gateway.url}/{text}"}
    with httpx.Client(headers=headers) as client:
        for path in (
            f"/v1/{text}",
            f"/{text}",
            f"/v1/chat/completions/{text}",
            f"/api/v1/{text}",
            f"/api/v1/runs/{text}",
            f"/api/v1/budgets/token/{text}",
            f"/api/v1/traces?run={text}",
            f"/api/v1/traces?{text}=1",
            f"/api/v1/kill/{text}",
            f"/console/{text}",
            f"/console/sign-in/{text}",
            f"/status?a={text}",
        ):
            for method in ("GET", "POST", "DELETE"):
                client.request(method, gateway.url + path, content=b"{}")
            client.get(gateway.ops_url + path)


def to_the_admin_api(gateway: Gateway, stand_in: Scripted) -> None:
    for path in ("/runs", "/kill", "/tokens", "/estimate"):
        body = {canary(f"admin: member of {path}"): canary(f"admin: value of {path}")}
        assert gateway.admin("POST", path, json=body).status_code == 400
    answer = gateway.admin(
        "POST",
        "/estimate",
        json={
            "endpoint": "chat/completions",
            "body": {"model": MODEL, "messages": said("estimate")},
        },
    )
    assert answer.status_code in {200, 400}


def broken_requests(gateway: Gateway, stand_in: Scripted) -> None:
    text = canary("framing")
    for data in (
        f"{text}\r\n\r\n",
        f"POST /{text} HTTP/1.1\r\nhost: {text}\r\n{text}\r\n\r\n",
        f"GET /v1/models HTTP/1.1\r\nhost: {text}\r\ncontent-length: {text}\r\n\r\n",
        f"GET /v1/models HTTP/1.1\r\nhost: x\r\nx-a: {text * 2000}\r\n\r\n",
    ):
        with (
            socket.create_connection(
                ("127.0.0.1", httpx.URL(gateway.url).port or 0), timeout=10
            ) as connection,
            contextlib.suppress(ConnectionError),
        ):
            connection.sendall(data.encode())
            while connection.recv(65536):
                pass


def errors_of_the_provider(gateway: Gateway, stand_in: Scripted) -> None:
    for status in (302, 400, 401, 404, 429, 500):
        text = canary(f"the provider's error {status}")
        error = {"message": text, "type": text, "code": text, "param": text}
        stand_in.script("model", status=status, body={"error": error})
        for stream in (False, True):
            with gateway.sdk() as client, pytest.raises(openai.APIStatusError):
                client.chat.completions.create(model=MODEL, messages=said("error"), stream=stream)
    text = canary("the provider's 200 that is no answer")
    stand_in.script("model", body={"said": text})
    with gateway.sdk() as client, pytest.raises(openai.APIStatusError):
        client.chat.completions.create(model=MODEL, messages=said("error"))


def streams_that_break(gateway: Gateway, stand_in: Scripted) -> None:
    for ending in ("reset", "close", "truncate", "error_event"):
        stand_in.script("model", echo=True, tokens_per_chunk=12, ending=ending, ending_after=1)
        with (
            gateway.sdk() as client,
            pytest.raises(openai.APIError),
            client.chat.completions.create(
                model=MODEL, messages=said("broken"), stream=True
            ) as stream,
        ):
            list(stream)
    stand_in.script("slow", echo=True, answer_after=5)
    with gateway.sdk() as client, pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="mock/slow", messages=said("slow"))
    assert caught.value.status_code == 504


def killed_and_left(gateway: Gateway, stand_in: Scripted) -> None:
    stand_in.script("killed", echo=True, tokens_per_chunk=12, ending="hang")
    with (
        gateway.sdk() as client,
        client.chat.completions.create(
            model="mock/killed", messages=said("left"), stream=True
        ) as left,
    ):
        next(left)
    with (
        gateway.sdk() as client,
        client.chat.completions.create(
            model="mock/killed", messages=said("killed"), stream=True
        ) as stream,
    ):
        next(stream)
        order = {"scope": "model", "id": "mock/killed", "reason": "a test"}
        gateway.admin("POST", "/kill", json=order).raise_for_status()
        with pytest.raises(openai.APIError):
            list(stream)
    with gateway.sdk() as client, pytest.raises(openai.PermissionDeniedError):
        client.chat.completions.create(model="mock/killed", messages=said("killed again"))


def ask(client: httpx.Client, form: Form, where: str) -> httpx.Response:
    """Ask in a form of an API, with a text wherever there is room for one."""
    headers = {
        "user-agent": canary(f"{where}: user agent"),
        "anthropic-beta": canary(f"{where}: beta"),
        "x-stainless-os": canary(f"{where}: system"),
        "x-goog-user-project": canary(f"{where}: project"),
        "idempotency-key": canary(f"{where}: idempotency"),
    }
    path = form.path + ("&a=" if "?" in form.path else "?a=") + canary(f"{where}: query")
    return client.post(path, json=form.body(canary(f"{where}: prompt")), headers=headers)


def plain(gateway: Gateway) -> httpx.Client:
    """Return a client that has the gateway's address and token and nothing of its own."""
    headers = {"authorization": f"Bearer {gateway.client_token}"}
    return httpx.Client(base_url=gateway.url, headers=headers, timeout=30)


def in_every_form(gateway: Gateway, stand_in: Scripted, amazon: BedrockProvider) -> None:
    stand_in.script("model", echo=True, tokens_per_chunk=1000)
    with plain(gateway) as client:
        for form in FORMS:
            amazon.answers[CLAUDE] = told_by_bedrock(form, canary(f"{form.name}: prompt"))
            answer = ask(client, form, form.name)
            assert answer.status_code == 200, answer.text
            coded = re.findall(rb'"bytes":"([^"]+)', answer.content)
            said = answer.content + b"".join(map(base64.b64decode, coded))
            assert canary(f"{form.name}: prompt").encode() in said


def told_by_bedrock(form: Form, text: str) -> Answer:
    """Return an answer that says a text, in the form that is asked for."""
    usage = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}
    content = [{"type": "text", "text": text}]
    match form.name.removeprefix("bedrock "):
        case "converse":
            output = {"message": {"role": "assistant", "content": [{"text": text}]}}
            whole = {"output": output, "stopReason": text, "usage": usage}
        case "invoke":
            whole = {"content": content, "usage": {"input_tokens": 1, "output_tokens": 1}}
        case "converse-stream":
            delta = {"delta": {"text": text}, "contentBlockIndex": 0}
            end = event("messageStop", {"stopReason": "end_turn"})
            frames = [event("contentBlockDelta", delta), end, event("metadata", {"usage": usage})]
            return Answer(frames, 200, EVENTS)
        case _:
            delta = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}}
            return Answer([chunk(delta), chunk({"type": "message_stop"})], 200, EVENTS)
    return Answer([json.dumps(whole).encode()])


def errors_in_every_form(gateway: Gateway, stand_in: Scripted, amazon: BedrockProvider) -> None:
    with plain(gateway) as client:
        for form in FORMS:
            where = f"an error of {form.name}"
            text = f"{canary(f'{where}: prompt')} {stand_in.key} {amazon.key}"
            body = {"message": text, "error": {"message": text, "type": text, "code": text}}
            stand_in.script("model", status=400, body=body)
            amazon.answers[CLAUDE] = Answer([json.dumps(body).encode()], 400)
            answer = ask(client, form, where)
            assert canary.mark not in answer.text + str(answer.headers)
            if form.broken is not None:
                stand_in.script("model", inserted=form.broken(text))
            frame = exception("modelStreamErrorException", text)
            amazon.answers[CLAUDE] = Answer([frame], 200, EVENTS)
            answer = ask(client, form, where)
            assert canary.mark not in answer.text + str(answer.headers)


def refused_in_every_form(gateway: Gateway, stand_in: Scripted, amazon: BedrockProvider) -> None:
    with plain(gateway) as client:
        for form in FORMS:
            where = f"a refusal of {form.name}"
            text = canary(f"{where}: text")
            body = form.body(canary(f"{where}: prompt")) | {"model": canary(f"{where}: model")}
            for given in (body, body | {"max_tokens": text, text: 1}, {text: [text]}, [text]):
                client.post(form.path, json=given)
                path = elsewhere(form, canary(f"{where}: model in the path"))
                assert client.post(path, json=given).status_code in {400, 404}
    with httpx.Client(base_url=gateway.url) as stranger:
        for form in FORMS:
            path = elsewhere(form, canary(f"{form.name}: model of a stranger"))
            for name in ("authorization", "x-api-key", "api-key", "x-goog-api-key"):
                key = {name: canary(f"{form.name}: {name}")}
                answer = stranger.post(path, json=form.body(canary("a stranger")), headers=key)
                assert answer.status_code in {401, 404}


def elsewhere(form: Form, text: str) -> str:
    """Return a form's path with a text in the place of its model, or behind it where it has none."""
    for name in ("azure%2Fmodel", "gemini%2Fmodel", f"bedrock%2F{CLAUDE.replace(':', '%3A')}"):
        if name in form.path:
            return form.path.replace(name, f"a%20prompt%20{text}")
    return f"{form.path}/{text}"


def listed_by_name(gateway: Gateway, stand_in: Scripted) -> None:
    with plain(gateway) as client:
        for path in (
            *("/v1/models", "/anthropic/v1/models", "/gemini/v1/models", "/azure/openai/v1/models"),
            *("/bedrock/foundation-models", "/gemini/v1beta/files", "/bedrock/model"),
        ):
            assert client.get(f"{path}/{canary('a name listed')}").status_code == 404


def passed_on_to_others(gateway: Gateway, stand_in: Scripted) -> None:
    text = canary("the first of two: error")
    stand_in.script("slow", status=500, body={"error": {"message": text, "code": text}})
    stand_in.script("model", echo=True)
    with gateway.sdk() as client:
        answer = client.chat.completions.create(model="team", messages=said("the first of two"))
    assert canary("the first of two: prompt") in (answer.choices[0].message.content or "")


def paced(gateway: Gateway, stand_in: Scripted) -> None:
    options = ["--requests-per-minute=1", "--json"]
    token = json.loads(gateway.cli("tokens", "create", "paced", *options).stdout)["token"]
    with gateway.sdk(token=token) as client:
        client.chat.completions.create(model=MODEL, messages=said("paced"))
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model=MODEL, messages=said("paced"), **others("paced"))


STORIES: list[Callable[[Gateway, Scripted], None]] = [
    whole,
    streamed,
    tools,
    embedded,
    named_by_the_provider,
    listed_by_name,
    passed_on_to_others,
    paced,
    refused,
    malformed,
    from_strangers,
    in_addresses,
    to_the_admin_api,
    broken_requests,
    errors_of_the_provider,
    streams_that_break,
    killed_and_left,
]


EVERYWHERE: list[Callable[[Gateway, Scripted, BedrockProvider], None]] = [
    in_every_form,
    errors_in_every_form,
    refused_in_every_form,
]


@dataclass(frozen=True, slots=True)
class Found:
    """Where the search met what must not be there, and what has to be."""

    leaked: dict[str, list[str]]
    kept: dict[str, list[str]]


@pytest.fixture(scope="module")
def found(gateway: Gateway, stand_in: Scripted, amazon: BedrockProvider) -> Found:
    """Let every story happen, then search all that is left, on disk also after the gateway's end."""
    for everywhere in EVERYWHERE:
        stand_in.reset()
        everywhere(gateway, stand_in, amazon)
    for story in STORIES:
        stand_in.reset()
        story(gateway, stand_in)
    stand_in.reset()
    with gateway.sdk() as client:
        last = client.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO)
    trace(gateway, last.headers["x-gateway-trace"])
    kept = {"run": KEPT_RUN, "trace": last.headers["x-gateway-trace"], "model": MODEL}
    return Found(*search(remains(gateway), canary, kept))


def remains(gateway: Gateway) -> Iterator[tuple[str, bytes]]:
    """Yield all that a gateway leaves behind; stops it halfway."""
    yield "metrics", gateway.metrics().encode()
    for name, rows in asyncio.run(listed(gateway)):
        yield f"table {name}", rows
    for name, content in files_below(gateway.state):
        yield f"file {name}", content
    assert gateway.stop() == 0
    for name, content in files_below(gateway.folder):
        yield f"file at rest {name}", content


async def listed(gateway: Gateway) -> list[tuple[str, bytes]]:
    return [one async for one in relations(gateway)]


def test_nothing_that_anybody_wrote_is_found_anywhere(found: Found) -> None:
    assert len(canary) > 80
    assert found.leaked == {}


def test_the_search_finds_what_is_kept(found: Found) -> None:
    runs = found.kept["run"]
    assert {"table public.run", "table public.trace"} <= set(runs)
    assert any(name.startswith("file postgres/cluster/data/pg_wal/") for name in runs)
    assert any(name.startswith("file at rest state/postgres/cluster/data/base/") for name in runs)
    assert "file at rest stderr.1" in found.kept["trace"]
    assert "metrics" in found.kept["model"]


def test_the_search_finds_each_way_of_writing() -> None:
    ours = Canaries()
    text = ours("here")
    assert ours.leaks(b"a" + text.encode() + b"b") == ["here"]
    padded = f"it says {text}, and more of it"
    for name, encoded in {
        "base64": base64.b64encode(padded.encode()),
        "URL-safe base64": base64.urlsafe_b64encode(b"1" + padded.encode()),
        "hex": padded.encode().hex().encode(),
        "UTF-16": padded.encode("utf-16"),
        "a half": text[:12].encode(),
    }.items():
        assert ours.leaks(encoded), name
    assert not ours.leaks(b"nothing of it")
