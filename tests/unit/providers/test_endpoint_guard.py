"""Every path that the providers' own SDKs know is metered, answered here, or refused, by its name."""

import re
from collections.abc import Iterator
from pathlib import Path as File
from types import ModuleType

import anthropic
import botocore.session
import openai
import pytest
from google import genai
from hypothesis import given, strategies as st

from gateway.core.refusal import Code
from gateway.providers.adapter import STATUS
from gateway.providers.paths import Listing, Metered, Unserved
from gateway.providers.routes import ANTHROPIC, AZURE, BEDROCK, GEMINI, OPENAI, Elsewhere, route

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
_CALL = re.compile(
    r'self\._(get|post|put|patch|delete|get_api_list)\(\s*(?:path_template\()?\s*f?"([^"]+)"'
)
_METHOD_OF_GEMINI = re.compile(r"path = f?'([^']+)'")

OPENAI_CALLS = {"chat/completions", "completions", "embeddings", "responses", "responses/input_tokens"}  # fmt: skip
ANTHROPIC_CALLS = {"v1/messages", "v1/messages/count_tokens"}
GEMINI_CALLS = {"generateContent", "streamGenerateContent", "countTokens", "batchEmbedContents", "embedContent"}  # fmt: skip
BEDROCK_CALLS = {"converse", "converse-stream", "count-tokens", "invoke", "invoke-with-response-stream"}  # fmt: skip


def of_a_generated_sdk(module: ModuleType) -> set[tuple[str, str]]:
    """Return methods and paths of an SDK that is generated as OpenAI's and Anthropic's are."""
    assert module.__file__ is not None
    found = set()
    for file in (File(module.__file__).parent / "resources").rglob("*.py"):
        for method, path in _CALL.findall(file.read_text()):
            verb = "GET" if method == "get_api_list" else method.upper()
            found.add((verb, filled(path.partition("?")[0].lstrip("/"))))
    return found


def of_gemini() -> set[tuple[str, str]]:
    found = set()
    for file in File(genai.__file__).parent.glob("*.py"):
        for path in _METHOD_OF_GEMINI.findall(file.read_text()):
            name = (
                path.partition("?")[0].replace("{model}", "models/m").replace("{name}", "files/f")
            )
            found |= {(method, filled(name).lstrip("/")) for method in ("GET", "POST", "DELETE")}
    return found


def of_amazon(service: str) -> set[tuple[str, str]]:
    model = botocore.session.Session().get_service_model(service)
    operations = [model.operation_model(name).http for name in model.operation_names]
    return {(one["method"], filled(one["requestUri"].partition("?")[0][1:])) for one in operations}


def filled(path: str) -> str:
    return re.sub(r"\{+[^}]+\}+", "x", path)


def known() -> Iterator[tuple[str, str, object, bool]]:
    """Yield method, path, dialect and whether it is metered here, of all that the SDKs know."""
    for method, path in of_a_generated_sdk(openai):
        is_metered = method == "POST" and path in OPENAI_CALLS
        yield method, f"/v1/{path}", OPENAI, is_metered
        yield method, f"/azure/openai/v1/{path}", AZURE, is_metered
        in_deployment = is_metered and not path.startswith("responses")
        yield method, f"/azure/openai/deployments/d/{path}", AZURE, in_deployment
    for method, path in of_a_generated_sdk(anthropic):
        yield method, f"/anthropic/{path}", ANTHROPIC, method == "POST" and path in ANTHROPIC_CALLS
    for method, path in of_gemini():
        is_metered = method == "POST" and path.startswith("models/m:")
        is_metered = is_metered and path.rpartition(":")[2] in GEMINI_CALLS
        for version in ("v1", "v1beta"):
            yield method, f"/gemini/{version}/{path}", GEMINI, is_metered
    for service in ("bedrock-runtime", "bedrock-agent-runtime", "bedrock"):
        for method, path in of_amazon(service):
            is_metered = method == "POST" and path.removeprefix("model/x/") in BEDROCK_CALLS
            yield method, f"/bedrock/{path}", BEDROCK, is_metered and path.startswith("model/x/")


KNOWN = sorted(known(), key=lambda one: one[:2])


