"""Commands that need no running gateway."""

from pathlib import Path

import pytest

from gateway import app
from gateway.cli.budgets import events
from gateway.errors import StateBusy
from tests.unit.cli.conftest import Run


def test_a_good_configuration_is_said_to_be_good(run: Run, tmp_path: Path):
    file = tmp_path / "g.yaml"
    file.write_text("listen: {port: 8081}\n")
    assert run("check-config", "--config", str(file)).out == f"{file}: can be used\n"
    told = run("check-config", "--config", str(file), "--json").json
    assert told == {"valid": True, "file": str(file), "error": None}


def test_a_wrong_configuration_is_one_line_and_exit_code_1(run: Run, tmp_path: Path):
    file = tmp_path / "g.yaml"
    file.write_text("listen: {prot: 8081}\n")
    ended = run("check-config", "--config", str(file))
    assert (ended.code, ended.out) == (1, "")
    assert "$.listen.prot" in ended.err
    assert ended.err.count("\n") == 1
    as_json = run("check-config", "--config", str(file), "--json")
    assert as_json.code == 1
    assert "$.listen.prot" in as_json.json["error"]


def test_migrate_says_what_it_did_or_would_do(run: Run, monkeypatch: pytest.MonkeyPatch):
    asked: list[bool] = []

    def migrate(config_path: Path | None, environ: object, *, check: bool) -> list[str]:
        asked.append(check)
        return ["0001_ledger"]

    monkeypatch.setattr(app, "migrate", migrate)
    assert run("migrate").out == "applied: 0001_ledger\n1 applied; the schema is up to date.\n"
    pending = run("migrate", "--check", "--json")
    assert (pending.code, pending.json) == (1, {"pending": ["0001_ledger"]})
    assert asked == [False, True]


def test_migrate_is_done_where_nothing_is_to_be_done(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(app, "migrate", lambda *_, check: [])
    ended = run("migrate", "--check")
    assert (ended.code, ended.out) == (0, "The schema is up to date.\n")


def test_a_failure_to_serve_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch):
    def serve(config_path: Path | None, environ: object, **_: object) -> None:
        raise StateBusy("another gateway already runs here")

    monkeypatch.setattr(app, "serve", serve)
    ended = run("serve")
    assert (ended.code, ended.err) == (1, "gateway: another gateway already runs here\n")


def test_events_are_read_whatever_the_pieces_are():
    raw = b'data: {"a": 1}\n\n: ping\n\ndata: 2\n\n'
    for size in range(1, len(raw)):
        pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
        assert list(events(pieces)) == [{"a": 1}, 2]
