"""What spares people who type commands: whole tables, near help, short times, no reason in a hurry."""

import fcntl
import os
import pty
import struct
import sys
import termios
from datetime import UTC, datetime

import pytest

from gateway.cli import printing
from gateway.cli.traces import moment
from tests.unit.cli.conftest import Run, Scripted


def test_a_narrow_terminal_wraps_a_table_and_cuts_nothing_off(
    monkeypatch: pytest.MonkeyPatch,
):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 60, 0, 0))
    ident = "018f0000-0000-7000-8000-000000000001"
    row = {"a": "x" * 50, "id": ident, "cost_usd": "0.001234567"}
    with open(theirs, "w") as terminal, monkeypatch.context() as patched:  # noqa: PTH123
        patched.setattr(sys, "stdout", terminal)
        printing.table([row], {"A": "a", "ID": "id", "COST": "cost_usd"}, "")
        terminal.flush()
        shown = os.read(ours, 4096).decode()
    os.close(ours)
    assert f"{ident}  $0.001234567" in shown


@pytest.mark.parametrize("command", ["kill", "runs show", "budgets put workspace"])
def test_wrong_usage_names_the_help_of_its_own_command(run: Run, command: str):
    shown = command.removesuffix(" workspace")
    assert run(*command.split()).err.endswith(f" (see gateway {shown} --help)\n")


def test_a_kill_in_a_hurry_needs_no_reason(gateway: Scripted, run: Run):
    gateway.will_answer(
        {"id": "k", "acknowledged": 1, "replicas": 1, "streams_cut": 0, "late": []}, 201
    )
    assert run("kill", "--all", "--json").code == 0
    assert gateway.asked[0].body == {"scope": "all", "reason": "no reason given"}


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        ("2026-01-31", "2026-01-31T00:00:00Z"),
        ("90m", "2026-03-14T10:30:00Z"),
        ("24h", "2026-03-13T12:00:00Z"),
        ("7d", "2026-03-07T12:00:00Z"),
        ("30s", "2026-03-14T11:59:30Z"),
        ("yesterday", "yesterday"),
        ("0d", "0d"),
        ("999999d", "999999d"),
    ],
)
def test_a_time_may_be_an_age_or_a_date(text: str, asked: str):
    assert moment(text, datetime(2026, 3, 14, 12, tzinfo=UTC)) == asked
