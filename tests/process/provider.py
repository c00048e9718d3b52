"""A provider that does what its script says, and keeps the true account of what it did.

The account is the other side of every statement about money: what the gateway settled is compared
with what was produced here, not with what was reported. A token is produced when the chunk that
carries it is written; an answer that is no stream is produced whole before it is sent. An error
answer, or one that the script dictates, produces nothing and is charged nothing.

    python -m tests.process.provider [--port N] [--key KEY] [--scripts JSON]

prints one line, `listening on http://127.0.0.1:PORT`. What it serves is in `places.py`: the APIs of
OpenAI (with and without `/v1`, and as Azure has them), Anthropic and Gemini. Besides it answers

    GET  /_seen     every request since the last reset, as `account.Served`
    GET  /_totals   their number and tokens, for each model, and how many are running
    POST /_reset    forget the account and the scripts
    POST /_script   {"MODEL or *": {…}}: the scripts of models, until told otherwise
    POST /_next     {…}: the script of one request to come, after those that were told before
    POST /_early    {"status", "body"}: what the next request is answered before it is read
"""

import argparse
import asyncio
import contextlib
import json
import signal
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import msgspec
import uvloop

from tests.process.account import Served, totals
from tests.process.dialects import chat
from tests.process.exchange import Exchange
from tests.process.places import Place, is_listing, keys_in, listing, place_of
from tests.process.produced import Asked, Dialect
from tests.process.script import Script, scripted
from tests.process.wire import ClientGone, Connection, Request, head

KEPT_BODY_BYTES = 256 * 1024


class Provider:
    """Scripts and account. One event loop, so nothing here is locked."""

    def __init__(self, scripts: Mapping[str, Script], key: str | None) -> None:
        self.seen: list[Served] = []
        self._at_start = dict(scripts)
        self._scripts = dict(scripts)
        self._next: deque[Mapping[str, Any]] = deque()
        self._early: deque[bytes] = deque()
        self._key = key
        self._count = 0

    async def attend(self, connection: Connection) -> None:
        """Answer the requests of one connection until its client leaves."""
        with contextlib.suppress(ClientGone):
            while (request := await connection.next_request()) is not None:
                await self._answer(connection, request)

    def refuses(self) -> bytes | None:
        """Return the answer to a request of which only the head has come, if there is to be one."""
        return self._early.popleft() if self._early else None

    async def _answer(self, connection: Connection, request: Request) -> None:
        path, _, _ = request.path.partition("?")
        if path.startswith("/_"):
            await _json(connection, 200, self._told(request.method, path, request.body))
        elif request.method == "GET" and is_listing(path):
            await _json(connection, 200, listing(path, request.headers, self._models()))
        elif request.method == "POST" and (place := place_of(request.path)) is not None:
            await self._serve(connection, request, place)
        else:
            await _refuse(connection, chat.CHAT, 404, f"no such path: {path}")

    def _told(self, method: str, path: str, body: bytes) -> object:
        """Do what a test says, and return what it asks for."""
        match method, path:
            case "GET", "/_seen":
                return {"requests": [asdict(one) for one in self.seen]}
            case "GET", "/_totals":
                return totals(self.seen)
            case "POST", "/_reset":
                self.seen, self._scripts = [], dict(self._at_start)
                self._next.clear()
                self._early.clear()
            case "POST", "/_script":
                given = json.loads(body)
                self._scripts |= {name: Script(**said) for name, said in given.items()}
            case "POST", "/_next":
                self._next.append(json.loads(body))
            case "POST", "/_early":
                self._early.append(_early_answer(**json.loads(body)))
        return {}

    async def _serve(self, connection: Connection, request: Request, place: Place) -> None:
        if self._key is not None and keys_in(request.headers) != [self._key]:
            await _refuse(connection, place.dialect, 401, "Incorrect API key provided")
            return
        try:
            body = json.loads(request.body)
            asked = _asked(place, body)
            script = self._script_of(asked, request)
        except (ValueError, TypeError) as error:
            await _refuse(connection, place.dialect, 400, f"not understood: {error}")
            return
        served = self._enter(request, place, asked, body)
        served.id = script.answer_id or served.id
        try:
            await Exchange(connection, served, script, asked, place.dialect).run()
        except ClientGone:
            served.gone_at, served.gone_at_chunk = connection.gone_at, served.chunks
            served.ends("client_gone")
            raise

    def _script_of(self, asked: Asked, request: Request) -> Script:
        """Return the script of the model, as changed by what was told for the next and by its words."""
        script = self._scripts.get(asked.model, self._scripts.get("*", Script()))
        told = self._next.popleft() if self._next else {}
        by_header = json.loads(request.headers.get("x-script") or "{}")
        return scripted(script, {**told, **by_header, **asked.script})

    def _enter(self, request: Request, place: Place, asked: Asked, body: object) -> Served:
        self._count += 1
        served = Served(
            id=f"{place.dialect.prefix}{self._count:06d}",
            path=place.path,
            model=asked.model,
            stream=asked.is_stream,
            headers=request.headers,
            body=body if len(request.body) <= KEPT_BODY_BYTES else None,
            started=request.arrived,
            target=request.path,
        )
        self.seen.append(served)
        return served

    def _models(self) -> list[str]:
        return [name for name in self._scripts if name != "*"] or ["gpt-4o-mini"]


def _asked(place: Place, body: dict[str, Any]) -> Asked:
    asked = place.dialect.asked(place.model, body)
    if not place.is_stream:
        return asked
    return replace(asked, is_stream=True, is_array=place.is_array)


def _early_answer(status: int, body: object) -> bytes:
    encoded = msgspec.json.encode(body)
    headers = {"content-type": "application/json", "content-length": str(len(encoded))}
    return head(status, headers | {"connection": "close"}) + encoded


async def _json(connection: Connection, status: int, body: object) -> None:
    encoded = msgspec.json.encode(body)
    await connection.answer(status, encoded, {"content-type": "application/json"})


async def _refuse(connection: Connection, dialect: Dialect, status: int, message: str) -> None:
    codes = {400: "invalid_json", 401: "invalid_api_key", 404: "not_found"}
    await _json(connection, status, dialect.error(status, codes[status], message))


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
            connection = Connection(provider.refuses)
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
