"""The project's own configuration files and schema, and which file is found."""

import json
import re
from datetime import date
from pathlib import Path

import pytest

from gateway.app.standing import standing
from gateway.config import DEFAULT_FILE, Config, find, load, parse, schema, schema_text
from gateway.config.forms import FORMS
from gateway.errors import ConfigurationInvalid

ROOT = Path(__file__).parents[3]
KEY = "sk-canary-5f1e"
ENVIRON = {
    "ANTHROPIC_API_KEY": KEY,
    "AWS_BEARER_TOKEN_BEDROCK": KEY,
    "GEMINI_API_KEY": KEY,
    "OPENAI_API_KEY": KEY,
    **dict.fromkeys(
        (
            *("AZURE_OPENAI_API_KEY", "DEEPSEEK_API_KEY", "GROQ_API_KEY", "MISTRAL_API_KEY"),
            *("OPENROUTER_API_KEY", "TOGETHER_API_KEY", "XAI_API_KEY"),
        ),
        KEY,
    ),
    "PASSWORD": KEY,
    "EMPTY": "",
    "TZ_NAME": "UTC",
}


@pytest.mark.parametrize("environ", [{}, {"OPENAI_API_KEY": KEY}], ids=["no key", "a key"])
def test_the_default_file_is_equal_to_the_built_in_defaults(environ: dict[str, str]):
    assert load(ROOT / DEFAULT_FILE, environ) == parse(b"", environ)


def test_the_default_file_names_every_section_and_setting():
    text = (ROOT / DEFAULT_FILE).read_text(encoding="utf-8")
    for name in _setting_names():
        assert re.search(rf"\b{name}\b", text), name


EXAMPLES = [
    *("anthropic", "azure", "bedrock", "compatible", "deepseek", "gemini", "groq", "mistral"),
    *("ollama", "openai", "openrouter", "stand-in", "together", "vllm", "xai"),
]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_can_be_used(name: str):
    load(ROOT / "configs" / "examples" / f"{name}.yaml", ENVIRON)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_models_that_an_example_names_have_a_price(name: str):
    config = load(ROOT / "configs" / "examples" / f"{name}.yaml", ENVIRON)
    book = standing(config, date(2026, 11, 25)).directory.book
    targets = [each.model for route in config.models.values() for each in route.targets]
    assert set(targets) <= set(book.models)


def test_every_example_is_tested():
    names = {path.stem for path in (ROOT / "configs" / "examples").iterdir()}
    assert names == set(EXAMPLES)


def test_a_given_file_is_taken_before_the_environments(tmp_path: Path):
    environ = {"GATEWAY_CONFIG": str(tmp_path / "b.yaml")}
    assert find(tmp_path / "a.yaml", environ) == tmp_path / "a.yaml"
    assert find(None, environ) == tmp_path / "b.yaml"


def test_the_default_file_is_taken_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert find(None, {}) is None
    assert load(None, {}) == Config()
    (tmp_path / "configs").mkdir()
    (tmp_path / DEFAULT_FILE).write_text("limits: {run_usd: 7}", encoding="utf-8")
    assert find(None, {"GATEWAY_CONFIG": ""}) == DEFAULT_FILE
    assert load(None, {}).limits.run_nusd == 7 * 10**9


def test_the_line_about_a_file_begins_with_its_name(tmp_path: Path):
    path = tmp_path / "g.yaml"
    with pytest.raises(ConfigurationInvalid, match=r"g\.yaml: can't be read: No such file"):
        load(path, {})
    path.write_text("limits: {run_usd: -1}", encoding="utf-8")
    with pytest.raises(ConfigurationInvalid, match=r"g\.yaml: \$\.limits\.run_usd: found -1"):
        load(None, {"GATEWAY_CONFIG": str(path)})


def test_the_schema_file_is_fresh():
    """If this fails: `python -m gateway.config`."""
    assert (ROOT / "configs/gateway.schema.json").read_text(encoding="utf-8") == schema_text()


def test_every_setting_is_described_in_the_schema():
    bare = [
        f"{title}.{name}"
        for title, definition in _definitions().items()
        for name, described in definition["properties"].items()
        if "description" not in described and "description" not in _target(described)
    ]
    assert bare == []


def test_the_schema_refuses_unknown_keys_everywhere():
    assert {d["additionalProperties"] for d in _definitions().values()} == {False}


def test_every_default_in_the_schema_is_what_the_decoder_would_make_of_it():
    for title, section in (
        ("Limits", "limits"),
        ("Timeouts", "timeouts"),
        ("LedgerSettings", "ledger"),
    ):
        defaults = {
            name: described["default"]
            for name, described in _definitions()[title]["properties"].items()
        }
        assert parse(json.dumps({section: defaults}).encode(), {}) == Config()


def test_no_mark_of_a_form_is_left_in_the_schema():
    assert "x-form" not in schema_text()


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("dollars", "2.50"),
        ("dollars", "${CAP}"),
        ("share", "0.02"),
        ("base URL", "https://h/v1"),
        ("base URL", "https://${HOST}/v1"),
        ("base URL", "sandbox:"),
        ("database", "postgres://h/d"),
        ("model", "a/b/c:free"),
        ("duration 1ms to 24h", "250ms"),
    ],
)
def test_a_pattern_in_the_schema_takes_what_the_decoder_takes(form: str, value: str):
    assert re.search(str(FORMS[form].schema()["pattern"]), value)


@pytest.mark.parametrize(
    ("form", "value"),
    [("dollars", "-1"), ("base URL", "http://u@h"), ("model", "m"), ("dollars", "5 ")],
)
def test_a_pattern_in_the_schema_refuses_what_the_decoder_refuses(form: str, value: str):
    assert not re.search(str(FORMS[form].schema()["pattern"]), value)


def _definitions() -> dict[str, dict]:
    return schema()["$defs"]


def _target(described: dict) -> dict:
    return _definitions().get(described.get("$ref", "").rpartition("/")[2], {})


def _setting_names() -> list[str]:
    return sorted(
        {name for definition in _definitions().values() for name in definition["properties"]}
    )
