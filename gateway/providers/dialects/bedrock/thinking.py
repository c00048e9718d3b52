"""What Anthropic's, Amazon's and OpenAI's models are asked about thinking, in either kind of body.

Thinking counts inside the output's limit. A budget for it has to fit below that limit, so that a
lower ceiling would make the request invalid.
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway.core.refusal import Refused
from gateway.providers.fields import MOST_TOKENS, check_number, invalid

Values = Mapping[str, Any]

OBJECTS: Final = ("thinking", "reasoning_config", "reasoningConfig")
_EFFORTS: Final = ("reasoning_effort", "output_config")


def check(values: Values) -> Refused | None:
    """Refuse a way of thinking that is no object, or has a budget that is no number."""
    for name in OBJECTS:
        asked = values.get(name)
        if asked is not None and not isinstance(asked, dict):
            return invalid(name, f"{name} must be an object.")
        shown = f"{name}.budget_tokens"
        refused = check_number(asked or {}, "budget_tokens", MOST_TOKENS, shown=shown)
        if refused is not None:
            return refused
    return None


def is_asked(values: Values) -> bool:
    """Return whether a request may make a model think."""
    asked = (values.get(name) or {} for name in OBJECTS)
    return any(one and one.get("type") != "disabled" for one in asked) or any(
        values.get(name) is not None for name in _EFFORTS
    )


def is_ruled_out(values: Values) -> bool:
    """Return whether a request says that the model is not to think."""
    asked = (values.get(name) or {} for name in OBJECTS)
    return any(one.get("type") == "disabled" for one in asked) and not is_asked(values)


def least_output(values: Values) -> int:
    """Return the lowest limit on the output that the budget for thinking leaves valid."""
    budgets = ((values.get(name) or {}).get("budget_tokens") for name in OBJECTS)
    return max((budget + 1 for budget in budgets if budget is not None), default=1)
