"""Whatever a provider's bytes are like, a client gets them, or an error it understands; money adds up.

Each case is asked four times: as bytes and by the vendor's own SDK, of the provider itself and through
the gateway. What is expected of each is in `traps.py`.
"""

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any, assert_never

import httpx
import pytest

from tests.process import standins
from tests.process.callers import Api, Failed
from tests.process.gateway_process import Gateway
from tests.process.observing import cost, month_at_rest, running
from tests.process.rounds import CASES, Case, Rounds, Seen, configuration, scripts, through
from tests.process.standins import Scripted
from tests.process.traps import (
    PROVIDER_KEY,
    Broken,
    Cut,
    Expected,
    Passed,
    Refused,
    Same,
    traps,
)

PLAIN = next(trap for trap in traps() if trap.name == "plain")
ENDS = {
    "responses": b"event: response.completed\n",
    "messages": b"event: message_stop\n",
}
"""What the last event begins with, where it is not `data: [DONE]`."""
KEPT_BACK = {
    *("content-encoding", "set-cookie", "alt-svc", "strict-transport-security", "via", "x-hop"),
    *("openai-organization", "openai-project", "anthropic-organization-id", "server", "trailer"),
    *("x-large", "location", "link", "x-checksum"),
}
"""Headers that some answers have, and no client is to see."""
CLEANED = {
    *("cr", "mixed", "no-space", "comments", "ids", "bom", "blank-lines", "no-last-blank"),
}
"""Framings that Google's SDK can't read: it is given the same events in the one way that it can."""
DECODED = {"coded-zstd", "coded-two-members"}
"""Codings that not every client can read, and that the gateway reads for it."""


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Scripted]:
    with standins.scripted(key=PROVIDER_KEY) as made:
        httpx.post(f"{made.url}/_script", json=scripts()).raise_for_status()
        yield made


@pytest.fixture(scope="module")
def gateway(stand_in: Scripted) -> Iterator[Gateway]:
    with running(configuration(stand_in)) as made:
        yield made


@pytest.fixture(scope="module")
def rounds(gateway: Gateway, stand_in: Scripted) -> Iterator[Rounds]:
    with contextlib.ExitStack() as stack:
        yield Rounds(gateway, stand_in, stack)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_client_gets_what_is_expected(case: Case, rounds: Rounds) -> None:
    found = rounds.seen(case)
    assert not found.through.broke
    assert not KEPT_BACK & {name.lower() for name in found.through.headers}
    match case.trap.expected:
        case Same() | Broken():
            assert found.through.status == 200
            if is_cleaned(case):
                assert_cleaned(found)
            elif case.trap.name in DECODED:
                plain = replace(case, trap=PLAIN)
                sent = rounds.seen(plain).direct.body.replace(plain.model.encode(), b"model")
                assert found.through.body.replace(case.model.encode(), b"model") == sent
            else:
                assert found.through.body == relayed(case, found.direct.body)
        case Cut():
            assert found.through.status == 200
            assert_cut(case, found)
        case Refused(status=status):
            assert found.through.status == status
            assert_refusal(case, found.through.body)
        case Passed(status, headers):
            assert found.through.status == found.direct.status == status
            assert found.through.body == found.direct.body
            assert {name: found.through.headers.get(name) for name in headers} == headers
        case _:
            assert_never(case.trap.expected)


def relayed(case: Case, sent: bytes) -> bytes:
    """Return what is to be passed on of what a provider sent: all of it, up to its end."""
    if not goes_on(case):
        return sent
    at = sent.index(b"\n\n", sent.index(ENDS.get(case.api.name, b"data: [DONE]"))) + 2
    return sent[:at]


def goes_on(case: Case) -> bool:
    """Whether the provider sends more behind the end."""
    return case.trap.script.get("terminator") in {"twice", "followed"}


def is_cleaned(case: Case) -> bool:
    return case.api.name == "gemini" and case.trap.name in CLEANED


def assert_cleaned(found: Seen) -> None:
    """Assert that the same documents came, in nothing but lines that Google's SDK reads."""
    passed = found.through.body.replace(b"\r\n", b"\n")
    assert all(line.startswith(b"data: {") for line in passed.split(b"\n") if line)
    assert documents(passed) == documents(found.direct.body)


def documents(body: bytes) -> list[Any]:
    body = body.removeprefix(b"\xef\xbb\xbf")
    found = re.findall(rb"^data: ?(.*)$", re.sub(rb"\r\n|\r", b"\n", body), re.MULTILINE)
    return [json.loads(one) for one in found]


