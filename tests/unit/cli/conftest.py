"""Commands against a scripted gateway: what they ask, and what they make of the answer."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.cli import application


class Asked(msgspec.Struct):
    """A request as it came."""

    method: str
    path: str
    token: str
    body: Any


class Scripted:
    """A gateway that gives prepared answers, in their order, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._answers: list[tuple[int, bytes, str]] = []
        script = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if self.raw_requestline and self.parse_request():
                    script.serve(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.01])
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def will_answer(self, value: object = None, status: int = 200) -> None:
        raw = b"" if value is None else json.dumps(value).encode()
        self._answers.append((status, raw, "application/json"))

    def will_send(self, raw: bytes, kind: str, status: int = 200) -> None:
        self._answers.append((status, raw, kind))

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("content-length", 0)))
        asked = Asked(
            request.command or "",
            request.path,
            request.headers.get("authorization", ""),
            json.loads(body) if body else None,
        )
        self.asked.append(asked)
        status, raw, kind = self._answers.pop(0)
        request.send_response(status)
        request.send_header("content-type", kind)
        request.send_header("content-length", str(len(raw)))
        request.end_headers()
        request.wfile.write(raw)

    def __enter__(self) -> "Scripted":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Scripted]:
    with Scripted() as scripted:
        monkeypatch.setenv("GATEWAY_URL", scripted.url)
        monkeypatch.setenv("GATEWAY_TOKEN", "gwk_secret")
        monkeypatch.setenv("GATEWAY_STATE", str(tmp_path))
        yield scripted


class Ended(msgspec.Struct):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401
        return json.loads(self.out)


Run = Callable[..., Ended]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: str) -> Ended:
        code = application.run(arguments)
        out, err = capfd.readouterr()
        return Ended(code, out, err)

    return command
