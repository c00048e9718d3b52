"""Ways to put the same answer on a connection: legal ones, odd ones and wrong ones.

RFC 9112 is the measure. Each way is given an answer's head and the pieces of its body, and returns
the writes that make it, and whether the connection ends after them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.process.wire import LAST_CHUNK, body_chunk, head

SECOND_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\nstray answer\n"


@dataclass(frozen=True, slots=True)
class Sent:
    """An answer before it is put on a connection; `headers` without any of its framing."""

    status: int
    headers: dict[str, str]
    body: list[bytes]

    @property
    def whole(self) -> bytes:
        return b"".join(self.body)

    def head(self, **more: str) -> bytes:
        framing = {name.replace("_", "-"): value for name, value in more.items()}
        return head(self.status, self.headers | framing)

    @property
    def chunks(self) -> list[bytes]:
        return [body_chunk(piece) for piece in self.body if piece]


@dataclass(frozen=True, slots=True)
class Written:
    writes: list[bytes]
    closes: bool = False


def transferred(name: str, sent: Sent) -> Written:
    """Put an answer in the way of this name; "" is chunked."""
    return TRANSFERS[name or "chunked"](sent)


def _chunked(sent: Sent) -> Written:
    return Written([sent.head(transfer_encoding="chunked"), *sent.chunks, LAST_CHUNK])


def _trailers(sent: Sent) -> Written:
    opening = sent.head(transfer_encoding="chunked", trailer="x-checksum")
    return Written([opening, *sent.chunks, b"0\r\nx-checksum: abc\r\nset-cookie: a=b\r\n\r\n"])


def _chunk_extensions(sent: Sent) -> Written:
    chunks = [b'%x;name="a;b"\r\n%b\r\n' % (len(piece), piece) for piece in sent.body]
    return Written([sent.head(transfer_encoding="chunked"), *chunks, b"0;last\r\n\r\n"])


def _bad_chunk(sent: Sent) -> Written:
    broken = [*sent.chunks[:3], b"zz\r\n"]
    return Written([sent.head(transfer_encoding="chunked"), *broken, *sent.chunks[3:]], closes=True)


def _http10(sent: Sent) -> Written:
    opening = sent.head().replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    return Written([opening, *sent.body], closes=True)


def _until_close(sent: Sent) -> Written:
    return Written([sent.head(connection="close"), *sent.body], closes=True)


def _sized(sent: Sent) -> Written:
    return Written([sent.head(content_length=str(len(sent.whole))), *sent.body])


def _size_too_large(sent: Sent) -> Written:
    wrong = sent.head(content_length=str(len(sent.whole) + 100))
    return Written([wrong, *sent.body], closes=True)


def _both_lengths(sent: Sent) -> Written:
    opening = sent.head(content_length=str(len(sent.whole)), transfer_encoding="chunked")
    return Written([opening, *sent.chunks, LAST_CHUNK], closes=True)


def _two_lengths(sent: Sent) -> Written:
    size = len(sent.whole)
    opening = sent.head(content_length=str(size))
    again = opening[:-2] + b"content-length: %d\r\n\r\n" % (size + 1)
    return Written([again, *sent.body], closes=True)


def _after_interim(sent: Sent) -> Written:
    interim = [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
    ]
    return Written([*interim, *_chunked(sent).writes])


def _big_head(sent: Sent) -> Written:
    opening = sent.head(transfer_encoding="chunked", x_large="a" * 70_000)
    return Written([opening, *sent.chunks, LAST_CHUNK], closes=True)


def _many_headers(sent: Sent) -> Written:
    many = {f"x-n{number}": "a" for number in range(300)}
    return Written([sent.head(transfer_encoding="chunked", **many), *sent.chunks, LAST_CHUNK])


def _bad_status(sent: Sent) -> Written:
    _, _, rest = sent.head(transfer_encoding="chunked").partition(b"\r\n")
    return Written([b"HTTP/1.1 twohundred OK\r\n" + rest, *sent.chunks, LAST_CHUNK], closes=True)


def _hop_by_hop(sent: Sent) -> Written:
    opening = sent.head(
        transfer_encoding="chunked",
        connection="keep-alive, x-hop",
        x_hop="1",
        keep_alive="timeout=5",
        set_cookie="session=secret",
        openai_organization="org-secret",
        openai_project="proj-secret",
        anthropic_organization_id="org-secret",
        alt_svc='h3=":443"',
        strict_transport_security="max-age=1",
        server="vendor",
        via="1.1 vendor",
    )
    return Written([opening, *sent.chunks, LAST_CHUNK])


def _stray_answer(sent: Sent) -> Written:
    written = _sized(sent)
    return Written([b"".join(written.writes) + SECOND_ANSWER])


def _closed_afterwards(sent: Sent) -> Written:
    """Let a keep-alive answer be followed by the end of its connection."""
    return Written(_chunked(sent).writes, closes=True)


TRANSFERS: Final[dict[str, Callable[[Sent], Written]]] = {
    "chunked": _chunked,
    "trailers": _trailers,
    "chunk-extensions": _chunk_extensions,
    "bad-chunk": _bad_chunk,
    "http10": _http10,
    "until-close": _until_close,
    "sized": _sized,
    "size-too-large": _size_too_large,
    "both-lengths": _both_lengths,
    "two-lengths": _two_lengths,
    "interim": _after_interim,
    "big-head": _big_head,
    "many-headers": _many_headers,
    "bad-status": _bad_status,
    "hop-by-hop": _hop_by_hop,
    "stray-answer": _stray_answer,
    "closed-afterwards": _closed_afterwards,
}
"""Those that lie or can't be read end the connection, as nobody could use it again."""
