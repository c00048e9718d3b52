"""Whatever a client sends, it is told what is wrong in its dialect, and nobody pays for it."""

import gzip
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

import httpx
import pytest

from tests.process import standins
from tests.process.conversation import HELLO
from tests.process.gateway_process import Gateway
from tests.process.observing import PRICE, month_at_rest, provider, running
from tests.process.standins import Scripted

MODEL = "mock/model"
CHAT = "/v1/chat/completions"
RUN = "of-bad-input"
"""Named by every request here; none is good enough to open it."""
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Scripted]:
    with standins.scripted(key="sk-of-the-provider") as made:
        yield made


@pytest.fixture(scope="module")
def gateway(stand_in: Scripted) -> Iterator[Gateway]:
    config = {"providers": {"mock": provider(stand_in)}, "prices": {MODEL: PRICE}}
    with running(config) as made:
        yield made


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {gateway.client_token}"}
    with httpx.Client(base_url=gateway.url, headers=headers, timeout=30) as made:
        yield made


@pytest.fixture(scope="module")
def good_calls(gateway: Gateway, stand_in: Scripted) -> Iterator[list[Decimal]]:
    """What each good call cost. After all tests, that is all that was ever sent, spent and held."""
    paid: list[Decimal] = []
    yield paid
    assert stand_in.totals()["requests"] == len(paid)
    found = month_at_rest(gateway)
    assert (found["spent_usd"], found["unsettled_usd"]) == (sum(paid), 0)
    assert gateway.admin("GET", f"/runs/{RUN}").status_code == 404


@pytest.fixture(autouse=True)
def harmless(client: httpx.Client, stand_in: Scripted, good_calls: list[Decimal]) -> Iterator[None]:
    """After each test here nothing was sent, and the next good call is served."""
    yield
    # By the client at hand: making one for each question takes longer than all the rest.
    assert client.get(f"{stand_in.url}/_totals").json()["requests"] == len(good_calls)
    answer = client.post(CHAT, json={"model": MODEL, "messages": HELLO})
    assert answer.status_code == 200, answer.text
    good_calls.append(Decimal(answer.headers["x-gateway-cost-usd"]))


def body(**members: object) -> bytes:
    return json.dumps({"model": MODEL, "messages": HELLO, **members}).encode()


def good_but(old: bytes, new: bytes) -> bytes:
    """Return a good body with a piece of it replaced."""
    good = body(temperature=1, user="u")
    assert good.count(old) == 1
    return good.replace(old, new)


def post(
    client: httpx.Client, content: bytes | Iterator[bytes], headers: Mapping[str, str] | None = None
) -> httpx.Response:
    """Send a body; a header that is given as "" is left out."""
    given = {"content-type": "application/json", "x-gateway-run": RUN, **(headers or {})}
    request = client.build_request("POST", CHAT, content=content, headers=given)
    for name in [name for name, value in given.items() if not value]:
        del request.headers[name]
    return client.send(request)


