"""Whatever the bytes, the configuration is read or refused in one line."""

import re

import yaml
from hypothesis import example, given, strategies as st

from gateway.config import Config, parse, schema
from gateway.errors import ConfigurationInvalid

KEY = "sk-canary-5f1e"


def _definitions() -> dict[str, dict]:
    return schema()["$defs"]


def _target(described: dict) -> dict:
    return _definitions().get(described.get("$ref", "").rpartition("/")[2], {})


def _setting_names() -> list[str]:
    return sorted(
        {name for definition in _definitions().values() for name in definition["properties"]}
    )


WORDS = [
    *_setting_names(),
    *(
        "openai",
        "sandbox:",
        "vault",
        "http://h/v1",
        "a/b",
        "${A}",
        "${B}",
        "$${",
        "5m",
        "0.5",
        "UTC",
    ),
    *("&a", "*a", "!!int", "<<", "?", "|", "'", '"', "%YAML 1.1", "---", "..."),
    *(":", "-", "{", "}", "[", "]", ",", "#", "\n", "\n  ", " ", "\t", "\u2028", "\ufeff", "\x85"),
]
texts = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=60).map(lambda text: text.encode(errors="replace")),
    st.lists(st.sampled_from(WORDS), max_size=30).map(lambda words: "".join(words).encode()),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(WORDS),
)


def trees(definition: dict) -> st.SearchStrategy[object]:
    """Return values that nearly follow the schema: known keys, mostly, and any values."""
    named = {name: values(inner) for name, inner in definition.get("properties", {}).items()}
    keyed = definition.get("additionalProperties") or {}
    free = st.dictionaries(st.sampled_from(WORDS), values(keyed), max_size=2)
    return st.one_of(st.fixed_dictionaries({}, optional=named), free, scalars)


def values(described: dict) -> st.SearchStrategy[object]:
    options = described.get("anyOf", [described])
    target = _target(options[0]) or options[0]
    if "properties" in target or isinstance(target.get("additionalProperties"), dict):
        return st.deferred(lambda: trees(target))
    if "items" in target:
        return st.lists(values(target["items"]), max_size=2) | scalars
    likely = [described["default"]] if "default" in described else target.get("enum", [])
    return st.sampled_from(likely) | scalars if likely else scalars


def refusal(source: bytes) -> str | None:
    try:
        assert isinstance(parse(source, {"A": KEY, "B": "\udcff"}), Config)
    except ConfigurationInvalid as refused:
        return str(refused)
    return None


def assert_read_or_refused(source: bytes) -> None:
    said = refusal(source)
    if said is not None:
        assert re.fullmatch(r"\$.*: found .+, allowed is .+", said)
        assert len(said.splitlines()) == 1
        assert KEY not in said


@given(texts)
@example(b'a: "\\UFFFFFFFF"')
@example(b"a: 1\n b: 2")
@example(b"%TAG ! tag:x,2000:\n---\na: !b c")
@example("limits: {timezone: '\u2028'}".encode())
@example(b"limits: {timezone: '${B}'}")
@example(b"listen: {host: '${A}}'}")
@example(b"timeouts: {idle: 999999999999d}")
@example("timeouts: {idle: \u0665s}".encode())
@example("limits: {run_usd: '\u0665'}".encode())
def test_any_bytes_are_a_configuration_or_refused_in_one_line(source: bytes):
    assert_read_or_refused(source)


@given(trees(schema()["$defs"]["Config"]))
def test_any_tree_is_a_configuration_or_refused_in_one_line(tree: object):
    assert_read_or_refused(yaml.safe_dump(tree, allow_unicode=True).encode(errors="replace"))
