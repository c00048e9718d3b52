"""nginx, twice: as the provider that answers, and as the reverse proxy to compare with.

Both run as one process each, with keep-alive on both sides, as a gateway has it.
"""

import os
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import traffic
from tests.process.programs import ROOT
from tests.process.standins import wait_until

TOOLS = ROOT / ".tools/nginx"
START_S = 10.0

FRAME = """\
daemon off;
master_process off;
error_log stderr warn;
pid {folder}/pid;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  default_type application/json;
  types {{ text/event-stream sse; }}
  keepalive_requests 100000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/unused;
  uwsgi_temp_path {folder}/unused;
  scgi_temp_path {folder}/unused;
{content}
}}
"""
# Files are not served to POST. error_page makes a GET of it inside, at no cost to the connection.
PROVIDER = """\
  server {{
    listen 127.0.0.1:{port};
    root {folder};
    error_page 405 =200 $uri;
    location = /once{path} {{ rewrite ^ /answer.json last; }}
    location = /burst{path} {{ rewrite ^ /stream.sse last; }}
  }}"""
PROXY = """\
{upstreams}
  server {{
    listen 127.0.0.1:{port};
    proxy_http_version 1.1;
    proxy_set_header Connection "";
{locations}
  }}"""
UPSTREAM = (
    "  upstream {name} {{ server 127.0.0.1:{port}; keepalive 64; keepalive_requests 100000000; }}"
)
# A proxy of streams must pass each piece on as it comes.
LOCATION = "    location /{name}/ {{ proxy_pass http://{name}; proxy_buffering {buffering}; }}"


class NginxFailed(Exception):
    """It did not start; the message is what it wrote."""


@dataclass(frozen=True, slots=True)
class Nginx:
    """A running one."""

    pid: int
    port: int


@contextmanager
def provider(folder: Path) -> Iterator[Nginx]:
    """Answer whole calls below `/once` and streams below `/burst`."""
    folder.mkdir()
    port = _free_port()
    (folder / "answer.json").write_bytes(traffic.ANSWER)
    (folder / "stream.sse").write_bytes(traffic.STREAM)
    content = PROVIDER.format(port=port, folder=folder, path=traffic.PATH)
    with _running(folder, content) as pid:
        yield Nginx(pid, port)


@contextmanager
def proxy(
    folder: Path, exchanges: Sequence[traffic.Exchange], ports: Mapping[str, int]
) -> Iterator[Nginx]:
    """Proxy `/NAME/…` of each exchange to its provider's port."""
    folder.mkdir()
    port = _free_port()
    content = PROXY.format(
        port=port,
        upstreams="\n".join(
            UPSTREAM.format(name=exchange.name, port=ports[exchange.name]) for exchange in exchanges
        ),
        locations="\n".join(
            LOCATION.format(name=exchange.name, buffering="off" if exchange.is_stream else "on")
            for exchange in exchanges
        ),
    )
    with _running(folder, content) as pid:
        yield Nginx(pid, port)


@contextmanager
def _running(folder: Path, content: str) -> Iterator[int]:
    config = folder / "nginx.conf"
    config.write_text(FRAME.format(folder=folder, content=content))
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [str(TOOLS / "usr/sbin/nginx"), "-p", str(folder), "-c", str(config)],
            stdin=subprocess.DEVNULL,
            stderr=stderr,
            env={"PATH": os.environ.get("PATH", "")},
        )
    try:
        wait_until(lambda: _is_up(process, folder), "nginx has started", seconds=START_S)
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


def _is_up(process: subprocess.Popen[bytes], folder: Path) -> bool:
    if process.poll() is not None:
        raise NginxFailed((folder / "stderr").read_text())
    return (folder / "pid").exists()


def _free_port() -> int:
    """Return a port that nothing listens on; another process may take it before it is used."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
