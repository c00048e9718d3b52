import pytest
from litestar.types import HTTPReceiveMessage, Message
from prometheus_client import CollectorRegistry, Counter

from gateway.web.ops import OpsApp, OwnHealth


class Answer:
    """What an application sends."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = dict(message["headers"])
        else:
            self.body += message["body"]


async def asked(
    path: str,
    *,
    method: str = "GET",
    accept: bytes | None = None,
    is_ready: bool = True,
    reason: str = "ready",
) -> Answer:
    registry = CollectorRegistry()
    Counter("seen", "Things seen.", registry=registry).inc(3)
    app = OpsApp(OwnHealth(registry, lambda: (is_ready, reason)))
    headers = [] if accept is None else [(b"accept", accept)]
    answer = Answer()
    await app({"path": path, "method": method, "headers": headers}, _nothing, answer.send)  # type: ignore[typeddict-item]
    return answer


async def _nothing() -> HTTPReceiveMessage:
    pytest.fail("the body of a request is none of its business")


async def test_a_living_process_says_ok_whether_it_is_ready_or_not():
    answer = await asked("/healthz", is_ready=False)
    assert (answer.status, answer.body) == (200, b"ok\n")


@pytest.mark.parametrize(
    ("is_ready", "reason", "status"),
    [(True, "ready", 200), (False, "draining", 503), (False, "ledger", 503)],
)
async def test_readiness_is_a_status_and_a_word(is_ready: bool, reason: str, status: int):
    answer = await asked("/readyz", is_ready=is_ready, reason=reason)
    assert (answer.status, answer.body) == (status, f"{reason}\n".encode())
    assert answer.headers[b"cache-control"] == b"no-store"


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, b"text/plain; version=0.0.4"),
        (b"*/*", b"text/plain; version=0.0.4"),
        (b"text/plain;version=1.0.0", b"text/plain; version=1.0.0"),
        (b"application/openmetrics-text;version=1.0.0,text/plain", b"application/openmetrics-text"),
        (b"text/plain;version=latest", b"text/plain; version=0.0.4"),
        (b"application/openmetrics-text;version=1.x", b"text/plain; version=0.0.4"),
        (b"\xff", b"text/plain; version=0.0.4"),
    ],
)
async def test_metrics_come_in_the_format_that_is_asked_for(
    accept: bytes | None, media_type: bytes
):
    answer = await asked("/metrics", accept=accept)
    assert answer.status == 200
    assert answer.headers[b"content-type"].startswith(media_type)
    assert b"seen_total 3.0" in answer.body
    assert (b"# EOF" in answer.body) is (b"openmetrics" in media_type)


@pytest.mark.parametrize("path", ["/", "/metrics/", "/healthz/x", "/status", "//healthz"])
async def test_nothing_else_is_there(path: str):
    assert (await asked(path)).status == 404


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_it_can_only_be_read(path: str):
    answer = await asked(path, method="POST")
    assert answer.status == 405
    assert answer.headers[b"allow"] == b"GET, HEAD"
    head = await asked(path, method="HEAD")
    assert head.status == 200
    assert head.headers[b"content-length"] == b"%d" % len(head.body)  # which the server leaves out
