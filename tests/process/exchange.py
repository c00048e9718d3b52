"""The answering of one request: what is produced, when, and how it is cut short."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from tests.process.account import Served
from tests.process.produced import Asked, Dialect, Frame, Produced, produce
from tests.process.script import Script
from tests.process.wire import LAST_CHUNK, Connection, body_chunk, head


@dataclass(slots=True)
class Exchange:
    """Answers as the script says, and enters into the account what that was."""

    connection: Connection
    served: Served
    script: Script
    asked: Asked
    dialect: Dialect
    _events: int = 0

    async def run(self) -> None:
        await self.connection.pause(self.script.answer_after)
        if self.script.status >= 400 or self.script.body is not None:
            await self._say_body()
            return
        is_stream = self.asked.is_stream and self.dialect.frames is not None
        if is_stream and self.script.is_error_event_alone:
            await self._say_error_event()
            return
        produced = produce(self.served.id, self.script, self.asked)
        if self.dialect.is_free:
            await self._say(self.dialect.whole(produced))
            return
        self.served.takes(produced)
        await (self._stream(produced) if is_stream else self._whole(produced))

    async def _say_body(self) -> None:
        status = self.script.status
        said = self.script.body
        if said is None:
            said = self.dialect.error(status, f"scripted_{status}", "as the script says")
        await self._send_json(status, said)
        self.served.ends("refused")

    async def _say_error_event(self) -> None:
        await self._begin_stream()
        await self._break_off()
        self.served.ends("refused")

    async def _whole(self, produced: Produced) -> None:
        self.served.gives(produced.completion_tokens, self.script)
        if self.script.ending == "complete":
            self.served.usage_reported = produced.reports_usage
            await self._say(self.dialect.whole(produced))
            return
        if self.script.ending_after >= 0:
            encoded = msgspec.json.encode(self.dialect.whole(produced))
            headers = _headers(self.script) | {"content-length": str(len(encoded))}
            self.served.first_byte = time.monotonic()
            await self.connection.write(head(200, headers) + encoded[: len(encoded) // 2])
        await self._break_off()

    async def _say(self, body: object) -> None:
        await self._send_json(200, body)
        self.served.ends("complete")

    async def _stream(self, produced: Produced) -> None:
        self.served.gives(produced.hidden_tokens, self.script)
        if self.script.ending != "complete" and self.script.ending_after < 0:
            await self._break_off()
            return
        await self._begin_stream()
        self.served.first_byte = time.monotonic()
        if await self._send_frames(produced):
            await self._write(b"]" if self.asked.is_array else self.dialect.done)
            await self.connection.write(LAST_CHUNK)
            self.served.ends("complete")
        else:
            await self._break_off()

    async def _begin_stream(self) -> None:
        kind = "application/json" if self.asked.is_array else "text/event-stream"
        headers = {"content-type": kind, "transfer-encoding": "chunked"}
        await self.connection.write(head(200, headers | _headers(self.script)))

    async def _send_frames(self, produced: Produced) -> bool:
        """Send the events; False when the script says to stop before the end."""
        assert self.dialect.frames is not None
        last = None if self.script.ending == "complete" else self.script.ending_after
        for frame in self.dialect.frames(produced):
            if frame.tokens and last is not None and self.served.chunks >= last:
                return False
            if frame.tokens:
                await self.connection.pause(self.script.chunk_after)
                self._enter(frame.tokens)
            self.served.usage_reported |= _reports_usage(frame.payload)
            await self._send_frame(frame)
        return last is None

    def _enter(self, tokens: int) -> None:
        self.served.gives(tokens, self.script)
        self.served.chunks += 1
        self.served.chunk_times.append(time.monotonic())

    async def _send_frame(self, frame: Frame) -> None:
        event = self._event(frame)
        self._events += 1
        comment = b": processing\n\n" if self.script.comments else b""
        await self._write(comment + event)

    def _event(self, frame: Frame) -> bytes:
        """Return a frame as it is written: an event, or an element of the array."""
        payload = msgspec.json.encode(frame.payload)
        end = self.dialect.line_end
        if self.asked.is_array:
            return (b"," + end if self._events else b"[") + payload
        named = b"event: " + frame.name.encode() + end if frame.name else b""
        return named + b"data: " + payload + end + end

    async def _break_off(self) -> None:
        match self.script.ending:
            case "reset":
                self.connection.reset()
            case "close":
                self.connection.close()
            case "truncate":
                await self.connection.write(LAST_CHUNK)
            case "error_event":
                body = self.dialect.error(500, "server_error", "as the script says")
                await self._send_frame(self.dialect.error_frame(body, self._events))
                await self.connection.write(LAST_CHUNK)
            case "hang":
                await self.connection.pause(None)
            case "complete":
                pass
        self.served.ends("broken_off")

    async def _write(self, event: bytes) -> None:
        if event:
            await self.connection.write(body_chunk(event), in_pieces_of=self.script.write_bytes)

    async def _send_json(self, status: int, body: object) -> None:
        encoded = msgspec.json.encode(body)
        self.served.first_byte = time.monotonic()
        headers = {"content-type": "application/json", **_headers(self.script)}
        await self.connection.answer(status, encoded, headers)


def _headers(script: Script) -> dict[str, str]:
    return {"x-request-id": "req_scripted", "openai-processing-ms": "1", **script.headers}


def _reports_usage(payload: Mapping[str, Any]) -> bool:
    """Return whether an event says what was used in all, in whatever place of any API."""
    within = payload.get("response") or {}
    found = (payload.get("usage"), payload.get("usageMetadata"), within.get("usage"))
    return any(found)
