"""A provider that does what its script says, and keeps the true account of what it did.

The account is the other side of every statement about money: what the gateway settled is compared
with what was produced here, not with what was reported. A token is produced when the chunk that
carries it is written; an answer that is no stream is produced whole before it is sent. An error
answer, or one that the script dictates, produces nothing and is charged nothing.

    python -m tests.process.provider [--port N] [--key KEY] [--scripts JSON]

prints one line, `listening on http://127.0.0.1:PORT`. Besides `/v1/chat/completions`,
`/v1/embeddings` and `/v1/models` (all also without `/v1`) it answers

    GET  /_seen     every request since the last reset, as `Served`
    GET  /_totals   their number and tokens, for each model, and how many are running
    POST /_reset    forget the account and the scripts
    POST /_script   {"MODEL or *": {…}}: the scripts of models, until told otherwise
"""

import argparse
import asyncio
import contextlib
import json
import signal
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import msgspec
import uvloop

from tests.process.completions import (
    Produced,
    answer_body,
    embedding_tokens,
    embeddings_body,
    error_body,
    produce,
    stream_frames,
)
from tests.process.script import Script, scripted
from tests.process.wire import (
    LAST_CHUNK,
    ClientGone,
    Connection,
    Request,
    body_chunk,
    head,
)

KEPT_BODY_BYTES = 256 * 1024

Outcome = Literal["running", "complete", "client_gone", "broken_off", "refused"]


