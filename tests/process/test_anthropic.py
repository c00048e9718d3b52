"""Anthropic's own SDK through the gateway: what it hears, what it pays, and how it is refused."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import anthropic
import httpx
import pytest

from tests.process import standins
from tests.process.battery import comparable
from tests.process.claude import CLAUDE, KEY, SAID, address, cost, gateway_to, in_run
from tests.process.framings import FRAMINGS
from tests.process.gateway_process import Gateway
from tests.process.observing import trace, traces
from tests.process.standins import Scripted, Standin

STANDINS = ["llmock", "aimock", "mock"]
WEATHER: anthropic.types.ToolParam = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
ASKED: dict[str, dict[str, Any]] = {
    "whole": {},
    "stream": {"stream": True},
    "tool": {"tools": [WEATHER], "tool_choice": {"type": "any"}},
    "streamed tool": {"tools": [WEATHER], "tool_choice": {"type": "any"}, "stream": True},
    "system": {"system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]},
}  # fmt: skip

EVENT_FRAMINGS = sorted({*FRAMINGS} - {"indented"})
"""All but the one that is for arrays."""

Heard = dict[str, Any]


@pytest.fixture(scope="module")
def provider() -> Iterator[Scripted]:
    with standins.scripted(key=KEY) as made:
        yield made


@pytest.fixture(scope="module")
def places(
    llmock_standin: Standin, aimock_standin: Standin, provider: Scripted
) -> dict[str, Standin]:
    return {"mock": provider, "llmock": llmock_standin, "aimock": aimock_standin}


@pytest.fixture(scope="module")
def gateway(places: Mapping[str, Standin]) -> Iterator[Gateway]:
    with gateway_to(places) as made:
        yield made


@pytest.fixture
def scripted(provider: Scripted) -> Scripted:
    provider.reset()
    return provider


@pytest.fixture
def claude(gateway: Gateway) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(**address(gateway), max_retries=0, timeout=30) as client:
        yield client


def ask(place: Mapping[str, Any], run: str) -> Heard:
    heard: Heard = {}
    given = {"base_url": place["base_url"], "api_key": place["api_key"], "max_retries": 0}
    with anthropic.Anthropic(**given, default_headers=in_run(run), timeout=30) as client:
        for name, asked in ASKED.items():
            made = client.messages.create(**said(place, asked))
            heard[name] = [e.model_dump() for e in made] if "stream" in asked else made.model_dump()
    return heard


async def ask_async(place: Mapping[str, Any], run: str) -> Heard:
    heard: Heard = {}
    given = {"base_url": place["base_url"], "api_key": place["api_key"], "max_retries": 0}
    async with anthropic.AsyncAnthropic(**given, default_headers=in_run(run), timeout=30) as client:
        for name, asked in ASKED.items():
            made = await client.messages.create(**said(place, asked))
            if "stream" in asked:
                heard[name] = [event.model_dump() async for event in made]
            else:
                heard[name] = made.model_dump()
    return heard


def said(place: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    return {"model": place["model"], "max_tokens": 50, "messages": SAID, **asked}


@pytest.fixture(scope="module", params=["sync", "async"])
def way(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def heard_at(way: str, place: Mapping[str, Any], run: str) -> Heard:
    if way == "sync":
        return ask(place, run)
    with asyncio.Runner() as runner:
        return runner.run(ask_async(place, run))


@pytest.fixture(scope="module")
def heard(way: str, gateway: Gateway, places: Mapping[str, Standin]) -> dict[str, Heard]:
    found = {}
    for name, one in places.items():
        direct = {"base_url": one.anthropic_url, "api_key": one.key, "model": CLAUDE}
        found[f"{name} directly"] = heard_at(way, direct, "none")
        through = address(gateway) | {"model": f"{name}/{CLAUDE}"}
        found[name] = heard_at(way, through, f"{way}-{name}")
    return found


@pytest.mark.parametrize("question", list(ASKED))
@pytest.mark.parametrize("standin", STANDINS)
def test_the_sdk_hears_what_it_hears_directly(
    heard: dict[str, Heard], standin: str, question: str
) -> None:
    direct = comparable(heard[f"{standin} directly"][question])
    assert direct
    assert comparable(heard[standin][question]) == direct


@pytest.mark.parametrize("standin", STANDINS)
def test_each_call_is_recorded_at_the_price_of_what_the_provider_counted(
    heard: dict[str, Heard], gateway: Gateway, way: str, standin: str
) -> None:
    kept = traces(gateway, len(ASKED), run=f"{way}-{standin}")
    assert [Decimal(one["cost_usd"]) for one in kept] == [
        cost(usage_of(heard[standin][question])) for question in ASKED
    ]
    assert {
        (one["cost_basis"], one["outcome"], one["dialect"], one["endpoint"]) for one in kept
    } == {("reported", "completed", "anthropic", "messages")}


def usage_of(answer: list[Any] | dict[str, Any]) -> dict[str, Any]:
    """Return an answer's usage; of a stream, what its last account adds to its first."""
    if isinstance(answer, dict):
        usage: dict[str, Any] = answer["usage"]
        return usage
    found = dict(answer[0]["message"]["usage"])
    last = next(one["usage"] for one in reversed(answer) if one["type"] == "message_delta")
    return found | {name: value for name, value in last.items() if value is not None}


