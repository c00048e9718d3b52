"""What whole-process measurements share: a client that costs next to nothing, gateways, a table.

The client sends bytes that were prepared and keeps the instants at which bytes went and came. Ten
thousand of its connections take less of a core than one gateway does.
"""

import argparse
import asyncio
import contextlib
import json
import math
import resource
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import uvloop

from tests.faults.calls import INPUT_NUSD, MODEL, OUTPUT_NUSD, PRICE, now
from tests.faults.database import Server
from tests.faults.replica import Replica
from tests.process.standins import Scripted

KEPT_BYTES: Final = 4_096
KEPT_TAIL_BYTES: Final = 1_024
CPU_TICK_S: Final = 0.01
"""What Linux counts processor time in, on the machines that we know of."""


@dataclass(slots=True)
class Result:
    """What a measurement found. Nothing in `violations` means that it is as promised."""

    name: str
    rows: list[tuple[str, str]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def row(self, what: str, value: object) -> None:
        """Keep a figure, and show it at once."""
        self.rows.append((what, str(value)))
        print(f"{self.name:12} {what:58} {value}", flush=True)

    def expect(self, what: str, *, holds: bool) -> None:
        """Keep what does not hold."""
        if not holds:
            self.violations.append(what)
            print(f"{self.name:12} VIOLATION  {what}", flush=True)


@dataclass(slots=True)
class Answer:
    """One answer, as its client saw it. Instants are monotonic seconds."""

    sent_at: float
    last_at: float = 0.0
    """When its last byte came, or its connection ended without one."""
    data: bytes = b""
    """Its first bytes, head and body: about `KEPT_BYTES` at most."""
    tail: bytes = b""
    """Its last bytes, `KEPT_TAIL_BYTES` at most."""
    is_whole: bool = False

    @property
    def status(self) -> int:
        """Return its status; 0 where there is none."""
        return int(self.data[9:12] or 0)

    @property
    def seconds(self) -> float:
        return self.last_at - self.sent_at


class Wire(asyncio.Protocol):
    """One connection, which is kept; one request at a time. A stream ends by its framing."""

    def __init__(self) -> None:
        self.is_open = False
        self.answer = Answer(0.0)
        self._transport: asyncio.Transport
        self._done: asyncio.Future[Answer] | None = None
        self._wanted = -1
        self._size = 0

    def send(self, request: bytes) -> asyncio.Future[Answer]:
        """Write a request; what is returned is done once its answer has ended, whichever way."""
        self._wanted, self._size = -1, 0
        self._done = asyncio.get_running_loop().create_future()
        self.answer = Answer(now())
        if self.is_open:
            self._transport.write(request)
        else:
            self._end(is_whole=False)
        return self._done

    def close(self) -> None:
        """Let go of the connection."""
        self.is_open = False
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        self._end(is_whole=False)

    def data_received(self, data: bytes) -> None:
        answer = self.answer
        answer.last_at = now()
        self._size += len(data)
        answer.tail = (answer.tail + data)[-KEPT_TAIL_BYTES:]
        if len(answer.data) < KEPT_BYTES:
            answer.data += data
            if self._wanted < 0:
                self._read_head()
        if self._is_whole():
            self._end(is_whole=True)

    def _read_head(self) -> None:
        head, found, _ = self.answer.data.partition(b"\r\n\r\n")
        if found:
            _, _, rest = head.lower().partition(b"content-length:")
            length = int(rest.split(b"\r\n")[0]) if rest else 0
            self._wanted = len(head) + 4 + length if rest else 0

    def _is_whole(self) -> bool:
        if self._wanted > 0:
            return self._size >= self._wanted
        return self._wanted == 0 and self.answer.tail.endswith(b"\r\n0\r\n\r\n")

    def _end(self, *, is_whole: bool) -> None:
        if self._done is not None and not self._done.done():
            self.answer.is_whole = is_whole
            self.answer.last_at = self.answer.last_at or now()
            self._done.set_result(self.answer)


async def wires(port: int, count: int) -> list[Wire]:
    """Open connections to a port of this machine."""
    loop = asyncio.get_running_loop()
    made: list[Wire] = []
    while len(made) < count:
        batch = min(200, count - len(made))
        async with asyncio.TaskGroup() as group:
            opened = [
                group.create_task(loop.create_connection(Wire, "127.0.0.1", port))
                for _ in range(batch)
            ]
        made += [task.result()[1] for task in opened]
    return made


def request(
    token: str, *, run: str | None = None, cap: str | None = None, tokens: int = 16, **more: object
) -> bytes:
    """Return the bytes of one call; `cap` is in dollars, `more` are members of its body."""
    body = json.dumps(
        {
            "model": MODEL,
            "messages": [{"role": "user", "content": "hello"}],
            "max_tokens": tokens,
            **more,
        }
    ).encode()
    named = f"x-gateway-run: {run}\r\n" if run else ""
    capped = f"x-gateway-run-cap-usd: {cap}\r\n" if cap else ""
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {token}\r\n"
        f"content-type: application/json\r\n{named}{capped}content-length: {len(body)}\r\n\r\n"
    ).encode() + body