def assert_cut(case: Case, found: Seen) -> None:
    """Assert that the client was told that the stream broke off, behind whole events of it."""
    body = found.through.body
    if case.api.name == "gemini-array":
        at = body.rindex(b',{"error"')
        said = json.loads(body)[-1]
    else:
        at = max(body.rfind(b"event: error\n"), 0) or body.rindex(b"data: ")
        said = json.loads(body[at:].partition(b"data: ")[2])
    assert said["error"]["message"]
    assert found.direct.body.startswith(body[:at])


def assert_refusal(case: Case, body: bytes) -> None:
    said = json.loads(body)
    assert said["error"]["message"]
    assert PROVIDER_KEY not in body.decode()


@pytest.mark.parametrize("case", [case for case in CASES if case.api.sdk], ids=str)
def test_an_sdk_hears_what_is_expected(case: Case, rounds: Rounds) -> None:
    found = rounds.seen(case)
    match case.trap.expected:
        case Same() | Broken() | Passed():
            assert anonymous(found.sdk_through, case) == sdk_expected(case, rounds)
        case Cut():
            assert isinstance(found.sdk_through, Failed)
        case Refused(status=status):
            assert isinstance(found.sdk_through, Failed)
            assert found.sdk_through.status == status
        case _:
            assert_never(case.trap.expected)


def sdk_expected(case: Case, rounds: Rounds) -> str:
    """Return what the SDK hears of the provider itself.

    Of what is changed for it, it hears what it hears of a plain stream.
    """
    is_changed = is_cleaned(case) or goes_on(case) or case.trap.name in DECODED
    like = replace(case, trap=PLAIN) if is_changed else case
    return anonymous(rounds.seen(like).sdk_direct, like)


def anonymous(heard: object, case: Case) -> str:
    return repr(heard).replace(case.model, "model")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_charged_is_what_is_expected(case: Case, rounds: Rounds) -> None:
    kept, served = rounds.trace(case), rounds.account(case)
    real = cost(
        served["prompt_tokens"], served["billed_completion_tokens"], served["cached_tokens"]
    )
    charged, bound = Decimal(kept["cost_usd"]), Decimal(kept["bound_usd"])
    expected = case.trap.expected
    assert kept["cost_basis"] in bases(expected, is_stream=case.is_stream)
    assert kept["outcome"] == outcome(expected)
    match expected:
        case Same("reported"):
            assert charged == real
        case Refused(is_free=True) | Passed() | Broken("none"):
            assert charged == 0
        case Cut("cap_reached"):
            # What was shown is charged, more than was held or not; what else was made nobody can see.
            assert charged > 0
        case Same() | Cut() | Broken():
            assert real <= charged <= bound
        case Refused() if kept["cost_basis"] == "bound":
            assert charged == bound
        case Refused():
            assert 0 < charged < bound
        case _:
            assert_never(expected)


def bases(expected: Expected, *, is_stream: bool) -> set[str]:
    match expected:
        case Same(said) | Broken(said):
            return {said}
        case Cut():
            return {"metered"}
        case Refused(is_free=True) | Passed():
            return {"none"}
        case Refused():
            # A stream that had begun is charged for what it showed, and that was nothing.
            return {"bound", "metered"} if is_stream else {"bound"}
        case _:
            assert_never(expected)


def outcome(expected: Expected) -> str:
    match expected:
        case Same():
            return "completed"
        case Refused(is_free=True) | Passed() | Broken():
            return "provider_error"
        case Cut(said) | Refused(outcome=said):
            return said
        case _:
            assert_never(expected)


@pytest.mark.parametrize("api", [*{case.api.name: case.api for case in CASES}.values()], ids=str)
def test_a_refusal_that_comes_while_we_upload_reaches_the_client(
    gateway: Gateway, stand_in: Scripted, api: Api
) -> None:
    case = next(one for one in CASES if one.api is api and one.trap == PLAIN)
    url, body, headers = api.request(through(case, gateway), case.asking)
    stand_in.refuse_early(413, {"error": {"message": "The request is too large."}})
    answer = httpx.post(url, json=body | {"padding": "x" * 8_000_000}, headers=headers, timeout=30)
    # So long a request is not searched for what the answer may quote: it is told in our own words.
    assert "HTTP 413" in answer.json()["error"]["message"]
    assert answer.headers["x-gateway-cost-usd"] == "0"


def test_nothing_stays_held_and_all_adds_up(gateway: Gateway, rounds: Rounds) -> None:
    charged = [Decimal(one["cost_usd"]) for one in rounds.traces()]
    found = month_at_rest(gateway)
    assert found["unsettled_usd"] == 0
    assert found["spent_usd"] == sum(charged)
