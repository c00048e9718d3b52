"""The token pepper and the admin token of this host."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import anyio
import pytest

from gateway.app.local_files import (
    ADMIN,
    PEPPER_VARIABLE,
    LocalAdmin,
    pepper,
    read_admin,
    turn,
    write_admin,
)
from gateway.errors import ConfigurationInvalid, StateUnusable

GIVEN = bytes(range(32))


def test_a_pepper_is_made_once_for_its_owner_alone(tmp_path: Path):
    made = pepper(tmp_path, {})
    assert len(made) == 32
    assert pepper(tmp_path, {}) == made
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_all_who_start_at_once_have_the_same_pepper(tmp_path: Path):
    together = Barrier(8)

    def start(_: int) -> bytes:
        together.wait()
        return pepper(tmp_path, {})

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(start, range(8)))) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["token_pepper"]


def test_the_environments_pepper_wins_and_is_not_written(tmp_path: Path):
    assert pepper(tmp_path, {PEPPER_VARIABLE: GIVEN.hex()}) == GIVEN
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", ["x", "00" * 31, "00" * 33, "00" * 32, "zz" * 32])
def test_a_pepper_that_is_no_key_is_refused_without_being_shown(tmp_path: Path, given: str):
    with pytest.raises(ConfigurationInvalid) as refused:
        pepper(tmp_path, {PEPPER_VARIABLE: given})
    assert PEPPER_VARIABLE in str(refused.value)
    assert len(given) < 4 or given not in str(refused.value)


def test_a_spoiled_pepper_file_stops_the_start(tmp_path: Path):
    pepper(tmp_path, {})
    (tmp_path / "token_pepper").write_text("spoiled")
    with pytest.raises(ConfigurationInvalid):
        pepper(tmp_path, {})


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path):
    with pytest.raises(StateUnusable):
        pepper(tmp_path / "nowhere", {})
    with pytest.raises(StateUnusable):
        write_admin(tmp_path / "nowhere", LocalAdmin("http://x", "t"))


def test_the_admin_token_comes_back_and_is_its_owners_alone(tmp_path: Path):
    assert read_admin(tmp_path) is None
    for token in ("one", "two"):
        write_admin(tmp_path, LocalAdmin("http://127.0.0.1:8080", token))
    assert read_admin(tmp_path) == LocalAdmin("http://127.0.0.1:8080", "two")
    assert stat.S_IMODE((tmp_path / ADMIN).stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == [ADMIN]


def test_a_spoiled_admin_file_is_made_anew(tmp_path: Path):
    (tmp_path / ADMIN).write_text("{")
    assert read_admin(tmp_path) is None


async def test_gateways_write_the_admin_token_one_after_another(tmp_path: Path):
    inside, most = 0, 0

    async def enter() -> None:
        nonlocal inside, most
        async with turn(tmp_path):
            inside += 1
            most = max(most, inside)
            await anyio.lowlevel.checkpoint()
            inside -= 1

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(enter)
    assert most == 1


async def test_a_turn_in_a_folder_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(StateUnusable):
        async with turn(tmp_path / "nowhere"):
            pass
