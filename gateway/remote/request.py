"""What we ask of another host: one request, to one origin, with the time it may take.

The head is built here and nowhere else, so that nothing a caller passes can end a line, add a header
or change how the message is framed.
"""

import re
from typing import Literal

import msgspec

_HOST = re.compile(r"[A-Za-z0-9._:\-]+")
# CONNECT would make a tunnel of the connection.
_METHOD = re.compile(rb"(?!CONNECT$)[A-Z]+")
_TARGET = re.compile(rb"[\x21-\x7e\x80-\xff]+")
# RFC 9110 §5.6.2: a field name is a token. The names refused are the ones that frame a message.
_FIELDS = re.compile(
    rb"(?:(?!(?:host|content-length|transfer-encoding|expect|upgrade):)"
    rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [^\r\n\0]*\r\n)*",
    re.IGNORECASE,
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_METHODS_WITH_CONTENT = (b"POST", b"PUT", b"PATCH")


class Origin(msgspec.Struct, frozen=True):
    """Where connections go; those to one origin are interchangeable.

    Raises:
        ValueError: the host or port can't be one. IPv6 literals go without brackets,
            international names in their ASCII form.
    """

    scheme: Literal["http", "https"]
    host: str
    port: int

    def __post_init__(self) -> None:
        if self.scheme not in _DEFAULT_PORTS:
            raise ValueError("an origin is http or https")
        if not _HOST.fullmatch(self.host):
            raise ValueError("an origin's host is a name or an address")
        if not 0 < self.port < 65_536:
            raise ValueError("an origin's port is 1 to 65535")

    @property
    def authority(self) -> str:
        """The `host` header's value (RFC 9110 §7.2): the port only where it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


class Request(msgspec.Struct, frozen=True, gc=False):
    """One request. `host` and `content-length` are ours to add; `target` is path and query."""

    method: bytes
    origin: Origin
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Timeouts(msgspec.Struct, frozen=True, gc=False):
    """Seconds that parts of a call may take; its total is the caller's to bound.

    `connect_s` covers waiting for a place in the pool, name look-up, TCP and TLS; `first_byte_s` runs
    from the request being handed over whole to the end of the answer's head; `idle_s` is the longest
    silence while the body arrives, or standstill while the request is sent.
    """

    connect_s: float
    first_byte_s: float
    idle_s: float


def encode_head(request: Request) -> bytes:
    """Return the request line and headers, up to and with the empty line.

    Raises:
        ValueError: a part holds CR, LF or NUL, is no token, or is a header that frames the message.
    """
    if not _METHOD.fullmatch(request.method) or not _TARGET.fullmatch(request.target):
        raise ValueError("the method or target of a request can't be sent")
    fields = b"".join([b"%b: %b\r\n" % field for field in request.headers])
    # A value with CRLF in it would look like one more field: the lines must be as many as the fields.
    if fields.count(b"\n") != len(request.headers) or not _FIELDS.fullmatch(fields):
        raise ValueError("a header's name or value can't be sent")
    return b"%b %b HTTP/1.1\r\nhost: %b\r\n%b%b\r\n" % (
        request.method,
        request.target,
        request.origin.authority.encode("ascii"),
        fields,
        _length_field(request),
    )


def _length_field(request: Request) -> bytes:
    if request.body or request.method in _METHODS_WITH_CONTENT:
        return b"content-length: %d\r\n" % len(request.body)
    return b""
