"""A message goes out as Standard Webhooks has it, and every answer has its word."""

import base64
import os
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from gateway.core.delivery import Answer, Delivered, Rejected, Unanswered, WebhookName
from gateway.core.secret import Secret
from gateway.remote import webhooks
from gateway.remote.webhooks import Receiver, connect
from tests.unit.remote.scripted import Peer, Serve, Server

SECRET = "whsec_" + base64.b64encode(os.urandom(32)).decode()
ID = "01931b66-7f3e-7c3a-8f00-1234567890ab"
BODY = '{"type":"budget.threshold","data":{"scope_id":"é"}}'
NOW = datetime.now(UTC)  # noqa: TID251  # the verifier reads the machine's clock


def answering(head: str, body: str = "") -> object:
    async def script(peer: Peer) -> None:
        await peer.request()
        text = f"HTTP/1.1 {head}\r\ncontent-length: {len(body)}\r\n\r\n{body}"
        await peer.send(text.encode())

    return script


async def sent(url: str, *, now: datetime = NOW, secret: str = SECRET) -> Answer:
    async with connect(lambda: now, "1.2.3") as client:
        return await client.send(Receiver(WebhookName("ops"), url, Secret(secret)), ID, BODY)


def request(server: Server) -> tuple[str, dict[str, str], bytes]:
    head, _, body = server.peers[0].requests[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return first, dict(line.lower().split(": ", 1) for line in lines if ": " in line), body


def raw_headers(server: Server) -> dict[str, str]:
    head = server.peers[0].requests[0].partition(b"\r\n\r\n")[0].decode()
    return dict(line.split(": ", 1) for line in head.split("\r\n")[1:])


async def test_a_message_verifies_with_the_standards_own_verifier(serve: Serve):
    server = await serve(answering("204 No Content"))
    assert await sent(f"http://127.0.0.1:{server.port}/hook?a=b") == Delivered()
    first, headers, body = request(server)
    assert first == "POST /hook?a=b HTTP/1.1"
    assert (headers["webhook-id"], headers["content-type"]) == (ID, "application/json")
    assert headers["user-agent"] == "reasonrank-gateway/1.2.3"
    assert body == BODY.encode()
    Webhook(SECRET).verify(body, raw_headers(server))
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body + b" ", raw_headers(server))


async def test_the_signature_is_the_one_of_the_reference_vector(serve: Serve):
    """The vector that the standard's own libraries are tested with."""
    server = await serve(answering("200 OK"))
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    at = datetime.fromtimestamp(1614265330, UTC)
    async with connect(lambda: at, "1") as client:
        receiver = Receiver(WebhookName("a"), f"http://127.0.0.1:{server.port}/", Secret(secret))
        await client.send(receiver, "msg_p5jXN8AQM9LWM0D4loKWxJek", '{"test": 2432232314}')
    signature = raw_headers(server)["webhook-signature"]
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_is_a_delivery(serve: Serve, status: int):
    server = await serve(answering(f"{status} Fine"))
    assert await sent(f"http://127.0.0.1:{server.port}/") == Delivered()


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 404, 410, 429, 500, 503])
async def test_all_else_is_a_rejection_and_no_redirect_is_followed(serve: Serve, status: int):
    server = await serve(answering(f"{status} No\r\nlocation: /elsewhere"))
    assert await sent(f"http://127.0.0.1:{server.port}/") == Rejected(status)
    assert len(server.peers) == 1
    assert len(server.peers[0].requests) == 1


@pytest.mark.parametrize(
    ("text", "pause_s"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("9" * 400, 999_999_999.0),
        (f"{NOW + timedelta(minutes=2):%a, %d %b %Y %H:%M:%S GMT}", 120.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("²", None),
        ("", None),
    ],
)
def test_a_pause_may_be_seconds_or_a_date(text: str, pause_s: float | None):
    found = webhooks._retry_after_s(text, NOW.replace(microsecond=0))
    assert found == (None if pause_s is None else pytest.approx(pause_s, abs=1.0))


async def test_the_pause_that_is_asked_for_is_told(serve: Serve):
    server = await serve(answering("503 No\r\nretry-after: 40"))
    assert await sent(f"http://127.0.0.1:{server.port}/") == Rejected(503, 40.0)


async def test_no_answer_has_its_reason(serve: Serve):
    async def breaks(peer: Peer) -> None:
        await peer.request()
        peer.close()

    server = await serve(breaks)
    assert await sent(f"http://127.0.0.1:{server.port}/") == Unanswered("broke_off")
    assert await sent("http://127.0.0.1:1/") == Unanswered("unreachable")
    assert await sent("https://xn--/x") == Unanswered("bad_url")


async def test_a_silent_receiver_is_waited_for_so_long_and_no_longer(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
):
    async def silent(peer: Peer) -> None:
        await peer.request()
        await peer.request()

    monkeypatch.setattr(webhooks, "ANSWER_S", 0.05)
    server = await serve(silent)
    assert await sent(f"http://127.0.0.1:{server.port}/") == Unanswered("timed_out")