@pytest.mark.parametrize("framing", ["", *EVENT_FRAMINGS])
def test_a_streams_bytes_are_the_providers(
    gateway: Gateway, scripted: Scripted, framing: str
) -> None:
    scripted.script(CLAUDE, framing=framing, answer_id="msg_1", tokens=20, reasoning_tokens=3, thinks_aloud=True)  # fmt: skip
    direct, through = (post(*where, stream=True) for where in both(gateway, scripted))
    assert direct.content.startswith(through.content)
    after = direct.content.removeprefix(through.content)
    assert b"data" not in after, "only comments follow the end"
    kept = trace(gateway, through.headers["x-gateway-trace"])
    assert (kept["cost_basis"], kept["outcome"]) == ("reported", "completed")
    assert kept["output_tokens"] == 23


def test_a_whole_answers_bytes_are_the_providers(gateway: Gateway, scripted: Scripted) -> None:
    scripted.script(CLAUDE, answer_id="msg_1", cached_tokens=600, cache_write_tokens=300, prompt_tokens=1000)  # fmt: skip
    direct, through = (post(*where) for where in both(gateway, scripted))
    assert through.content == direct.content
    expected = cost(through.json()["usage"])
    assert expected == Decimal("0.003075"), "100·5 + 600·0.5 + 300·6.25 + 16·25 of a million"
    assert Decimal(through.headers["x-gateway-cost-usd"]) == expected
    kept = trace(gateway, through.headers["x-gateway-trace"])
    assert (kept["input_tokens"], kept["cached_tokens"], kept["cache_write_tokens"]) == (1000, 600, 300)  # fmt: skip


@pytest.mark.parametrize(("told", "factor"), [("fast", 2), ("standard", 1), (None, 2)])
def test_a_faster_call_costs_what_its_speed_does(
    gateway: Gateway, scripted: Scripted, told: str | None, factor: int
) -> None:
    scripted.script(CLAUDE, usage_fields={"speed": told})
    answer = post(f"{gateway.url}/anthropic", gateway.client_token, f"mock/{CLAUDE}", speed="fast")
    assert Decimal(answer.headers["x-gateway-cost-usd"]) == factor * cost(answer.json()["usage"])


@pytest.mark.parametrize("stream", [False, True])
def test_a_cache_is_warmed_without_output(
    gateway: Gateway, scripted: Scripted, stream: bool
) -> None:
    none = {"output_tokens": 0}  # from the first account of a stream on
    scripted.script(CLAUDE, prompt_tokens=1000, cache_write_tokens=900, usage_fields=none)
    asked = {"max_tokens": 0, "stream": stream}
    answer = post(f"{gateway.url}/anthropic", gateway.client_token, f"mock/{CLAUDE}", **asked)
    kept = trace(gateway, answer.headers["x-gateway-trace"])
    assert (kept["outcome"], kept["output_tokens"]) == ("completed", 0)
    assert Decimal(kept["cost_usd"]) == (100 * Decimal(5) + 900 * Decimal("6.25")) / 1_000_000
    assert scripted.settled(1)[0]["body"]["max_tokens"] == 0


def both(gateway: Gateway, provider: Scripted) -> list[tuple[str, str, str]]:
    """Return where to post a call, by what key and model: at the provider, and at the gateway."""
    return [
        (provider.anthropic_url, provider.key, CLAUDE),
        (f"{gateway.url}/anthropic", gateway.client_token, f"mock/{CLAUDE}"),
    ]


def post(url: str, key: str, model: str, **asked: object) -> httpx.Response:
    body = {"model": model, "max_tokens": 50, "messages": SAID, **asked}
    # It is the SDK's header; the API's older ones send x-api-key.
    answer = httpx.post(f"{url}/v1/messages", json=body, headers={"x-api-key": key}, timeout=30)
    return answer.raise_for_status()


