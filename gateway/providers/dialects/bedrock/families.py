"""Whose model a name means: what its own body calls its limit, and whether it may think.

Bedrock's ids are `[region.]vendor.model`, and a client may put the provider's name here before it. An
operator's name that begins so is taken for one of that vendor's.
"""

import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

import msgspec

from gateway.core.refusal import Code, Refused


class Family(Enum):
    """The vendors' own bodies that can be metered."""

    CLAUDE = auto()
    NOVA = auto()
    LLAMA = auto()
    MISTRAL = auto()
    COMMAND = auto()
    TITAN = auto()
    TITAN_EMBED = auto()
    COHERE_EMBED = auto()


class Limit(msgspec.Struct, frozen=True):
    """Where a family's body limits its output: members of it, or of its member `inside`.

    The first name is written where none is there.
    """

    names: tuple[str, ...]
    inside: str | None = None


LIMITS: Final[Mapping[Family, Limit]] = {
    Family.CLAUDE: Limit(("max_tokens",)),
    Family.NOVA: Limit(("maxTokens", "max_new_tokens"), "inferenceConfig"),
    Family.LLAMA: Limit(("max_gen_len",)),
    Family.MISTRAL: Limit(("max_tokens",)),
    Family.COMMAND: Limit(("max_tokens",)),
    Family.TITAN: Limit(("maxTokenCount",), "textGenerationConfig"),
}
"""Those of docs.aws.amazon.com/bedrock, "Inference request parameters and response fields"."""

_REGION: Final = r"(?:[a-z]{2,8}(?:-[a-z]{2,8})?\.)?"
_PATTERNS: Final[Mapping[Family, str]] = {
    Family.CLAUDE: r"anthropic\..+",
    Family.NOVA: r"amazon\.nova-(?:\d+-)?(?:micro|lite|pro|premier)\b.*",
    Family.LLAMA: r"meta\.llama.+",
    Family.MISTRAL: r"mistral\..+",
    Family.COMMAND: r"cohere\.command.+",
    Family.TITAN: r"amazon\.titan-(?:text|tg1)-(?!.*embed).+",
    Family.TITAN_EMBED: r"amazon\.titan-embed-(?:text|g1-text).*",
    Family.COHERE_EMBED: r"cohere\.embed-.+",
}
_FAMILIES: Final = {family: re.compile(_REGION + pattern) for family, pattern in _PATTERNS.items()}
_NEVER_UNASKED: Final = re.compile(
    _REGION
    + r"(?:anthropic\.claude-(?:3-|instant|v2|(?:opus|sonnet|haiku)-4)"
    + r"|amazon\.(?:nova-(?:micro|lite|pro|premier)|titan)|meta\.llama|cohere\."
    + r"|mistral\.(?!magistral)).*"
)
"""Models that think only where a request asks for it, or not at all. Of Claude those before 5, which
thinks unless it is told not to (platform.claude.com, "What's new in Claude Opus 5")."""
_ARN: Final = re.compile(r"(?:.*/)?(arn:[a-z-]+:[a-z-]+:.*)", re.DOTALL)
_PLAIN_ARN: Final = re.compile(
    r"arn:[a-z-]+:bedrock:[^:]*:[^:]*:(?:foundation-model|inference-profile)/.+"
)


def family(name: str) -> Family | None:
    """Return whose body a model takes; None where its name does not tell."""
    own = _own(name)
    return next((one for one, pattern in _FAMILIES.items() if pattern.fullmatch(own)), None)


def thinks_unasked(name: str) -> bool:
    """Return whether a model may think although its request does not ask for it."""
    return _NEVER_UNASKED.fullmatch(_own(name)) is None


def check_name(name: str) -> Refused | None:
    """Refuse the ARN of what stands for another model, whose price nobody knows from it."""
    arn = _ARN.fullmatch(name)
    if arn is None or _PLAIN_ARN.fullmatch(arn[1]):
        return None
    return Refused(
        Code.BOUND_UNKNOWN,
        "This ARN may stand for any model (a prompt, a router, an application's profile, a capacity "
        "of one's own), so its cost can't be bounded. Ask for the model's id, or have an operator "
        "give it a name and a price.",
        param="modelId",
    )


def _own(name: str) -> str:
    """Return a model's own id: without the provider's name, or an ARN's beginning."""
    return name.rpartition("/")[2]
