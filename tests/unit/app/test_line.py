"""The line between a supervisor and a worker."""

import socket
from collections.abc import AsyncIterator

import anyio
import pytest
from hypothesis import given, strategies as st

from gateway.app.line import (
    Ask,
    Assignment,
    Cut,
    Drain,
    Failed,
    Line,
    Order,
    Report,
    Serving,
    Told,
    to_supervisor,
    to_worker,
)
from gateway.core.ids import ReplicaId
from gateway.store.replicas import Role
from gateway.telemetry.merging import Family, Sample

ASSIGNED = Assignment(
    number=2,
    role=Role.PROXY,
    dsn="postgresql://u:p@h/d",
    host="::",
    port=1,
    folder="/f",
    config_file=None,
)
TOLD = Told(7, True, "ready", [Family("a", "gauge", "A.", [Sample("a", (("x", "é"),), float("inf"))])])  # fmt: skip


@pytest.fixture
async def ends() -> AsyncIterator[tuple[Line[Report], Line[Order]]]:
    ours, theirs = socket.socketpair()
    supervisor, worker = await to_worker(ours), await to_supervisor(theirs)
    yield supervisor, worker
    await supervisor.aclose()
    await worker.aclose()


async def test_messages_come_whole_and_in_order(ends: tuple[Line[Report], Line[Order]]):
    supervisor, worker = ends
    orders: list[Order] = [ASSIGNED, Ask(1), Drain(), Cut()]
    for order in orders:
        await supervisor.send(order)
    assert [await worker.receive() for _ in orders] == orders
    reports: list[Report] = [Serving(ReplicaId("r")), TOLD, Failed("a line")]
    for report in reports:
        await worker.send(report)
    assert [await supervisor.receive() for _ in reports] == reports


async def test_a_large_message_waits_for_its_reader(ends: tuple[Line[Report], Line[Order]]):
    supervisor, worker = ends
    rows = [Sample(f"name_{number}", (), float(number)) for number in range(50_000)]
    large = Told(1, False, "ledger", [Family("a", "counter", "A.", rows)])
    async with anyio.create_task_group() as group:
        group.start_soon(worker.send, large)
        group.start_soon(worker.send, Serving(ReplicaId("r")))
        got = [await supervisor.receive(), await supervisor.receive()]
    assert got == [large, Serving(ReplicaId("r"))]


async def test_whoever_is_left_hears_that_the_other_is_gone(
    ends: tuple[Line[Report], Line[Order]],
):
    supervisor, worker = ends
    await supervisor.send(Drain())
    await supervisor.aclose()
    assert await worker.receive() == Drain()
    assert await worker.receive() is None
    await worker.send(TOLD)
    await worker.send(TOLD)
    assert await worker.receive() is None


@given(st.binary(max_size=60))
async def test_a_line_that_breaks_in_the_middle_has_ended(rest: bytes):
    ours, theirs = socket.socketpair()
    worker = await to_supervisor(theirs)
    ours.send((len(rest) + 1).to_bytes(4) + rest)
    ours.close()
    assert await worker.receive() is None
    await worker.aclose()
