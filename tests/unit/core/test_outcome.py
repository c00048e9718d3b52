"""Every ending has a public name."""

from typing import get_args

import msgspec
import pytest

from gateway.core.outcome import (
    CapReached,
    ClientGone,
    Completed,
    Ending,
    Killed,
    Outcome,
    ProviderBroken,
    ProviderError,
    ProviderLost,
    ProviderUnreachable,
    ShutDown,
    TimedOut,
    code,
    falls_back,
    outcome,
)
from gateway.core.refusal import Code, Refused

REFUSED = Refused(Code.KILL_SWITCH, "Stopped.")


def ending(kind: type) -> Ending:
    if kind is Killed:
        return Killed(REFUSED)
    return ProviderError(500) if kind is ProviderError else kind()


@pytest.mark.parametrize("kind", get_args(Ending))
def test_every_ending_has_a_name_and_a_place_among_the_codes(kind: type):
    assert issubclass(kind, msgspec.Struct)
    assert isinstance(outcome(ending(kind)), Outcome)
    assert code(ending(kind)) is None or isinstance(code(ending(kind)), Code)


def test_every_outcome_but_a_refusal_is_reached():
    reached = {outcome(ending(kind)) for kind in get_args(Ending)}
    assert reached == set(Outcome) - {Outcome.REFUSED}


OTHERS_MAY_ANSWER = [301, 302, 401, 402, 403, 404, 408, 409, 425, 429, 500, 502, 503, 504, 529]
THE_CLIENTS_OWN = [400, 405, 406, 410, 411, 413, 414, 415, 416, 418, 422, 424, 431, 451]
FALLS_BACK: list[tuple[Ending, bool]] = [
    (ProviderUnreachable(), True),
    (ProviderLost(), True),
    (ProviderBroken(), True),
    (TimedOut(), True),
    (TimedOut(is_total=True), False),
    (Completed(), False),
    (ClientGone(), False),
    (Killed(REFUSED), False),
    (CapReached(), False),
    (ShutDown(), False),
    *((ProviderError(status), True) for status in OTHERS_MAY_ANSWER),
    *((ProviderError(status), False) for status in THE_CLIENTS_OWN),
]


@pytest.mark.parametrize(("ending", "expected"), FALLS_BACK)
def test_another_model_is_tried_only_where_the_provider_failed(ending: Ending, expected: bool):
    assert falls_back(ending) is expected


def test_the_table_of_what_falls_back_has_every_ending():
    assert {type(ending) for ending, _ in FALLS_BACK} == set(get_args(Ending))
