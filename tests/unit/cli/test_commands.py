import io
import json
import sys
from pathlib import Path

import pytest

from gateway.cli.application import build
from tests.unit.cli.conftest import Run, Scripted

BUDGET = {
    "scope": "workspace",
    "scope_id": "-",
    "window": "month",
    "period_start": "2026-03-01",
    "cap_usd": "500",
    "spent_usd": "0.001234567",
    "held_usd": "0",
    "left_usd": "499.998765433",
    "unsettled_usd": "0",
    "overshoot_usd": "0",
}
RUN = {
    "id": "r1",
    "project": "default",
    "state": "open",
    "cap_usd": None,
    "labels": {"team": "x"},
    "opened_at": "2026-03-14T12:00:00.123456Z",
    "closed_at": None,
}
KILL = {
    "id": "k1",
    "scope": "all",
    "scope_id": "-",
    "reason": "x",
    "streams_cut": 3,
    "replicas": 2,
    "acknowledged": 1,
    "late": ["r2"],
}
ESTIMATE = {
    "model": "m",
    "input_tokens_bound": 1,
    "output_tokens_bound": 2,
    "bound_usd": "0.5",
    "admitted": False,
    "refusals": [{"code": "run_cap_exceeded", "budget": "run", "left_usd": "0.1"}],
}
TOKEN = {"id": "t1", "name": "ci", "token": "gwk_live_x", "scopes": ["llm:call"]}
STATUS = {"version": "1.2.3", "database": "embedded", "replicas": [], "kill": [], "jobs": []}


def page(*items: object, cursor: str | None = None) -> dict[str, object]:
    return {"data": list(items), "next_cursor": cursor}


