"""What a call may cost, in the order in which it is offered to the budgets.

First the cheap bound, from bytes; where that does not fit what is left, the bound from counted
tokens; where that does not fit either and the workspace allows it, fewer output tokens.
"""

import msgspec

from gateway.core import pricing
from gateway.core.calls import Asked
from gateway.core.limits import too_few_tokens
from gateway.core.meter import Bound
from gateway.core.money import ZERO, NanoDollars
from gateway.core.pricing import Model
from gateway.core.refusal import Code, Refused


class Offer(msgspec.Struct, frozen=True):
    """A bound, and the output tokens of one choice that it allows (None for no output)."""

    bound: Bound
    ceiling: int | None


def offer(
    model: Model, asked: Asked, ceiling: int | None, counted: int | None = None
) -> Offer | Refused:
    """Return the upper bound of a call whose choices may each have `ceiling` output tokens.

    `counted` is the tokenizer's count of the request, where one was made.
    """
    if asked.is_free:
        return Offer(Bound(0, 0, ZERO), None)
    if not pricing.is_tier_priced(model, asked.tier):
        return Refused(
            Code.PRICE_UNKNOWN,
            f"No price is known for this service tier, speed or region of {model.name}. Leave it out, or "
            "add it as a tier under prices: in the configuration.",
            param="service_tier",
        )
    input_tokens = pricing.input_bound(asked, model, counted)
    if input_tokens is None:
        return Refused(
            Code.BOUND_UNKNOWN,
            f"This call refers to input of unknown size, and {model.name} has no known context window "
            "to bound it. Set context_tokens for it under prices: in the configuration.",
        )
    output_tokens = pricing.output_bound(asked, model, ceiling)
    if output_tokens is None:
        return Refused(
            Code.BOUND_UNKNOWN,
            f"Nothing bounds the output of {model.name}. Ask for a number of output tokens, or set "
            "limits.output_tokens or the model's max_output_tokens in the configuration.",
            param="max_completion_tokens",
        )
    refused = too_few_tokens(asked, output_tokens)
    return refused or _offer(model, asked, input_tokens, output_tokens)


def clamped(model: Model, asked: Asked, larger: Offer, left: int) -> Offer | None:
    """Return an offer with as many output tokens as `left` buys; None if it buys too few."""
    input_tokens = larger.bound.input_tokens
    affordable = pricing.affordable_output(model, asked, input_tokens, NanoDollars(left))
    least = max(1, asked.least_output_tokens)
    if not asked.makes_output or larger.ceiling is None or affordable < least:
        return None
    return _offer(model, asked, input_tokens, min(affordable, larger.ceiling))


def _offer(model: Model, asked: Asked, input_tokens: int, output_tokens: int) -> Offer:
    amount = pricing.upper_bound(model, asked, input_tokens, output_tokens)
    bound = Bound(input_tokens, output_tokens * asked.choices, amount)
    return Offer(bound, output_tokens if asked.makes_output else None)
