"""Large bodies are read elsewhere: to the same result, and while other calls go on."""

import json
import time
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import msgspec
import pytest
from anyio import to_process

from gateway.core.refusal import Code, Refused
from gateway.exchange.reading import MOST_AT_ONCE, BodyReader
from gateway.providers.adapter import Endpoint, Path, Wanted
from gateway.providers.dialects.chat_completions import ChatCompletions

DIALECT = ChatCompletions("openai")
CHAT = Path(endpoint=Endpoint.CHAT_COMPLETIONS)


def body(characters: int, **fields: object) -> bytes:
    """Return a request that Python writes with six bytes a character."""
    messages = [{"role": "user", "content": "\u6587" * characters}]
    return json.dumps({"model": "m", "messages": messages} | fields).encode()


@pytest.mark.parametrize("characters", [1, MOST_AT_ONCE // 6 - 100, MOST_AT_ONCE // 6, 300_000])
async def test_a_body_of_any_size_is_read_alike(characters: int):
    sent = body(characters, max_tokens=7)
    found = await BodyReader().read(DIALECT, CHAT, sent)
    assert isinstance(found, Wanted)
    assert found == DIALECT.read(CHAT, sent)


async def test_a_large_body_is_refused_for_the_same_reasons():
    found = await BodyReader().read(DIALECT, CHAT, body(100_000, max_tokens=0))
    assert isinstance(found, Refused)
    assert (found.code, found.param) == (Code.INVALID_REQUEST, "max_tokens")


async def test_other_calls_go_on_meanwhile():
    sent = body(1_000_000)
    reader = BodyReader()
    await reader.read(DIALECT, CHAT, sent)
    began = time.perf_counter()
    assert isinstance(DIALECT.read(CHAT, sent), Wanted)
    alone = time.perf_counter() - began
    longest = [await longest_turn(partial(reader.read, DIALECT, CHAT, sent)) for _ in range(3)]
    assert min(longest) < alone / 2


async def longest_turn(read: Callable[[], Awaitable[object]]) -> float:
    """Return the longest turn of the event loop while a body is read, in seconds."""
    gaps: list[float] = []
    async with anyio.create_task_group() as group:
        group.start_soon(note_gaps, gaps)
        await read()
        group.cancel_scope.cancel()
    return max(gaps)


async def note_gaps(gaps: list[float]) -> None:
    """Note how long each turn of the event loop took."""
    last = time.perf_counter()
    while True:
        await anyio.lowlevel.checkpoint()
        now = time.perf_counter()
        gaps.append(now - last)
        last = now


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": "a"}] * 6000},
        {"messages": [], "tools": [{}] * 60_000},
        {"messages": [], "metadata": {f"k{number}": 1 for number in range(15_000)}},
        {"messages": [], "logit_bias": [1] * 100_000},
    ],
    ids=["messages", "objects", "members", "numbers"],
)
async def test_a_smaller_body_of_many_parts_is_read_elsewhere_too(
    fields: dict[str, object], monkeypatch: pytest.MonkeyPatch
):
    read_elsewhere = []

    async def run(read: Callable[[], object], **_: object) -> object:
        read_elsewhere.append(read)
        return read()

    monkeypatch.setattr(to_process, "run_sync", run)
    sent = msgspec.json.encode({"model": "m", **fields})
    assert len(sent) < MOST_AT_ONCE
    assert await BodyReader().read(DIALECT, CHAT, sent) == DIALECT.read(CHAT, sent)
    assert len(read_elsewhere) == 1


async def test_what_an_agent_sends_is_read_at_once(monkeypatch: pytest.MonkeyPatch):
    """Forty tools and a hundred turns of code: a process would only make its call later."""

    async def refused(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(to_process, "run_sync", refused)
    schema = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(8)}}
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": schema}}
    code = "def f(a: int) -> int:\n    return a + 1\n" * 30
    sent = json.dumps(
        {
            "model": "m",
            "messages": [{"role": "user", "content": code}] * 100,
            "tools": [tool] * 40,
        }
    ).encode()
    assert len(sent) > 100_000
    assert isinstance(await BodyReader().read(DIALECT, CHAT, sent), Wanted)


async def test_a_machine_that_gives_no_process_reads_at_once(monkeypatch: pytest.MonkeyPatch):
    async def refused(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setattr(to_process, "run_sync", refused)
    assert isinstance(await BodyReader().read(DIALECT, CHAT, body(100_000)), Wanted)