CASES: list[tuple[str, object, str, str, object]] = [
    ("status", STATUS, "GET", "status", None),
    ("spend", [BUDGET], "GET", "spend", None),
    (
        "budgets put token t1 --cap-usd 2.50 --window total",
        BUDGET,
        "PUT",
        "budgets/token/t1",
        {"cap_usd": "2.50", "window": "total"},
    ),
    (
        "budgets put workspace --cap-usd 5",
        BUDGET,
        "PUT",
        "budgets/workspace/-",
        {"cap_usd": "5", "window": "month"},
    ),
    ("budgets show model openai/gpt-5", BUDGET, "GET", "budgets/model/openai/gpt-5", None),
    ("budgets show project p --window day", BUDGET, "GET", "budgets/project/p?window=day", None),
    ("budgets delete project a?b", None, "DELETE", "budgets/project/a%3Fb", None),
    ("budgets list --scope token", page(BUDGET), "GET", "budgets?scope=token&limit=100", None),
    ("runs create", RUN, "POST", "runs", {"labels": {}}),
    (
        "runs create r1 --project p --cap-usd 1 --output-ceiling 9 --label a=b=c",
        RUN,
        "POST",
        "runs",
        {
            "name": "r1",
            "project": "p",
            "cap_usd": "1",
            "output_tokens_ceiling": 9,
            "labels": {"a": "b=c"},
        },
    ),
    ("runs show r1 --project p", RUN, "GET", "runs/r1?project=p", None),
    ("runs list --state open --limit 5", page(RUN), "GET", "runs?state=open&limit=5", None),
    ("runs close r1", RUN, "POST", "runs/r1/close", None),
    ("kill --all --reason x", KILL, "POST", "kill", {"scope": "all", "reason": "x"}),
    (
        "kill --run r --project p --reason x",
        KILL,
        "POST",
        "kill",
        {"scope": "run", "id": "r", "project": "p", "reason": "x"},
    ),
    (
        "kill --project p --reason x",
        KILL,
        "POST",
        "kill",
        {"scope": "project", "id": "p", "reason": "x"},
    ),
    (
        "kill --token t --reason x",
        KILL,
        "POST",
        "kill",
        {"scope": "token", "id": "t", "reason": "x"},
    ),
    (
        "kill --model a/b --reason x",
        KILL,
        "POST",
        "kill",
        {"scope": "model", "id": "a/b", "reason": "x"},
    ),
    (
        "kill --provider a --reason x",
        KILL,
        "POST",
        "kill",
        {"scope": "provider", "id": "a", "reason": "x"},
    ),
    ("unkill k1", None, "DELETE", "kill/k1", None),
    ("unkill --all", {"lifted": ["k1", "k2"]}, "DELETE", "kill", None),
    ("tokens create ci", TOKEN, "POST", "tokens", {"name": "ci"}),
    (
        "tokens create ci --project p --scope llm:call --scope usage:read --expires 30d --budget-usd 5 --model a/b",
        TOKEN,
        "POST",
        "tokens",
        {
            "name": "ci",
            "project": "p",
            "scopes": ["llm:call", "usage:read"],
            "expires": "30d",
            "budget_usd": "5",
            "models": ["a/b"],
        },
    ),
    (
        "tokens create ci --requests-per-minute 60 --tokens-per-minute 5000",
        TOKEN,
        "POST",
        "tokens",
        {"name": "ci", "rate_limits": {"requests_per_minute": 60, "tokens_per_minute": 5000}},
    ),
    ("tokens list", page(TOKEN), "GET", "tokens?limit=100", None),
    (
        "tokens change t1 --requests-per-minute none --tokens-per-minute 5000",
        TOKEN,
        "PATCH",
        "tokens/t1",
        {"rate_limits": {"requests_per_minute": None, "tokens_per_minute": 5000}},
    ),
    (
        "tokens change t1 --requests-per-minute 7",
        TOKEN,
        "PATCH",
        "tokens/t1",
        {"rate_limits": {"requests_per_minute": 7}},
    ),
    ("tokens revoke t1", None, "DELETE", "tokens/t1", None),
    ("audit list --limit 7", page({"seq": 1}), "GET", "audit?limit=7", None),
    (
        "traces list --run r --model a/b --since 2026-01-01T00:00:00Z --limit 3",
        page({"id": "1"}),
        "GET",
        "traces?run=r&model=a%2Fb&since=2026-01-01T00%3A00%3A00Z&limit=3",
        None,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_a_command_asks_as_its_options_say(
    gateway: Scripted, run: Run, case: tuple[str, object, str, str, object]
):
    command, answer, method, path, body = case
    for form in ([], ["--json"]):
        gateway.will_answer(answer, 200 if answer is not None else 204)
        ended = run(*command.split(), *form)
        assert ended.code == 0, ended.err
        asked = gateway.asked.pop()
        assert (asked.method, asked.path, asked.body) == (method, f"/api/v1/{path}", body)
        assert asked.token == "Bearer gwk_secret"
        assert ended.out
        assert "Traceback" not in ended.err
    for line in ended.out.splitlines():
        json.loads(line)


def test_json_is_the_answer_itself(gateway: Scripted, run: Run):
    gateway.will_answer(RUN)
    assert run("runs", "show", "r1", "--json").json == RUN
    gateway.will_answer(page(BUDGET))
    assert run("budgets", "list", "--json").json == [BUDGET]
    gateway.will_answer(KILL)
    assert run("kill", "--all", "--reason", "x", "--json").json == KILL


def test_a_list_is_followed_over_its_pages_up_to_the_limit(gateway: Scripted, run: Run):
    gateway.will_answer(page(*({"id": n} for n in range(2)), cursor="c1"))
    gateway.will_answer(page({"id": 2}, cursor="c2"))
    ended = run("traces", "list", "--limit", "3", "--json")
    assert [json.loads(line)["id"] for line in ended.out.splitlines()] == [0, 1, 2]
    assert [asked.path for asked in gateway.asked] == [
        "/api/v1/traces?limit=3",
        "/api/v1/traces?cursor=c1&limit=1",
    ]


def test_tables_for_people_are_plain_when_piped(gateway: Scripted, run: Run):
    gateway.will_answer([BUDGET])
    head, row = run("spend").out.splitlines()
    assert head.split() == [
        "BUDGET",
        "OF",
        "WINDOW",
        "FROM",
        "CAP",
        "SPENT",
        "HELD",
        "UNSETTLED",
        "LEFT",
    ]
    assert row.split() == [
        "workspace",
        "-",
        "month",
        "2026-03-01",
        "$500.00",
        "$0.001234567",
        "$0.00",
        "$0.00",
        "$499.998765433",
    ]


def test_what_came_from_elsewhere_can_not_steer_a_terminal(gateway: Scripted, run: Run):
    gateway.will_answer(page({"model": "\x1b[2Jm\n[bold]x[/bold]", "cost_usd": "1"}))
    out = run("traces", "list").out
    assert "\x1b" not in out
    assert "[bold]x[/bold]" in out
    assert len(out.splitlines()) == 2


def test_a_replica_that_is_late_is_named(gateway: Scripted, run: Run):
    gateway.will_answer(KILL)
    ended = run("kill", "--all", "--reason", "x")
    assert "1 of 2 replicas" in ended.out
    assert ended.err == "gateway: replica r2 has not answered; it stops when its lease ends\n"


@pytest.mark.parametrize("listed", ["create ci", "list", "change t1 --requests-per-minute 7"])
def test_rate_limits_are_shown_beside_the_rest(gateway: Scripted, run: Run, listed: str):
    limits = {"requests_per_minute": 7, "tokens_per_minute": None}
    token = {**TOKEN, "rate_limits": limits}
    gateway.will_answer(page(token) if listed == "list" else token)
    shown = run("tokens", *listed.split()).out
    if listed == "list":
        assert shown.split("\n")[1].split()[5:7] == ["7", "-"]
    else:
        assert [line.split()[-1] for line in shown.splitlines() if "/MIN" in line] == ["7", "-"]


@pytest.mark.parametrize("wrong", ["0", "-1", "1.5", "many", "²", ""])
def test_a_limit_that_is_no_number_is_wrong_usage(gateway: Scripted, run: Run, wrong: str):
    ended = run("tokens", "change", "t1", f"--tokens-per-minute={wrong}")
    assert ended.code == 2
    assert "--tokens-per-minute" in ended.err
    assert run("tokens", "change", "t1").code == 2
    assert not gateway.asked


def test_a_sign_in_link_is_a_whole_url(gateway: Scripted, run: Run):
    gateway.will_answer({"path": "/console/sign-in/abc", "expires_at": "2026-01-01T00:00:00Z"}, 201)
    assert run("sign-in-link").out == f"{gateway.url}/console/sign-in/abc\n"


@pytest.mark.parametrize("source", ["file", "input"])
def test_an_estimate_sends_the_body_as_it_was_written(
    gateway: Scripted, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
):
    raw = b'{"model": "m", "n": 1.0}'
    (tmp_path / "body.json").write_bytes(raw)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
    gateway.will_answer(ESTIMATE)
    given = [str(tmp_path / "body.json")] if source == "file" else []
    ended = run("estimate", *given, "--run", "r", "--output-ceiling", "5")
    assert ended.code == 0
    assert gateway.asked[0].body == {
        "body": {"model": "m", "n": 1.0},
        "run": "r",
        "output_tokens_ceiling": 5,
    }
    assert "$0.5" in ended.out
    assert "run_cap_exceeded" in ended.out


def test_an_estimate_is_for_the_path_that_is_named(
    gateway: Scripted, run: Run, monkeypatch: pytest.MonkeyPatch
):
    path = "/gemini/v1beta/models/m:generateContent?alt=sse"
    for option, named in (("--path", path), ("--endpoint", "embeddings")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"{}")))
        gateway.will_answer(ESTIMATE)
        assert run("estimate", option, named).code == 0
        assert gateway.asked[-1].body == {option.removeprefix("--"): named, "body": {}}


