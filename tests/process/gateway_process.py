"""The gateway as its users have it: a process, a folder of state, ports, and what it prints.

Nothing of the gateway is imported. What is relied on is what users rely on: `gateway serve`, its
banner, `/readyz`, and the state folder's `admin.json`.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import openai

from tests.process.programs import ROOT
from tests.process.standins import wait_until

GATEWAY = ROOT / ".venv/bin/gateway"
READY_SECONDS = 60.0
"""A first start makes a database cluster; on a busy machine of two cores that takes a while."""
STOP_SECONDS = 30.0
STATE_PATH_MOST = 40
"""Room for a socket's name below the folder: a unix socket's path holds at most 107 bytes."""

FOREIGN_SETTINGS = re.compile(
    r"GATEWAY_|OPENAI_|ANTHROPIC_|GEMINI_|GOOGLE_|AZURE_|AWS_|XDG_STATE_HOME|PG[A-Z]+$|.*_API_KEY$"
)
"""What is set for the person who runs the tests, and must not reach the gateway under test."""


class GatewayFailed(Exception):
    """The process ended when it should run; the message holds what it printed."""


class Gateway:
    """One gateway and its state folder; may be started again on the same state.

    `workers` above 1 is `--workers`; its process is then their supervisor's.

    `config` is the content of the configuration file. `listen.host`, `port` and `ops_port` are
    added: free ports, kept over restarts, so that a client goes on where it was. Providers have no
    `circuit` unless they say so: here they fail on purpose, one test after another.
    """

    program: Sequence[str] = (str(GATEWAY),)
    """What is run with `serve --config …`."""

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        workers: int = 1,
    ) -> None:
        self.folder = _short_folder()
        self.state = self.folder / "state"
        self.config_file = self.folder / "gateway.yaml"
        self.arguments = list(arguments)
        if workers > 1:
            self.arguments += ["--workers", str(workers)]
        self.environment = dict(environment or {})
        self.client_token = ""
        """From the banner of the first start; a later one, which has none to show, keeps it."""
        self._port, self._ops_port = _free_ports(2)
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self.configure(config)

    @property
    def base_url(self) -> str:
        """What an OpenAI SDK is given; ends in `/v1`."""
        return f"{self.url}/v1"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def ops_url(self) -> str:
        return f"http://127.0.0.1:{self._ops_port}"

    @property
    def ports(self) -> tuple[int, int]:
        """The port for calls, and the one for operators."""
        return self._port, self._ops_port

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def port(self) -> int:
        return self._port

    def worker_pids(self) -> list[int]:
        """Return the process ids of the workers that live, the oldest first."""
        return [pid for pid in children(self.pid) if "gateway.app.worker" in command_line(pid)]

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def configure(self, config: Mapping[str, Any]) -> None:
        """Write the configuration file anew; a running gateway is not told."""
        listen = {"host": "127.0.0.1", "port": self._port, "ops_port": self._ops_port}
        whole = {**config, "listen": listen | dict(config.get("listen", {}))}
        if isinstance(config.get("providers"), Mapping):
            whole["providers"] = {
                name: {"circuit": None, **one} if isinstance(one, Mapping) else one
                for name, one in config["providers"].items()
            }
        # JSON is YAML, and needs no quoting rules.
        self.config_file.write_text(json.dumps(whole, indent=1))

    def start(self, *, seconds: float = READY_SECONDS) -> None:
        """Start, and return when it is ready and has printed its banner."""
        self.spawn()
        wait_until(self.is_ready, "the gateway is ready", seconds=seconds, every=0.05)
        wait_until(self._has_banner, "the gateway has printed its banner")

    def spawn(self) -> None:
        """Start without waiting, for starts that are meant to fail."""
        self._starts += 1
        with self._output("stdout").open("wb") as out, self._output("stderr").open("wb") as err:
            self._process = subprocess.Popen(
                [*self.program, "serve", "--config", str(self.config_file), *self.arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self._environment(),
            )

    def is_ready(self) -> bool:
        """Ask `/readyz`. Raises `GatewayFailed` when the process has ended."""
        if self._running().poll() is not None:
            raise GatewayFailed(self._obituary())
        try:
            return httpx.get(f"{self.ops_url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def signal(self, number: signal.Signals) -> None:
        self._running().send_signal(number)

    def ended(self, *, seconds: float = STOP_SECONDS) -> int:
        """Wait for the process to end, and return its exit code."""
        return self._running().wait(seconds)

    def stop(self, *, seconds: float = STOP_SECONDS) -> int:
        """SIGTERM, as an operator does; returns the exit code."""
        self.signal(signal.SIGTERM)
        return self.ended(seconds=seconds)

    def kill(self) -> None:
        """SIGKILL, as the kernel may."""
        self.signal(signal.SIGKILL)
        self.ended()

    def restart(self) -> None:
        """Stop it, unless it has ended already, and start it on the same state."""
        if self.is_running:
            self.stop()
        self.start()

    def remove(self) -> None:
        """End the process, whatever it does, and take its folder away."""
        if self.is_running:
            self._end()
        shutil.rmtree(self.folder)

    def stdout(self, start: int | None = None) -> str:
        """Return what the last start (or the one of this number, from 1) has printed so far."""
        return self._output("stdout", start).read_text(errors="replace")

    def stderr(self, start: int | None = None) -> str:
        return self._output("stderr", start).read_text(errors="replace")

    def log(self) -> list[dict[str, Any]]:
        """Return the JSON lines of both outputs of the last start."""
        lines = [*self.stdout().splitlines(), *self.stderr().splitlines()]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def banner(self, label: str) -> str | None:
        """Return what the banner of the last start says after `label: `."""
        found = re.search(rf"^\s*{re.escape(label)}:\s+(\S+)", self.stdout(), re.MULTILINE)
        return found and found[1]

    @property
    def admin_token(self) -> str:
        token: str = self._admin_file()["token"]
        return token

    def admin(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        params: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> httpx.Response:
        """Call the admin API: `admin("POST", "/runs", json={…})`; no status is an error.

        `path` is below `/api/v1`. The token is the state folder's, unless given; "" sends none.
        """
        bearer = self.admin_token if token is None else token
        headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
        url = f"{self._admin_file()['url'].rstrip('/')}/api/v1{path}"
        return httpx.request(method, url, json=json, params=params, headers=headers, timeout=30)

    def metrics(self) -> str:
        return httpx.get(f"{self.ops_url}/metrics", timeout=10).raise_for_status().text

    def cli(
        self, *arguments: str, given: str = "", seconds: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run `gateway ARGUMENTS…` beside it, on the same state; `given` is its standard input."""
        return subprocess.run(
            [str(GATEWAY), *arguments],
            cwd=self.folder,
            input=given,
            capture_output=True,
            text=True,
            timeout=seconds,
            env=self._environment(),
            check=False,
        )

    def sdk(
        self, *, token: str | None = None, retries: int = 0, timeout: float = 30.0
    ) -> openai.OpenAI:
        """Return a client of the newest openai SDK; `token` is the first client's unless given."""
        key = token or self.client_token
        return openai.OpenAI(
            base_url=self.base_url, api_key=key, max_retries=retries, timeout=timeout
        )

    def async_sdk(
        self, *, token: str | None = None, retries: int = 0, timeout: float = 30.0
    ) -> openai.AsyncOpenAI:
        key = token or self.client_token
        return openai.AsyncOpenAI(
            base_url=self.base_url, api_key=key, max_retries=retries, timeout=timeout
        )

    def _environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not FOREIGN_SETTINGS.match(k)}
        own = {"GATEWAY_STATE": str(self.state), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
        return {**inherited, **own, **self.environment}

    def _has_banner(self) -> bool:
        self.client_token = self.banner("Client token") or self.client_token
        return self.banner("Base URL") is not None and self.client_token != ""

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise GatewayFailed("it was not started")
        return self._process

    def _admin_file(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.state / "admin.json").read_text())
        return content

    def _end(self) -> None:
        self.signal(signal.SIGTERM)
        try:
            self.ended(seconds=10)
        except subprocess.TimeoutExpired:
            self.kill()

    def _output(self, stream: str, start: int | None = None) -> Path:
        return self.folder / f"{stream}.{start or self._starts}"

    def _obituary(self) -> str:
        code = self._running().returncode
        return f"ended with {code}\nstdout:\n{self.stdout()}\nstderr:\n{self.stderr()[-8000:]}"


def children(pid: int) -> list[int]:
    """Return the process ids of a process's children, in the order of their start."""
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def command_line(pid: int) -> str:
    """Return a process's command line; "" where there is no such process, or it is a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def connections(pid: int, port: int) -> int:
    """Return how many connections to a port of 127.0.0.1 a process has accepted."""
    inodes = {row[9] for row in _tcp(pid) if row[1].endswith(f":{port:04X}") and row[3] == "01"}
    held = [str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir() if one.is_symlink()]
    return sum(1 for one in held if one.removeprefix("socket:[").removesuffix("]") in inodes)


def _tcp(pid: int) -> list[list[str]]:
    """Return the rows of proc(5)'s net/tcp: 1 is the local address, 3 the state, 9 the inode."""
    lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    return [line.split() for line in lines]


def _short_folder() -> Path:
    """Make a folder that the database's user can pass through when the tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix="gw-"))
    if len(str(folder)) > STATE_PATH_MOST:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="gw-", dir="/tmp"))  # mkdtemp's is new
    folder.chmod(0o711)
    return folder


def _free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on; another process may take one before it is used."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()
