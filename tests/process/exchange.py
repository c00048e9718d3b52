"""The answering of one request: what is produced, when, and how it is cut short."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from tests.process.account import Served
from tests.process.codings import coded
from tests.process.framings import ended, framed
from tests.process.produced import (
    USAGE_MARK,
    Asked,
    Dialect,
    Frame,
    Json,
    Produced,
    produce,
)
from tests.process.script import Script
from tests.process.transfers import Sent, transferred
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
        if self.script.status >= 400 or (self.script.body, self.script.raw) != (None, None):
            await self._refuse()
            return
        is_stream = self._is_stream()
        if is_stream and self.script.is_error_event_alone:
            await self._begin_stream()
            await self._break_off()
            self.served.ends("refused")
            return
        produced = produce(self.served.id, self.script, self.asked)
        if self.dialect.is_free:
            await self._say(self.dialect.whole(produced))
            return
        self.served.takes(produced)
        await (self._stream(produced) if is_stream else self._whole(produced))

    def _is_stream(self) -> bool:
        is_wanted = self.asked.is_stream or self.script.form == "stream"
        return is_wanted and self.script.form != "whole" and self.dialect.frames is not None

    async def _refuse(self) -> None:
        status = self.script.status
        if self.script.raw is not None:
            said = self.script.raw.encode("latin-1")
        elif self.script.body is not None:
            said = msgspec.json.encode(self.script.body)
        else:
            error = self.dialect.error(status, f"scripted_{status}", "as the script says")
            said = msgspec.json.encode(error)
        await self._send(status, said)
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

    async def _say(self, body: Json) -> None:
        await self._send(200, self._encoded(body))
        self.served.ends("complete")

    async def _stream(self, produced: Produced) -> None:
        self.served.gives(produced.hidden_tokens, self.script)
        if self.script.is_dressed:
            await self._send_dressed(produced)
            return
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

    async def _send_dressed(self, produced: Produced) -> None:
        """Write the whole stream as the script says, once all of it is produced."""
        events = []
        for frame in self._frames(produced):
            if frame.tokens:
                self._enter(frame.tokens)
            self.served.usage_reported |= _reports_usage(frame.payload)
            events.append(self._event(frame))
        if self.script.inserted:
            events.insert(self.script.inserted_at, self._inserted())
        end = b"]" if self.asked.is_array else self.dialect.done
        whole = list(ended(self.script.terminator, [*events, end] if end else events))
        await self._put(200, framed(self.script.framing, whole), self._stream_headers())
        self.served.ends("complete")

    def _inserted(self) -> bytes:
        said = self.script.inserted.encode("latin-1")
        return b"," + said if self.asked.is_array else said + self.dialect.line_end * 2

    async def _begin_stream(self) -> None:
        framing = {"transfer-encoding": "chunked"}
        await self.connection.write(head(200, self._stream_headers() | framing))

    def _stream_headers(self) -> dict[str, str]:
        kind = "application/json" if self.asked.is_array else "text/event-stream"
        return {"content-type": kind, **_headers(self.script)}

    def _frames(self, produced: Produced) -> Iterator[Frame]:
        assert self.dialect.frames is not None
        return self.dialect.frames(produced)

    async def _send_frames(self, produced: Produced) -> bool:
        """Send the events; False when the script says to stop before the end."""
        last = None if self.script.ending == "complete" else self.script.ending_after
        for frame in self._frames(produced):
            if frame.tokens and last is not None and self.served.chunks >= last:
                return False
            reports = _reports_usage(frame.payload)
            if frame.tokens:
                await self.connection.pause(self.script.chunk_after)
                self._enter(frame.tokens)
            elif reports and self.script.usage_after:
                await self.connection.pause(self.script.usage_after)
            self.served.usage_reported |= reports
            await self._send_frame(frame)
        return last is None

    def _enter(self, tokens: int) -> None:
        self.served.gives(tokens, self.script)
        self.served.chunks += 1
        self.served.chunk_times.append(time.monotonic())

    async def _send_frame(self, frame: Frame) -> None:
        comment = b": processing\n\n" if self.script.comments else b""
        await self._write(comment + self._event(frame))

    def _event(self, frame: Frame) -> bytes:
        """Return the next frame as it is written: an event, or an element of the array."""
        if frame.tokens and self.script.pad_bytes:
            frame.payload["obfuscation"] = "x" * self.script.pad_bytes
        payload = self._encoded(frame.payload)
        end = self.dialect.line_end
        self._events += 1
        if self.asked.is_array:
            return (b"," + end if self._events > 1 else b"[") + payload
        named = b"event: " + frame.name.encode() + end if frame.name else b""
        return named + b"data: " + payload + end + end

    def _encoded(self, payload: Json) -> bytes:
        encoded = msgspec.json.encode(payload)
        if self.script.usage_text is None:
            return encoded
        return encoded.replace(_MARK, self.script.usage_text.encode())

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
                await self._write(b"]" if self.asked.is_array else b"")
                await self.connection.write(LAST_CHUNK)
            case "hang":
                await self.connection.pause(None)
            case "complete":
                pass
        self.served.ends("broken_off")

    async def _write(self, event: bytes) -> None:
        if event:
            await self.connection.write(body_chunk(event), in_pieces_of=self.script.write_bytes)

    async def _send(self, status: int, body: bytes) -> None:
        """Send an answer that is no stream."""
        headers = {"content-type": "application/json", **_headers(self.script)}
        if self.script.coding or self.script.transfer:
            await self._put(status, [body], headers)
            return
        self.served.first_byte = time.monotonic()
        await self.connection.answer(status, body, headers)

    async def _put(self, status: int, body: list[bytes], headers: dict[str, str]) -> None:
        """Put an answer on the connection, coded and transferred as the script says."""
        if self.script.coding:
            label, packed = coded(self.script.coding, b"".join(body))
            headers = headers | {"content-encoding": label}
            body = [packed[at : at + CODED_BYTES] for at in range(0, len(packed), CODED_BYTES)]
        written = transferred(self.script.transfer, Sent(status, headers, body))
        self.served.first_byte = time.monotonic()
        for piece in written.writes:
            await self.connection.write(piece)
            await self.connection.pause(self.script.piece_after)
        if written.closes:
            self.connection.close()


_MARK = msgspec.json.encode(USAGE_MARK)
CODED_BYTES = 1000
"""What is coded is written in pieces of this size."""


def _headers(script: Script) -> dict[str, str]:
    return {"x-request-id": "req_scripted", "openai-processing-ms": "1", **script.headers}


def _reports_usage(payload: Mapping[str, Any]) -> bool:
    """Return whether an event says what was used in all, in whatever place of any API."""
    within = payload.get("response") or {}
    groq = payload.get("x_groq") or {}
    found = (payload.get("usage"), payload.get("usageMetadata"), *map(_usage_in, (within, groq)))
    return any(found)


def _usage_in(part: Mapping[str, Any]) -> object:
    return part.get("usage")
