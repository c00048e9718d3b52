"""Checks that the requests of several dialects share, and how a bad field is refused.

Refusals name the field and what is allowed, and quote nothing of the request but a number.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from gateway.core.refusal import Code, Refused
from gateway.providers import strict_json
from gateway.providers.strict_json import Body

Values = Mapping[str, Any]

MOST_TOKENS: Final = 10**7
MOST_CHOICES: Final = 128
MOST_NAME: Final = 256
MOST_TIER: Final = 64

OVERRIDES: Final = frozenset(
    {
        # LiteLLM's: another endpoint, key or price.
        "api_base",
        "api_key",
        "api_type",
        "api_version",
        "base_url",
        "custom_llm_provider",
        "extra_body",
        "extra_headers",
        "extra_query",
        "fallbacks",
        "input_cost_per_token",
        "model_list",
        "output_cost_per_token",
        "user_config",
        # OpenRouter's: another model, provider or plugin.
        "models",
        "plugins",
        "preset",
        "provider",
        "route",
    }
)
"""Fields by which a request would choose where it goes or what it costs, instead of the gateway."""


_READ: Final = OVERRIDES | {
    *("background", "best_of", "compaction", "container", "context_management", "data_sources"),
    *("deferred", "enable_search", "functions", "inference_geo", "input", "max_completion_tokens"),
    *("max_output_tokens", "max_tokens", "mcp_servers", "messages", "modalities", "model", "n"),
    *("prediction", "previous_response_id", "prompt", "search_parameters", "service_tier", "speed"),
    *("stream", "stream_options", "suffix", "system", "thinking", "tools", "web_search_options"),
}
"""Fields of the request itself that decide on its cost."""


def invalid(param: str | None, message: str) -> Refused:
    """Return the refusal of a request that is wrong in itself."""
    return Refused(Code.INVALID_REQUEST, message, param=param)


def read_object(body: bytes) -> Body | Refused:
    """Return a request's body, read strictly, or the refusal of one that can't be."""
    found = strict_json.read(body)
    if isinstance(found, strict_json.Malformed):
        return invalid(None, f"The body can't be used: {found.reason}.")
    return found


def no_such_body() -> Refused:
    """Return the refusal of a body that was sent to an endpoint which takes none of this dialect."""
    return Refused(Code.ENDPOINT_NOT_METERED, "This endpoint takes no such body.")


def unbounded(param: str, why: str) -> Refused:
    """Return the refusal of a field whose cost no bound covers, and why."""
    message = f"The cost of {param} can't be bounded: {why}. Remove it."
    return Refused(Code.BOUND_UNKNOWN, message, param=param)


def check_model(values: Values) -> Refused | None:
    """Refuse a model that is not a name: 1 to 256 printable characters."""
    if is_name(values.get("model")):
        return None
    return invalid("model", f"model must be a text of 1 to {MOST_NAME} printable characters.")


def is_name(value: object) -> bool:
    """Return whether a value can be the name of a model."""
    return isinstance(value, str) and 0 < len(value) <= MOST_NAME and value.isprintable()


def is_flag(value: object) -> bool:
    """Return whether a value is true, false or null."""
    return value is None or isinstance(value, bool)


def is_list_of_objects(value: object) -> bool:
    """Return whether a value is an array of nothing but objects."""
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def arguments(messages: Iterable[Any]) -> int:
    """Return how many arguments the calls of tools have that messages, of blocks, tell again.

    A model may be shown each as markup (`<parameter name="a">1</parameter>`, as the published templates
    of several are): that is up to eight tokens more than its JSON has bytes.
    """
    contents = (message.get("content") for message in messages)
    blocks = (block for content in contents if isinstance(content, list) for block in content)
    found = (block.get("toolUse", block) for block in blocks if isinstance(block, dict))
    given = (call.get("input") for call in found if isinstance(call, dict))
    return sum(len(named) for named in given if isinstance(named, dict))


def check_overrides(values: Values) -> Refused | None:
    """Refuse fields that would choose another place, key, model or price than the gateway's."""
    if OVERRIDES.isdisjoint(values):
        return _check_spelling(values)
    name = min(OVERRIDES & values.keys())
    return invalid(name, f"{name} is decided by the gateway and can't be sent; remove it.")


def _check_spelling(values: Values) -> Refused | None:
    """Refuse a field that decides on the cost in another case than its own.

    To Go's `encoding/json`, which hosts and other gateways are written with, it is the same field, and
    the last one counts; characters that fold alike are alike to it too.
    """
    for name in values:
        folded = name.casefold()
        if folded != name and folded in _READ:
            return invalid(folded, f"{folded} must be written so, in lower case.")
    return None


def check_number(
    values: Values, name: str, most: int, *, least: int = 1, shown: str | None = None
) -> Refused | None:
    """Refuse a field that is given, not null, and no whole number from `least` to `most`.

    A bool is an int to Python, and 1e2 may be one to a provider: only digits are digits. `shown` is
    the field's name in the refusal, where it is a part of another field.
    """
    value = values.get(name)
    if value is None or (type(value) is int and least <= value <= most):
        return None
    shown = shown or name
    found = f", not {value}" if is_short_number(value) else ""
    return invalid(shown, f"{shown} must be a whole number from {least} to {most:,}{found}.")


def is_short_number(value: object) -> bool:
    """Return whether a value is a number that a refusal may quote."""
    return type(value) in {int, float} and abs(value) <= 10**18  # type: ignore[arg-type]


def check_tier(values: Values, name: str = "service_tier") -> Refused | None:
    """Refuse a service tier that is not a text of 1 to 64 printable characters."""
    tier = values.get(name)
    if tier is None or (
        isinstance(tier, str) and 0 < len(tier) <= MOST_TIER and tier.isprintable()
    ):
        return None
    return invalid(name, f"{name} must be a text of 1 to {MOST_TIER} characters.")
