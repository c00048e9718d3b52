"""Several worker processes on one port: as one gateway to whoever calls, scrapes, kills or stops it."""

import asyncio
import contextlib
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from signal import SIGCONT, SIGHUP, SIGKILL, SIGSTOP, SIGTERM
from typing import Any

import httpx
import openai
import pytest

from tests.process import standins
from tests.process.conversation import HELLO
from tests.process.databases import Database, external
from tests.process.gateway_process import Gateway, command_line, connections
from tests.process.observing import PRICE, cost, month, month_at_rest, provider, running, sample
from tests.process.standins import Scripted, wait_until

MODEL = "mock/model"
SLOW = "mock/slow"
WORKERS = 3
FEW = 2
"""Where more would only take longer: each costs a start its second."""
STREAMS = 40
"""So many connections miss one of three workers once in 270,000 times."""


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Scripted]:
    with standins.scripted(key="sk-of-the-provider") as made:
        yield made


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with external() as made:
        yield made


@pytest.fixture
def settings(stand_in: Scripted, database: Database) -> dict[str, Any]:
    """A configuration on a database of its own; the provider's account and scripts are empty."""
    stand_in.reset()
    return {
        "database": database.fresh(),
        "providers": {"mock": provider(stand_in)},
        "prices": dict.fromkeys((MODEL, SLOW), PRICE),
        "ledger": {"lease_ttl": "2s"},
    }


async def test_workers_share_streams_metrics_and_a_kill_switch(
    stand_in: Scripted, settings: dict[str, Any], promtool: Path
) -> None:
    stand_in.script("slow", ending="hang")
    with running(settings, workers=WORKERS) as gateway:
        assert gateway.stdout().count("Base URL:") == gateway.stdout().count("Client token:") == 1
        assert len(set(gateway.worker_pids())) == WORKERS
        assert readiness(gateway) == (200, "ready: 3 of 3 workers")
        replicas = gateway.admin("GET", "/status").json()["replicas"]
        assert [one["role"] for one in replicas] == ["all"] * WORKERS
        assert len({one["id"] for one in replicas}) == WORKERS
        async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as codes:
            cut = [
                codes.create_task(error_code(await begun(gateway, stack))) for _ in range(STREAMS)
            ]
            shares = [connections(pid, gateway.port) for pid in gateway.worker_pids()]
            assert sum(shares) == STREAMS
            assert min(shares) > 0, "the kernel spreads connections over all of them"
            assert sample(gateway, "gateway_streams_active") == STREAMS
            ended = await asyncio.to_thread(
                gateway.admin, "POST", "/kill", json={"scope": "all", "reason": "a test"}
            )
            thrown = ended.json()
            assert (thrown["replicas"], thrown["acknowledged"]) == (WORKERS, WORKERS)
            assert (thrown["streams_cut"], thrown["late"]) == (STREAMS, [])
        assert {one.result() for one in cut} == {"kill_switch"}
        wait_until(lambda: aborted(gateway) == STREAMS, "every cut stream is counted", every=0.05)
        assert sample(gateway, "gateway_kill_switch_active", scope="all") == 1, "it is one switch"
        assert sample(gateway, "gateway_streams_active") == 0
        assert sample(gateway, "gateway_budget_limit_usd", scope="workspace") == 500
        check_metrics(gateway, promtool)


