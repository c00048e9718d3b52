"""The management API as commands call it: one request, one answer, and no exceptions but bugs.

A command runs for a moment, so this client is synchronous. The token goes to the one address that it
was given for: redirects are not followed, and on the own machine no proxy is asked.
"""

import ipaddress
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote

import httpx
import msgspec

from gateway.core.secret import Secret

CONNECT_S: Final = 5.0
ANSWER_S: Final = 60.0
_MOST_SHOWN: Final = 300

Query = Mapping[str, str | int | None]


class Answered(msgspec.Struct, frozen=True):
    """The request was carried out. `value` is the JSON of its answer, None where it has none."""

    value: Any


class Denied(msgspec.Struct, frozen=True):
    """The gateway answered that it will not, or can't: its code, its sentence, the member at fault."""

    status: int
    code: str
    message: str
    param: str | None = None


class Unreachable(msgspec.Struct, frozen=True):
    """No gateway answered: why, in one line."""

    reason: str


class Streaming(msgspec.Struct, frozen=True):
    """The answer comes piece by piece. `pieces` may end in a `Broken`."""

    pieces: Iterator[bytes]


class Broken(Exception):
    """A streamed answer broke off before its end."""


Answer = Answered | Denied | Unreachable
StreamAnswer = Streaming | Denied | Unreachable


class Management:
    """One gateway's management API; made by `connect`."""

    def __init__(self, client: httpx.Client, url: str) -> None:
        """Take over an open client of the gateway at `url`."""
        self._client = client
        self.url = url

    def call(
        self, method: str, path: str, *, query: Query | None = None, body: object = None
    ) -> Answer:
        """Make one request below `/api/v1/` and return what came of it. A body is sent as JSON."""
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"content-type": "application/json"}
        try:
            response = self._client.request(
                method, f"/api/v1/{path}", params=_given(query), content=content, headers=headers
            )
        except httpx.HTTPError as error:
            return Unreachable(_reason(error, self.url))
        return _read(response.status_code, response.content, self.url)

    @contextmanager
    def stream(self, path: str, *, query: Query | None = None) -> Iterator[StreamAnswer]:
        """Make a GET request whose answer is read as it arrives, for a block."""
        url = f"/api/v1/{path}"
        timeout = httpx.Timeout(ANSWER_S, connect=CONNECT_S)
        try:
            with self._client.stream("GET", url, params=_given(query), timeout=timeout) as response:
                if response.is_success:
                    yield Streaming(_pieces(response))
                    return
                content = response.read()
        except httpx.HTTPError as error:
            yield Unreachable(_reason(error, self.url))
            return
        failed = _read(response.status_code, content, self.url)
        yield failed if not isinstance(failed, Answered) else Unreachable(_no_gateway(self.url))


@contextmanager
def connect(
    url: str, token: Secret, *, transport: httpx.BaseTransport | None = None
) -> Iterator[Management]:
    """Open a client of the gateway at `url`, such as `http://127.0.0.1:8080`, for a block.

    Over TLS the system's certificate authorities are trusted, or those of SSL_CERT_FILE.
    """
    with httpx.Client(
        base_url=url,
        headers={"authorization": f"Bearer {token.reveal()}"},
        timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
        verify=_trusted(url),
        trust_env=not _is_local(url),
        transport=transport,
    ) as client:
        yield Management(client, url)


def segment(text: str) -> str:
    """Return a text as it stands in a path; a slash stays, since models have one."""
    return quote(text, safe="/")


def _trusted(url: str) -> ssl.SSLContext | bool:
    """Return whom to trust over TLS; nobody is asked for plain HTTP, where reading them takes time."""
    return ssl.create_default_context() if httpx.URL(url).scheme == "https" else False


def _given(query: Query | None) -> dict[str, str | int]:
    return {name: value for name, value in (query or {}).items() if value is not None}


def _pieces(response: httpx.Response) -> Iterator[bytes]:
    try:
        yield from response.iter_bytes()
    except httpx.HTTPError as error:
        raise Broken(type(error).__name__) from error


def _read(status: int, content: bytes, url: str) -> Answer:
    """Return what an answer says; one that is not the gateway's is as good as none."""
    try:
        value = msgspec.json.decode(content) if content else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Unreachable(_no_gateway(url))
    if 200 <= status < 300:
        return Answered(value)
    match value:
        case {"error": {"message": str(message), "code": str(code)} as error}:
            param = error.get("param")
            return Denied(status, code, message[:_MOST_SHOWN], param if param else None)
        case _:
            return Unreachable(_no_gateway(url))


def _reason(error: httpx.HTTPError, url: str) -> str:
    distrust = _distrust(error)
    if distrust is not None:
        return (
            f"the certificate of {url} is not trusted here ({distrust.verify_message.rstrip('.')}): "
            "see SSL_CERT_FILE, or set GATEWAY_URL and GATEWAY_TOKEN to an address that it names"
        )
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout():
            return f"no gateway answers at {url}: see that it runs, or set GATEWAY_URL"
        case httpx.TimeoutException():
            return f"the gateway at {url} did not answer within {ANSWER_S:.0f} s"
        case _:
            return f"the connection to {url} failed ({type(error).__name__})"


def _distrust(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """Return why a certificate was refused, where that is what lies under a failure."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error


def _no_gateway(url: str) -> str:
    return f"what answers at {url} is no gateway: see GATEWAY_URL"


def _is_local(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
