"""Processes that only serve calls, processes that only do jobs, and several that share a folder."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.process import standins
from tests.process.conversation import HELLO
from tests.process.databases import Database, external
from tests.process.gateway_process import Gateway
from tests.process.observing import PRICE, provider, running
from tests.process.standins import Scripted, wait_until

MODEL = "mock/model"
SLOW = "mock/slow"


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
    stand_in.reset()
    return {
        "database": database.fresh(),
        "providers": {"mock": provider(stand_in)},
        "prices": dict.fromkeys((MODEL, SLOW), PRICE),
        "ledger": {"lease_ttl": "1s"},
    }


def beside(first: Gateway) -> dict[str, str]:
    """Return the environment of another gateway on the same state folder."""
    return {"GATEWAY_STATE": str(first.state)}


def test_a_worker_does_for_proxies_what_they_leave_undone(
    stand_in: Scripted, settings: dict[str, Any]
) -> None:
    stand_in.script("slow", ending="hang")
    with running(settings, arguments=("--role", "proxy")) as proxy:
        worker = Gateway(settings, arguments=("--role", "worker"), environment=beside(proxy))
        try:
            worker.spawn()
            wait_until(worker.is_ready, "the worker is ready", seconds=30, every=0.05)
            wait_until(lambda: has_started(worker), "the worker does its jobs")
            assert "no calls are served" in worker.stdout()
            with pytest.raises(httpx.ConnectError):
                httpx.get(worker.url)
            assert roles(proxy) == ["proxy", "worker"]
            thrown = proxy.cli("kill", "--model", MODEL, "--json")
            answer = json.loads(thrown.stdout)
            assert (answer["replicas"], answer["acknowledged"], answer["late"]) == (2, 2, [])
            with proxy.sdk() as client, pytest.raises(openai.PermissionDeniedError):
                client.chat.completions.create(model=MODEL, messages=HELLO)
            with (
                proxy.sdk() as client,
                client.chat.completions.create(model=SLOW, messages=HELLO, stream=True) as stream,
            ):
                next(stream)
                proxy.kill()
            wait_until(
                lambda: "replica_reclaimed" in events(worker), "the proxy is reclaimed", every=0.05
            )
            assert "gateway_build_info" in worker.metrics()
            assert worker.stop() == 0
            assert events(worker)[-1] == "stopped"
        finally:
            worker.remove()


def test_a_proxy_reclaims_nobody(stand_in: Scripted, settings: dict[str, Any]) -> None:
    with running(settings, arguments=("--role", "proxy")) as first:
        dead = Gateway(settings, environment=beside(first))
        try:
            dead.spawn()
            wait_until(dead.is_ready, "it is ready", seconds=30, every=0.05)
            wait_until(lambda: len(roles(first)) == 2, "it is a replica")
            dead.kill()
            wait_until(lambda: told(first)["url"] == first.url, "the other is named", seconds=20)
            seen = [one["seen_at"] for one in replicas(first)]
            wait_until(lambda: is_silent(first, seen), "it is silent", every=0.05)
            assert len(roles(first)) == 2
            assert "replica_reclaimed" not in events(first)
        finally:
            dead.remove()


def is_silent(gateway: Gateway, seen: list[str]) -> bool:
    """Whether the proxy has been heard of for 3 s since, and so more than twice a lease's life."""
    first, _ = replicas(gateway)
    return seconds(first["seen_at"]) > max(map(seconds, seen)) + 3


def seconds(at: str) -> float:
    hours, minutes, rest = at[11:].rstrip("Z").split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


def test_jobs_can_be_done_by_several_workers(settings: dict[str, Any]) -> None:
    gateway = Gateway(settings, arguments=("--role", "worker"), workers=2)
    try:
        gateway.spawn()
        wait_until(lambda: has_started(gateway), "they do jobs", seconds=30, every=0.05)
        wait_until(lambda: are_ready(gateway, 2), "both are ready", seconds=30, every=0.05)
        assert not (gateway.state / "admin.json").exists(), "commands can't ask it"
        assert gateway.stop() == 0
    finally:
        gateway.remove()


def are_ready(gateway: Gateway, count: int) -> bool:
    ready = httpx.get(f"{gateway.ops_url}/readyz")
    return (ready.status_code, ready.text) == (200, f"ready: {count} of {count} workers\n")


def test_an_embedded_database_takes_no_half_of_a_gateway() -> None:
    for role in ("proxy", "worker"):
        with running({}, arguments=("--role", role), is_started=False) as gateway:
            gateway.spawn()
            assert gateway.ended() == 1
            assert f"--role {role}" in gateway.stderr()
            assert not Path(gateway.state).exists()


@pytest.mark.parametrize(
    "wrong", [("--workers", "0"), ("--workers", "-1"), ("--workers", "65"), ("--workers", "x")]
)
def test_an_impossible_number_of_workers_is_wrong_usage(wrong: tuple[str, str]) -> None:
    with running({}, arguments=wrong, is_started=False) as gateway:
        gateway.spawn()
        assert gateway.ended() == 2
        (line,) = gateway.stderr().splitlines()
        assert "--workers" in line


def test_gateways_that_share_a_folder_share_a_token_and_name_one_that_answers(
    settings: dict[str, Any],
) -> None:
    with running(settings, is_started=False) as first:
        second = Gateway(settings, environment=beside(first))
        try:
            for one in (first, second):
                one.spawn()
            for one in (first, second):
                wait_until(one.is_ready, "it is ready", seconds=60, every=0.05)
                wait_until(lambda: one.banner("Base URL") is not None, "it says so")  # noqa: B023
            known = told(first)
            assert known["url"] in {first.url, second.url}
            for one in (first, second):
                there = {"GATEWAY_URL": one.url, "GATEWAY_TOKEN": known["token"]}
                one.environment.update(there)
                assert len(json.loads(one.cli("status", "--json").stdout)["replicas"]) == 2
            tokens = first.admin("GET", "/tokens").json()["data"]
            assert [one["name"] for one in tokens].count("local commands") == 1
            named, other = (first, second) if known["url"] == first.url else (second, first)
            named.kill()
            wait_until(lambda: told(first)["url"] == other.url, "the other is named", seconds=20)
            assert told(first)["token"] == known["token"]
        finally:
            second.remove()


def told(gateway: Gateway) -> dict[str, str]:
    known: dict[str, str] = json.loads((gateway.state / "admin.json").read_text())
    return known


def replicas(gateway: Gateway) -> list[dict[str, str]]:
    found: list[dict[str, str]] = gateway.admin("GET", "/status").json()["replicas"]
    return found


def roles(gateway: Gateway) -> list[str]:
    return [one["role"] for one in replicas(gateway)]


def events(gateway: Gateway) -> list[str]:
    return [one["event"] for one in gateway.log()]


def has_started(gateway: Gateway) -> bool:
    return "started" in events(gateway)