def test_an_export_is_passed_on_byte_for_byte(gateway: Scripted, run: Run):
    raw = b"id,run\r\n1,'=x\r\n"
    gateway.will_send(raw, "text/csv")
    assert run("traces", "export", "--format", "csv", "--run", "a").out.encode() == raw
    assert gateway.asked[0].path == "/api/v1/traces/export?format=csv&run=a"
    gateway.will_send(b"", "application/jsonl")
    assert run("traces", "export", "--json").code == 0
    assert gateway.asked[1].path == "/api/v1/traces/export?format=jsonl"


def test_an_export_that_is_refused_says_why(gateway: Scripted, run: Run):
    gateway.will_answer({"error": {"message": "No.", "code": "scope_missing"}}, 403)
    ended = run("traces", "export")
    assert (ended.code, ended.out, ended.err) == (1, "", "gateway: scope_missing: No.\n")


def test_the_live_spend_is_a_line_for_each_change(gateway: Scripted, run: Run):
    events = f"data: {json.dumps([BUDGET])}\n\n: ping\n\ndata: []\n\n".encode()
    gateway.will_send(events, "text/event-stream")
    ended = run("spend", "--live", "--json")
    assert [json.loads(line) for line in ended.out.splitlines()] == [[BUDGET], []]
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "the gateway ended the connection" in ended.err


