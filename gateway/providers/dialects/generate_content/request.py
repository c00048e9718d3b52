"""What a request to generate asks for, read strictly where money depends on it.

Everything that changes the cost is checked; everything else passes untouched. What may stand for more
input than its bytes makes the context window the bound, and what is billed by use, not by tokens, is
refused. `maxOutputTokens` beside `generationConfig`, where it is nothing to the vendor, is nothing here.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from gateway.core.calls import Asked
from gateway.core.refusal import Refused
from gateway.providers.adapter import Endpoint, Path, Wanted
from gateway.providers.dialects.generate_content.contents import are_text, is_ambiguous
from gateway.providers.dialects.generate_content.spelling import camel, repeated, spelled
from gateway.providers.dialects.generate_content.tiers import tier_asked
from gateway.providers.fields import (
    MOST_CHOICES,
    MOST_TOKENS,
    Values,
    check_number,
    check_overrides,
    check_tier,
    invalid,
    unbounded,
)
from gateway.providers.strict_json import Body, countable

CONFIG: Final = "generationConfig"
CEILING: Final = "maxOutputTokens"
TWICE: Final = invalid(
    None, "The body names a field in both of its spellings (camelCase and snake_case); use one."
)

PER_USE: Final[Mapping[str, str]] = {
    "codeExecution": "the model runs code and reads its output again, as often as it likes",
    "computerUse": "the vendor's own prompt for it has no known size",
    "enterpriseWebSearch": "searches are billed per use",
    "exaAiSearch": "searches are billed per use",
    "fileSearch": "what is found is billed as input of unknown size",
    "googleMaps": "look-ups are billed per use",
    "googleSearch": "searches are billed per use",
    "googleSearchRetrieval": "searches are billed per use",
    "mcpServers": "what the servers return is billed as input of unknown size",
    "parallelAiSearch": "searches are billed per use",
    "retrieval": "what is found is billed as input of unknown size",
    "urlContext": "pages are billed as input of unknown size",
}
"""Tools that the vendor runs itself, and why no bound covers them."""


class Asking(msgspec.Struct, frozen=True):
    """A request under examination: its members, and those of its generation config, by camelCase."""

    path: Path
    values: dict[str, Any]
    config: dict[str, Any]
    has_two_spellings: bool


def read(path: Path, body: Body) -> Wanted | Refused:
    """Return what a request asks for, or the first thing that is wrong with it."""
    asking = _asking(path, body)
    refused = check_overrides(body.values)
    for check in _CHECKS:
        refused = refused or check(asking)
    if refused is not None:
        return refused
    values, config = asking.values, asking.config
    streams = path.endpoint is Endpoint.STREAM_GENERATE_CONTENT
    contents = values.get("contents")
    return Wanted(
        path=path,
        asked=Asked(
            model=path.model or "",
            stream=streams,
            output_tokens=config.get(CEILING),
            choices=config.get("candidateCount") or 1,
            text_bytes=body.text_bytes,
            messages=sum(1 for _ in repeated(contents)) + ("systemInstruction" in values),
            tools=_declared(values),
            schema_bytes=_schema_bytes(body),
            hides_input=_hides_input(values),
            audio_output=_may_speak(config),
            tier=tier_asked(values.get("serviceTier")),
        ),
        fields=body.members,
        stream_type=b"application/json" if path.is_array else b"text/event-stream",
    )


def check_model(path: Path, message: Values, name: str = "model") -> Refused | None:
    """Refuse a model that is said again in the body, and is another than the path's."""
    given = message.get("model")
    if given is None or given in (path.model, f"models/{path.model}"):
        return None
    return invalid(name, f"{name} must be the model of the path, or be left out.")


def _asking(path: Path, body: Body) -> Asking:
    values = spelled(body.values)
    given = (values or {}).get(CONFIG)
    config = spelled(given) if isinstance(given, dict) else {}
    is_twice = values is None or config is None
    return Asking(path, values or {}, config or {}, is_twice)


