"""The embedded PostgreSQL: what it survives, whom it lets in, what it leaves behind."""

import asyncio
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import asyncpg
import pytest
from hypothesis import given, strategies as st

from gateway.errors import StateBusy, StateUnusable
from gateway.store import binaries, embedded
from gateway.store.embedded import EmbeddedPostgres, pause_after
from tests.postgres import is_running, owner, passable_folder, until, wait_until

CHILD = Path(__file__).with_name("embedded_child.py")
CANARY = "canary-8d1f0c"
UNKNOWN_UID = 54321

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="about root, who becomes another user")


@pytest.fixture
def place() -> Iterator[Path]:
    with passable_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    """A state folder with a stopped database, for tests that leave it as they found it."""

    async def make() -> None:
        async with EmbeddedPostgres(folder / "state", report=print):
            pass

    with passable_folder() as folder:
        asyncio.run(make())
        yield folder / "state"


@pytest.fixture
def own_state(state: Path, place: Path) -> Path:
    """A copy of it, for tests that damage it."""
    subprocess.run(["/bin/cp", "-a", state, place / "state"], check=True)
    return place / "state"


async def query(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


@asynccontextmanager
async def watched(server: EmbeddedPostgres) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(server.watch())
        yield
        watching.cancel()


@contextmanager
def child(
    state: Path, *, user: int | None = None, python: str = sys.executable
) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run the stand-in for a gateway; yields it and the words of its one line."""
    with subprocess.Popen(
        [python, CHILD, state],
        stdout=subprocess.PIPE,
        text=True,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().split()
        finally:
            process.terminate()


def environ_of(pid: int | None) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def run_as(user: int, python: str, code: str, *args: str | Path) -> bytes:
    """Return what some Python code says about its failure when `user` runs it."""
    return subprocess.run(
        [python, "-c", code, *args],
        check=False,
        capture_output=True,
        user=user,
        group=user,
        extra_groups=[],
        env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ).stderr


def python_for(user: int) -> str:
    """Return a Python that `user` may run and that can load our packages."""
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        with suppress(OSError):
            if not run_as(user, python, "import asyncpg, anyio, msgspec, gateway"):
                return python
    pytest.skip("no Python here that another user may run")


async def test_a_first_start_makes_a_durable_database_that_only_we_can_reach(place: Path):
    said: list[str] = []
    async with EmbeddedPostgres(place / "state", report=said.append) as server:
        settings = ["fsync", "full_page_writes", "synchronous_commit", "data_checksums"]
        assert [await query(server.dsn, f"SHOW {name}") for name in settings] == ["on"] * 4
        assert await query(server.dsn, "SHOW listen_addresses") == ""
        assert await query(server.dsn, "SHOW server_encoding") == "UTF8"
        assert await query(server.dsn, "SHOW max_connections") == "40"
        assert await query(server.dsn, "SHOW shared_buffers") == "64MB"
        room = place / "state" / "postgres"
        for closed in (room / "run", room / "cluster", room / "cluster" / "data"):
            assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        assert server.pid is not None
        assert owner(server.pid) != 0
        pid = server.pid
    assert not is_running(pid)
    assert "18.6 ready in" in said[0]


async def test_what_was_committed_is_there_after_a_stop(state: Path):
    async with EmbeddedPostgres(state, report=print) as server:
        await query(server.dsn, "CREATE TABLE stopped AS SELECT 7 AS n")
    async with EmbeddedPostgres(state, report=print) as server:
        assert await query(server.dsn, "SELECT n FROM stopped") == 7


async def test_a_second_gateway_on_the_same_folder_is_refused_in_one_line(state: Path):
    async with EmbeddedPostgres(state, report=print) as server:
        with pytest.raises(StateBusy) as refused:
            await EmbeddedPostgres(state, report=print).start()
        assert "\n" not in str(refused.value)
        assert "already runs on" in str(refused.value)
        with child(state) as (_, words):
            assert words[0] == "StateBusy"
        assert await query(server.dsn, "SELECT 1") == 1


async def test_a_killed_gateway_leaves_no_server_and_loses_no_row(state: Path):
    with child(state) as (gateway, (pid, dsn)):
        await query(dsn, "CREATE TABLE kept AS SELECT g FROM generate_series(1, 100) g")
        gateway.kill()
        gateway.wait()
        async with EmbeddedPostgres(state, report=print) as server:  # its server may still run
            assert not is_running(int(pid))
            assert await query(server.dsn, "SELECT count(*) FROM kept") == 100


async def test_a_killed_gateways_server_ends_by_itself(state: Path):
    with child(state) as (gateway, (pid, _)):
        gateway.kill()
        wait_until(lambda: not is_running(int(pid)), "the server ended")
    assert not (state / "postgres/cluster/data/postmaster.pid").exists()  # a clean shutdown


async def test_a_terminated_gateway_stops_its_server(state: Path):
    with child(state) as (gateway, (pid, _)):
        gateway.send_signal(signal.SIGINT)
        gateway.wait()
    assert not is_running(int(pid))


async def test_a_killed_server_is_started_again_with_every_committed_row(state: Path):
    said: list[str] = []
    async with EmbeddedPostgres(state, report=said.append) as server, watched(server):
        await query(server.dsn, "CREATE TABLE restarted AS SELECT g FROM generate_series(1, 100) g")
        killed = server.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        await until(lambda: "the embedded PostgreSQL runs again" in said, "a restart")
        assert server.pid != killed
        assert await query(server.dsn, "SELECT count(*) FROM restarted") == 100
    assert "the embedded PostgreSQL ended (signal 9); starting it again in 0.1 s" in said


async def test_a_server_that_keeps_dying_is_given_up_with_its_last_words(
    own_state: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(embedded, "PAUSES_SECONDS", (0.0, 0.0, 0.0, 0.0))
    said: list[str] = []
    async with EmbeddedPostgres(own_state, report=said.append) as server:
        (own_state / "postgres/cluster/data").chmod(0o755)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(StateUnusable, match="has invalid permissions") as gone:
            await server.watch()
    assert "\n" not in str(gone.value)
    assert sum("starting it again" in line for line in said) == 4


async def test_a_database_that_cant_start_is_refused_with_the_servers_words(own_state: Path):
    (own_state / "postgres/cluster/data").chmod(0o755)
    with pytest.raises(StateUnusable, match="has invalid permissions"):
        await EmbeddedPostgres(own_state, report=print).start()
    (own_state / "postgres/cluster/data").chmod(0o700)
    async with EmbeddedPostgres(own_state, report=print):  # the folder was given back
        pass


async def test_a_ctrl_c_in_the_terminal_does_not_reach_the_server(state: Path):
    async with EmbeddedPostgres(state, report=print) as server:
        assert server.pid is not None
        assert os.getpgid(server.pid) == server.pid != os.getpgrp()
        assert os.getsid(server.pid) != os.getsid(0)


async def test_the_server_sees_nothing_of_our_environment(
    state: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    async with EmbeddedPostgres(state, report=print) as server:
        environ = environ_of(server.pid)
    assert CANARY.encode() not in environ
    assert {entry.partition(b"=")[0] for entry in environ.split(b"\0") if entry} <= {
        b"PATH",
        b"LC_ALL",
        b"TZ",
    }


async def test_no_value_and_no_statement_gets_into_the_log(state: Path):
    async with EmbeddedPostgres(state, report=print) as server:
        await query(server.dsn, "CREATE TABLE t (v text UNIQUE CHECK (length(v) > 3))")
        for statement in (
            f"SELECT '{CANARY}'::int",
            f"INSERT INTO t VALUES ('{CANARY}'), ('{CANARY}')",  # noqa: S608
            f"DO $$ BEGIN RAISE WARNING '{CANARY}'; RAISE EXCEPTION '{CANARY}'; END $$",
        ):
            with pytest.raises(asyncpg.PostgresError):
                await query(server.dsn, statement)
    log = (state / "postgres/server.log").read_text()
    assert "ready to accept connections" in log
    assert CANARY not in log


async def test_a_half_made_database_is_never_used(place: Path):
    async with EmbeddedPostgres(place / "state", report=print):
        pass
    cluster = place / "state/postgres/cluster"
    (cluster / "data").rename(cluster / "data.new")
    (cluster / "data.new/global/pg_control").unlink()
    async with EmbeddedPostgres(place / "state", report=print) as server:
        assert await query(server.dsn, "SELECT 1") == 1
    assert not (cluster / "data.new").exists()


async def test_a_database_of_another_major_version_is_refused_and_left_alone(own_state: Path):
    version = own_state / "postgres/cluster/data/PG_VERSION"
    version.write_text("99\n")
    with pytest.raises(StateUnusable, match=r"PostgreSQL 99.*pg_dumpall"):
        await EmbeddedPostgres(own_state, report=print).start()
    version.write_text("18\n")
    async with EmbeddedPostgres(own_state, report=print) as server:
        assert await query(server.dsn, "SELECT 1") == 1


async def test_a_folder_without_a_version_is_not_taken_for_a_database(own_state: Path):
    (own_state / "postgres/cluster/data/PG_VERSION").unlink()
    with pytest.raises(StateUnusable, match="not a PostgreSQL database"):
        await EmbeddedPostgres(own_state, report=print).start()


async def test_a_path_too_long_for_a_socket_gets_a_short_one_and_keeps_it(place: Path):
    state = place / ("long-" * 20)
    sockets = []
    for _ in range(2):
        async with EmbeddedPostgres(state, report=print) as server:
            assert await query(server.dsn, "SELECT 1") == 1
            sockets.append((state / "postgres/run").readlink())
    assert sockets[0] == sockets[1]
    assert stat.S_IMODE(sockets[0].stat().st_mode) == 0o700
    shutil.rmtree(sockets[0])
    async with EmbeddedPostgres(state, report=print) as server:  # /tmp was emptied
        assert await query(server.dsn, "SELECT 1") == 1
        again = (state / "postgres/run").readlink()
    shutil.rmtree(again)


async def test_a_long_log_is_put_aside_at_the_next_start(own_state: Path):
    log = own_state / "postgres/server.log"
    os.truncate(log, 2 << 20)
    async with EmbeddedPostgres(own_state, report=print):
        pass
    assert log.stat().st_size < 1 << 20
    assert log.with_name("server.log.1").stat().st_size == 2 << 20


async def test_a_cancelled_start_leaves_no_server(state: Path, monkeypatch: pytest.MonkeyPatch):
    started: list[int] = []
    server = EmbeddedPostgres(state, report=print)

    async def never(_: str) -> bool:
        assert server.pid is not None
        started.append(server.pid)
        await asyncio.Event().wait()
        return False

    monkeypatch.setattr(embedded, "_answers", never)
    async with asyncio.TaskGroup() as group:
        starting = group.create_task(server.start())
        await until(lambda: bool(started), "a server")
        starting.cancel()
    assert not is_running(started[0])


async def test_it_is_started_from_the_main_thread_only(state: Path):
    failures: list[str] = []

    def elsewhere() -> None:
        try:
            asyncio.run(EmbeddedPostgres(state, report=print).start())
        except RuntimeError as error:
            failures.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert failures == ["the embedded PostgreSQL must be started from the main thread"]


async def test_the_machines_own_postgresql_serves_where_there_is_no_wheel(
    place: Path, monkeypatch: pytest.MonkeyPatch
):
    if not binaries.machine_folders():
        pytest.skip("this machine has no PostgreSQL of its own")
    monkeypatch.setattr(binaries, "wheel_folder", lambda: None)
    async with EmbeddedPostgres(place / "state", report=print) as server:
        major = int(str(await query(server.dsn, "SHOW server_version_num"))) // 10_000
    monkeypatch.undo()
    async with EmbeddedPostgres(place / "state", report=print) as server:  # keeps its version
        version = int(str(await query(server.dsn, "SHOW server_version_num")))
        assert version // 10_000 == major


@as_root
async def test_root_reaches_a_database_below_its_closed_home(place: Path):
    home, elsewhere = place / "home", place / "elsewhere"
    home.mkdir(mode=0o700)
    elsewhere.mkdir()
    for expected in (None, 7):
        server = EmbeddedPostgres(home / "state", report=print, elsewhere=elsewhere)
        async with server:
            table = await query(server.dsn, "SELECT to_regclass('kept')::text")
            assert table == (None if expected is None else "kept")
            await query(server.dsn, "CREATE TABLE IF NOT EXISTS kept AS SELECT 7")


@as_root
async def test_root_keeps_to_the_user_that_owns_the_database(place: Path):
    for user in ("nobody", None):
        async with EmbeddedPostgres(place / "state", report=print, user=user) as server:
            assert owner(server.pid) == pwd.getpwnam("nobody").pw_uid
    with pytest.raises(StateUnusable, match="belongs to user nobody"):
        await EmbeddedPostgres(place / "state", report=print, user="daemon").start()


@as_root
@pytest.mark.parametrize(("user", "words"), [("root", "refuses"), ("no-such", "no user no-such")])
async def test_root_is_told_when_a_user_wont_do(place: Path, user: str, words: str):
    with pytest.raises(StateUnusable, match=words):
        await EmbeddedPostgres(place / "state", report=print, user=user).start()


@as_root
async def test_another_user_cant_connect(state: Path):
    other = pwd.getpwnam("daemon")
    python = python_for(other.pw_uid)
    code = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    async with EmbeddedPostgres(state, report=print):
        socket = state / "postgres/run/.s.PGSQL.5432"
        assert socket.is_socket()
        said = run_as(other.pw_uid, python, code, socket)
    assert b"PermissionError" in said


@as_root
async def test_the_server_lets_in_nobody_by_another_name(own_state: Path):
    """Were its folder opened by mistake, the server would still ask who is there."""
    other = pwd.getpwnam("daemon")
    python = python_for(other.pw_uid)
    code = "import asyncio, asyncpg, sys; asyncio.run(asyncpg.connect(sys.argv[1]))"
    async with EmbeddedPostgres(own_state, report=print) as server:
        (own_state / "postgres/run").chmod(0o755)
        (own_state / "postgres/run/.s.PGSQL.5432").chmod(0o777)
        said = run_as(other.pw_uid, python, code, server.dsn)
    assert b"InvalidAuthorizationSpecificationError" in said


@as_root
async def test_a_normal_user_runs_it_as_itself_and_is_survived_by_nothing(place: Path):
    user = pwd.getpwnam("daemon").pw_uid
    python = python_for(user)
    (place / "state").mkdir(mode=0o700)
    os.chown(place / "state", user, user)
    with child(place / "state", user=user, python=python) as (gateway, (pid, _)):
        assert owner(int(pid)) == user
        gateway.kill()
        wait_until(lambda: not is_running(int(pid)), "the server ended")
    async with EmbeddedPostgres(place / "state", report=print) as server:  # now as root
        assert owner(server.pid) == user
        assert await query(server.dsn, "SELECT 1") == 1


@as_root
async def test_a_user_without_a_name_is_told_so(place: Path):
    python = python_for(UNKNOWN_UID)
    (place / "state").mkdir(mode=0o700)
    os.chown(place / "state", UNKNOWN_UID, UNKNOWN_UID)
    with child(place / "state", user=UNKNOWN_UID, python=python) as (_, words):
        assert words[0] == "StateUnusable"
        assert "no entry in the user database" in " ".join(words)


@given(st.lists(st.floats(0, 200), min_size=1, max_size=12).map(sorted))
def test_restarts_slow_down_and_stop_at_the_fifth_death_within_a_minute(deaths: list[float]):
    recent = sum(deaths[-1] - death < 60 for death in deaths)
    expected = {1: 0.1, 2: 0.5, 3: 2.0, 4: 5.0}.get(recent)
    assert pause_after(deaths) == expected
