"""What the documents say is there is there, and what is there they say.

`python -m tests.unit.test_docs`, from the project's own folder, writes the table of configuration keys.
"""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.application import _COMMANDS, _GROUPS
from gateway.config import parse, schema
from gateway.config.reload import _FIXED
from gateway.core.access import GRANTED, ROUTES, Open
from gateway.core.outcome import Outcome
from gateway.core.refusal import Code
from gateway.exchange.controls import _READERS
from gateway.providers.adapter import STATUS
from gateway.telemetry import exposition
from gateway.telemetry.series import Series

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md"))
)
OTHERS = {"docs/performance.md", "docs/pricing.md"}
KEYS_BEGIN = "<!-- keys: written by `.venv/bin/python -m tests.unit.test_docs`; a test keeps them fresh -->\n"
KEYS_END = "<!-- end of keys -->"
HOW_TO = "run .venv/bin/python -m tests.unit.test_docs"


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def without_code(text: str) -> str:
    return re.sub(
        r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    )


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def keys() -> str:
    """Return the table of every configuration key, from the schema."""
    whole: dict[str, Any] = json.loads(json.dumps(schema()))
    rows = ["| key | default | meaning | takes effect |", "|---|---|---|---|"]
    for path, node, is_required in _walk(whole["$defs"]["Config"], "", whole["$defs"]):
        takes = "restart" if path.split(".")[0] in _FIXED else "reload"
        default = "required" if is_required else _default(node)
        meaning = node.get("description", "").replace("|", "\\|")
        rows.append(f"| `{path}` | {default} | {meaning} | {takes} |")
    return "\n".join(rows) + "\n"