def refused(answer: httpx.Response, status: int, code: str, param: str | None = None) -> str:
    """Return the message of a refusal in OpenAI's shape, and nothing but such a refusal."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == (code, param)
    assert answer.headers["x-should-retry"] == "false"
    message: str = error["message"]
    assert 20 < len(message) < 400
    return message


NOT_JSON = {
    "nothing": b"",
    "half an object": b'{"model": "mock/model", "messages": [',
    "a text": b"hello",
    "single quotes": b"{'model': 'mock/model'}",
    "an array": b"[" + body() + b"]",
    "a string": b'"x"',
    "null": b"null",
    "two objects": body() + body(),
    "more after it": body() + b"x",
    "a byte order mark": b"\xef\xbb\xbf" + body(),
    "UTF-16": body().decode().encode("utf-16"),
    "NaN": good_but(b'"temperature": 1', b'"temperature": NaN'),
    "Infinity": good_but(b'"temperature": 1', b'"temperature": Infinity'),
    "minus Infinity": good_but(b'"temperature": 1', b'"temperature": -Infinity'),
    "a leading zero": good_but(b'"temperature": 1', b'"temperature": 01'),
    "a trailing comma": good_but(b'"user": "u"', b'"user": "u",'),
    "a comment": good_but(b'"user": "u"', b'"user": "u" /* x */'),
    "a raw line break in a string": good_but(b'"u"', b'"u\n"'),
    "bad UTF-8": good_but(b'"u"', b'"\xff"'),
    "an overlong slash": good_but(b'"u"', b'"\xc0\xaf"'),
    "a surrogate in UTF-8": good_but(b'"u"', b'"\xed\xa0\x80"'),
    "half a surrogate pair": good_but(b'"u"', b'"\\ud800"'),
    "a model twice": good_but(b'"user": "u"', b'"model": "mock/model"'),
    "a model twice, one escaped": good_but(b'"user": "u"', b'"mode\\u006c": "mock/dear"'),
    "a limit twice": good_but(b'"user": "u"', b'"max_tokens": 1, "max_tokens": 9'),
    "a role twice": good_but(b'"role": "user"', b'"role": "user", "role": "system"'),
    "arrays 10,000 deep": good_but(b'"u"', b"[" * 10_000 + b"]" * 10_000),
    "objects 10,000 deep": good_but(b'"u"', b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    "arrays 10,000 deep and not closed": good_but(b'"u"', b"[" * 10_000),
    "a number beyond all": good_but(b'"user": "u"', b'"max_tokens": 1e400'),
    "a number of 100,000 digits": good_but(
        b'"temperature": 1', b'"temperature": ' + b"9" * 100_000
    ),
}


@pytest.mark.parametrize("name", list(NOT_JSON))
def test_what_is_not_one_strict_json_object_is_refused(client: httpx.Client, name: str) -> None:
    message = refused(post(client, NOT_JSON[name]), 400, "invalid_request")
    assert message.startswith("The body can't be used")


@dataclass(frozen=True, slots=True)
class Wrong:
    """A member that is wrong in a body that is otherwise good; raw, as JSON would not be written so."""

    member: str
    value: bytes
    status: int = 400
    code: str = "invalid_request"


LIMITS = [
    b"-1",
    b"0",
    b"1000000000000000000",
    b"1e18",
    b'"5"',
    b"1.5",
    b"true",
    b"1e2",
    b"[]",
]
WRONG = [
    *(Wrong("max_tokens", value) for value in LIMITS),
    *(Wrong("max_completion_tokens", value) for value in LIMITS),
    *(Wrong("n", value) for value in [b"0", b"1000000", b"-1", b"1.5", b'"2"', b"true"]),
    *(Wrong("model", value) for value in [b"null", b"7", b'""', b"[]", b'"%b"' % (b"m" * 300)]),
    *(Wrong("model", value) for value in [b'"a\\u0000b"', b'"a\\nb"']),
    Wrong("model", b'"unheard-of"', 404, "model_not_found"),
    Wrong("model", b'"openai/gpt-4o"', 404, "model_not_found"),
    Wrong("model", b'"mock/unpriced"', 400, "price_unknown"),
    *(Wrong("messages", value) for value in [b"null", b'"hi"', b"[1]", b"{}", b"[null]"]),
    *(Wrong("stream", value) for value in [b'"true"', b"1", b"[]"]),
    *(Wrong("stream_options", value) for value in [b"1", b"[]", b'{"include_usage": 1}']),
    Wrong("tools", b"{}"),
    Wrong("tools", b'[{"type": "web_search"}]', 400, "bound_unknown"),
    Wrong("web_search_options", b"{}", 400, "bound_unknown"),
    Wrong("api_base", b'"http://127.0.0.1:9"'),
    Wrong("api_key", b'"sk-mine"'),
    Wrong("models", b'["mock/other"]'),
    Wrong("service_tier", b'""'),
    Wrong("service_tier", b"1"),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda one: f"{one.member}={one.value[:20].decode()}")
def test_a_wrong_member_is_named(client: httpx.Client, wrong: Wrong) -> None:
    members = {"model": b'"mock/model"', "messages": json.dumps(HELLO).encode()}
    members[wrong.member] = wrong.value
    content = b",".join(b'"%b": %b' % (name.encode(), value) for name, value in members.items())
    refused(post(client, b"{" + content + b"}"), wrong.status, wrong.code, wrong.member)


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_missing_member_is_named(client: httpx.Client, missing: str) -> None:
    members = {"model": MODEL, "messages": HELLO}
    del members[missing]
    refused(post(client, json.dumps(members).encode()), 400, "invalid_request", missing)


HEADERS = {
    "a form": ({"content-type": "application/x-www-form-urlencoded"}, 400, "invalid_request", None),
    "several parts": ({"content-type": "multipart/form-data; boundary=x"}, 400, "invalid_request", None),
    "plain text": ({"content-type": "text/plain"}, 400, "invalid_request", None),
    "no content type": ({"content-type": ""}, 400, "invalid_request", None),
    "deflate": ({"content-encoding": "deflate"}, 415, "unsupported_media_type", None),
    "two credentials": ({"x-api-key": "gwk_live_other"}, 401, "token_invalid", None),
    "no credential": ({"authorization": ""}, 401, "token_invalid", None),
    "another scheme": ({"authorization": "Basic eDp5"}, 401, "token_invalid", None),
    "a run with a space": ({"x-gateway-run": "a b"}, 400, "invalid_request", "x-gateway-run"),
    "a long run": ({"x-gateway-run": "r" * 129}, 400, "invalid_request", "x-gateway-run"),
    "a negative cap": ({"x-gateway-run-cap-usd": "-1"}, 400, "invalid_request", "x-gateway-run-cap-usd"),
    "a cap that is no number": ({"x-gateway-run-cap-usd": "NaN"}, 400, "invalid_request", "x-gateway-run-cap-usd"),
    "a ceiling of nothing": ({"x-gateway-max-output-tokens": "0"}, 400, "invalid_request", "x-gateway-max-output-tokens"),
    "a ceiling beyond all": ({"x-gateway-max-output-tokens": "1e18"}, 400, "invalid_request", "x-gateway-max-output-tokens"),
    "a doubtful dry run": ({"x-gateway-dry-run": "maybe"}, 400, "invalid_request", "x-gateway-dry-run"),
    "a label without a value": ({"x-gateway-label": "team"}, 400, "invalid_request", "x-gateway-label"),
    "an unknown control": ({"x-gateway-cap": "1"}, 400, "invalid_request", "x-gateway-cap"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(HEADERS))
def test_a_wrong_header_is_named(client: httpx.Client, name: str) -> None:
    headers, status, code, param = HEADERS[name]
    refused(post(client, body(), headers), status, code, param)


def test_a_compressed_body_is_refused(client: httpx.Client) -> None:
    bomb = gzip.compress(b" " * 10 * MIB + body())
    message = refused(
        post(client, bomb, {"content-encoding": "gzip"}), 415, "unsupported_media_type"
    )
    assert "content-encoding" in message


@pytest.mark.parametrize("is_chunked", [False, True])
def test_forty_megabytes_are_refused(client: httpx.Client, is_chunked: bool) -> None:
    whole = body(user="u" * 40 * MIB)
    pieces = (whole[at : at + MIB] for at in range(0, len(whole), MIB))
    answer = post(client, pieces if is_chunked else whole)
    assert "32 MiB" in refused(answer, 413, "body_too_large")


def test_a_client_that_asks_first_need_not_send_what_is_too_large(gateway: Gateway) -> None:
    head = {"expect": "100-continue", "content-length": str(40 * MIB)}
    status, _ = exchanged(gateway, "POST", CHAT, b"", head)
    assert status == 413


METHODS = {CHAT: "POST", "/v1/embeddings": "POST", "/v1/models": "GET"}


@pytest.mark.parametrize(
    ("path", "method"),
    [
        (path, method)
        for path, allowed in METHODS.items()
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
        if method != allowed
    ],
)
def test_another_method_is_refused_with_the_one_allowed(
    client: httpx.Client, path: str, method: str
) -> None:
    answer = client.request(method, path)
    refused(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == METHODS[path]


TRICKS = [
    *("/v1/chat/completions/", "/v1//chat/completions", "//v1/chat/completions"),
    *("/v1/./chat/completions", "/v1/x/../chat/completions", "/x/../v1/chat/completions"),
    *("/v1/chat/completions;a=b", "/v1;a/chat/completions", "/v1/chat/completions%00"),
    *("/v1/chat%2Fcompletions", "/%76%31/chat/completions", "/v1/chat/completions%3Fa"),
    *("/v1/chat%5Ccompletions", "/v1/chat\\completions", "/v1/Chat/Completions"),
    *("/v1/%2e%2e/v1/chat/completions", "/v1/chat/completions%20", "/v1/chat/completions/x"),
    *("/v1/responses/", "/v1/responses/r/cancel", "/v1/responses/compact"),
    *("/v1/responses/r", "/v1/completions/x", "/v1/images/generations", "/v1/audio/speech"),
    *("/v1/fine_tuning/jobs", "/v1/files", "/v1/batches", "/v1/", "/v1/x"),
]


@pytest.mark.parametrize("path", TRICKS)
def test_a_path_that_is_almost_one_of_ours_is_not_metered(gateway: Gateway, path: str) -> None:
    status, answer = exchanged(gateway, "POST", path, body())
    assert status == 404
    assert json.loads(answer)["error"]["code"] == "endpoint_not_metered"


@pytest.mark.parametrize(
    "path",
    ["/", "/chat/completions", "/V1/chat/completions", "/openai/v1/chat/completions", "/api/v1/x"],
)
def test_a_path_of_nobody_is_not_found(gateway: Gateway, path: str) -> None:
    status, _ = exchanged(gateway, "POST", path, body())
    assert status in {404, 405}


def test_a_target_with_a_host_of_its_own_reaches_nobody_else(gateway: Gateway) -> None:
    target = "http://127.0.0.1:1/v1/files"
    status, answer = exchanged(gateway, "POST", target, body())
    assert status == 404
    assert json.loads(answer)["error"]["code"] == "endpoint_not_metered"


def exchanged(
    gateway: Gateway,
    method: str,
    target: str,
    content: bytes,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """Send a request whose target is not touched by any client's ideas of a path."""
    connection = http.client.HTTPConnection("127.0.0.1", port(gateway), timeout=10)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        given = {
            "authorization": f"Bearer {gateway.client_token}",
            "content-type": "application/json",
            "content-length": str(len(content)),
            "x-gateway-run": RUN,
            **(headers or {}),
        }
        for name, value in given.items():
            connection.putheader(name, value)
        connection.endheaders(content or None)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def port(gateway: Gateway) -> int:
    found = httpx.URL(gateway.url).port
    assert found is not None
    return found


