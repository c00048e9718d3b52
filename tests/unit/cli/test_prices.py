"""`gateway prices`: what it asks, and what it makes of the answers."""

import os
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run, Scripted

RATES = {
    "tier": "default",
    "above_tokens": None,
    "input": "2.5",
    "cached_input": "1.25",
    "cache_write": "2.5",
    "cache_write_1h": "2.5",
    "audio_input": "2.5",
    "output": "10",
    "audio_output": "10",
    "image_output": "10",
    "per_request": "0",
}
MODEL = {
    "model": "openai/gpt-4o",
    "source": "published",
    "price_version": "genai-prices 1",
    "context_tokens": 134400,
    "max_output_tokens": None,
    "hidden_reasoning": False,
    "rates": [RATES, {**RATES, "above_tokens": 200000, "input": "5"}],
}
CHECKED = {
    "price_version": "genai-prices 1",
    "published_on": "2026-11-10",
    "models": 3,
    "findings": [{"kind": "no_price", "subject": "a/b", "message": "Such calls are refused."}],
}
UPDATED = {
    "price_version": "genai-prices 1 + file 2026-11-20 abcd",
    "before": "genai-prices 1",
    "published_on": "2026-11-20",
    "is_in_force": True,
    "new": [f"openai/m{number}" for number in range(14)],
    "dearer": [],
    "cheaper": ["openai/x"],
    "changed": [],
    "gone": [],
}
VERSION = {
    "id": "package",
    "published_on": "2026-11-10",
    "sha256": None,
    "added_at": None,
    "added_by": None,
    "is_chosen": True,
    "is_in_force": False,
}
CONTENT = b'[{"id": "v"}]'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data.json"
    path.write_bytes(CONTENT)
    written = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
    os.utime(path, (written, written))
    return path


def test_prices_are_shown_by_tier_and_cliff(gateway: Scripted, run: Run):
    gateway.will_answer({"data": [MODEL], "next_cursor": None})
    shown = run("prices", "show", "gpt-4o", "--provider", "openai")
    assert gateway.asked[0].path == "/api/v1/prices?model=gpt-4o&provider=openai&limit=1000"
    heading, first, second, version = shown.out.splitlines()
    assert heading.split()[:4] == ["MODEL", "TIER", "ABOVE", "INPUT"]
    assert first.split()[:4] == ["openai/gpt-4o", "default", "-", "$2.50"]
    assert second.split()[:3] == ["default", "200000", "$5.00"]
    assert version == "Prices: genai-prices 1"


def test_a_price_that_is_not_there_is_said_so(gateway: Scripted, run: Run):
    gateway.will_answer({"data": [], "next_cursor": None})
    assert run("prices", "show", "nope").out == "No such price.\n"


@pytest.mark.parametrize(("findings", "code"), [(CHECKED["findings"], 1), ([], 0)])
def test_a_check_fails_where_something_is_missing(
    gateway: Scripted, run: Run, findings: object, code: int
):
    gateway.will_answer({**CHECKED, "findings": findings})
    checked = run("prices", "check", "--days", "9")
    assert gateway.asked[0].path == "/api/v1/prices/check?days=9"
    assert checked.code == code
    assert ("no_price  a/b" in checked.out) is bool(findings)
    assert ("Nothing is missing." in checked.out) is not bool(findings)


def test_a_file_is_sent_as_it_is_with_the_day_it_was_written(
    gateway: Scripted, run: Run, file: Path
):
    gateway.will_answer(UPDATED)
    done = run("prices", "update", str(file))
    (asked,) = gateway.asked
    assert (asked.method, asked.path) == ("POST", "/api/v1/prices?published_on=2026-11-20")
    assert asked.body == [{"id": "v"}]
    assert f"SHA-256 {sha256(CONTENT).hexdigest()}" in done.out
    assert "abcd (prices of 2026-11-20) is in force." in done.out
    assert "new: 14: openai/m0, " in done.out
    assert ", … (2 more)" in done.out
    assert "\ndearer: 0\ncheaper: 1: openai/x\n" in done.out


def test_everything_can_be_said_of_an_update(gateway: Scripted, run: Run, file: Path):
    gateway.will_answer({**UPDATED, "is_in_force": False})
    options = ["--sha256", "ab", "--published-on", "2026-11-21", "--force", "--dry-run"]
    done = run("prices", "update", str(file), *options)
    query = "published_on=2026-11-21&sha256=ab&force=true&dry_run=true"
    assert gateway.asked[0].path == f"/api/v1/prices?{query}"
    assert "is not in force: a dry run." in done.out


def test_json_is_the_answer_alone(gateway: Scripted, run: Run, file: Path):
    gateway.will_answer(UPDATED)
    assert run("prices", "update", str(file), "--json").json == UPDATED


@pytest.mark.parametrize("content", [None, b"prices: yaml"])
def test_what_is_no_file_of_json_is_wrong_usage(run: Run, tmp_path: Path, content: bytes | None):
    path = tmp_path / "prices"
    if content is not None:
        path.write_bytes(content)
    assert run("prices", "update", str(path)).code == 2


def test_versions_are_listed_and_activated(gateway: Scripted, run: Run):
    gateway.will_answer({"data": [VERSION], "next_cursor": None})
    listed = run("prices", "versions")
    assert listed.out.splitlines()[1].split() == ["package", "2026-11-10", "-", "-", "yes"]
    gateway.will_answer(UPDATED)
    run("prices", "activate", "abcd1234")
    assert [(one.method, one.path) for one in gateway.asked] == [
        ("GET", "/api/v1/prices/versions"),
        ("POST", "/api/v1/prices/versions/abcd1234/activate"),
    ]
