import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest

from gateway.web.streaming import Streamed


class Reader:
    """An ASGI server's side of one answer, whose reader may leave."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.left = anyio.Event()
        self.got = anyio.Event()

    async def receive(self) -> dict[str, str]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        if message.get("body"):
            self.got.set()
        await anyio.lowlevel.checkpoint()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


class Source:
    """Yields pieces, then waits for ever; notes in which task it ended."""

    def __init__(self, *pieces: bytes, fails: bool = False, ends: bool = False) -> None:
        self.ended_in: Any = None
        self._pieces = pieces
        self._fails = fails
        self._ends = ends

    async def run(self) -> AsyncGenerator[bytes, None]:
        try:
            for piece in self._pieces:
                yield piece
            if self._fails:
                raise OSError
            if not self._ends:
                await anyio.sleep_forever()
        finally:
            self.ended_in = asyncio.current_task()


async def test_an_answer_is_sent_to_its_end():
    reader, source = Reader(), Source(b"a", b"b", ends=True)
    await Streamed(source.run(), [(b"x", b"y")])({}, reader.receive, reader.send)  # type: ignore[arg-type]
    assert reader.sent[0] == {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"x", b"y")],
    }
    assert reader.body == b"ab"
    assert reader.sent[-1]["more_body"] is False


async def test_when_the_reader_leaves_the_source_ends_in_the_same_task():
    reader, source = Reader(), Source(b"a")
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            streamed = Streamed(source.run(), [])
            tasks.start_soon(streamed, {}, reader.receive, reader.send)  # type: ignore[arg-type]
            await reader.got.wait()
            reader.left.set()
    assert source.ended_in is not None
    assert all(message.get("more_body", True) for message in reader.sent)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_when_the_source_fails_the_answer_is_not_complete():
    reader, source = Reader(), Source(b"a", fails=True)
    with pytest.raises(ExceptionGroup):
        await Streamed(source.run(), [])({}, reader.receive, reader.send)  # type: ignore[arg-type]
    assert all(message.get("more_body", True) for message in reader.sent)


async def test_when_it_is_cancelled_the_source_is_closed():
    reader, source = Reader(), Source(b"a")
    with anyio.move_on_after(5):
        async with anyio.create_task_group() as tasks:
            streamed = Streamed(source.run(), [])
            tasks.start_soon(streamed, {}, reader.receive, reader.send)  # type: ignore[arg-type]
            await reader.got.wait()
            tasks.cancel_scope.cancel()
    assert source.ended_in is not None
