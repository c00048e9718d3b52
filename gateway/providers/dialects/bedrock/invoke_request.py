"""What an Invoke request asks for: the body is its vendor's own, and the model's name says whose.

Sources: docs.aws.amazon.com/bedrock, "Inference request parameters and response fields for foundation
models" (November 2026), a page a vendor. A body of a family that is not known here can't be bounded.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.core.calls import Asked
from gateway.core.refusal import Code, Refused
from gateway.providers import eventstream, strict_json
from gateway.providers.adapter import Endpoint, Path, Wanted
from gateway.providers.dialects.bedrock import families, headers, thinking
from gateway.providers.dialects.bedrock.converse_request import check_betas, header_tier
from gateway.providers.dialects.bedrock.families import LIMITS, Family
from gateway.providers.fields import (
    MOST_CHOICES,
    MOST_TOKENS,
    arguments,
    check_number,
    invalid,
    is_list_of_objects,
    unbounded,
)
from gateway.providers.strict_json import Body

Values = Mapping[str, Any]

_SAMPLING: Final = frozenset(
    {"temperature", "top_p", "top_k", "p", "k", "stop", "stop_sequences", "seed"}
)
_CHAT: Final = frozenset({"messages", "prompt", "system", "tools", "tool_choice"})
_TEXT_FIELDS: Final[Mapping[Family, frozenset[str]]] = {
    Family.CLAUDE: _SAMPLING
    | {"anthropic_beta", "anthropic_version", "max_tokens", "messages", "metadata"}
    | {"output_config", "system", "thinking", "tool_choice", "tools"},
    Family.NOVA: frozenset(
        {"inferenceConfig", "messages", "schemaVersion", "system", "toolConfig"}
    ),
    Family.LLAMA: _SAMPLING | {"prompt", "max_gen_len"},
    Family.MISTRAL: _SAMPLING | _CHAT | {"max_tokens", "n", "safe_prompt"},
    Family.COMMAND: _SAMPLING
    | {"prompt", "max_tokens", "num_generations", "return_likelihoods", "truncate", "stream"}
    | {"message", "chat_history", "preamble", "tools", "tool_results"}
    | {"prompt_truncation", "frequency_penalty", "presence_penalty", "raw_prompting"},
    Family.TITAN: frozenset({"inputText", "textGenerationConfig"}),
    Family.TITAN_EMBED: frozenset({"inputText", "dimensions", "normalize", "embeddingTypes"}),
    Family.COHERE_EMBED: frozenset(
        {"texts", "input_type", "truncate", "embedding_types", "max_tokens", "output_dimension"}
    ),
}
"""The members that are all text, or no input at all. Any other may stand for more than its bytes;
Cohere's `documents` do, for they come with instructions of its own."""
_TEXT_PARTS: Final = frozenset(
    {
        "text",
        "toolUse",
        "toolResult",
        "cachePoint",
        "type",
        "id",
        "name",
        "input",
        "tool_use_id",
        "content",
        "is_error",
        "cache_control",
        "thinking",
        "signature",
    }
)
_TEXT_TYPES: Final = ("text", "tool_use", "tool_result", "thinking")
_CLIENT_TOOL: Final = ("bash_", "text_editor_", "computer_", "memory_")
"""Tools of Anthropic's that the client runs: they cost their tokens alone."""
# A list, since a value that is looked up in it may be unhashable.
_OWN_TOOLS: Final = [None, "custom", "function"]
_DEFINED_TOOL: Final = 64
"""1,024 tokens: `text_editor` has 700 and `computer` 735 (platform.claude.com, November 2026)."""
_GUARD: Final = ("amazon-bedrock-guardrailConfig", "amazon-bedrock-guardrailAction")
_UNBOUNDED: Final[Mapping[str, str]] = {
    **dict.fromkeys(_GUARD, "guardrails are billed apart"),
    "amazon-bedrock-trace": "it is for guardrails, which are billed apart",
    "container": "it refers to what is stored elsewhere",
    "compaction": "no limit holds for the summary",
    "context_management": "it calls the model again, unseen",
    "fallbacks": "another model would answer, at its own price",
    "images": "images are billed apart",
    "inputImage": "images are billed apart",
    "inputs": "they may be images, which are billed apart",
    "max_tokens_to_sample": "it is of an API that is not metered here",
    "mcp_servers": "the provider reads what it likes there",
    "model": "the path names the model",
    "speed": "the price of another speed is not known here",
}


def read(path: Path, body: Body) -> Wanted | Refused:
    """Return what a request asks for, or the first thing that is wrong with it."""
    name, values = path.model or "", body.values
    family = families.family(name)
    refused = families.check_name(name) or headers.check(path.headers) or _named(family)
    if refused is None and family is not None:
        refused = _checked(family, values)
    if refused is not None or family is None:
        return refused or _UNKNOWN
    tier = header_tier(path)
    if isinstance(tier, Refused):
        return tier
    return Wanted(
        path=path,
        asked=_asked(family, path, body, tier),
        fields=body.members,
        stream_type=eventstream.MEDIA_TYPE,
    )


def limits(family: Family, values: Values) -> dict[str, int]:
    """Return the limits on its output that a checked body gives, by their names."""
    limit = LIMITS.get(family)
    holder = _holder(family, values)
    names = () if limit is None else limit.names
    return {name: holder[name] for name in names if holder.get(name) is not None}


