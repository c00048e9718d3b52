"""Whether all that contents make a model read is in their bytes.

Text, calls of functions and what they returned are. Media, files, and whatever is not known here may
stand for any number of tokens. A signature of thought is taken for text: it is encrypted, so that it
does not compress, and a thought of n tokens has no form of fewer than n bytes.
"""

from typing import Final

from gateway.providers.dialects.generate_content.spelling import repeated, spelled

_CONTENT: Final = frozenset({"parts", "role"})
_PART: Final = frozenset(
    {
        "codeExecutionResult",
        "executableCode",
        "functionCall",
        "functionResponse",
        "partMetadata",
        "text",
        "thought",
        "thoughtSignature",
    }
)
_RESPONSE: Final = frozenset({"id", "name", "response", "scheduling", "willContinue"})


def are_text(contents: object) -> bool:
    """Return whether every part of some contents is text."""
    return all(map(_is_text, repeated(contents)))


def is_ambiguous(contents: object) -> bool:
    """Return whether a content or part of some names a field in both its spellings."""
    for content in repeated(contents):
        if not isinstance(content, dict):
            continue
        for message in (content, *repeated(content.get("parts"))):
            if isinstance(message, dict) and spelled(message) is None:
                return True
    return False


def _is_text(content: object) -> bool:
    if not isinstance(content, dict):
        return isinstance(content, str)
    return _has_only(content, _CONTENT) and all(map(_is_text_part, repeated(content.get("parts"))))


def _is_text_part(part: object) -> bool:
    if not isinstance(part, dict):
        return isinstance(part, str)
    if part.keys() == {"text"}:
        return True
    named = spelled(part)
    if named is None or not _has_only(named, _PART):
        return False
    returned = named.get("functionResponse")
    if not isinstance(returned, dict):
        return True
    known = spelled(returned)
    return known is not None and _has_only(known, _RESPONSE)


def _has_only(message: dict[str, object], known: frozenset[str]) -> bool:
    return message.keys() <= known or all(
        value is None for name, value in message.items() if name not in known
    )