@dataclass(slots=True)
class Served:
    """One request, as the provider saw it. Instants are monotonic seconds."""

    id: str
    path: str
    model: str
    stream: bool
    headers: dict[str, str]
    body: Any
    """As JSON, or None where it is larger than `KEPT_BODY_BYTES`."""
    started: float
    outcome: Outcome = "running"
    """broken_off: the script ended it early; refused: an error answer, nothing produced."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    """Really produced, reasoning included."""
    billed_completion_tokens: int = 0
    """Produced, and what the script bills beyond."""
    usage_reported: bool = False
    chunks: int = 0
    """Events that carried output; a stream's first and last events carry none."""
    chunk_times: list[float] = field(default_factory=list)
    first_byte: float | None = None
    ended: float | None = None
    gone_at: float | None = None
    """When the client's leaving was noticed, if it left before the end."""
    gone_at_chunk: int | None = None

    def produced(self, tokens: int, script: Script) -> None:
        self.completion_tokens += tokens
        self.billed_completion_tokens = self.completion_tokens + script.extra_billed_tokens

    def ends(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.ended = time.monotonic()


class Provider:
    """Scripts and account. One event loop, so nothing here is locked."""

    def __init__(self, scripts: Mapping[str, Script], key: str | None) -> None:
        self.seen: list[Served] = []
        self._at_start = dict(scripts)
        self._scripts = dict(scripts)
        self._key = key
        self._count = 0

    async def attend(self, connection: Connection) -> None:
        """Answer the requests of one connection until its client leaves."""
        with contextlib.suppress(ClientGone):
            while (request := await connection.next_request()) is not None:
                await self._answer(connection, request)

    async def _answer(self, connection: Connection, request: Request) -> None:
        path, _, _ = request.path.partition("?")
        match request.method, path.removeprefix("/v1"):
            case "GET", "/_seen":
                await _json(connection, 200, {"requests": [asdict(one) for one in self.seen]})
            case "GET", "/_totals":
                await _json(connection, 200, self._totals())
            case "POST", "/_reset":
                self.seen, self._scripts = [], dict(self._at_start)
                await _json(connection, 200, {})
            case "POST", "/_script":
                given = json.loads(request.body)
                self._scripts |= {name: Script(**said) for name, said in given.items()}
                await _json(connection, 200, {})
            case "GET", "/models":
                await _json(connection, 200, self._models())
            case "POST", "/chat/completions" | "/embeddings" as served:
                await self._serve(connection, request, served)
            case _:
                await _refuse(connection, 404, "not_found", f"no such path: {path}")

    async def _serve(self, connection: Connection, request: Request, path: str) -> None:
        if self._key is not None and request.headers.get("authorization") != f"Bearer {self._key}":
            await _refuse(connection, 401, "invalid_api_key", "Incorrect API key provided")
            return
        try:
            body = json.loads(request.body)
            script = self._script_of(body, request)
        except (ValueError, TypeError) as error:
            await _refuse(connection, 400, "invalid_json", f"not understood: {error}")
            return
        served = self._enter(request, path, body)
        exchange = _Exchange(connection, served, script, body)
        try:
            await exchange.run()
        except ClientGone:
            served.gone_at, served.gone_at_chunk = connection.gone_at, served.chunks
            served.ends("client_gone")
            raise

    def _script_of(self, body: Mapping[str, Any], request: Request) -> Script:
        """The request's own words change the script of its model."""
        script = self._scripts.get(str(body.get("model")), self._scripts.get("*", Script()))
        for said in (request.headers.get("x-script"), (body.get("metadata") or {}).get("script")):
            if said:
                script = scripted(script, json.loads(said))
        return script

    def _enter(self, request: Request, path: str, body: Mapping[str, Any]) -> Served:
        self._count += 1
        served = Served(
            id=f"chatcmpl-{self._count:06d}",
            path=path,
            model=str(body.get("model")),
            stream=bool(body.get("stream")),
            headers=request.headers,
            body=body if len(request.body) <= KEPT_BODY_BYTES else None,
            started=request.arrived,
        )
        self.seen.append(served)
        return served

    def _totals(self) -> dict[str, Any]:
        models: dict[str, dict[str, int]] = {}
        for served in self.seen:
            sums = models.setdefault(
                served.model,
                {"requests": 0, "prompt_tokens": 0, "completion_tokens": 0, "billed": 0},
            )
            sums["requests"] += 1
            sums["prompt_tokens"] += served.prompt_tokens
            sums["completion_tokens"] += served.completion_tokens
            sums["billed"] += served.billed_completion_tokens
        running = sum(served.outcome == "running" for served in self.seen)
        return {"requests": len(self.seen), "running": running, "models": models}

    def _models(self) -> dict[str, Any]:
        names = [name for name in self._scripts if name != "*"] or ["gpt-4o-mini"]
        listed = [{"id": n, "object": "model", "created": 0, "owned_by": "scripted"} for n in names]
        return {"object": "list", "data": listed}


@dataclass(slots=True)
class _Exchange:
    """The answering of one request."""

    connection: Connection
    served: Served
    script: Script
    body: Mapping[str, Any]

    async def run(self) -> None:
        await self.connection.pause(self.script.answer_after)
        if self.script.status >= 400 or self.script.body is not None:
            await self._say_body()
        elif self.served.path == "/embeddings":
            await self._embed()
        elif self.served.stream and self.script.is_error_event_alone:
            await self._say_error_event()
        elif self.served.stream:
            await self._stream(self._produce())
        else:
            await self._whole(self._produce())

    async def _say_body(self) -> None:
        status = self.script.status
        said = self.script.body
        if said is None:
            said = error_body(status, f"scripted_{status}", "as the script says")
        await self._send_json(status, said)
        self.served.ends("refused")

    async def _say_error_event(self) -> None:
        headers = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
        await self.connection.write(head(200, _headers(self.script) | headers))
        await self._break_off()
        self.served.ends("refused")

    async def _embed(self) -> None:
        tokens = self.script.prompt_tokens
        if tokens is None:
            tokens = embedding_tokens(self.body)
        self.served.prompt_tokens = tokens
        self.served.usage_reported = True
        await self._send_json(200, embeddings_body(self.body, tokens))
        self.served.ends("complete")

    def _produce(self) -> Produced:
        produced = produce(self.served.id, self.script, self.body)
        self.served.prompt_tokens = produced.prompt_tokens
        self.served.cached_tokens = self.script.cached_tokens
        return produced

    async def _whole(self, produced: Produced) -> None:
        self.served.produced(produced.completion_tokens, self.script)
        if self.script.ending == "complete":
            self.served.usage_reported = self.script.usage != "never"
            await self._send_json(200, answer_body(produced))
            self.served.ends("complete")
            return
        if self.script.ending_after >= 0:
            encoded = msgspec.json.encode(answer_body(produced))
            headers = _headers(self.script) | {"content-length": str(len(encoded))}
            self.served.first_byte = time.monotonic()
            await self.connection.write(head(200, headers) + encoded[: len(encoded) // 2])
        await self._break_off()

    async def _stream(self, produced: Produced) -> None:
        self.served.produced(produced.reasoning_tokens, self.script)
        if self.script.ending != "complete" and self.script.ending_after < 0:
            await self._break_off()
            return
        headers = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
        await self.connection.write(head(200, _headers(self.script) | headers))
        self.served.first_byte = time.monotonic()
        if await self._send_frames(produced):
            await self._write(b"data: [DONE]\n\n")
            await self.connection.write(LAST_CHUNK)
            self.served.ends("complete")
        else:
            await self._break_off()

    async def _send_frames(self, produced: Produced) -> bool:
        """Send the events; False when the script says to stop before the end."""
        last = None if self.script.ending == "complete" else self.script.ending_after
        for frame in stream_frames(produced):
            if frame.tokens and last is not None and self.served.chunks >= last:
                return False
            if frame.tokens:
                await self.connection.pause(self.script.chunk_after)
            await self._send_frame(frame.payload, frame.tokens)
        return last is None

    async def _send_frame(self, payload: dict[str, Any], tokens: int) -> None:
        if tokens:
            self.served.produced(tokens, self.script)
            self.served.chunks += 1
            self.served.chunk_times.append(time.monotonic())
        self.served.usage_reported |= bool(payload.get("usage"))
        comment = b": processing\n\n" if self.script.comments else b""
        await self._write(comment + b"data: " + msgspec.json.encode(payload) + b"\n\n")

    async def _break_off(self) -> None:
        match self.script.ending:
            case "reset":
                self.connection.reset()
            case "close":
                self.connection.close()
            case "truncate":
                await self.connection.write(LAST_CHUNK)
            case "error_event":
                error = error_body(500, "server_error", "as the script says")
                await self._write(b"data: " + msgspec.json.encode(error) + b"\n\n")
                await self.connection.write(LAST_CHUNK)
            case "hang":
                await self.connection.pause(None)
            case "complete":
                pass
        self.served.ends("broken_off")

    async def _write(self, event: bytes) -> None:
        await self.connection.write(body_chunk(event), in_pieces_of=self.script.write_bytes)

    async def _send_json(self, status: int, body: object) -> None:
        encoded = msgspec.json.encode(body)
        self.served.first_byte = time.monotonic()
        headers = {"content-type": "application/json", **_headers(self.script)}
        await self.connection.answer(status, encoded, headers)


def _headers(script: Script) -> dict[str, str]:
    return {"x-request-id": "req_scripted", "openai-processing-ms": "1", **script.headers}


async def _json(connection: Connection, status: int, body: object) -> None:
    encoded = msgspec.json.encode(body)
    await connection.answer(status, encoded, {"content-type": "application/json"})


async def _refuse(connection: Connection, status: int, code: str, message: str) -> None:
    await _json(connection, status, error_body(status, code, message))


@contextlib.asynccontextmanager
async def serving(
    port: int = 0, *, scripts: Mapping[str, Script] | None = None, key: str | None = None
) -> AsyncIterator[tuple[Provider, str]]:
    """Serve on 127.0.0.1 within this process; yields the provider and its URL, without `/v1`."""
    provider = Provider(scripts or {}, key)
    loop = asyncio.get_running_loop()
    connections: set[Connection] = set()

    async def attend(connection: Connection) -> None:
        await provider.attend(connection)
        connections.discard(connection)

    async with asyncio.TaskGroup() as attending:

        def connect() -> Connection:
            connection = Connection()
            connections.add(connection)
            attending.create_task(attend(connection))
            return connection

        server = await loop.create_server(connect, "127.0.0.1", port, backlog=2048)
        try:
            yield provider, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for connection in list(connections):
                connection.reset()


async def main(arguments: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    scripts = {name: Script(**said) for name, said in json.loads(arguments.scripts).items()}
    async with serving(arguments.port, scripts=scripts, key=arguments.key) as (_, url):
        print(f"listening on {url}", flush=True)
        await stopped.wait()


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", help="refuse every other with 401")
    parser.add_argument("--scripts", default="{}", help="JSON, as POST /_script takes it")
    return parser.parse_args()


if __name__ == "__main__":
    uvloop.run(main(parsed()))
