import io
import sys

import pytest

from tests.unit.cli.conftest import Run, Scripted

ENTRY = {
    "replica": "r1",
    "scope": "run",
    "scope_id": "u1",
    "window": "total",
    "period_start": None,
    "run": "report",
    "project": "p",
    "amount_usd": "0.5",
    "seen_at": "2026-03-14T12:00:00.123456Z",
    "sequence": 7,
}
DONE = {
    "replica": "r1",
    "resolved": [
        {
            "scope": "workspace",
            "scope_id": "-",
            "window": "month",
            "period_start": "2026-03-01",
            "booked_usd": "0.2",
            "returned_usd": "0.3",
        }
    ],
}
RESOLVE = ("unsettled", "resolve", "r1", "--spent-usd", "0.2", "--reason", "x")


def test_what_is_unsettled_is_listed(gateway: Scripted, run: Run):
    gateway.will_answer({"data": [ENTRY], "next_cursor": None})
    ended = run("unsettled", "list")
    assert ended.code == 0
    for word in ("r1", "report", "$0.50", "2026-03-14 12:00:00"):
        assert word in ended.out
    assert gateway.asked[0].path == "/api/v1/unsettled?limit=100"


def test_what_was_booked_and_returned_is_printed(gateway: Scripted, run: Run):
    gateway.will_answer(DONE)
    ended = run(*RESOLVE, "--yes")
    assert (ended.code, "$0.20" in ended.out, "$0.30" in ended.out) == (0, True, True)
    assert gateway.asked[0].body == {"replica": "r1", "spent_usd": "0.2", "reason": "x"}


def test_one_budget_may_be_named(gateway: Scripted, run: Run):
    gateway.will_answer(DONE)
    named = ("--scope", "token", "--id", "t", "--window", "day", "--period", "2026-03-14")
    assert run(*RESOLVE, *named, "--yes", "--json").json == DONE
    assert gateway.asked[0].body == {
        "replica": "r1",
        "spent_usd": "0.2",
        "reason": "x",
        "scope": "token",
        "scope_id": "t",
        "window": "day",
        "period_start": "2026-03-14",
    }


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("said", "code", "requests"), [("y\n", 0, 1), ("n\n", 130, 0)])
def test_a_person_is_asked_first(
    monkeypatch: pytest.MonkeyPatch,
    gateway: Scripted,
    run: Run,
    said: str,
    code: int,
    requests: int,
):
    gateway.will_answer(DONE)
    monkeypatch.setattr(sys, "stdin", Terminal(said))
    assert (run(*RESOLVE, "--json").code, len(gateway.asked)) == (code, requests)


def test_a_program_must_say_yes(monkeypatch: pytest.MonkeyPatch, gateway: Scripted, run: Run):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    ended = run(*RESOLVE)
    assert (ended.code, gateway.asked) == (2, [])
    assert "--yes" in ended.err