def check_metrics(gateway: Gateway, promtool: Path) -> None:
    checked = subprocess.run(
        [str(promtool), "check", "metrics"],
        input=gateway.metrics(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def aborted(gateway: Gateway) -> float:
    return sample(gateway, "gateway_streams_aborted_total", reason="killed")


async def begun(gateway: Gateway, stack: contextlib.AsyncExitStack) -> openai.AsyncStream[Any]:
    """Return a stream, on a connection of its own, whose first event has come."""
    client = await stack.enter_async_context(gateway.async_sdk())
    stream = await client.chat.completions.create(model=SLOW, messages=HELLO, stream=True)
    await anext(stream)
    return stream


async def error_code(stream: openai.AsyncStream[Any]) -> str | None:
    with pytest.raises(openai.APIError) as caught:
        async for _ in stream:
            pass
    return caught.value.code


def test_a_worker_that_is_killed_under_load_is_replaced_and_the_cap_holds(
    stand_in: Scripted, settings: dict[str, Any]
) -> None:
    cap = Decimal("0.40")
    settings = {**settings, "limits": {"month_usd": str(cap), "output_tokens": 200}}
    stand_in.script("model", tokens=150, chunk_after=0)
    with running(settings, workers=WORKERS) as gateway:
        load = Load(gateway, 6)
        counted = 0.0
        for _ in range(2):
            before = load.calls
            wait_until(lambda: load.calls >= before + 12, "calls come through", seconds=30)  # noqa: B023
            victim, *others = gateway.worker_pids()
            os.kill(victim, SIGKILL)
            assert gateway.is_ready(), "the others serve"
            counted = not_below(counted, calls_counted(gateway))
            wait_until(
                lambda: len(set(gateway.worker_pids()) - {victim}) == WORKERS,  # noqa: B023
                "it is replaced",
                seconds=30,
            )
            assert set(others) < set(gateway.worker_pids()), "no other was touched"
            counted = not_below(counted, calls_counted(gateway))
        wait_until(lambda: load.is_spent, "the cap ends it", seconds=60, every=0.05)
        load.stop()
        truth = sum((cost_of(one) for one in stand_in.settled(1)), Decimal())
        found = month(gateway)
        assert 0 < truth <= cap
        assert (
            found["spent_usd"]
            <= truth
            <= found["spent_usd"] + found["unsettled_usd"] + found["held_usd"]
        )
        not_below(counted, calls_counted(gateway))
        assert ends(gateway) == ["signal 9", "signal 9"]
        wait_until(
            lambda: reclaimed(gateway) == 2, "the dead are reclaimed", seconds=20, every=0.05
        )


def test_counters_outlive_the_workers_that_counted(settings: dict[str, Any]) -> None:
    with running(settings, workers=FEW) as gateway:
        for _ in range(12):
            with gateway.sdk() as client:
                client.chat.completions.create(model=MODEL, messages=HELLO)
        assert calls_counted(gateway) == 12
        for victim in gateway.worker_pids():
            os.kill(victim, SIGKILL)
            wait_until(lambda: is_whole(gateway, victim, FEW), "it is replaced", seconds=30)  # noqa: B023
            assert calls_counted(gateway) == 12


def test_nobody_waits_for_a_worker_that_was_killed(settings: dict[str, Any]) -> None:
    """Its lease would run for half an hour; who supervises it knows better."""
    with running({**settings, "ledger": {"lease_ttl": "30m"}}, workers=FEW) as gateway:
        victim = gateway.worker_pids()[0]
        os.kill(victim, SIGKILL)
        wait_until(lambda: is_whole(gateway, victim, FEW), "it is replaced", seconds=30)
        kill = gateway.admin("POST", "/kill", json={"scope": "all", "reason": "a test"}).json()
        assert (kill["replicas"], kill["acknowledged"], kill["late"]) == (FEW, FEW, [])


def is_whole(gateway: Gateway, victim: int, workers: int) -> bool:
    pids = gateway.worker_pids()
    return victim not in pids and readiness(gateway)[1] == f"ready: {workers} of {workers} workers"


def test_a_worker_that_can_not_start_is_tried_until_it_can_while_another_serves(
    settings: dict[str, Any],
) -> None:
    with running(settings, workers=FEW) as gateway:
        gateway.configure({**settings, "limits": {"output_tokens": 0}})
        victim = gateway.worker_pids()[0]
        os.kill(victim, SIGKILL)
        wait_until(
            lambda: "$.limits.output_tokens" in str(ends(gateway)), "it says why", seconds=20
        )
        assert readiness(gateway) == (200, "ready: 1 of 2 workers")
        with gateway.sdk() as client:
            assert client.chat.completions.create(model=MODEL, messages=HELLO).choices
        gateway.configure(settings)
        wait_until(lambda: is_whole(gateway, victim, FEW), "it is replaced", seconds=30)


def ends(gateway: Gateway) -> list[str]:
    return [one["how"] for one in gateway.log() if one["event"] == "worker_ended"]


def test_a_worker_that_hangs_is_not_ready_and_hides_nothing_it_counted(
    settings: dict[str, Any],
) -> None:
    with running(settings, workers=FEW) as gateway:
        for _ in range(12):
            with gateway.sdk() as client:
                client.chat.completions.create(model=MODEL, messages=HELLO)
        assert calls_counted(gateway) == 12
        hanging = gateway.worker_pids()[0]
        os.kill(hanging, SIGSTOP)
        assert readiness(gateway) == (200, "ready: 1 of 2 workers")
        assert calls_counted(gateway) == 12
        os.kill(hanging, SIGCONT)
        wait_until(lambda: readiness(gateway)[1] == "ready: 2 of 2 workers", "it goes on")


def test_a_worker_that_hangs_for_long_is_killed_and_replaced(settings: dict[str, Any]) -> None:
    with running(settings, workers=FEW) as gateway:
        hanging = gateway.worker_pids()[0]
        os.kill(hanging, SIGSTOP)
        wait_until(lambda: is_whole(gateway, hanging, FEW), "it is replaced", seconds=90, every=0.5)
        assert ends(gateway) == ["it hung, and was killed"]


class Load:
    """Threads that call, each on connections of its own, until a cap refuses them or it is stopped."""

    def __init__(self, gateway: Gateway, count: int) -> None:
        self.calls = 0
        self._refused = 0
        self._gateway = gateway
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._go_on) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    @property
    def is_spent(self) -> bool:
        return self._refused >= len(self._threads)

    def stop(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _go_on(self) -> None:
        while not self._is_over.is_set():
            try:
                with self._gateway.sdk() as client:
                    client.chat.completions.create(model=MODEL, messages=HELLO)
                self.calls += 1
            except openai.APIConnectionError:
                continue  # it was on the one that was killed
            except openai.APIStatusError as error:
                if error.status_code != 402:
                    raise
                self._refused += 1
                return


def cost_of(served: dict[str, Any]) -> Decimal:
    return cost(served["prompt_tokens"], served["completion_tokens"])


def calls_counted(gateway: Gateway) -> float:
    return sample(gateway, "gateway_requests_total", outcome="completed")


def not_below(before: float, now: float) -> float:
    assert now >= before, "a counter went backwards"
    return now


def reclaimed(gateway: Gateway) -> int:
    return [one["event"] for one in gateway.log()].count("replica_reclaimed")


async def test_sigterm_drains_every_worker_even_if_each_is_told_twice(
    stand_in: Scripted, settings: dict[str, Any]
) -> None:
    stand_in.script("slow", tokens=20, chunk_after=0.1)
    with running({**settings, "shutdown": {"grace": "1m"}}, workers=FEW) as gateway:
        async with contextlib.AsyncExitStack() as stack:
            streams = [await begun(gateway, stack) for _ in range(6)]
            pids = gateway.worker_pids()
            gateway.signal(SIGTERM)
            for pid in pids:  # as a service manager does, which tells every process of a unit
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, SIGTERM)
            wait_until(lambda: readiness(gateway) == (503, "draining"), "it says that it drains")
            for pid in gateway.worker_pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, SIGTERM)
            with gateway.sdk() as late, pytest.raises(openai.InternalServerError) as caught:
                await asyncio.to_thread(late.chat.completions.create, model=MODEL, messages=HELLO)
            assert caught.value.code == "draining"
            assert gateway.admin("GET", "/status").json()["replicas"]
            for stream in streams:
                assert [chunk async for chunk in stream][-1].choices[0].finish_reason, "to its end"
        assert gateway.ended() == 0
        assert [command_line(pid) for pid in pids] == [""] * FEW
        assert gateway.log()[-1]["event"] == "stopped"
        gateway.start()
        truth = sum((cost_of(one) for one in stand_in.seen()), Decimal())
        found = month(gateway)
        assert (found["spent_usd"], found["held_usd"], found["unsettled_usd"]) == (truth, 0, 0)


