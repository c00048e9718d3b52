"""One HTTP/1.1 answer, bytes in, no sockets: where it ends, and whether that is certain.

A mistake here could hand one caller's answer to another, so doubt is never resolved in the peer's
favour: what does not parse strictly is `UpstreamLost`, and a connection is only declared fit for
another request (`is_reusable`) when its answer ended exactly by its framing with no byte left over.

llhttp parses the head and the chunks. The head is cut off at its empty line by ourselves, because
llhttp reads on past a message's end, skipping line ends, and httptools does not tell how far it got.
"""

import enum

import httptools

from gateway.errors import UpstreamLost

PIECE_BYTES = 65_536
_HEAD_BYTES = 65_536
_HEAD_FIELDS = 200
# Chunk sizes, extensions and trailers that may pass without a byte of content.
_OVERHEAD_BYTES = 65_536
_PARSER_FAILURES = (httptools.HttpParserError, httptools.HttpParserUpgrade)


class _Phase(enum.Enum):
    HEAD = enum.auto()
    SIZED = enum.auto()
    CHUNKED = enum.auto()
    UNTIL_CLOSE = enum.auto()
    ENDED = enum.auto()


class Answer:
    """The answer to one request, fed as it arrives.

    `body` holds what has arrived and was not taken yet; feeding never waits for it to be taken.
    """

    __slots__ = (
        "_has_stray",
        "_head_bytes",
        "_is_chunk_end",
        "_is_head_parsed",
        "_is_to_head",
        "_left",
        "_overhead",
        "_parser",
        "_phase",
        "_tail",
        "body",
        "fields",
        "has_begun",
        "has_ended",
        "has_head",
        "is_reusable",
        "peer",
        "status",
    )

    def __init__(self, peer: str, *, is_to_head: bool) -> None:
        """Expect an answer from `peer` (host and port, for messages); `is_to_head`: to a HEAD."""
        self.peer = peer
        self.status = 0
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = bytearray()
        self.has_begun = False
        self.has_head = False
        self.has_ended = False
        self.is_reusable = False
        self._is_to_head = is_to_head
        self._head_bytes = 0
        self._left = 0
        self._overhead = 0
        self._tail = b""
        self._phase = _Phase.HEAD
        self._start_head()

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the connection.

        Raises:
            UpstreamLost: they can't be the answer; the connection must be closed.
        """
        self.has_begun = True
        while data:
            data = _FEED[self._phase](self, data)

    def feed_eof(self) -> None:
        """Take the end of the connection, which ends a body that has no other end.

        Raises:
            UpstreamLost: the answer had not ended.
        """
        if self._phase is _Phase.UNTIL_CLOSE:
            self._end(is_exact=False)
        elif not self.has_ended:
            raise self._lost("closed the connection before its answer ended")

    def take(self) -> bytes:
        """Return what has arrived, at most `PIECE_BYTES` of it; b"" when there is nothing."""
        body = self.body
        if len(body) <= PIECE_BYTES:
            piece = bytes(body)
            body.clear()
        else:
            piece = bytes(body[:PIECE_BYTES])
            del body[:PIECE_BYTES]
        return piece

    def on_message_begin(self) -> None:
        """Called by the parser: after the last chunk, it begins to read a second answer."""
        self._has_stray = self._is_chunk_end

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser; trailers come here too, and are dropped."""
        if not self.has_head:
            self.fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Called by the parser, the only moment at which it knows whether to keep alive."""
        if not self.has_head and self._parser is not None:
            self._is_head_parsed = True
            self.is_reusable = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        """Called by the parser, also for a second answer that follows in the same bytes."""
        if not self._is_chunk_end:
            self.body += data

    def on_message_complete(self) -> None:
        """Called by the parser after the last chunk and its trailers."""
        self._is_chunk_end = self.has_head

    def _start_head(self) -> None:
        self.fields = []
        self._is_head_parsed = False
        self._is_chunk_end = False
        self._has_stray = False
        self._tail = b""
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)

    def _feed_head(self, data: bytes) -> bytes:
        if not self._tail and not data.startswith(b"H"):
            # llhttp would skip line ends here, and take RTSP.
            raise self._lost("sent something that is not HTTP")
        seen = self._tail + data
        end = seen.find(b"\r\n\r\n")
        size = len(data) if end < 0 else end + 4 - len(self._tail)
        self._head_bytes += size
        if self._head_bytes > _HEAD_BYTES:
            raise self._lost(f"sent an answer's head of more than {_HEAD_BYTES} bytes")
        self._parse(data[:size])
        self._tail = seen[-3:]
        if end >= 0:
            self._end_head()
        return data[size:]

    def _parse(self, data: bytes) -> None:
        assert self._parser is not None  # noqa: S101  # dropped only with the phases that use it
        try:
            self._parser.feed_data(data)
        except _PARSER_FAILURES as error:
            if not self._is_chunk_end:
                raise self._lost(f"sent something that is not HTTP ({error})") from error
            self._has_stray = True

    def _end_head(self) -> None:
        parser = self._parser
        if parser is None or not self._is_head_parsed:
            raise self._lost("sent an answer's head that does not parse")
        self.status = parser.get_status_code()
        self._check_head(parser.get_http_version())
        if self.status < 200:
            self._start_head()
            return
        self._begin_body()
        self.has_head = True

    def _check_head(self, version: str) -> None:
        if version not in {"1.1", "1.0"}:
            raise self._lost(f"answered in HTTP {version}")
        if not 100 <= self.status <= 599 or self.status == 101:
            raise self._lost(f"answered with status {self.status}")
        if len(self.fields) > _HEAD_FIELDS:
            raise self._lost(f"sent an answer's head of more than {_HEAD_FIELDS} fields")

    def _begin_body(self) -> None:
        """Decide how the body ends (RFC 9112 §6.3), refusing all that is not plain."""
        lengths = [value for name, value in self.fields if name == b"content-length"]
        codings = [value for name, value in self.fields if name == b"transfer-encoding"]
        if len(lengths) + len(codings) > 1:
            raise self._lost("gave an answer's length more than once")
        if codings and codings[0].lower() != b"chunked":
            raise self._lost("used a transfer coding other than chunked")
        if self._is_to_head or self.status in {204, 304}:
            self._end(is_exact=True)
        elif codings:
            self._phase = _Phase.CHUNKED
        elif lengths:
            self._begin_sized(lengths[0])
        else:
            self._leave_parser(_Phase.UNTIL_CLOSE)

    def _begin_sized(self, length: bytes) -> None:
        self._left = int(length)  # llhttp has let only digits pass, of 64 bits at most
        if self._left:
            self._leave_parser(_Phase.SIZED)
        else:
            self._end(is_exact=True)

    def _feed_sized(self, data: bytes) -> bytes:
        wanted = self._left
        if len(data) <= wanted:
            self.body += data
            self._left = wanted - len(data)
            rest = b""
        else:
            self.body += data[:wanted]
            self._left = 0
            rest = data[wanted:]
        if not self._left:
            self._end(is_exact=True)
        return rest

    def _feed_chunks(self, data: bytes) -> bytes:
        before = len(self.body)
        self._tail = data[-5:] if len(data) >= 5 else (self._tail + data)[-5:]
        self._parse(data)
        if self._is_chunk_end:
            self._end(is_exact=not self._has_stray and _ends_a_message(self._tail))
        elif len(self.body) > before:
            self._overhead = 0
        else:
            self._overhead += len(data)
            if self._overhead > _OVERHEAD_BYTES:
                raise self._lost(f"sent {self._overhead} bytes of chunk headers or trailers")
        return b""

    def _feed_until_close(self, data: bytes) -> bytes:
        self.body += data
        return b""

    def _feed_ended(self, data: bytes) -> bytes:  # noqa: ARG002  # the rest is stray, whatever it is
        self.is_reusable = False
        return b""

    def _end(self, *, is_exact: bool) -> None:
        self.has_ended = True
        self.is_reusable = self.is_reusable and is_exact
        self._leave_parser(_Phase.ENDED)

    def _leave_parser(self, phase: _Phase) -> None:
        self._phase = phase
        self._parser = (
            None  # it points back at us: without this, each answer waits for the collector
        )

    def _lost(self, what: str) -> UpstreamLost:
        self._parser = None
        return UpstreamLost(f"{self.peer} {what}")


_FEED = {
    _Phase.HEAD: Answer._feed_head,  # noqa: SLF001
    _Phase.SIZED: Answer._feed_sized,  # noqa: SLF001
    _Phase.CHUNKED: Answer._feed_chunks,  # noqa: SLF001
    _Phase.UNTIL_CLOSE: Answer._feed_until_close,  # noqa: SLF001
    _Phase.ENDED: Answer._feed_ended,  # noqa: SLF001
}


def _ends_a_message(tail: bytes) -> bool:
    """Say whether a chunked message's last five bytes are its own.

    It ends in one empty line after a line that is never empty. llhttp silently skips line ends after
    that, so this is how stray ones show; any other stray byte begins a message, or fails to.
    """
    return tail.endswith(b"\r\n\r\n") and tail[0] not in b"\r\n"
