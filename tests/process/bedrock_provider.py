"""A Bedrock of ours, in a thread: it answers as it is told to, and checks who asks.

It speaks HTTP/1.1 over plain sockets, so that frames go out as they are given, whole or cut. Signatures
are checked by botocore, which makes them for everybody else.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import unquote

import msgspec
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from gateway.providers.eventstream import encode

ACCESS_KEY: Final = "AKIAPROVIDERACCOUNT1"
SECRET_KEY: Final = "the/secret+of+the+gateways+own+account00"
SESSION_TOKEN: Final = "a-session-token-of-the-gateways-own"
REGION: Final = "us-east-1"
EVENTS: Final = "application/vnd.amazon.eventstream"
JSON: Final = "application/json"


class Hold:
    """Stands in an answer where the provider is to wait until it is let go, or its caller leaves."""


HOLD: Final = Hold()


@dataclass
class Answer:
    """What a model answers. With `cuts` the connection is reset after the last piece."""

    pieces: Sequence[bytes | Hold]
    status: int = 200
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    cuts: bool = False


@dataclass
class Asked:
    """A request that came. `signed` is whose it is: `signature`, `bearer`, or why it is neither."""

    target: str
    headers: dict[str, str]
    body: bytes
    signed: str
    is_gone: bool = False
    """Whether its caller left before the answer's end."""

    @property
    def model(self) -> str:
        return unquote(self.target.split("/")[2])


class BedrockProvider:
    """The provider, from outside."""

    def __init__(self, key: str) -> None:
        """Take this API key, or a signature of the account above."""
        self.key = key
        self.answers: dict[str, Answer] = {}
        self.seen: list[Asked] = []
        self.go_on = threading.Event()
        self.url = ""

    def reset(self) -> None:
        self.answers.clear()
        self.seen.clear()
        self.go_on.clear()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Serve on a free port of 127.0.0.1 until the block ends."""
        begun, stop = threading.Event(), asyncio.Event()
        loops: list[asyncio.AbstractEventLoop] = []

        async def serve() -> None:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            loops.append(asyncio.get_running_loop())
            begun.set()
            await stop.wait()
            server.close()

        thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        thread.start()
        begun.wait(10)
        try:
            yield
        finally:
            self.go_on.set()
            loops[0].call_soon_threadsafe(stop.set)
            thread.join(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                asked = await self._asked(reader)
                if not await self._answer(asked, reader, writer):
                    break
        writer.close()

    async def _asked(self, reader: asyncio.StreamReader) -> Asked:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *fields = head.strip().split("\r\n")
        headers = {}
        for one in fields:
            name, _, value = one.partition(":")
            headers[name.strip().lower()] = value.strip()
        body = await reader.readexactly(int(headers["content-length"]))
        target = line.split()[1]
        asked = Asked(target, headers, body, self._signer(target, headers, body))
        self.seen.append(asked)
        return asked

    def _signer(self, target: str, headers: Mapping[str, str], body: bytes) -> str:
        said = headers.get("authorization", "")
        if said == f"Bearer {self.key}":
            return "bearer"
        return "signature" if said and said == _expected(target, headers, body) else "nobody"

    async def _answer(
        self, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        if asked.signed == "nobody":
            answer = error(403, "AccessDeniedException", "The signature does not match.")
        else:
            unknown = error(404, "ResourceNotFoundException", "No such model here.")
            answer = self.answers.get(asked.model, unknown)
        head = [f"HTTP/1.1 {answer.status} X", f"content-type: {answer.media_type}"]
        head += [f"{name}: {value}" for name, value in answer.headers.items()]
        head += ["x-amzn-requestid: of-the-provider", "transfer-encoding: chunked", "", ""]
        writer.write("\r\n".join(head).encode())
        for piece in answer.pieces:
            if isinstance(piece, bytes):
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
            elif not await self._held(asked, reader):
                return False
        if answer.cuts:
            writer.transport.abort()
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _held(self, asked: Asked, reader: asyncio.StreamReader) -> bool:
        """Wait; False where the caller left meanwhile."""
        while not self.go_on.is_set():
            with contextlib.suppress(TimeoutError):
                gone = await asyncio.wait_for(reader.read(1), 0.02) == b""
                asked.is_gone = gone
                if gone:
                    return False
        return True


def event(kind: str, body: object) -> bytes:
    """A frame as Bedrock sends it, padding included."""
    padded = {**msgspec.to_builtins(body), "p": "abcdefghij"}
    headers = {":event-type": kind, ":content-type": JSON, ":message-type": "event"}
    return encode(headers, msgspec.json.encode(padded))


def chunk(body: object) -> bytes:
    """A chunk of an Invoke stream."""
    return event("chunk", {"bytes": msgspec.json.encode(body)})


def exception(kind: str, message: str) -> bytes:
    headers = {":exception-type": kind, ":content-type": JSON, ":message-type": "exception"}
    return encode(headers, msgspec.json.encode({"message": message}))


def error(status: int, kind: str, message: str, *, media_type: str = JSON) -> Answer:
    body = msgspec.json.encode({"message": message})
    return Answer([body], status, media_type, {"x-amzn-errortype": kind})


def _expected(target: str, headers: Mapping[str, str], body: bytes) -> str:
    """Return the signature that botocore makes of a request as it came, if it came just now."""
    moment = headers.get("x-amz-date", "")
    try:
        made_at = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return ""
    if abs(datetime.now(UTC) - made_at) > timedelta(minutes=5):  # noqa: TID251  # AWS has a clock
        return ""
    said = headers["authorization"]
    names = said.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    signed = {name: headers.get(name, "") for name in names}
    request = AWSRequest("POST", f"http://{headers['host']}{target}", signed, body)
    request.context["timestamp"] = moment
    auth = SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY, SESSION_TOKEN), "bedrock", REGION)
    canonical = auth.canonical_request(request)
    signature = auth.signature(auth.string_to_sign(request, canonical), request)
    scope = auth.scope(request)
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
