"""The kill switch, and every other early end of a stream: cut at once, in error, and charged."""

import json
import socket
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import anyio
import httpx
import openai
import pytest

from tests.process.conftest import GatewayFactory
from tests.process.conversation import HELLO
from tests.process.gateway_process import Gateway
from tests.process.standins import Scripted, wait_until
from tests.process.test_caps import config, told
from tests.waiting import eventually

STREAMS = 100
CUT_SECONDS = 0.25


@pytest.fixture(scope="module")
def gateway(module_gateway_factory: GatewayFactory, scripted_session: Scripted) -> Gateway:
    return module_gateway_factory(
        config(scripted_session, month_usd="1000", request_usd="100", run_usd="1000")
    )


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with gateway.sdk() as made:
        yield made


def traces(gateway: Gateway, run: str, count: int) -> list[dict[str, Any]]:
    """Return a run's traces once there are so many: they are flushed a moment after the call."""
    found: list[dict[str, Any]] = []

    def are_there() -> bool:
        found[:] = gateway.admin("GET", "/traces", params={"run": run, "limit": 500}).json()["data"]
        return len(found) >= count

    wait_until(are_there, f"{count} traces of {run}")
    return found


class Listener:
    """One stream and when it ended, on the monotonic clock."""

    def __init__(self) -> None:
        self.chunks = 0
        self.last_byte_at = 0.0
        self.error: openai.APIError | None = None
        self.is_complete = False

    async def listen(self, client: openai.AsyncOpenAI, run: str) -> None:
        try:
            stream = await client.chat.completions.create(
                model="stub/m",
                messages=HELLO,
                max_tokens=4000,
                stream=True,
                extra_headers={"x-gateway-run": run},
            )
            async for chunk in stream:
                self.last_byte_at = time.monotonic()
                self.chunks += 1
                if chunk.choices and chunk.choices[0].finish_reason:
                    self.is_complete = True
            self.is_complete = True
        except openai.APIError as error:
            self.last_byte_at = time.monotonic()
            self.error = error


async def test_a_hundred_streams_are_cut_at_once_and_each_pays_for_what_it_got(
    gateway: Gateway, client: openai.OpenAI, scripted: Scripted
):
    scripted.script(tokens=4000, chunk_after=0.05)
    listeners = [Listener() for _ in range(STREAMS)]
    answer: dict[str, Any] = {}
    try:
        async with gateway.async_sdk(timeout=60) as many, anyio.create_task_group() as group:
            for listener in listeners:
                group.start_soon(listener.listen, many, "killed")
            await eventually(lambda: all(listener.chunks >= 4 for listener in listeners))
            answer = await _kill_everything(gateway)
            answered_at = time.monotonic()
        assert (answer["replicas"], answer["acknowledged"], answer["late"]) == (1, 1, [])
        assert answer["streams_cut"] == STREAMS
        late = max(listener.last_byte_at for listener in listeners) - answered_at
        assert late <= CUT_SECONDS
        _are_cut_in_error(listeners)
        with pytest.raises(openai.PermissionDeniedError) as refused:
            client.chat.completions.create(model="stub/m", messages=HELLO)
        assert refused.value.code == "kill_switch"
    finally:
        told(gateway, "unkill", "--all")
    _are_charged_for_what_was_counted(gateway, scripted, "killed", "killed")


async def _kill_everything(gateway: Gateway) -> dict[str, Any]:
    async with httpx.AsyncClient(timeout=30) as admin:
        reply = await admin.post(
            f"{gateway.url}/api/v1/kill",
            json={"scope": "all", "reason": "a test"},
            headers={"authorization": f"Bearer {gateway.admin_token}"},
        )
    answer: dict[str, Any] = reply.raise_for_status().json()
    return answer


def _are_cut_in_error(listeners: list[Listener]) -> None:
    for listener in listeners:
        assert listener.error is not None
        assert listener.error.code == "kill_switch"
        assert not listener.is_complete


def _are_charged_for_what_was_counted(
    gateway: Gateway, scripted: Scripted, run: str, outcome: str
) -> None:
    served = scripted.settled(STREAMS)
    produced = sum(one["completion_tokens"] for one in served)
    kept = traces(gateway, run, STREAMS)
    assert {trace["outcome"] for trace in kept} == {outcome}
    assert {trace["cost_basis"] for trace in kept} == {"metered"}
    counted = sum(trace["output_tokens"] for trace in kept)
    # A chunk may be on its way when the stream is cut; the margin of a count is a tenth.
    assert produced - 2 * STREAMS <= counted <= produced * 3 + STREAMS
    shown: dict[str, Any] = {}

    def is_idle() -> bool:
        shown.update(gateway.admin("GET", f"/runs/{run}").json())
        return Decimal(shown["held_usd"]) == 0

    wait_until(is_idle, "the run's lease has gone back")
    assert Decimal(shown["spent_usd"]) == sum(Decimal(trace["cost_usd"]) for trace in kept)


def test_the_switch_survives_a_restart_and_is_lifted_only_by_hand(
    gateway_factory: GatewayFactory, scripted: Scripted
):
    scripted.script(tokens=3)
    one = gateway_factory(config(scripted))
    switch = told(one, "kill", "--all", "--reason", "overnight")
    one.kill()
    one.restart()
    with one.sdk() as client:
        with pytest.raises(openai.PermissionDeniedError) as refused:
            client.chat.completions.create(model="stub/m", messages=HELLO)
        assert "overnight" in str(refused.value)
        assert one.cli("unkill", switch["id"]).returncode == 0
        client.chat.completions.create(model="stub/m", messages=HELLO)


