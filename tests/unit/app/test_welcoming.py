"""Of several gateways that share a folder, commands are told of one that answers."""

import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import cast

import anyio
import pytest

from gateway.app import welcoming
from gateway.app.clock import SystemClock
from gateway.app.local_files import ADMIN, LocalAdmin, read_admin, write_admin
from gateway.app.opening import Installed, Place
from gateway.config import Config
from gateway.core.pricing import PriceBook
from gateway.core.routing import directory
from gateway.errors import LedgerUnavailable
from gateway.store.installation import InstallationStore
from tests.waiting import eventually

OWN = LocalAdmin("http://127.0.0.1:1", "gwk_shared")


async def kept(folder: Path, done: Callable[[], bool]) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(welcoming.keep, Place(folder, {}, None), OWN)
        await eventually(done)
        group.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(welcoming, "LOOK_EVERY_S", 0.005)


async def test_a_file_that_is_gone_or_spoiled_is_written_again(tmp_path: Path):
    await kept(tmp_path, lambda: read_admin(tmp_path) == OWN)
    (tmp_path / ADMIN).write_text("spoiled")
    await kept(tmp_path, lambda: read_admin(tmp_path) == OWN)


@pytest.mark.parametrize("url", ["http://127.0.0.1:2", "http://", "nonsense", "http://h:99999"])
async def test_a_gateway_that_does_not_answer_is_replaced(tmp_path: Path, url: str):
    write_admin(tmp_path, LocalAdmin(url, "gwk_shared"))
    await kept(tmp_path, lambda: read_admin(tmp_path) == OWN)


async def test_a_gateway_that_answers_stays(tmp_path: Path):
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        other.settimeout(0)
        named = LocalAdmin(f"http://127.0.0.1:{other.getsockname()[1]}", "gwk_shared")
        write_admin(tmp_path, named)
        asked = 0

        def has_asked_twice() -> bool:
            nonlocal asked
            try:
                other.accept()[0].close()
            except BlockingIOError:
                return False
            asked += 1
            return asked == 2

        await kept(tmp_path, has_asked_twice)
        assert read_admin(tmp_path) == named


async def test_a_folder_that_can_not_be_written_stops_nothing(tmp_path: Path):
    folder = tmp_path / "later"
    async with anyio.create_task_group() as group:
        group.start_soon(welcoming.keep, Place(folder, {}, None), OWN)
        await anyio.wait_all_tasks_blocked()
        folder.mkdir()
        await eventually(lambda: read_admin(folder) == OWN)
        group.cancel_scope.cancel()


class _Unsteady:
    """A store whose database is away at first."""

    def __init__(self) -> None:
        self.asked = 0

    async def local_token(self, *_: object) -> None:
        self.asked += 1
        if self.asked < 3:
            raise LedgerUnavailable("away")


async def test_a_database_that_is_away_right_after_the_start_delays_the_banner_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(welcoming, "_RETRY_S", 0.005)
    store = _Unsteady()
    found = Installed(cast("InstallationStore", store), None)
    place = Place(tmp_path, {}, None)
    models = {"openai": directory(PriceBook("", {}), {}, {})}
    admin = await welcoming.welcome(1234, Config(), models, found, place, SystemClock())
    assert store.asked == 3
    assert admin == read_admin(tmp_path)
    assert "http://127.0.0.1:1234/v1" in capsys.readouterr().out
