"""Where the state is, and who may enter it."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import ConfigurationInvalid, StateBusy, StateUnusable
from gateway.store import state_folder
from gateway.store.server_user import server_user
from gateway.store.state_folder import StateLock, open_folder, open_room, resolve
from tests.postgres import passable_folder

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="about root, who becomes another user")


@pytest.fixture
def place() -> Iterator[Path]:
    with passable_folder() as folder:
        yield folder


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"GATEWAY_STATE": "/a", "XDG_STATE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"XDG_STATE_HOME": "/b", "HOME": "/c"}, "/b/reasonrank-gateway"),
        ({"HOME": "/c"}, "/c/.local/state/reasonrank-gateway"),
        (
            {"GATEWAY_STATE": "", "XDG_STATE_HOME": "", "HOME": "/c"},
            "/c/.local/state/reasonrank-gateway",
        ),
        ({"XDG_STATE_HOME": "relative", "HOME": "/c"}, "/c/.local/state/reasonrank-gateway"),
        ({"GATEWAY_STATE": "relative"}, "relative"),
    ],
)
def test_the_first_of_three_variables_names_the_folder(environ: dict[str, str], folder: str):
    assert resolve(environ) == Path(folder)


def test_without_any_variable_the_operator_is_asked():
    with pytest.raises(ConfigurationInvalid, match="set GATEWAY_STATE"):
        resolve({})


def test_a_new_folder_is_closed_to_others_looks(place: Path):
    old = os.umask(0)
    try:
        folder = open_folder(place / "deep" / "state")
    finally:
        os.umask(old)
    assert stat.S_IMODE(folder.stat().st_mode) == (0o711 if os.geteuid() == 0 else 0o700)


def test_a_standing_folder_keeps_its_mode(place: Path):
    (place / "state").mkdir(mode=0o750)
    assert stat.S_IMODE(open_folder(place / "state").stat().st_mode) == 0o750


def test_a_folder_that_everybody_may_write_into_is_refused(place: Path):
    (place / "state").mkdir()
    (place / "state").chmod(0o1777)
    with pytest.raises(StateUnusable, match="chmod o-w"):
        open_folder(place / "state")


def test_a_file_is_not_a_state_folder(place: Path):
    (place / "state").touch()
    with pytest.raises(StateUnusable, match="not a folder"):
        open_folder(place / "state")


def test_a_second_lock_is_refused_in_one_line_that_names_the_holder(place: Path):
    with StateLock(place), pytest.raises(StateBusy) as refused:
        StateLock(place)
    assert "\n" not in str(refused.value)
    assert f"process {os.getpid()}" in str(refused.value)
    assert str(place) in str(refused.value)


def test_a_released_lock_can_be_had_again(place: Path):
    for _ in range(2):
        with StateLock(place):
            pass


def test_a_lock_dies_with_its_process(place: Path):
    code = "import sys; from pathlib import Path; from gateway.store.state_folder import StateLock;"
    code += "lock = StateLock(Path(sys.argv[1])); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(StateBusy, match=f"process {other.pid}"):
            StateLock(place)
        other.kill()
        other.wait()
        StateLock(place).release()


def test_a_lock_file_that_is_a_link_is_refused(place: Path):
    (place / state_folder.LOCK).symlink_to(place / "elsewhere")
    with pytest.raises(StateUnusable):
        StateLock(place)
    assert not (place / "elsewhere").exists()


def test_a_link_to_a_room_that_is_gone_is_refused_and_kept(place: Path):
    (place / state_folder.ROOM).symlink_to(place / "gone")
    with pytest.raises(StateUnusable, match="put it back"):
        open_room(place, server_user(None, None))
    assert (place / state_folder.ROOM).is_symlink()


@as_root
def test_a_database_below_a_closed_home_goes_elsewhere_and_is_found_again(place: Path):
    home, elsewhere = place / "home", place / "elsewhere"
    home.mkdir(mode=0o700)
    elsewhere.mkdir()
    user, folder = server_user(None, None), open_folder(home / "state")
    room = open_room(folder, user, elsewhere)
    assert room.parent == elsewhere
    assert open_room(folder, user, elsewhere) == room
    assert (folder / state_folder.ROOM).readlink() == room
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


@as_root
def test_without_an_elsewhere_the_operator_is_told_what_to_set(place: Path):
    home = place / "home"
    home.mkdir(mode=0o700)
    user, folder = server_user(None, None), open_folder(home / "state")
    with pytest.raises(StateUnusable, match="set GATEWAY_STATE to a folder it can reach"):
        open_room(folder, user, place / "missing")


@as_root
def test_a_closed_folder_made_for_us_is_opened_for_passing_only_while_empty(place: Path):
    user, elsewhere = server_user(None, None), place / "elsewhere"
    elsewhere.mkdir()
    empty, used = place / "empty", place / "used"
    for folder in (empty, used):
        folder.mkdir(mode=0o700)
        StateLock(folder).release()
    (used / "something").touch()
    assert open_room(empty, user, elsewhere).parent == empty
    assert open_room(used, user, elsewhere).parent == elsewhere
    assert stat.S_IMODE(used.stat().st_mode) == 0o700


@as_root
def test_a_room_that_became_unreachable_is_refused(place: Path):
    user, folder = server_user(None, None), open_folder(place / "state")
    open_room(folder, user)
    folder.chmod(0o700)
    with pytest.raises(StateUnusable, match="chmod o"):
        open_room(folder, user)
