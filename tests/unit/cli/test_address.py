"""Which gateway a command asks, and with which token."""

import json
from pathlib import Path

import pytest

from gateway.cli.calling import CommandFailed, address

LOCAL = {"url": "http://127.0.0.1:8081", "token": "local"}


@pytest.fixture
def state(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "admin.json").write_text(json.dumps(LOCAL))
    return {"GATEWAY_STATE": str(tmp_path)}


def found(environ: dict[str, str]) -> tuple[str, str]:
    where = address(environ)
    return where.url, where.token.reveal()


def test_this_hosts_gateway_is_asked_by_default(state: dict[str, str]):
    assert found(state) == ("http://127.0.0.1:8081", "local")


def test_the_environment_comes_first(state: dict[str, str]):
    environ = state | {"GATEWAY_URL": "https://gw.example/", "GATEWAY_TOKEN": "mine"}
    assert found(environ) == ("https://gw.example", "mine")


def test_a_base_url_for_an_sdk_is_understood(state: dict[str, str]):
    environ = state | {"GATEWAY_URL": "http://h:8080/v1", "GATEWAY_TOKEN": "mine"}
    assert found(environ)[0] == "http://h:8080"


def test_a_token_without_a_url_is_for_this_host(state: dict[str, str], tmp_path: Path):
    assert found(state | {"GATEWAY_TOKEN": "mine"}) == ("http://127.0.0.1:8081", "mine")
    empty = {"GATEWAY_STATE": str(tmp_path / "none"), "GATEWAY_TOKEN": "mine"}
    assert found(empty) == ("http://127.0.0.1:8080", "mine")


def test_this_hosts_token_goes_nowhere_else(state: dict[str, str]):
    assert found(state | {"GATEWAY_URL": "http://127.0.0.1:8081"})[1] == "local"
    with pytest.raises(CommandFailed, match=r"no token for https://evil\.example"):
        address(state | {"GATEWAY_URL": "https://evil.example"})


@pytest.mark.parametrize("content", ["", "{", '{"url": 5}', "[]"])
def test_a_file_that_can_not_be_read_is_none(state: dict[str, str], content: str):
    Path(state["GATEWAY_STATE"], "admin.json").write_text(content)
    with pytest.raises(CommandFailed, match="set GATEWAY_URL and GATEWAY_TOKEN"):
        address(state)


@pytest.mark.parametrize("url", ["nonsense", "http://[", "ftp://h", "http://", "http://h:x"])
def test_what_is_no_url_is_said_to_be_none(state: dict[str, str], url: str):
    with pytest.raises(CommandFailed, match="is not a URL"):
        address(state | {"GATEWAY_URL": url, "GATEWAY_TOKEN": "mine"})
