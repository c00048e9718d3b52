"""Whatever a model is called, and however a base URL is written, one request goes to one place."""

from collections.abc import Callable
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given, strategies as st

from gateway.core.calls import Asked
from gateway.core.ids import Provider
from gateway.errors import ConfigurationInvalid
from gateway.providers.adapter import Endpoint, Path, PreparedRequest, Wanted
from gateway.providers.catalog import adapter
from gateway.providers.paths import parameter
from gateway.remote.request import Origin, Request, encode_head

BASE = "https://h.test/base"
DIALECTS = ("openai", "azure", "anthropic", "gemini", "bedrock")
ODD = st.sampled_from(["\r\nx-a: b", " HTTP/1.1\r\n\r\n", "?a=b", "#f", "../..", "%2e%2e", "é", "a/b:c", "\0", "\\", "\u200b"])  # fmt: skip
NAMES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    st.lists(ODD | st.text("abc.:/", min_size=1), min_size=1, max_size=4).map("".join),
).filter(lambda name: name not in {".", ".."})
VERSIONS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def prepared(dialect: str, path: Path, model: str, base_url: str = BASE) -> PreparedRequest:
    host = adapter(Provider("p"), dialect, base_url).host
    wanted = Wanted(path=path, asked=Asked(model=model), fields={})
    return host.request(wanted, b"{}", model=model, key="k", passed=[])


def sent(request: PreparedRequest) -> list[bytes]:
    """Return the lines of a head as our client writes it."""
    origin = Origin("https", request.host, request.port)
    head = encode_head(
        Request(request.method, origin, request.target, tuple(request.headers), request.body)
    )
    lines = head.split(b"\r\n")
    assert len(lines) == len(request.headers) + 5  # its own two, the request's, and the empty line
    return lines


AZURE = Path(endpoint=Endpoint.CHAT_COMPLETIONS, model="d", version="2024-10-21")
GEMINI = Path(endpoint=Endpoint.GENERATE_CONTENT, model="m", version="v1beta")
FORMS: dict[str, tuple[str, Path, Callable[[str], str]]] = {
    "azure": (
        "azure",
        AZURE,
        lambda name: f"/base/openai/deployments/{name}/chat/completions?api-version=2024-10-21",
    ),
    "gemini": ("gemini", GEMINI, lambda name: f"/base/v1beta/models/{name}:generateContent"),
    "bedrock": (
        "bedrock",
        Path(endpoint=Endpoint.CONVERSE, model="m"),
        lambda name: f"/base/model/{name}/converse",
    ),
    "openai": ("openai", Path(endpoint=Endpoint.RESPONSES), lambda _: "/base/responses"),
    "anthropic": ("anthropic", Path(endpoint=Endpoint.MESSAGES), lambda _: "/base/v1/messages"),
}


@pytest.mark.parametrize("form", FORMS)
@given(name=NAMES)
def test_a_models_name_is_one_segment_of_the_target_and_comes_back_as_it_was(form: str, name: str):
    dialect, path, written = FORMS[form]
    request = prepared(dialect, path, name)
    target = request.target
    assert target == written(quote(name, safe="")).encode()
    assert all(0x21 <= byte <= 0x7E for byte in target)
    assert sent(request)[0] == b"POST " + target + b" HTTP/1.1"
    start, _, end = written("\n").partition("\n")
    if end:
        inner = target.removeprefix(start.encode()).removesuffix(end.encode())
        assert not set(b"/?#") & set(inner)
        assert unquote_to_bytes(inner) == name.encode()


@given(version=VERSIONS)
def test_a_version_is_one_value_of_the_query_or_none(version: str):
    """The router takes words alone; the host would write anything else as one value too."""
    query = f"api-version={quote(version, safe='')}".encode()
    read = parameter(query, "api-version")
    assert read is None or (read == version and version.isascii() and version.isprintable())
    path = Path(endpoint=Endpoint.CHAT_COMPLETIONS, model="d", version=version)
    target = prepared("azure", path, "d").target
    assert target == b"/base/openai/deployments/d/chat/completions?" + query


BAD = {
    "a space in the path": "https://h/a b",
    "a space in the host": "https://h y/",
    "a space behind": "https://h/ ",
    "a null": "https://h/a\0b",
    "a control character": "https://h/a\x7fb",
    "a line end": "https://h/a\r\nx: b",
    "a tab": "https://h/a\tb",
    "a backslash": "https://h/a\\b",
    "a backslash in the host": "https://h\\x/",
    "a quotation mark": 'https://h"/',
    "a star": "https://*/",
    "a semicolon in the host": "https://h;x/",
    "no port": "https://h:0/",
    "brackets": "https://h/<a>",
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("base_url", BAD.values(), ids=BAD)
def test_a_base_url_that_could_not_be_sent_is_refused_at_the_start(dialect: str, base_url: str):
    with pytest.raises(ConfigurationInvalid):
        adapter(Provider("p"), dialect, base_url)


@pytest.mark.parametrize("dialect", DIALECTS)
@given(
    base_url=st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
        st.text("ab.:/@[]\\ \t\r\n?#%;é", max_size=20).map(lambda end: f"http://h{end}"),
    )
)
def test_every_base_url_that_is_taken_can_be_sent(dialect: str, base_url: str):
    try:
        path = Path(endpoint=Endpoint.CHAT_COMPLETIONS)
        request = prepared(dialect, path, "m", base_url)
    except ConfigurationInvalid:
        return
    assert sent(request)[0] == b"POST " + request.target + b" HTTP/1.1"
    assert request.target.startswith(b"/")
    assert request.target.isascii()