def _asked(family: Family, path: Path, body: Body, tier: str | None) -> Asked:
    name, values = path.model or "", body.values
    given = limits(family, values)
    return Asked(
        model=name,
        stream=path.endpoint is Endpoint.INVOKE_STREAM,
        output_tokens=max(given.values(), default=None),
        least_output_tokens=thinking.least_output(values),
        choices=max(values.get("num_generations") or 1, values.get("n") or 1),
        prompts=max(1, len(values.get("texts") or ())),
        text_bytes=body.text_bytes,
        messages=len(values.get("messages") or values.get("chat_history") or ())
        + arguments(values.get("messages") or ()),
        tools=sum(map(_weight, _tools(values))),
        schema_bytes=_schema_bytes(body),
        hides_input=_hides_input(family, values),
        makes_output=family in LIMITS,
        tier=tier,
        thinks=_thinks(name, values),
    )


_UNKNOWN: Final = Refused(
    Code.BOUND_UNKNOWN,
    "Bodies of this model's vendor can't be bounded here. Known are those of Claude, Nova, Titan text "
    "and embeddings, Llama, Mistral, Cohere's Command and Embed, by an id or name that begins as "
    "theirs do (anthropic.…, amazon.nova-…). Use Converse for the others.",
    param="modelId",
)


def _named(family: Family | None) -> Refused | None:
    return _UNKNOWN if family is None else None


def _checked(family: Family, values: Values) -> Refused | None:
    for name, why in _UNBOUNDED.items():
        if values.get(name) is not None:
            return unbounded(name, why)
    shapes = (check(values) for check in _SHAPES)
    return next(filter(None, shapes), None) or _check_limits(family, values)


def _check_limits(family: Family, values: Values) -> Refused | None:
    limit = LIMITS.get(family)
    if limit is None:
        return None
    holder = values.get(limit.inside) if limit.inside else values
    if not isinstance(holder, dict | None):
        return invalid(limit.inside, f"{limit.inside} must be an object.")
    least = 0 if family is Family.CLAUDE else 1  # it warms a cache with no answer at all
    for name in limit.names:
        shown = f"{limit.inside}.{name}" if limit.inside else name
        refused = check_number(holder or {}, name, MOST_TOKENS, least=least, shown=shown)
        if refused is not None:
            return refused
    return None


def _check_lists(values: Values) -> Refused | None:
    for name in ("messages", "tools", "chat_history"):
        if values.get(name) is not None and not is_list_of_objects(values[name]):
            return invalid(name, f"{name} must be an array of objects.")
    for name in ("texts", "documents"):
        if not isinstance(values.get(name), list | None):
            return invalid(name, f"{name} must be an array.")
    if not isinstance(values.get("toolConfig"), dict | None):
        return invalid("toolConfig", "toolConfig must be an object.")
    if not is_list_of_objects(_tools(values)):
        return invalid("tools", "tools must be an array of objects.")
    return None


def _weight(tool: Values) -> int:
    """Return how many tools one counts for: a description of the vendor's own is not in the body."""
    return 1 if tool.get("type") in _OWN_TOOLS else _DEFINED_TOOL


def _check_choices(values: Values) -> Refused | None:
    numbers = (check_number(values, name, MOST_CHOICES) for name in ("num_generations", "n"))
    return next(filter(None, numbers), None)


def _check_tools(values: Values) -> Refused | None:
    if all(map(_is_client_tool, _tools(values))):
        return None
    return unbounded("tools", "a tool that the provider runs is billed per use")


def _is_client_tool(tool: Values) -> bool:
    kind = tool.get("type")
    is_own = kind in _OWN_TOOLS or (isinstance(kind, str) and kind.startswith(_CLIENT_TOOL))
    return is_own and "systemTool" not in tool


_SHAPES: Final[tuple[Callable[[Values], Refused | None], ...]] = (
    _check_lists,
    _check_choices,
    _check_tools,
    thinking.check,
    check_betas,
)


def _holder(family: Family, values: Values) -> Values:
    limit = LIMITS.get(family)
    if limit is None or limit.inside is None:
        return values
    return values.get(limit.inside) or {}


def _tools(values: Values) -> list[Any]:
    inside: Any = (values.get("toolConfig") or {}).get("tools") or []
    given = values.get("tools") or []
    return [*given, *inside] if isinstance(inside, list) else inside


def _schema_bytes(body: Body) -> int:
    raw = body.members.get("output_config")
    return 0 if raw is None else strict_json.countable(bytes(raw))


def _thinks(name: str, values: Values) -> bool:
    if thinking.is_asked(values):
        return True
    return families.thinks_unasked(name) and not thinking.is_ruled_out(values)


def _hides_input(family: Family, values: Values) -> bool:
    known = _TEXT_FIELDS[family]
    if any(name not in known and value is not None for name, value in values.items()):
        return True
    blocks = [values.get("system"), *(one.get("content") for one in values.get("messages") or ())]
    return not all(map(_is_text, blocks))


def _is_text(content: object) -> bool:
    """Return whether a message's content is all in its bytes: a text, or blocks of nothing else."""
    if content is None or isinstance(content, str):
        return True
    return isinstance(content, list) and all(map(_is_text_part, content))


def _is_text_part(part: object) -> bool:
    if not isinstance(part, dict):
        return isinstance(part, str)
    if not part.keys() <= _TEXT_PARTS or part.get("type", "text") not in _TEXT_TYPES:
        return False
    result = part.get("toolResult")
    inner = [part.get("content"), result.get("content") if isinstance(result, dict) else None]
    return all(map(_is_result, inner))


def _is_result(content: object) -> bool:
    """Return whether a tool's result is all text; Nova's may be JSON."""
    if isinstance(content, list):
        content = [part for part in content if not (type(part) is dict and part.keys() == {"json"})]
    return _is_text(content)
