"""A receiver of webhooks: a real server, which can be away, refuse, or keep one waiting."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

SECRET = "whsec_dGhlIHNlY3JldCBvZiB0aGUgdGVzdHMnIHJlY2VpdmVy"


@dataclass(frozen=True)
class Message:
    """A message that was received, and verified by the standard's own library."""

    id: str
    attempt_at: str
    content: dict[str, Any]

    @property
    def percent(self) -> int:
        return int(self.content["data"]["percent"])

    @property
    def budget(self) -> tuple[str, str]:
        return self.content["data"]["scope"], self.content["data"]["scope_id"]


class Receiver:
    """Listens on one port for its life; `open` and `close` it at will."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.unsigned: list[str] = []
        self.asked = 0
        """Requests that came, answered or not."""
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.status = 204
        self._server: ThreadingHTTPServer | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?key=canary-of-the-query"

    def open(self) -> None:
        handler = type("Handler", (_Handler,), {"receiver": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        if self._server is not None:
            self.may_answer.set()
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Handler(BaseHTTPRequestHandler):
    receiver: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.receiver.asked += 1
        if not self.receiver.may_answer.is_set():
            self.receiver.may_answer.wait(60)
            return
        try:
            content = Webhook(SECRET).verify(body, dict(self.headers.items()))
        except Exception as error:  # noqa: BLE001  # whatever the library says, the test shows it
            self.receiver.unsigned.append(repr(error))
        else:
            self.receiver.messages.append(
                Message(self.headers["webhook-id"], self.headers["webhook-timestamp"], content)
            )
        self.send_response(self.receiver.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.open()
    try:
        yield receiver
    finally:
        receiver.close()
