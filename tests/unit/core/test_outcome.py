"""Every ending has a public name."""

from typing import get_args

import msgspec
import pytest

from gateway.core.outcome import Ending, Killed, Outcome, ProviderError, code, outcome
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