def _walk(
    section: dict[str, Any], prefix: str, defs: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Yield every setting below a section: its path, its schema, whether it must be given."""
    for name, node in section["properties"].items():
        path = prefix + name
        if "$ref" not in node:
            yield path, node, name in section["required"]
        inner = [each for each in (node, *node.get("anyOf", ())) if "$ref" in each]
        steps = [(path, each) for each in inner]
        steps += [
            (path + mark, node[key])
            for key, mark in (("items", "[]"), ("additionalProperties", _mark(name)))
            if isinstance(node.get(key), dict)
        ]
        for below, each in steps:
            if "$ref" in each:
                yield from _walk(defs[each["$ref"].rpartition("/")[2]], f"{below}.", defs)


def _mark(name: str) -> str:
    return ".MODEL" if name == "prices" else ".NAME"


def _default(node: dict[str, Any]) -> str:
    if "default" not in node:
        return ""
    value = node["default"]
    shown = value if isinstance(value, str) else json.dumps(value)
    return f"`{shown}`" if value not in ([], {}) else "none"


def metrics() -> set[str]:
    """Return the names under which metrics are exposed."""
    families = exposition.SeriesCollector(Series(set()), "0", dict).collect()
    return {one.name + ("_total" if one.type == "counter" else "") for one in families}


def test_the_table_of_configuration_keys_is_fresh():
    text = read("docs/configuration.md")
    found = text.partition(KEYS_BEGIN)[2].partition(KEYS_END)[0]
    assert found == f"\n{keys()}\n", HOW_TO


def test_every_metric_is_documented_and_every_documented_metric_exists():
    table = read("docs/operations.md").partition("## Metrics")[2].partition("\n## ")[0]
    documented = set(re.findall(r"^\| `(gateway_\w+)", table, re.MULTILINE))
    assert documented == metrics()


def test_every_log_event_is_documented():
    sources = [ROOT / "gateway" / "telemetry" / name for name in ("recorder.py", "foreign.py")]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    written = set(re.findall(r'(?:info|warning|error|write)\(\s*"([a-z_]+)"', text)) | {
        "call_ended"
    }
    table = read("docs/operations.md").partition("## Logs")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z_]+)`", table, re.MULTILINE)) == written


def test_every_route_is_documented_with_its_permission():
    text = read("docs/api.md")
    documented = set(re.findall(r"^\| `([A-Z]+) (/[^`]*)` \| ([^|]+) \|", text, re.MULTILINE))
    there = {
        (method, path.replace("{of}", "{scope}"), "nobody" if needed is Open.OPEN else needed.value)
        for (method, path), needed in ROUTES.items()
    }
    assert {(method, path, needed.strip()) for method, path, needed in documented} == there


def test_every_scope_is_documented():
    text = read("docs/api.md")
    assert set(re.findall(r"^\| `([a-z]+:[a-z*]+)`", text, re.MULTILINE)) == set(GRANTED)


def test_every_refusal_is_documented_with_its_status():
    rows = re.findall(r"^\| (\d{3}) \| `([a-z_]+)` \|", read("docs/clients.md"), re.MULTILINE)
    assert {code: int(status) for status, code in rows} == {c.value: STATUS[c] for c in Code}


def test_every_outcome_is_documented():
    rows = read("docs/guarantees.md").partition("## What each ending")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([a-z_]+)`", rows))
    assert {outcome.value for outcome in Outcome} - named <= {
        Outcome.CLIENT_GONE, Outcome.KILLED, Outcome.TIMED_OUT, Outcome.SHUT_DOWN,
    }  # fmt: skip


def test_every_header_that_clients_may_send_is_documented():
    table = read("docs/clients.md").partition("## Headers you may send")[2].partition("\n## ")[0]
    documented = set(re.findall(r"^\| `x-gateway-([a-z-]+)", table, re.MULTILINE))
    assert documented == {*_READERS, "label"}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_that_are_shown_exist(name: str):
    shown = re.findall(r"```(?:console|sh)\n(.*?)```|`([^`\n]+)`", read(name), re.DOTALL)
    code = "\n".join("".join(either) for either in shown)
    for first, second in re.findall(r"(?:^|\$ |\| )gateway ([a-z-]+)(?: ([a-z-]+))?", code, re.M):
        is_grouped = first in _GROUPS and second in _GROUPS[first][1]
        assert first in _COMMANDS or is_grouped, f"{name}: gateway {first} {second}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str):
    text = without_code(read(name))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = (ROOT / name).parent / file if file else ROOT / name
        assert path.exists(), f"{name}: {target}"
        if anchor:
            assert anchor in anchors(path.read_text(encoding="utf-8")), f"{name}: {target}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_that_are_named_exist(name: str):
    for path in re.findall(r"`((?:tests|gateway|configs|docs)/[\w./-]+)`", read(name)):
        assert (ROOT / path).exists(), f"{name}: {path}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_snippets_can_be_read(name: str):
    text = read(name)
    for python in blocks(text, "python"):
        ast.parse(python)
    for document in blocks(text, "json"):
        json.loads(document)
    environ = {
        "OPENAI_API_KEY": "k",
        "OPENAI_API_KEY_B": "l",
        "PG_PASSWORD": "p",
        "HOOK_SECRET": f"whsec_{32 * 'A'}",
    }
    for settings in blocks(text, "yaml"):
        parse(settings.encode(), environ)


@pytest.mark.parametrize("name", sorted({*DOCUMENTS} - OTHERS))
def test_documents_speak_of_the_project_alone(name: str):
    assert not re.search(r"/(?:work|root|tmp|opt|home)/|\bissue #?\d|pypi-", read(name))


def test_every_document_is_reached_from_the_readme():
    reached, waiting = set[str](), ["README.md"]
    while waiting:
        name = waiting.pop()
        if name in reached or not (ROOT / name).is_file():
            continue
        reached.add(name)
        for target in re.findall(r"\]\(([^)#\s:]+)", without_code(read(name))):
            path = ((ROOT / name).parent / target).resolve()
            below = sorted(path.glob("*.md")) if path.is_dir() else [path]
            waiting += [each.relative_to(ROOT).as_posix() for each in below if ROOT in each.parents]
    assert set(DOCUMENTS) - OTHERS <= reached


def write_keys() -> None:
    path = ROOT / "docs" / "configuration.md"
    before, begin, rest = path.read_text(encoding="utf-8").partition(KEYS_BEGIN)
    _, end, after = rest.partition(KEYS_END)
    path.write_text(f"{before}{begin}\n{keys()}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    write_keys()