def percentile(values: Iterable[float], share: float) -> float:
    """Return the smallest value that so large a share of them does not exceed; NaN of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def spread(values: Sequence[float]) -> str:
    """Return the middle, the 99th percentile and the most of some seconds, in milliseconds."""
    shown = [percentile(values, share) * 1000 for share in (0.5, 0.99, 1.0)]
    return " / ".join(f"{one:.0f}" for one in shown) + " ms"


class Fleet:
    """Gateways on one database, and the provider behind them."""

    def __init__(self, server: Server, database: str, provider: Scripted) -> None:
        self.server = server
        self.database = database
        self.provider = provider
        self.replicas: list[Replica] = []
        self.token = ""

    async def admin(self, method: str, path: str, body: object = None, at: int = 0) -> Any:  # noqa: ANN401  # JSON
        """Ask the admin API of one replica; raises RuntimeError for an answer that is none."""
        encoded = b"" if body is None else json.dumps(body).encode()
        heard = await self.replicas[at].admin(method, path, encoded)
        if heard.status is None or heard.status >= 300:
            raise RuntimeError(f"{method} {path}: {heard.status} {heard.body!r}")
        return json.loads(heard.body) if heard.body else None

    async def read(self, query: str, *arguments: object) -> Any:  # noqa: ANN401  # a row
        """Return the one row of a query."""
        (row,) = await self.server.read(self.database, query, *arguments)
        return row

    async def truth(self) -> tuple[int, int]:
        """Return how many requests the provider has served, and what it charges, nano-dollars."""
        totals = await asyncio.to_thread(self.provider.totals)
        models = totals["models"].values()
        cost = sum(m["prompt_tokens"] * INPUT_NUSD + m["billed"] * OUTPUT_NUSD for m in models)
        return totals["requests"], cost

    async def at_rest(self, seconds: float = 30.0) -> bool:
        """Wait until nothing is leased and nothing runs; False if that takes too long."""
        query = "SELECT count(*) AS leased FROM lease WHERE state = 'leased'"
        return await until(self._rests(query), seconds)

    def _rests(self, query: str) -> Callable[[], Awaitable[bool]]:
        async def rests() -> bool:
            totals = await asyncio.to_thread(self.provider.totals)
            return totals["running"] == 0 and (await self.read(query))["leased"] == 0

        return rests


async def until(holds: Callable[[], Awaitable[bool]], seconds: float, every: float = 0.1) -> bool:
    """Wait for a condition of other processes; returns whether it came to hold in time."""
    deadline = now() + seconds
    while not await holds():
        if now() > deadline:
            return False
        await asyncio.sleep(every)
    return True


@contextlib.asynccontextmanager
async def fleet(
    server: Server,
    provider: Scripted,
    count: int,
    *,
    limits: Mapping[str, Any] | None = None,
    lease_ttl: str = "15s",
    dsn: Callable[[str], str] | None = None,
) -> AsyncIterator[Fleet]:
    """Run gateways on a fresh database for a block. `dsn` says how a database is reached."""
    made = Fleet(server, await server.fresh(), provider)
    config = {
        "database": (dsn or server.dsn)(made.database),
        "providers": {
            "stub": {"dialect": "openai", "base_url": provider.base_url, "key": provider.key}
        },
        "prices": {MODEL: PRICE},
        "limits": {
            "short_budget": "refuse",
            "month_usd": "100000",
            "run_usd": "10000",
            **(limits or {}),
        },
        "ledger": {"lease_ttl": lease_ttl},
        "shutdown": {"grace": "5s"},
    }
    pepper = {"GATEWAY_TOKEN_PEPPER": secrets.token_hex(32)}
    with contextlib.ExitStack() as stack:
        for number in range(count):
            replica = Replica(number, config, pepper, None)
            stack.callback(replica.remove)
            made.replicas.append(replica)
            await replica.start()
            await until(_has_admin_token(replica), 10)
        order = {"name": "load", "project": "load"}
        made.token = (await made.admin("POST", "/tokens", order))["token"]
        yield made


def _has_admin_token(replica: Replica) -> Callable[[], Awaitable[bool]]:
    """A gateway is ready a moment before its banner and its administrator's token are there."""

    async def has() -> bool:
        return (replica.gateway.state / "admin.json").exists()

    return has


def cpu_seconds(pid: int, *, with_children: bool = False) -> float:
    """Return the processor time of a process, and of those it forked and waited for if so asked."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if with_children else 13])) * CPU_TICK_S


def resident_mib(pid: int) -> float:
    """Return the memory that a process has in RAM."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def allow_connections(count: int) -> None:
    """Let this process and those that it starts open so many files, as far as may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, count), hard), hard))


def main(name: str, run: Callable[[bool, int], Awaitable[Result]]) -> int:
    """Measure from the command line, and return the exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.faults.{name}")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    async def measured() -> Result:
        return await run(arguments.short, arguments.seed)

    result = uvloop.run(measured())
    print(f"{name}: {len(result.violations)} violations (seed {arguments.seed})")
    return int(bool(result.violations))
