"""What goes out: nothing a caller passes can end a line or change the framing."""

import pytest
from hypothesis import given, strategies as st

from gateway.remote.request import Origin, Request, encode_head

ORIGIN = Origin("https", "api.example.com", 443)


def request(**changes: object) -> Request:
    parts = {"method": b"POST", "origin": ORIGIN, "target": b"/v1", "headers": (), "body": b""}
    return Request(**(parts | changes))


def test_host_and_length_are_added_and_nothing_else():
    head = encode_head(request(headers=((b"Accept", b"*/*"), (b"x", b"")), body=b"1234"))
    assert head == (
        b"POST /v1 HTTP/1.1\r\nhost: api.example.com\r\nAccept: */*\r\nx: \r\n"
        b"content-length: 4\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("method", "body", "line"),
    [
        (b"GET", b"", b""),
        (b"POST", b"", b"content-length: 0\r\n"),
        (b"GET", b"a", b"content-length: 1\r\n"),
    ],
)
def test_a_length_is_given_where_content_is_meant(method: bytes, body: bytes, line: bytes):
    head = encode_head(request(method=method, body=body))
    assert head == method + b" /v1 HTTP/1.1\r\nhost: api.example.com\r\n" + line + b"\r\n"


@pytest.mark.parametrize(
    ("origin", "authority"),
    [
        (Origin("https", "a.b", 443), "a.b"),
        (Origin("https", "a.b", 80), "a.b:80"),
        (Origin("http", "a.b", 80), "a.b"),
        (Origin("http", "::1", 8080), "[::1]:8080"),
    ],
)
def test_the_authority_names_the_port_where_it_is_unusual(origin: Origin, authority: str):
    assert origin.authority == authority


@pytest.mark.parametrize(
    ("scheme", "host", "port"),
    [("ftp", "a", 1), ("http", "", 1), ("http", "a\r\nb", 1), ("http", "a/b", 1), ("http", "a@b", 1),
     ("http", "a", 0), ("http", "a", 65_536), ("http", "é", 1)],
)  # fmt: skip
def test_an_impossible_origin_is_refused(scheme: str, host: str, port: int):
    with pytest.raises(ValueError, match="an origin"):
        Origin(scheme, host, port)


BAD_FIELDS = [
    (b"x", b"a\r\nevil: b"), (b"x", b"a\nb"), (b"x", b"a\rb"), (b"x", b"a\0b"), (b"x", b"a\r\n"),
    (b"x\r\nevil", b"a"), (b"x\n", b"a"), (b"x\0", b"a"), (b"", b"a"), (b"a b", b"c"), (b"a:", b"c"),
    (b"Host", b"other"), (b"content-length", b"1"), (b"Transfer-Encoding", b"chunked"),
    (b"expect", b"100-continue"), (b"Upgrade", b"h2c"),
]  # fmt: skip


@pytest.mark.parametrize("field", BAD_FIELDS)
def test_a_header_that_could_reframe_the_request_is_refused(field: tuple[bytes, bytes]):
    with pytest.raises(ValueError, match="header"):
        encode_head(request(headers=((b"accept", b"*/*"), field)))


@pytest.mark.parametrize(
    "part",
    [{"target": b"/a b"}, {"target": b"/a\r\nb"}, {"target": b""}, {"target": b"/\0"},
     {"method": b"GET /"}, {"method": b""}, {"method": b"GET\n"}, {"method": b"CONNECT"}],
)  # fmt: skip
def test_a_bad_request_line_is_refused(part: dict[str, bytes]):
    with pytest.raises(ValueError, match="method or target"):
        encode_head(request(**part))


@given(st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=12)), max_size=4))
def test_a_head_has_as_many_lines_as_fields_or_is_refused(fields: list[tuple[bytes, bytes]]):
    try:
        head = encode_head(request(headers=tuple(fields)))
    except ValueError:
        return
    lines = head.split(b"\r\n")
    assert lines[2:-3] == [name + b": " + value for name, value in fields]
    assert not any(c in line for line in lines for c in (b"\r", b"\n", b"\0"))