def _check_spelling(asking: Asking) -> Refused | None:
    values = asking.values
    found = (values.get(name) for name in ("contents", "systemInstruction"))
    return TWICE if asking.has_two_spellings or any(map(is_ambiguous, found)) else None


def _check_overrides(asking: Asking) -> Refused | None:
    for name in ("modelConfig", "modelSelectionConfig", "routingConfig"):
        if asking.config.get(name) is not None:
            shown = f"{CONFIG}.{name}"
            return invalid(shown, f"{shown} would choose another model; remove it.")
    return check_model(asking.path, asking.values)


def _check_numbers(asking: Asking) -> Refused | None:
    checked = (
        check_number(asking.config, name, most, shown=f"{CONFIG}.{name}")
        for name, most in _NUMBERS.items()
    )
    return next(filter(None, checked), None)


def _check_shapes(asking: Asking) -> Refused | None:
    config = asking.values.get(CONFIG)
    if not isinstance(config, dict | None):
        return invalid(CONFIG, f"{CONFIG} must be an object.")
    for name in ("contents", "tools"):
        if not all(isinstance(one, dict) for one in repeated(asking.values.get(name))):
            return invalid(name, f"{name} must be an array of objects.")
    if asking.values.get("contents") is None:
        return invalid("contents", "contents must be an array of objects.")
    return check_tier(asking.values, "serviceTier")


def _check_tools(asking: Asking) -> Refused | None:
    for tool in repeated(asking.values.get("tools")):
        for name, value in tool.items() if isinstance(tool, dict) else ():
            field = camel(name)
            if value is None or field == "functionDeclarations":
                continue
            if field in PER_USE:
                return unbounded(f"tools.{field}", PER_USE[field])
            return unbounded("tools", "only functionDeclarations are known to cost their tokens")
    return None


def _declared(values: Values) -> int:
    """Return how many functions are declared."""
    declared = (
        value
        for tool in repeated(values.get("tools"))
        if isinstance(tool, dict)
        for value in tool.values()
    )
    return sum(1 for value in declared for _ in repeated(value))


def _schema_bytes(body: Body) -> int:
    """Return the size of the config, which holds the schemas that the vendor may repeat in its prompt."""
    name = next((name for name in body.members if camel(name) == CONFIG), None)
    config = body.values[name] if name is not None else None
    if not isinstance(config, dict) or not any(camel(name) in _SCHEMAS for name in config):
        return 0
    return countable(bytes(body.members[name or ""]))


def _hides_input(values: Values) -> bool:
    """Return whether a member may stand for input of unknown size: any that is not known, but a number."""
    for name, value in values.items():
        if name not in _KNOWN and not isinstance(value, int | float | None):
            return True
    return not (are_text(values.get("contents")) and are_text(values.get("systemInstruction")))


def _may_speak(config: Values) -> bool:
    """Return whether the answer may be audio: only text and images are known not to be."""
    if config.get("speechConfig") is not None or config.get("responseFormat") is not None:
        return True
    return any(one not in _SILENT for one in repeated(config.get("responseModalities")))


_NUMBERS: Final = {CEILING: MOST_TOKENS, "candidateCount": MOST_CHOICES}
_SCHEMAS: Final = ("responseFormat", "responseJsonSchema", "responseSchema")
# Lists, since a value that is looked up in them may be unhashable.
_SILENT: Final = ["TEXT", "IMAGE", "Text", "Image"]
_KNOWN: Final = frozenset(
    {
        CONFIG,
        "contents",
        "labels",
        "model",
        "safetySettings",
        "serviceTier",
        "systemInstruction",
        "toolConfig",
        "tools",
    }
)
_CHECKS: Final[tuple[Callable[[Asking], Refused | None], ...]] = (
    _check_spelling,
    _check_shapes,
    _check_overrides,
    _check_numbers,
    _check_tools,
)