FAILURES: list[tuple[int, object, str]] = [
    (
        401,
        {"error": {"message": "Unknown.", "code": "token_invalid", "param": None}},
        "token_invalid: Unknown.",
    ),
    (
        400,
        {"error": {"message": "Bad.", "code": "invalid_request", "param": "name"}},
        "invalid_request: Bad. (name)",
    ),
    (
        503,
        {"error": {"message": "Away.", "code": "ledger_unavailable"}},
        "ledger_unavailable: Away.",
    ),
    (400, {"error": {"message": "a\nb\x1b[2J", "code": "c"}}, "c: a b\ufffd[2J"),
]


@pytest.mark.parametrize(("status", "answer", "line"), FAILURES)
def test_a_refusal_is_one_line_and_exit_code_1(
    gateway: Scripted, run: Run, status: int, answer: object, line: str
):
    gateway.will_answer(answer, status)
    ended = run("status", "--json")
    assert (ended.code, ended.out, ended.err) == (1, "", f"gateway: {line}\n")


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b'{"error": "x"}', b'"\xff"', b""])
def test_what_is_no_gateway_is_said_to_be_none(gateway: Scripted, run: Run, answer: bytes):
    gateway.will_send(answer, "text/html", 502)
    ended = run("status")
    assert ended.code == 1
    assert ended.err == f"gateway: what answers at {gateway.url} is no gateway: see GATEWAY_URL\n"


def test_a_gateway_that_is_not_there_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("GATEWAY_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("GATEWAY_TOKEN", "gwk_secret")
    for command in (["status"], ["spend", "--live"], ["traces", "export"]):
        ended = run(*command)
        assert ended.code == 1
        assert ended.err.startswith("gateway: no gateway answers at http://127.0.0.1:1")
        assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        "",
        "nonsense",
        "runs",
        "runs nonsense",
        "runs show",
        "runs list --limit 0",
        "runs list --state gone",
        "runs create --label a",
        "budgets put workspace",
        "budgets put workspace --cap-usd 1 --window year",
        "budgets put project --cap-usd 1",
        "budgets show token",
        "budgets delete model",
        "kill",
        "kill --reason x",
        "kill --all --run r --reason x",
        "kill --run r --token t --reason x",
        "kill --all --project p --reason x",
        "unkill",
        "unkill k1 --all",
        "estimate /nothing/there",
        "spend --nonsense",
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(gateway: Scripted, run: Run, command: str):
    ended = run(*command.split())
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("gateway: ")
    assert ended.err.count("\n") == 1
    assert gateway.asked == []


def commands() -> list[str]:
    root = build()
    groups = [(group.name, group.typer_instance) for group in root.registered_groups]
    return [str(one.name) for one in root.registered_commands] + [
        f"{name} {one.name}"
        for name, group in groups
        if group is not None
        for one in group.registered_commands
    ]


def test_every_command_that_was_promised_is_there():
    assert set(commands()) >= {
        "serve",
        "check-config",
        "migrate",
        "status",
        "estimate",
        "kill",
        "unkill",
        "spend",
        "sign-in-link",
        "budgets put",
        "budgets show",
        "budgets list",
        "budgets delete",
        "runs create",
        "runs show",
        "runs list",
        "runs close",
        "tokens create",
        "tokens list",
        "tokens change",
        "tokens revoke",
        "traces list",
        "traces export",
        "audit list",
    }


@pytest.mark.parametrize("command", commands())
def test_every_command_explains_itself(run: Run, command: str):
    ended = run(*command.split(), "--help")
    assert ended.code == 0
    assert f"Usage: gateway {command}" in ended.out
    assert ("--json" in ended.out) == (command != "serve")