async def test_a_second_signal_cuts_the_streams_of_every_worker(
    stand_in: Scripted, settings: dict[str, Any]
) -> None:
    stand_in.script("slow", ending="hang")
    with running({**settings, "shutdown": {"grace": "5m"}}, workers=FEW) as gateway:
        async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as codes:
            cut = [codes.create_task(error_code(await begun(gateway, stack))) for _ in range(6)]
            gateway.signal(SIGTERM)
            wait_until(lambda: readiness(gateway) == (503, "draining"), "it says that it drains")
            gateway.signal(SIGTERM)
        assert {one.result() for one in cut} == {"draining"}
        assert gateway.ended() == 0


async def test_workers_whose_supervisor_was_killed_leave_the_port_end_their_streams_and_go(
    stand_in: Scripted, settings: dict[str, Any]
) -> None:
    stand_in.script("slow", tokens=20, chunk_after=0.1)
    with running(settings, workers=FEW) as gateway:
        async with contextlib.AsyncExitStack() as stack:
            streams = [await begun(gateway, stack) for _ in range(6)]
            pids = gateway.worker_pids()
            gateway.kill()
            wait_until(lambda: not is_listening(gateway), "the port is left", every=0.02)
            for stream in streams:
                assert [chunk async for chunk in stream][-1].choices[0].finish_reason, "to its end"
        wait_until(lambda: not any(map(command_line, pids)), "no orphan is left", seconds=20)
        gateway.start()
        truth = sum((cost_of(one) for one in stand_in.seen()), Decimal())
        found = month(gateway)
        assert (found["spent_usd"], found["held_usd"], found["unsettled_usd"]) == (truth, 0, 0)