def test_the_sdks_know_what_is_looked_for_in_them():
    """Else the pattern that finds their paths would be the reason why all of them are refused."""
    for start, least in (("/v1/", 300), ("/anthropic/", 100), ("/gemini/", 100), ("/bedrock/", 150)):  # fmt: skip
        paths = [path for _, path, _, _ in KNOWN if path.startswith(start)]
        assert len(paths) > least, start
    metered = {path.rpartition("/")[2] for _, path, _, is_metered in KNOWN if is_metered}
    assert {"completions", "responses", "messages", "count_tokens", "converse"} <= metered
    assert {"m:batchEmbedContents", "m:generateContent"} <= {name[-20:] for name in metered}


def test_all_that_the_sdks_know_is_metered_or_refused():
    wrong = []
    for method, path, dialect, is_metered in KNOWN:
        found = route(method, path.encode(), b"")
        is_right = isinstance(found, Metered) if is_metered else is_kept_here(found, dialect)
        if not is_right:
            wrong.append((method, path, found))
    assert wrong == []


def is_kept_here(found: object, dialect: object) -> bool:
    """Return whether nothing of a request goes on: it is refused in its dialect, or a listing."""
    if isinstance(found, Listing):
        return found.dialect is dialect
    if not isinstance(found, Unserved):
        return False
    return found.dialect is dialect and STATUS[found.refused.code] in {404, 405}


TRICKS = {
    "doubled slash": lambda path: "/" + path,
    "doubled inside": lambda path: path[:4] + path[4:].replace("/", "//", 1),
    "dot segment": lambda path: "/x/.." + path,
    "dot segment inside": lambda path: path.rpartition("/")[0] + "/./" + path.rpartition("/")[2],
    "last slash": lambda path: path + "/",
    "parameter": lambda path: path + ";a=b",
    "upper case": lambda path: path.rpartition("/")[0] + "/" + path.rpartition("/")[2].upper(),
    "encoded letter": lambda path: path[:-1] + f"%{ord(path[-1]):02x}",
    "encoded slash": lambda path: path[0] + path[1:].replace("/", "%2f", 1),
    "backslash": lambda path: path[0] + path[1:].replace("/", "\\", 1),
    "space": lambda path: path + "%20",
    "null": lambda path: path + "%00",
    "fragment": lambda path: path + "%23",
    "question mark": lambda path: path + "%3f",
}


@pytest.mark.parametrize("trick", TRICKS)
def test_no_other_spelling_of_a_path_is_metered(trick: str):
    for method, path, dialect, is_metered in KNOWN:
        if is_metered and TRICKS[trick](path) != path:
            found = route(method, TRICKS[trick](path).encode(), b"")
            if path.startswith("/gemini") and isinstance(found, Metered):
                assert found.path.model == "./m"  # its names have slashes, and this is nobody's
                continue
            assert isinstance(found, Elsewhere | Unserved), (path, found)
            if isinstance(found, Unserved):
                assert STATUS[found.refused.code] == 404
                assert found.dialect is dialect or path.startswith("/azure")


@given(
    st.sampled_from(METHODS),
    st.sampled_from(["/v1", "/azure", "/anthropic", "/gemini", "/bedrock"]),
    st.lists(
        st.sampled_from(
            (
                *(b"openai", b"v1", b"v1beta", b"models", b"model", b"m", b"m:generateContent"),
                *(b"..", b"", b"%2e%2e", b"%2f", b"\xff", b"m:predict", b"batchEmbedContents"),
                *(b"deployments", b"chat", b"completions", b"messages", b"batches"),
                *(b"converse", b"invoke", b"responses"),
            )
        ),
        max_size=5,
    ),
    st.binary(max_size=20),
)
def test_whatever_is_metered_has_its_method_and_names_no_way(
    method: str, start: str, parts: list[bytes], query: bytes
):
    path = b"/".join([start.encode(), *parts])
    found = route(method, path, query)
    assert not isinstance(found, Elsewhere)
    if isinstance(found, Metered):
        assert method == "POST"
        assert found.path.model != ""
    if isinstance(found, Unserved):
        assert found.refused.code in {Code.ENDPOINT_NOT_METERED, Code.METHOD_NOT_ALLOWED}
        assert (found.allow is None) == (found.refused.code is Code.ENDPOINT_NOT_METERED)
