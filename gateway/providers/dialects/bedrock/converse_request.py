"""What a Converse request asks for: checked, so that what it says is all that it can cost.

Source: the model of the API in botocore 1.44 (`bedrock-runtime`, 2023-09-30) and
docs.aws.amazon.com/bedrock, "Converse". Members that only the vendor's model understands are in
`additionalModelRequestFields`: those that are known to change no bound pass, all others don't.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.core.calls import Asked
from gateway.core.refusal import Refused
from gateway.providers import eventstream, strict_json
from gateway.providers.adapter import Endpoint, Path, Wanted
from gateway.providers.dialects.bedrock import families, headers, thinking, tiers
from gateway.providers.fields import (
    MOST_TOKENS,
    arguments,
    check_number,
    check_overrides,
    check_tier,
    invalid,
    is_list_of_objects,
    unbounded,
)
from gateway.providers.strict_json import Body

Values = Mapping[str, Any]

_APART: Final = "guardrails are billed apart"
_ELSEWHERE: Final = "it refers to a text that is stored elsewhere"
UNBOUNDED: Final[Mapping[str, str]] = {"guardrailConfig": _APART, "promptVariables": _ELSEWHERE}
OVERRIDES: Final = frozenset({"modelId", "projectIdentifier"})
ADDITIONAL: Final = "additionalModelRequestFields"
_HARMLESS: Final = frozenset(
    {
        "anthropic_beta",
        "anthropic_version",
        "frequency_penalty",
        "inferenceConfig",
        "output_config",
        "presence_penalty",
        "reasoning_effort",
        "seed",
        "stop",
        "stop_sequences",
        "temperature",
        "tool_choice",
        "topK",
        "top_k",
        "top_p",
        *thinking.OBJECTS,
    }
)
"""What no vendor takes for a limit, a tool, or more input."""
_INSIDE: Final[Mapping[str, frozenset[str]]] = {
    "inferenceConfig": frozenset({"topK"}),
    "output_config": frozenset({"effort"}),
}
BETAS: Final = ("fine-grained-tool-streaming-2025-05-14", "token-efficient-tools-2025-02-19")
"""Betas that change no price and no limit. Others do: longer windows, larger answers, tools."""

_TEXT_BLOCKS: Final = frozenset({"text", "toolUse", "toolResult", "cachePoint", "reasoningContent"})
_TEXT_RESULTS: Final = frozenset({"text", "json", "cachePoint"})


def read(path: Path, body: Body) -> Wanted | Refused:
    """Return what a request asks for, or the first thing that is wrong with it."""
    name = path.model or ""
    refused = families.check_name(name) or headers.check(path.headers) or _checked(body.values)
    if refused is not None:
        return refused
    values = body.values
    tier = _tier(path, values)
    if isinstance(tier, Refused):
        return tier
    extra = values.get(ADDITIONAL) or {}
    return Wanted(
        path=path,
        asked=Asked(
            model=name,
            stream=path.endpoint is Endpoint.CONVERSE_STREAM,
            output_tokens=(values.get("inferenceConfig") or {}).get("maxTokens"),
            least_output_tokens=thinking.least_output(extra),
            text_bytes=body.text_bytes,
            messages=len(values["messages"]) + arguments(values["messages"]),
            tools=len(_tools(values)),
            schema_bytes=_schema_bytes(body),
            hides_input=_hides_input(values),
            tier=tier,
            thinks=_thinks(name, values, extra),
        ),
        fields=body.members,
        stream_type=eventstream.MEDIA_TYPE,
    )


def check_betas(values: Values, shown: str = "anthropic_beta") -> Refused | None:
    """Refuse features of Anthropic's that may cost more than is bounded here."""
    betas = values.get("anthropic_beta") or []
    if isinstance(betas, list) and all(beta in BETAS for beta in betas):
        return None
    return unbounded(shown, f"only {' and '.join(BETAS)} are known to change no price")


def _checked(values: Values) -> Refused | None:
    checks = (check(values) for check in _CHECKS)
    return next(filter(None, checks), None)


def _check_overrides(values: Values) -> Refused | None:
    if OVERRIDES.isdisjoint(values):
        return check_overrides(values)
    name = min(OVERRIDES & values.keys())
    return invalid(name, f"{name} is decided by the gateway and can't be sent; remove it.")


def _check_unbounded(values: Values) -> Refused | None:
    given = (name for name in UNBOUNDED if values.get(name) is not None)
    return next((unbounded(name, UNBOUNDED[name]) for name in given), None)


def _check_objects(values: Values) -> Refused | None:
    for name in _OBJECTS:
        if not isinstance(values.get(name), dict | None):
            return invalid(name, f"{name} must be an object.")
    return None