async def test_an_embedded_database_serves_workers_and_outlives_a_killed_supervisor(
    stand_in: Scripted, settings: dict[str, Any]
) -> None:
    stand_in.script("slow", ending="hang")
    settings = {**settings, "database": "embedded", "shutdown": {"grace": "1s"}}
    with running(settings, workers=FEW) as gateway:
        with gateway.sdk() as client:
            assert client.chat.completions.create(model=MODEL, messages=HELLO).choices
        spent = month_at_rest(gateway)["spent_usd"]
        async with contextlib.AsyncExitStack() as stack:
            stream = await begun(gateway, stack)
            held = Decimal(stream.response.headers["x-gateway-estimate-usd"])
            pids = gateway.worker_pids()
            gateway.kill()
            assert await error_code(stream) == "draining"
        wait_until(lambda: not any(map(command_line, pids)), "no orphan is left", seconds=30)
        gateway.start()
        found = month(gateway)
        assert found["spent_usd"] == spent
        assert found["unsettled_usd"] >= held, "what the cut stream cost could not be written"
        assert gateway.stop() == 0


def is_listening(gateway: Gateway) -> bool:
    try:
        return httpx.get(f"{gateway.url}/status", timeout=5).status_code > 0
    except httpx.TransportError:
        return False


def readiness(gateway: Gateway) -> tuple[int, str]:
    try:
        answer = httpx.get(f"{gateway.ops_url}/readyz", timeout=5)
    except httpx.TransportError:
        return 0, ""
    return answer.status_code, answer.text.strip()


def test_sighup_reaches_every_worker(settings: dict[str, Any]) -> None:
    with running(settings, workers=FEW) as gateway:
        gateway.signal(SIGHUP)
        wait_until(lambda: events(gateway, "configuration_reloaded") >= FEW, "all reload")
        assert events(gateway, "worker_ended") == 0


def events(gateway: Gateway, name: str) -> int:
    return [one["event"] for one in gateway.log()].count(name)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "half a price": (
        {
            "providers": {"x": {"dialect": "openai", "base_url": "http://x"}},
            "prices": {"x/model": {"input": "1"}},
        },
        '$.prices["x/model"]',
    ),
    "a certificate that is not there": (
        {"listen": {"tls": {"certificate": "/nowhere.pem", "key": "/nowhere.key"}}},
        "$.listen",
    ),
}
"""The first is found by the supervisor, the second by a worker."""


@pytest.mark.parametrize("name", list(WRONG))
def test_what_keeps_workers_from_starting_is_one_line(database: Database, name: str) -> None:
    wrong, says = WRONG[name]
    settings = {"database": database.fresh(), **wrong}
    with running(settings, workers=FEW, is_started=False) as gateway:
        line = refused(gateway)
    assert says in line


def test_a_port_that_workers_have_is_taken(database: Database) -> None:
    with running({"database": database.fresh()}, workers=FEW) as first:
        taken = {"database": database.fresh(), "listen": {"port": first.port}}
        for workers in (1, 2):
            with running(taken, workers=workers, is_started=False) as second:
                line = refused(second)
            assert re.search(rf"{first.port}: .* in use", line)
        assert first.is_ready()


def refused(gateway: Gateway) -> str:
    """Start a gateway that must not start; return what it says to a person."""
    gateway.spawn()
    assert gateway.ended() == 1
    assert gateway.stdout() == ""
    (line,) = [one for one in gateway.stderr().splitlines() if not one.startswith("{")]
    assert line.startswith("gateway: ")
    return line


def test_no_secret_is_on_a_command_line(settings: dict[str, Any]) -> None:
    with running(settings, workers=FEW) as gateway:
        lines = [command_line(pid) for pid in (gateway.pid, *gateway.worker_pids())]
    assert not [one for one in lines if re.search(r"postgresql|sk-of|gwk_", one)]
