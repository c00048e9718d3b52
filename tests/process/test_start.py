"""Starting: what a first start prints, what stops a start, and where a gateway can keep its state."""

import json
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import trustme

from tests.process.conversation import HELLO
from tests.process.databases import Database, external
from tests.process.gateway_process import Gateway
from tests.process.observing import running, traces


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with external() as made:
        yield made


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Gateway]:
    """A gateway that nobody configured."""
    with running({}) as made:
        yield made


def test_the_banner_of_a_first_start_is_all_that_one_needs(sandbox: Gateway) -> None:
    assert sandbox.banner("Base URL") == sandbox.base_url
    assert "sandbox" in sandbox.stdout()
    assert "nothing is billed" in sandbox.stdout()
    with sandbox.sdk() as client:
        answer = client.chat.completions.create(model="sandbox/echo", messages=HELLO)
    assert answer.choices[0].message.content == "hello there"
    assert (sandbox.state / "admin.json").stat().st_mode & 0o777 == 0o600


def test_the_curl_line_works_as_it_is_printed(sandbox: Gateway) -> None:
    if shutil.which("curl") is None:
        pytest.skip("NOT TESTED: there is no curl on this machine")
    (line,) = [one for one in sandbox.stdout().splitlines() if one.strip().startswith("curl ")]
    ended = shell(f"{line.strip()} --silent --show-error --fail")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout)["choices"][0]["message"]["content"] == "Hello"


def test_the_owners_link_signs_in_once(sandbox: Gateway) -> None:
    (link,) = [word for word in sandbox.stdout().split() if "/console/sign-in/" in word]
    headers = {"origin": sandbox.url, "sec-fetch-site": "same-origin"}
    with httpx.Client(headers=headers) as browser:
        assert browser.get(link).status_code == 200, "looking at it does not use it up"
        assert browser.post(link).is_redirect
        assert browser.get(f"{sandbox.url}/console").status_code == 200
    with httpx.Client(headers=headers) as other:
        assert not other.post(link).is_redirect


def test_a_second_gateway_on_the_same_state_is_refused_in_one_line(sandbox: Gateway) -> None:
    with running({}, environment={"GATEWAY_STATE": str(sandbox.state)}, is_started=False) as second:
        (line,) = refused(second)
    assert str(sandbox.pid) in line
    assert str(sandbox.state) in line
    assert "already runs" in line
    assert sandbox.is_ready()


def a_provider(**members: str) -> dict[str, Any]:
    return {"providers": {"x": {"dialect": "openai", "base_url": "http://x", **members}}}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown key": ({"limits": {"run_used": "5"}}, "$.limits.run_used"),
    "an impossible value": ({"limits": {"output_tokens": 0}}, "$.limits.output_tokens"),
    "an unset variable": (a_provider(key="${NOT_SET}"), "NOT_SET"),
    "a database out of reach": ({"database": "postgresql://u:secret@127.0.0.1:1/d"}, "database"),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_a_wrong_configuration_stops_the_start_with_one_line(name: str) -> None:
    wrong, says = WRONG[name]
    with running(wrong, is_started=False) as gateway:
        (line,) = refused(gateway)
    assert says in line
    assert "secret" not in line


LATE: dict[str, tuple[dict[str, Any], str]] = {
    "half a price": (
        {**a_provider(), "prices": {"x/model": {"input": "1"}}},
        '$.prices["x/model"]',
    ),
    "a certificate that is not there": (
        {"listen": {"tls": {"certificate": "/nowhere.pem", "key": "/nowhere.key"}}},
        "$.listen",
    ),
}
"""Wrong, but not found to be so before the database is there."""


@pytest.mark.parametrize("name", list(LATE))
def test_what_is_found_wrong_later_stops_the_start_with_one_line(
    database: Database, name: str
) -> None:
    wrong, says = LATE[name]
    with running({"database": database.fresh(), **wrong}, is_started=False) as gateway:
        (line,) = refused(gateway)
    assert says in line


def test_a_port_that_is_taken_stops_the_start_with_one_line(
    sandbox: Gateway, database: Database
) -> None:
    port = httpx.URL(sandbox.url).port
    taken = {"database": database.fresh(), "listen": {"port": port}}
    with running(taken, is_started=False) as gateway:
        (line,) = refused(gateway)
    assert str(port) in line
    assert "in use" in line


def refused(gateway: Gateway) -> list[str]:
    """Start a gateway that must not start; return what it says to a person."""
    gateway.spawn()
    assert gateway.ended() == 1
    assert gateway.stdout() == ""
    lines = [line for line in gateway.stderr().splitlines() if not line.startswith("{")]
    assert all(line.startswith("gateway: ") for line in lines), gateway.stderr()
    return lines


def test_an_external_database_is_migrated_and_used(database: Database) -> None:
    with running({"database": database.fresh()}, is_started=False) as gateway:
        migrate = ("migrate", "--config", str(gateway.config_file))
        before = gateway.cli(*migrate, "--check")
        assert before.returncode == 1, before.stderr
        pending = [line for line in before.stdout.splitlines() if line.startswith("pending: ")]
        done = gateway.cli(*migrate, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        assert len(json.loads(done.stdout)["applied"]) == len(pending) > 0
        after = gateway.cli(*migrate, "--check")
        assert (after.returncode, after.stderr) == (0, "")
        gateway.start()
        assert not (gateway.state / "postgres").exists()
        assert gateway.admin("GET", "/status").json()["database"] == "external"
        with gateway.sdk() as client:
            assert client.chat.completions.create(model="sandbox/echo", messages=HELLO).choices
        assert [one["outcome"] for one in traces(gateway, 1)] == ["completed"]


def test_tls_is_served_to_an_sdk_that_trusts_the_certificate(
    database: Database, tmp_path: Path
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    files = {"certificate": str(tmp_path / "chain.pem"), "key": str(tmp_path / "key.pem")}
    for part in issued.cert_chain_pems:
        part.write_to_path(files["certificate"], append=True)
    issued.private_key_pem.write_to_path(files["key"])
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with running({"database": database.fresh(), "listen": {"tls": files}}) as gateway:
        base_url = gateway.base_url.replace("http://", "https://")
        assert gateway.banner("Base URL") == base_url
        told = {"base_url": base_url, "api_key": gateway.client_token, "max_retries": 0}
        with (
            openai.OpenAI(**told, http_client=httpx.Client(verify=trusting)) as client,
            client.chat.completions.create(
                model="sandbox/echo", messages=HELLO, stream=True
            ) as stream,
        ):
            assert list(stream)
        with openai.OpenAI(**told) as wary, pytest.raises(openai.APIConnectionError):
            wary.models.list()
        with pytest.raises(httpx.TransportError):
            httpx.get(gateway.url)


def shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", line], capture_output=True, text=True, timeout=30, check=False
    )
