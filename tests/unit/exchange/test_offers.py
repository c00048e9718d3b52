"""What a call is offered at: never with fewer output tokens than make sense for it."""

from gateway.core.calls import Asked
from gateway.core.refusal import Code, Refused
from gateway.exchange.offers import Offer, clamped, offer
from tests.unit.exchange.world import MODEL

THINKING = Asked(model="m", output_tokens=100, least_output_tokens=51, text_bytes=10)


def offered(asked: Asked, ceiling: int | None) -> Offer:
    found = offer(MODEL, asked, ceiling)
    assert isinstance(found, Offer)
    return found


def test_a_thinking_budget_must_fit_in_every_ceiling():
    found = offer(MODEL, THINKING, 50)
    assert isinstance(found, Refused)
    assert (found.code, found.param) == (Code.INVALID_REQUEST, "thinking")
    assert offered(THINKING, 51).ceiling == 51


def test_a_short_budget_never_clamps_below_a_thinking_budget():
    larger = offered(THINKING, None)
    fits, short = (offered(THINKING, tokens).bound.amount for tokens in (51, 60))
    assert fits < short < larger.bound.amount
    found = clamped(MODEL, THINKING, larger, short)
    assert found is not None
    assert found.ceiling == 60
    assert clamped(MODEL, THINKING, larger, fits - 1) is None


def test_a_call_without_output_is_offered_as_it_is():
    silent = Asked(model="m", output_tokens=0, text_bytes=10)
    found = offered(silent, None)
    assert (found.ceiling, found.bound.output_tokens) == (0, 0)
    assert clamped(MODEL, silent, found, found.bound.amount - 1) is None