FRAMING = {
    "no host": b"POST /v1/chat/completions HTTP/1.1\r\nAUTH\r\ncontent-length: 2\r\n\r\n{}",
    "two lengths": b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nAUTH\r\n"
    b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "a length and chunks": b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nAUTH\r\n"
    b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nAUTH\r\n"
    b"content-length: -1\r\n\r\n{}",
    "a folded header": b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nAUTH\r\n"
    b"x-a: 1\r\n 2\r\ncontent-length: 2\r\n\r\n{}",
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "another version": b"POST /v1/chat/completions HTTP/2.0\r\nhost: x\r\nAUTH\r\n\r\n",
    "an endless head": b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-a: " + b"a" * 70_000,
}


@pytest.mark.parametrize("name", list(FRAMING))
def test_a_request_that_is_badly_framed_is_refused_and_cut(gateway: Gateway, name: str) -> None:
    auth = f"authorization: Bearer {gateway.client_token}".encode()
    answer = sent_raw(gateway, FRAMING[name].replace(b"AUTH", auth))
    status = int(answer.split(b" ")[1])
    assert 400 <= status < 500 or status == 505
    assert answer.count(b"HTTP/1.1 ") == 1, "nothing behind it is taken for a request"


def test_a_body_that_ends_early_is_no_call(gateway: Gateway) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gateway.client_token}\r\n"
    head += f"content-type: application/json\r\nx-gateway-run: {RUN}\r\ncontent-length: 500\r\n\r\n"
    assert not sent_raw(gateway, head.encode() + body(), ends=True).startswith(b"HTTP/1.1 2")


def sent_raw(gateway: Gateway, data: bytes, *, ends: bool = False) -> bytes:
    """Send bytes, and return everything until the gateway closes the connection."""
    with socket.create_connection(("127.0.0.1", port(gateway)), timeout=10) as connection:
        connection.sendall(data)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        received = bytearray()
        while piece := connection.recv(65536):
            received += piece
    return bytes(received)
