"""Log lines: one JSON object each on standard error, or a readable form on a terminal.

The line of a call goes through a prepared encoder, every other through structlog (a fifth
of the time);
both put `timestamp`, `level` and `event` first and are the same format. Nothing is written but what
the functions of `Telemetry` name: no text of a caller or provider, no header, no exception's words.
"""

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec
import structlog
from structlog.typing import EventDict, WrappedLogger

from gateway.core.money import to_usd
from gateway.core.traces import Trace

Write = Callable[[bytes], object]
"""Writes one line, newline included. Must neither raise nor wait for long."""

STANDARD_ERROR: Final = 2


class _CallLine(msgspec.Struct, omit_defaults=True):
    """The one line of a call. Its names and labels are those of traces and metrics."""

    timestamp: datetime
    level: str
    event: str
    trace: str
    token: str
    project: str
    provider: str
    model: str
    dialect: str
    endpoint: str
    stream: bool
    status: int
    outcome: str
    cost_usd: str
    latency_ms: float
    overhead_ms: float
    first_byte_ms: float | None = None
    code: str | None = None
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    attempts: int = 1


class _Log(Protocol):
    def info(self, event: str, **fields: object) -> object: ...
    def warning(self, event: str, **fields: object) -> object: ...
    def error(self, event: str, **fields: object) -> object: ...


class Journal:
    """Where events are written. `log` takes those that happen now and then."""

    def __init__(self, *, now: Callable[[], datetime], write: Write, is_terminal: bool) -> None:
        """Write lines by `write`, in the readable form if `is_terminal`; `now` is aware UTC."""
        self._now = now
        self._write = write
        self._encode = msgspec.json.Encoder().encode
        self._is_terminal = is_terminal
        render = _Readable() if is_terminal else _json
        self.log: _Log = structlog.wrap_logger(
            _Lines(write), processors=[self._head, render]
        ).bind()

    def call_ended(self, trace: Trace, provider: str, model: str) -> None:
        """Write the line of a call; `provider` and `model` as metrics label them."""
        if self._is_terminal:
            fields = msgspec.structs.asdict(self._line(trace, provider, model))
            self.log.info(fields.pop("event"), **fields)
        else:
            self._write(self._encode(self._line(trace, provider, model)) + b"\n")

    def _line(self, trace: Trace, provider: str, model: str) -> _CallLine:
        return _CallLine(
            self._now(),
            "info",
            "call_ended",
            trace.id,
            trace.token,
            trace.project,
            provider,
            model,
            trace.dialect,
            trace.endpoint,
            trace.stream,
            trace.status,
            trace.outcome,
            to_usd(trace.cost_nusd),
            trace.latency_ms,
            trace.overhead_ms,
            trace.first_byte_ms,
            trace.code,
            trace.input_tokens,
            trace.cached_tokens,
            trace.cache_write_tokens,
            trace.output_tokens,
            trace.reasoning_tokens,
            trace.attempts,
        )

    def _head(self, _logger: WrappedLogger, level: str, fields: EventDict) -> EventDict:
        event = fields.pop("event")
        return {"timestamp": self._now(), "level": level, "event": event, **fields}


def write_to(descriptor: int) -> Write:
    """Return what writes lines to a file descriptor, each at once and in one piece.

    A line that can't be written is lost: a full disk or a closed pipe must not stop a call.
    """

    def write(line: bytes) -> None:
        try:
            os.write(descriptor, line)
        except OSError:
            return

    return write


class _Lines:
    """What structlog calls, at every level, with a rendered line."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def info(self, line: bytes) -> None:
        self._write(line + b"\n")

    warning = error = info


class _Readable:
    """Renders an event for a person."""

    def __init__(self) -> None:
        self._render = structlog.dev.ConsoleRenderer(sort_keys=False)

    def __call__(self, logger: WrappedLogger, level: str, fields: EventDict) -> bytes:
        fields["timestamp"] = fields["timestamp"].strftime("%H:%M:%S")
        shown = {name: value for name, value in fields.items() if value is not None}
        return self._render(logger, level, shown).encode()


def _json(_logger: WrappedLogger, _level: str, fields: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(fields)