def test_no_key_gets_to_the_other_side(
    gateway: Gateway, scripted: Scripted, claude: anthropic.Anthropic
) -> None:
    for header in ("authorization", "x-api-key"):
        token = gateway.client_token if header == "x-api-key" else f"Bearer {gateway.client_token}"
        answer = httpx.post(
            f"{gateway.url}/anthropic/v1/messages",
            json={"model": f"mock/{CLAUDE}", "max_tokens": 5, "messages": SAID},
            headers={header: token, "cookie": "a=b", "anthropic-workspace-id": "w"},
        ).raise_for_status()
        assert KEY not in answer.text + str(answer.headers.raw)
    with claude.messages.stream(model=f"mock/{CLAUDE}", max_tokens=5, messages=SAID) as stream:
        stream.until_done()
    for served in scripted.settled(3):
        headers = served["headers"]
        assert headers["x-api-key"] == KEY
        assert not {"authorization", "cookie", "anthropic-workspace-id"} & headers.keys()
        assert gateway.client_token not in json.dumps(served)


def test_the_version_and_betas_of_the_client_go_on(
    scripted: Scripted, claude: anthropic.Anthropic
) -> None:
    asked: dict[str, Any] = {"model": f"mock/{CLAUDE}", "max_tokens": 5, "messages": SAID}
    claude.messages.create(**asked)
    betas, old = ["a-2025-01-01", "b-2025-01-01"], {"beta": "true"}  # releases before 2.0 say so
    claude.beta.messages.create(**asked, betas=betas, extra_query=old)
    claude.beta.messages.count_tokens(model=asked["model"], messages=SAID, extra_query=old)
    plain, beta, count = scripted.settled(3)
    assert plain["headers"]["anthropic-version"] == beta["headers"]["anthropic-version"]
    assert [one["target"] for one in (plain, beta, count)] == [
        "/v1/messages",
        "/v1/messages?beta=true",
        "/v1/messages/count_tokens?beta=true",
    ]
    assert beta["headers"]["anthropic-beta"] == ",".join(betas)
    assert plain["body"] == {**asked, "model": CLAUDE}, "and nothing was added"


def test_tokens_are_counted_for_nothing(
    gateway: Gateway, scripted: Scripted, claude: anthropic.Anthropic
) -> None:
    scripted.script(CLAUDE, prompt_tokens=123)
    raw = claude.messages.with_raw_response.count_tokens(model=f"mock/{CLAUDE}", messages=SAID)
    assert raw.parse().input_tokens == 123
    kept = trace(gateway, raw.headers["x-gateway-trace"])
    assert (kept["endpoint"], kept["cost_usd"], kept["bound_usd"], kept["outcome"]) == (
        "messages/count_tokens",
        "0",
        "0",
        "completed",
    )


def test_models_are_listed(claude: anthropic.Anthropic) -> None:
    listed = list(claude.models.list())
    assert {f"{name}/{CLAUDE}" for name in STANDINS} <= {one.id for one in listed}
    one = claude.models.retrieve(f"mock/{CLAUDE}")
    assert (one.type, one.display_name, one.max_tokens) == ("model", CLAUDE, 8192)
    assert one in listed


LITELLM = """
import json, sys
import litellm
given = json.load(sys.stdin)
given["stream_options"] = {"include_usage": True}
whole = litellm.completion(**given, stream=False)
chunks = list(litellm.completion(**given, stream=True))
text = "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices)
print(json.dumps([whole.choices[0].message.content, text, whole.usage.completion_tokens]))
"""


def test_litellm_is_a_client_too(gateway: Gateway, scripted: Scripted) -> None:
    asked = {
        "model": f"anthropic/mock/{CLAUDE}",
        "api_base": f"{gateway.url}/anthropic",
        "api_key": gateway.client_token,
        "messages": SAID,
        "max_tokens": 9,
        "extra_headers": in_run("litellm"),
    }
    ended = subprocess.run(
        [sys.executable, "-c", LITELLM],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    whole, streamed, tokens = json.loads(ended.stdout.splitlines()[-1])
    assert (whole, tokens, len(whole.split())) == (streamed, 9, 9)
    one, other = traces(gateway, 2, run="litellm")
    assert one["cost_usd"] == other["cost_usd"]
    assert {one["cost_basis"], other["cost_basis"]} == {"reported"}