@pytest.mark.parametrize("scope", ["run", "token", "project", "model", "provider"])
def test_each_scope_stops_what_it_names_and_nothing_else(
    gateway: Gateway, client: openai.OpenAI, scripted: Scripted, scope: str
):
    scripted.script(tokens=3)
    token = told(gateway, "tokens", "create", f"t-{scope}", "--project", f"p-{scope}")
    named = {
        "run": f"r-{scope}",
        "token": token["id"],
        "project": f"p-{scope}",
        "model": "stub/m",
        "provider": "stub",
    }[scope]
    headers = {"x-gateway-run": f"r-{scope}"}
    own = client.with_options(api_key=token["token"])

    def call() -> None:
        own.chat.completions.create(model="stub/m", messages=HELLO, extra_headers=headers)

    call()
    switch = told(gateway, "kill", f"--{scope}", named, "--reason", "a test")
    try:
        with pytest.raises(openai.PermissionDeniedError):
            call()
        if scope in {"run", "token", "project"}:
            client.chat.completions.create(model="stub/m", messages=HELLO)
    finally:
        assert gateway.cli("unkill", switch["id"]).returncode == 0
    call()


def test_a_stream_left_at_its_third_chunk_is_closed_upstream_and_charged(
    gateway: Gateway, client: openai.OpenAI, scripted: Scripted
):
    scripted.script(tokens=2000, chunk_after=0.02)
    stream = client.chat.completions.create(
        model="stub/m",
        messages=HELLO,
        max_tokens=2000,
        stream=True,
        extra_headers={"x-gateway-run": "left"},
    )
    for _ in range(3):
        next(stream)
    left_at = time.monotonic()
    stream.close()
    (served,) = scripted.settled(1)
    assert served["outcome"] == "client_gone"
    assert served["gone_at"] - left_at < 1.0
    (trace,) = traces(gateway, "left", 1)
    assert (trace["outcome"], trace["cost_basis"]) == ("client_gone", "metered")
    assert 2 <= trace["output_tokens"] <= served["completion_tokens"] * 3 + 2
    assert Decimal(trace["cost_usd"]) > 0


@pytest.mark.parametrize("ending", ["reset", "close", "truncate"])
def test_a_provider_that_dies_mid_stream_ends_it_in_error_and_is_charged(
    gateway: Gateway, client: openai.OpenAI, scripted: Scripted, ending: str
):
    scripted.script(tokens=50, ending=ending, ending_after=5)
    stream = client.chat.completions.create(
        model="stub/m",
        messages=HELLO,
        max_tokens=50,
        stream=True,
        extra_headers={"x-gateway-run": f"dies-{ending}"},
    )
    chunks = [next(stream) for _ in range(5)]
    with pytest.raises(openai.APIError) as broken:
        chunks.extend(stream)
    assert broken.value.code == "upstream_error"
    (trace,) = traces(gateway, f"dies-{ending}", 1)
    assert (trace["outcome"], trace["cost_basis"]) == ("provider_lost", "metered")
    assert 5 <= trace["output_tokens"] <= 20


def test_a_provider_that_ignores_the_ceiling_is_cut(
    gateway: Gateway, client: openai.OpenAI, scripted: Scripted
):
    scripted.script(tokens=3000, ignore_max_tokens=True, chunk_after=0.001)
    stream = client.chat.completions.create(
        model="stub/m",
        messages=HELLO,
        max_tokens=100,
        stream=True,
        extra_headers={"x-gateway-run": "runaway"},
    )
    with pytest.raises(openai.APIError) as cut:
        list(stream)
    assert cut.value.code == "request_cap_exceeded"
    (served,) = scripted.settled(1)
    assert served["completion_tokens"] < 1000
    (trace,) = traces(gateway, "runaway", 1)
    assert trace["outcome"] == "cap_reached"


def test_a_slow_client_slows_the_provider_and_memory_stays_flat(
    gateway: Gateway, scripted: Scripted
):
    scripted.script(tokens=4000, pad_bytes=8192)
    body = {"model": "stub/m", "messages": HELLO, "max_tokens": 4000, "stream": True}
    content = json.dumps(body).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gateway.client_token}\r\n"
        f"content-type: application/json\r\nx-gateway-run: slow\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    before = _resident(gateway.pid)
    with socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2]))) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        sock.sendall(head.encode() + content)
        sock.recv(1000)
        stalled: list[int] = []

        def has_stalled() -> bool:
            stalled.append(scripted.seen()[0]["chunks"])
            return len(stalled) > 5 and len(set(stalled[-5:])) == 1

        wait_until(has_stalled, "the provider waits for the client", every=0.1)
        assert 0 < stalled[-1] < 4000
        assert _resident(gateway.pid) - before < 32 * 1024 * 1024
    (served,) = scripted.settled(1)
    assert served["outcome"] == "client_gone"


def _resident(pid: int) -> int:
    """Return a process's resident memory, in bytes."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123  # a kernel file
        return int(file.read().split()[1]) * 4096