def _check_messages(values: Values) -> Refused | None:
    messages = values.get("messages")
    if is_list_of_objects(messages) and all(
        is_list_of_objects(message.get("content")) for message in messages or ()
    ):
        return None
    return invalid("messages", "messages must be an array of objects, each with its content.")


def _check_system(values: Values) -> Refused | None:
    if values.get("system") is None or is_list_of_objects(values["system"]):
        return None
    return invalid("system", "system must be an array of objects.")


def _check_limit(values: Values) -> Refused | None:
    shown = "inferenceConfig.maxTokens"
    return check_number(values.get("inferenceConfig") or {}, "maxTokens", MOST_TOKENS, shown=shown)


def _check_tools(values: Values) -> Refused | None:
    tools = (values.get("toolConfig") or {}).get("tools")
    if tools is not None and not is_list_of_objects(tools):
        return invalid("toolConfig.tools", "toolConfig.tools must be an array of objects.")
    if all(tool.keys() <= {"toolSpec", "cachePoint"} for tool in tools or ()):
        return None
    return unbounded("toolConfig.tools", "a tool of the provider's own is billed per use")


def _check_additional(values: Values) -> Refused | None:
    extra = values.get(ADDITIONAL) or {}
    if not extra.keys() <= _HARMLESS:
        why = f"of its members only {', '.join(sorted(_HARMLESS))} are known to set no other limit"
        return unbounded(ADDITIONAL, why)
    for name, known in _INSIDE.items():
        inside = extra.get(name)
        if inside is not None and not (isinstance(inside, dict) and inside.keys() <= known):
            why = f"of it only {' and '.join(known)} is known to change no limit"
            return unbounded(f"{ADDITIONAL}.{name}", why)
    return thinking.check(extra) or check_betas(extra, f"{ADDITIONAL}.anthropic_beta")


def _tier(path: Path, values: Values) -> str | Refused | None:
    """Return the tier that a body or its headers ask for; never both, for one of them would win."""
    service = (values.get("serviceTier") or {}).get("type")
    latency = (values.get("performanceConfig") or {}).get("latency")
    for shown, given in (("serviceTier.type", service), ("performanceConfig.latency", latency)):
        refused = check_tier({shown: given}, shown)
        if refused is not None:
            return refused
    if not path.headers:
        return tiers.named(service, latency)
    if service is not None or latency is not None:
        return invalid(
            "serviceTier", "Ask for a service tier in the body or in a header, not in both."
        )
    return header_tier(path)


def header_tier(path: Path) -> str | Refused | None:
    """Return the tier that a request's headers ask for."""
    service = headers.value(path.headers, headers.TIER)
    latency = headers.value(path.headers, headers.LATENCY)
    for name, given in ((headers.TIER, service), (headers.LATENCY, latency)):
        refused = check_tier({name.decode(): given}, name.decode())
        if refused is not None:
            return refused
    return tiers.named(service, latency)


def _tools(values: Values) -> list[Any]:
    return (values.get("toolConfig") or {}).get("tools") or []


def _schema_bytes(body: Body) -> int:
    """Return the size of the schema that a provider may repeat in its prompt."""
    raw = body.members.get("outputConfig")
    return 0 if raw is None else strict_json.countable(bytes(raw))


def _thinks(name: str, values: Values, extra: Values) -> bool:
    if (values.get("outputConfig") or {}).get("effort") is not None or thinking.is_asked(extra):
        return True
    return families.thinks_unasked(name) and not thinking.is_ruled_out(extra)


def _hides_input(values: Values) -> bool:
    blocks = [block for message in values["messages"] for block in message["content"]]
    return not (
        all(map(_is_text, blocks)) and all(map(_is_system_text, values.get("system") or ()))
    )


def _is_system_text(block: Values) -> bool:
    return block.keys() <= {"text", "cachePoint"}


def _is_text(block: Values) -> bool:
    """Return whether all that a block makes the model read is in its bytes."""
    if not block.keys() <= _TEXT_BLOCKS:
        return False
    if "reasoningContent" in block:
        thought = block["reasoningContent"]
        return isinstance(thought, dict) and thought.keys() <= {"reasoningText"}
    if "toolResult" not in block:
        return True
    result = block["toolResult"]
    content = result.get("content") if isinstance(result, dict) else None
    return is_list_of_objects(content) and all(
        part.keys() <= _TEXT_RESULTS for part in content or ()
    )


_OBJECTS: Final = (
    "inferenceConfig",
    "toolConfig",
    ADDITIONAL,
    "performanceConfig",
    "serviceTier",
    "outputConfig",
)
_CHECKS: Final[tuple[Callable[[Values], Refused | None], ...]] = (
    _check_overrides,
    _check_unbounded,
    _check_objects,
    _check_messages,
    _check_system,
    _check_limit,
    _check_tools,
    _check_additional,
)
